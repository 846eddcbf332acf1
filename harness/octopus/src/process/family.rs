//! Which processes belong to a group, wherever they went: those in the group, those that carry its
//! token in their environment, and the descendants of all of these. Linux shows this in `/proc`;
//! on other systems only the group itself is known.
//!
//! A watcher is nobody's family: where one of the processes is a program like this one, with folders
//! and processes of its own, its watcher cleans up after it and ends by itself.

use std::path::Path;

use rustix::process::Pid;

/// The processes that belong to the groups or carry a token that `is_token` knows. Those that have
/// ended and wait to be reaped are not among them.
#[cfg(target_os = "linux")]
pub(super) fn find(groups: &[Pid], is_token: impl Fn(&str) -> bool) -> Vec<Pid> {
    linux::find(groups, &is_token)
}

/// Other systems do not show a process's environment.
#[cfg(not(target_os = "linux"))]
pub(super) fn find(_groups: &[Pid], _is_token: impl Fn(&str) -> bool) -> Vec<Pid> {
    Vec::new()
}

/// Whether a process is still there; one that has ended and waits to be reaped is not.
pub(super) fn is_there(process: Pid) -> bool {
    let number = process.as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, fields)| fields.get(..1));
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

/// Kills whatever works in a folder, be it removed already, and has no terminal: a daemon that a run has
/// left there, whose descent cannot be told any more. How many there were.
pub(crate) fn evict(folder: &Path) -> usize {
    #[cfg(target_os = "linux")]
    let inhabitants = linux::inhabitants(folder);
    #[cfg(not(target_os = "linux"))]
    let inhabitants: Vec<Pid> = {
        let _ = folder;
        Vec::new()
    };
    for &process in &inhabitants {
        let _gone = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
    inhabitants.len()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{collections::HashSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, thread};

    use rustix::process::Pid;

    use crate::process::{POLL_INTERVAL, TOKEN_VARIABLE, watcher};

    /// How often processes are looked at again at most.
    const MAX_SCANS: usize = 10;

    struct Process {
        id: i32,
        parent: i32,
        group: i32,
        has_terminal: bool,
        /// It carries a token that is looked for.
        marked: bool,
        /// It is just taking on another program (`exec`) and has no environment for a moment.
        changing: bool,
    }

    pub fn find(groups: &[Pid], is_token: &dyn Fn(&str) -> bool) -> Vec<Pid> {
        let mut all = scan(is_token);
        let mut known = HashSet::new();
        for _ in 0..MAX_SCANS {
            // Rather look again than overlook one; who stays as it is has no environment at all.
            let changing = all.iter().filter(|process| process.changing);
            let changing: HashSet<i32> = changing.map(|process| process.id).collect();
            if changing.is_subset(&known) {
                break;
            }
            known = changing;
            thread::sleep(POLL_INTERVAL);
            all = scan(is_token);
        }
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let groups: HashSet<i32> = groups
            .iter()
            .map(|group| group.as_raw_nonzero().get())
            .collect();
        let mut family: HashSet<i32> = HashSet::new();
        loop {
            let before = family.len();
            for process in &all {
                let belongs = process.marked
                    || groups.contains(&process.group)
                    || family.contains(&process.parent)
                    || groups.contains(&process.parent);
                if belongs && process.id != own {
                    family.insert(process.id);
                }
            }
            if family.len() == before {
                return family.into_iter().filter_map(Pid::from_raw).collect();
            }
        }
    }

    pub fn inhabitants(folder: &Path) -> Vec<Pid> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let works_there = |process: &Process| {
            let place = Path::new("/proc").join(process.id.to_string()).join("cwd");
            let Ok(cwd) = place.read_link() else {
                return false;
            };
            let cwd = cwd.as_os_str().as_bytes();
            let cwd = cwd.strip_suffix(b" (deleted)").unwrap_or(cwd);
            Path::new(OsStr::from_bytes(cwd)).starts_with(folder)
        };
        scan(&|_| false)
            .iter()
            .filter(|process| !process.has_terminal && process.id != own)
            .filter(|process| works_there(process))
            .filter_map(|process| Pid::from_raw(process.id))
            .collect()
    }

    fn scan(is_token: &dyn Fn(&str) -> bool) -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let id = entry.file_name().to_str()?.parse().ok()?;
                look(id, &entry.path(), is_token)
            })
            .collect()
    }

    /// Whether a process is a watcher: it has the name of one, and is this very program, so that
    /// nobody escapes by the name alone.
    fn is_watcher(folder: &Path) -> bool {
        let name = fs::read(folder.join("cmdline")).unwrap_or_default();
        let program = |folder: &Path| fs::read_link(folder.join("exe")).ok();
        name.split(|byte| *byte == 0).next() == Some(watcher::NAME.as_bytes())
            && program(folder).is_some_and(|own| program(Path::new("/proc/self")) == Some(own))
    }

    /// `None` for a process that has ended, is a watcher, or is not ours to look at.
    fn look(id: i32, folder: &Path, is_token: &dyn Fn(&str) -> bool) -> Option<Process> {
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name in brackets may hold anything, brackets too.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // The session, then the terminal.
        let has_terminal = fields.nth(1)? != "0";
        if is_watcher(folder) {
            return None;
        }
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        let token = environment.split(|byte| *byte == 0).find_map(|variable| {
            let (name, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
            (name == TOKEN_VARIABLE).then_some(value)
        });
        Some(Process {
            id,
            parent,
            group,
            has_terminal,
            marked: token.is_some_and(is_token),
            // Threads of the kernel have no program either.
            changing: environment.is_empty() && folder.join("exe").read_link().is_ok(),
        })
    }
}

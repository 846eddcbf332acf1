//! A second process that cleans up when this one is killed by SIGKILL, which nobody can handle.
//!
//! The watcher is this same program, started once more. It holds the reading end of a pipe on which
//! it is told of process groups, temporary folders and mounts; when the pipe ends, whatever is left
//! of them has lost its owner, and the watcher kills, unmounts and removes it. It has a session and
//! a name of its own, so that a signal for the terminal's group or by name does not meet both.
//!
//! A program whose `main` calls [`enable`] first, and keeps what that returns to its end, has a
//! watcher as soon as it starts a process or makes a folder.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{RUN, family};

/// The name under which the watcher runs.
pub(super) const NAME: &str = "octopus-watch";

/// Pauses between the looks at what is left: a process may just be starting another.
const PAUSES_MS: [u64; 8] = [0, 1, 5, 20, 50, 100, 150, 200];

/// After so many looks in a row that have found nothing, the watcher ends as well.
const CLEAN_LOOKS: usize = 4;

static WATCHER: Mutex<Watcher> = Mutex::new(Watcher::Off);

#[derive(Debug)]
enum Watcher {
    /// The program does not want one, or the system refused to start it.
    Off,
    /// To be started when there is something to watch.
    Enabled,
    /// At work: the process, and the pipe to it.
    Running(Child, ChildStdin),
}

/// Stands for the watcher in `main`; dropping it ends the watcher and waits for that.
#[derive(Debug)]
#[must_use = "dropping it ends the watcher"]
pub struct Watched(());

impl Drop for Watched {
    fn drop(&mut self) {
        end();
    }
}

/// What a watcher is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice<'a> {
    GroupStarted(Pid),
    GroupEnded(Pid),
    /// A folder to be removed.
    FolderMade(&'a Path),
    FolderGone(&'a Path),
    /// A folder that stays, unlike what works in it.
    FolderTaken(&'a Path),
    FolderLeft(&'a Path),
    Mounted(&'a Path),
    Unmounted(&'a Path),
}

/// Has a watcher look after all processes and folders made from now on. To be called first in
/// `main`: in the process that is to be the watcher, this is where it works, and never returns.
pub fn enable() -> Watched {
    let mut arguments = std::env::args_os();
    if arguments.next().as_deref() == Some(OsStr::new(NAME))
        && let Some(run) = arguments.next().and_then(|run| run.into_string().ok())
    {
        // Whoever ends the owner by its name must not meet its watcher.
        let _not_linux = fs::write("/proc/self/comm", NAME);
        let _leads_already = rustix::process::setsid();
        let _stays = std::env::set_current_dir("/");
        // From now on it is not met by what is meant for its owner.
        let _owner_is_gone = io::stdout()
            .write_all(b"\n")
            .and_then(|()| io::stdout().flush());
        serve(BufReader::new(io::stdin().lock()), &run);
        std::process::exit(0);
    }
    *lock() = Watcher::Enabled;
    Watched(())
}

/// Ends the watcher, if there is one: it looks for the last time and is gone on return.
pub(crate) fn end() {
    if let Watcher::Running(mut watcher, pipe) = std::mem::replace(&mut *lock(), Watcher::Off) {
        drop(pipe);
        // It ends by itself when it has nothing left to do, at the latest after its last pause.
        let _gone = watcher.wait();
    }
}

/// Tells the watcher, if there is to be one.
pub(crate) fn tell(notice: &Notice<'_>) {
    let mut watcher = lock();
    if matches!(*watcher, Watcher::Enabled) {
        // Without one everything works, but for the end by SIGKILL.
        *watcher = start().unwrap_or(Watcher::Off);
    }
    if let Watcher::Running(_, pipe) = &mut *watcher {
        // One that is gone cannot be helped.
        let _gone = pipe.write_all(&notice.encoded());
    }
}

fn start() -> io::Result<Watcher> {
    // On Linux also when the file was replaced by a newer build meanwhile.
    let own = Path::new("/proc/self/exe");
    let program = if own.exists() {
        own.to_owned()
    } else {
        std::env::current_exe()?
    };
    let mut child = Command::new(program)
        .arg0(NAME)
        .arg(&*RUN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut ready = [0];
    if let Some(mut pipe) = child.stdout.take()
        && let Err(error) = pipe.read_exact(&mut ready)
    {
        let _gone = child.wait();
        return Err(error);
    }
    let pipe = child.stdin.take();
    pipe.map(|pipe| Watcher::Running(child, pipe))
        .ok_or_else(|| ErrorKind::BrokenPipe.into())
}

fn lock() -> MutexGuard<'static, Watcher> {
    WATCHER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notice<'_> {
    /// A letter, what it is about, and a zero byte, which no path contains.
    fn encoded(&self) -> Vec<u8> {
        let (letter, about): (u8, OsString) = match self {
            Self::GroupStarted(group) => (b'G', group.as_raw_nonzero().to_string().into()),
            Self::GroupEnded(group) => (b'g', group.as_raw_nonzero().to_string().into()),
            Self::FolderMade(path) => (b'F', path.into()),
            Self::FolderGone(path) => (b'f', path.into()),
            Self::FolderTaken(path) => (b'T', path.into()),
            Self::FolderLeft(path) => (b't', path.into()),
            Self::Mounted(path) => (b'M', path.into()),
            Self::Unmounted(path) => (b'm', path.into()),
        };
        let mut bytes = vec![letter];
        bytes.extend(about.into_vec());
        bytes.push(0);
        bytes
    }
}

/// What the owner would have to clean up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Estate {
    groups: BTreeSet<i32>,
    folders: BTreeSet<PathBuf>,
    taken: BTreeSet<PathBuf>,
    mounts: BTreeSet<PathBuf>,
    /// Folders that are removed already. What was started in one at the last moment still works in it.
    removed: BTreeSet<PathBuf>,
}

impl Estate {
    fn take(&mut self, notice: &[u8]) {
        let Some((letter, about)) = notice.split_first() else {
            return;
        };
        let path = || PathBuf::from(OsStr::from_bytes(about));
        let group = || std::str::from_utf8(about).ok().and_then(|n| n.parse().ok());
        match letter {
            b'G' => self.groups.extend(group()),
            b'g' => {
                group().map(|group| self.groups.remove(&group));
            }
            b'F' => {
                self.folders.insert(path());
            }
            b'f' => {
                self.folders.remove(&path());
            }
            b'T' => {
                self.taken.insert(path());
            }
            b't' => {
                self.taken.remove(&path());
            }
            b'M' => {
                self.mounts.insert(path());
            }
            b'm' => {
                self.mounts.remove(&path());
            }
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Kills and removes what is left; whether there was anything.
    fn wind_up(&mut self, run: &str) -> bool {
        let groups: Vec<Pid> = self
            .groups
            .iter()
            .copied()
            .filter_map(Pid::from_raw)
            .collect();
        for &group in &groups {
            let _gone = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let left = family::find(&groups, |token| token.starts_with(run));
        for &process in &left {
            let _gone = rustix::process::kill_process(process, Signal::KILL);
        }
        let places = [&self.folders, &self.taken, &self.removed];
        let evicted: usize = places
            .into_iter()
            .flatten()
            .map(|folder| family::evict(folder))
            .sum();
        self.mounts.retain(|mount| !unmount(mount));
        for folder in std::mem::take(&mut self.folders) {
            let is_left = fs::remove_dir_all(&folder).is_err() && folder.exists();
            let place = if is_left {
                &mut self.folders
            } else {
                &mut self.removed
            };
            place.insert(folder);
        }
        !left.is_empty() || evicted > 0 || !self.folders.is_empty()
    }
}

/// Listens until the owner is gone, and cleans up what it has left.
fn serve(mut notices: impl BufRead, run: &str) {
    let mut estate = Estate::default();
    let mut notice = Vec::new();
    while let Ok(1..) = notices.by_ref().read_until(0, &mut notice) {
        // One that breaks off has no zero byte: its owner died in the middle of it.
        if notice.pop() == Some(0) {
            estate.take(&notice);
        }
        notice.clear();
    }
    let orderly = estate.is_empty();
    let mut clean = 0;
    for pause in PAUSES_MS {
        thread::sleep(Duration::from_millis(pause));
        clean = if estate.wind_up(run) { 0 } else { clean + 1 };
        if clean == CLEAN_LOOKS || (clean > 0 && orderly) {
            break;
        }
    }
}

#[cfg(target_os = "linux")]
fn unmount(folder: &Path) -> bool {
    rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn unmount(_folder: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn told(notices: &[Notice<'_>]) -> Estate {
        let mut estate = Estate::default();
        for notice in notices {
            let bytes = notice.encoded();
            estate.take(&bytes[..bytes.len() - 1]);
        }
        estate
    }

    #[test]
    fn what_is_told_and_taken_back_leaves_nothing() {
        let group = Pid::from_raw(4321).unwrap();
        let folder = Path::new(OsStr::from_bytes(b"/tmp/odd \xff\nname"));
        let made = [
            Notice::GroupStarted(group),
            Notice::FolderMade(folder),
            Notice::Mounted(folder),
        ];
        let estate = told(&made);
        assert_eq!(estate.groups, [4321].into());
        assert_eq!(estate.folders, [folder.to_owned()].into());
        let [a, b, c] = made;
        let gone = [
            Notice::GroupEnded(group),
            Notice::FolderGone(folder),
            Notice::Unmounted(folder),
        ];
        let [d, e, f] = gone;
        assert!(told(&[a, b, c, d, e, f]).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_works_in_a_folder_that_is_removed_already_is_found() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("left");
        fs::create_dir(&folder).unwrap();
        let mut estate = told(&[Notice::FolderMade(&folder)]);
        assert!(!estate.wind_up("nobody-"));
        assert_eq!(estate.removed, [folder.clone()].into());
        // Started at the last moment: nothing but its folder tells whose it is.
        fs::create_dir(&folder).unwrap();
        let mut sleeper = Command::new("setsid");
        sleeper
            .args(["-w", "sleep", "600"])
            .env_clear()
            .current_dir(&folder);
        let mut sleeper = sleeper.env("PATH", "/usr/bin:/bin").spawn().unwrap();
        fs::remove_dir(&folder).unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while sleeper
            .try_wait()
            .unwrap()
            .is_none_or(|status| status.success())
        {
            assert!(Instant::now() < limit, "it lives on");
            estate.wind_up("nobody-");
        }
    }

    #[test]
    fn folders_go_with_the_owner_and_a_broken_notice_means_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (left, kept) = (home.path().join("left"), home.path().join("kept"));
        for folder in [&left, &kept] {
            fs::create_dir_all(folder.join("node0")).unwrap();
        }
        let mut pipe = Notice::FolderMade(&left).encoded();
        pipe.extend(Notice::FolderMade(&kept).encoded());
        pipe.pop();
        serve(pipe.as_slice(), "nobody-");
        assert!(!left.exists() && kept.exists());
    }
}

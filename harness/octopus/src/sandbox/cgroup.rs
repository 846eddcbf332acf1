//! A group of cgroup v2, where its controllers are to be had: the kernel itself then counts memory
//! and processes, whatever a program does. Elsewhere the limits that each process has must do.

use std::{
    fs::{self, File},
    io, iter,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::Limits;
use crate::error::{Doing, Error};

/// What the names of our groups begin with; the number of the process that made it follows.
const NAME: &str = "octopus-";

/// Where the hierarchy is mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The controllers that a group has, and those that it gives on to the groups in it.
const CONTROLLERS: &str = "cgroup.controllers";
const SUBTREE: &str = "cgroup.subtree_control";

/// The processes in a group; writing a number there moves one.
const MEMBERS: &str = "cgroup.procs";

/// A controller, one of its files, and what is written there.
type Setting<'a> = (&'a str, &'a str, String);

/// How long the kernel may take to empty a group whose processes were killed.
const PATIENCE: Duration = Duration::from_secs(5);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A group of its own for one sandbox. Dropping it kills what is in it and removes it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A group for memory and processes; none where nobody lets us make one.
    pub fn new(limits: Limits) -> Option<Self> {
        Self::with(&[
            ("memory", "memory.max", limits.memory_bytes.to_string()),
            ("pids", "pids.max", limits.processes.to_string()),
        ])
    }

    /// A group with what is written to the files of controllers: controller, file, text.
    pub(crate) fn with(settings: &[Setting<'_>]) -> Option<Self> {
        let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::near(&own(Path::new(MOUNT), &memberships)?, settings)
    }

    /// A group below our own. That is refused while processes are in ours, which is the usual case: then one beside it,
    /// or beside the nearest above it, where these controllers are given on already and we may make groups. So nothing
    /// changes for others.
    fn near(own: &Path, settings: &[Setting<'_>]) -> Option<Self> {
        let above = own.ancestors().skip(1);
        let above = above.take_while(|path| path.join(CONTROLLERS).exists());
        let parents = iter::once(own).chain(above);
        parents.clone().for_each(sweep);
        let gives_on = |parent: &Path| {
            has_all(&parent.join(SUBTREE), settings) || parent == own && enable(own, settings)
        };
        parents
            .filter(|parent| gives_on(parent))
            .find_map(|parent| Self::below(parent, settings))
    }

    fn below(parent: &Path, settings: &[Setting<'_>]) -> Option<Self> {
        // The kernel asks whoever moves processes for this right to what both groups are in.
        File::options()
            .write(true)
            .open(parent.join(MEMBERS))
            .ok()?;
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{NAME}{}-{serial}", process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self { path };
        for (_, file, text) in settings {
            fs::write(group.path.join(file), text).ok()?;
        }
        if settings
            .iter()
            .any(|(controller, ..)| *controller == "memory")
        {
            // A kernel without swap accounting has no such file.
            let _no_swap = fs::write(group.path.join("memory.swap.max"), "0");
        }
        Some(group)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ended_already = fs::write(self.path.join("cgroup.kill"), "1");
        let start = Instant::now();
        while fs::remove_dir(&self.path).is_err_and(|error| error.kind() == busy())
            && start.elapsed() < PATIENCE
        {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Has a group give on what is needed; whether it can, which it cannot while processes are in it.
fn enable(group: &Path, settings: &[Setting<'_>]) -> bool {
    let wanted = settings.iter();
    let wanted: Vec<String> = wanted
        .map(|(controller, ..)| format!("+{controller}"))
        .collect();
    has_all(&group.join(CONTROLLERS), settings)
        && fs::write(group.join(SUBTREE), wanted.join(" ")).is_ok()
}

/// Whether a file names the controllers of all settings.
fn has_all(file: &Path, settings: &[Setting<'_>]) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let has = |wanted| text.split_whitespace().any(|name| name == wanted);
    settings.iter().all(|(controller, ..)| has(*controller))
}

/// Removes the groups of processes that were killed before they could; one in which somebody is stays.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let maker = name
            .to_str()
            .and_then(|name| name.strip_prefix(NAME)?.split_once('-'));
        let is_left = maker.is_some_and(|(maker, _)| {
            maker.parse::<u32>().is_ok() && !Path::new("/proc").join(maker).exists()
        });
        if is_left {
            let _in_use = fs::remove_dir(entry.path());
        }
    }
}

fn busy() -> io::ErrorKind {
    io::ErrorKind::ResourceBusy
}

/// Puts this process into a group.
#[cfg_attr(not(target_os = "linux"), expect(dead_code))]
pub(super) fn join(group: &Path) -> Result<(), Error> {
    fs::write(group.join(MEMBERS), "0").doing(|| format!("cannot enter {}", group.display()))
}

/// The folder of the group that a process is in, by its `/proc/PID/cgroup`.
fn own(mount: &Path, memberships: &str) -> Option<PathBuf> {
    let unified = memberships
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    let path = mount.join(unified.trim_start_matches('/'));
    path.join(CONTROLLERS).exists().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as the kernel has them, without the kernel behind them.
    fn hierarchy(controllers: &str, enabled: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("user")).unwrap();
        for (file, text) in [
            (CONTROLLERS, controllers),
            (SUBTREE, enabled),
            (MEMBERS, ""),
        ] {
            fs::write(home.path().join("user").join(file), text).unwrap();
        }
        home
    }

    const MEMORY: [Setting<'_>; 1] = [("memory", "memory.max", String::new())];

    #[test]
    fn a_group_has_the_limits_where_the_controllers_are_there() {
        let home = hierarchy("cpu memory pids\n", "memory pids\n");
        let parent = own(home.path(), "2:cpu:/\n0::/user\n").unwrap();
        // One that is left of a process that is gone, and one of ours.
        let left = parent.join(format!("{NAME}{}-3", u32::MAX));
        let used = parent.join(format!("{NAME}{}-999999", process::id()));
        for folder in [&left, &used] {
            fs::create_dir(folder).unwrap();
        }
        let settings = [
            ("memory", "memory.max", (2_u64 << 30).to_string()),
            ("pids", "pids.max", "512".to_owned()),
        ];
        let group = Cgroup::near(&parent, &settings).unwrap();
        assert_eq!(group.path().parent(), Some(&*parent));
        assert!(!left.exists() && used.exists());
        let read = |name: &str| fs::read_to_string(group.path().join(name)).unwrap();
        assert_eq!(read("memory.max"), (2_u64 << 30).to_string());
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("pids.max"), "512");
        join(group.path()).unwrap();
        assert_eq!(read(MEMBERS), "0");
    }

    #[test]
    fn there_is_none_without_controllers() {
        let home = hierarchy("cpu hugetlb\n", "");
        let parent = own(home.path(), "0::/user\n").unwrap();
        assert!(Cgroup::near(&parent, &MEMORY).is_none());
        let share = [("cpu", "cpu.max", "50000 100000".to_owned())];
        let group = Cgroup::near(&parent, &share).unwrap();
        let enabled = fs::read_to_string(parent.join(SUBTREE));
        assert_eq!(enabled.unwrap(), "+cpu");
        let quota = fs::read_to_string(group.path().join("cpu.max")).unwrap();
        assert_eq!(quota, "50000 100000");
        assert!(own(home.path(), "0::/elsewhere\n").is_none());
        assert!(own(home.path(), "4:memory:/user\n").is_none());
    }

    /// A session in a slice: processes are in it, and the slice gives memory on to those in it, but not the processor.
    #[test]
    fn a_group_is_beside_one_that_has_processes() {
        let home = hierarchy("cpu memory pids\n", "memory pids\n");
        let slice = home.path().join("user");
        let session = slice.join("session");
        // What cannot be written: the kernel refuses that where processes are.
        fs::create_dir_all(session.join(SUBTREE)).unwrap();
        fs::write(session.join(CONTROLLERS), "memory pids\n").unwrap();
        let left = slice.join(format!("{NAME}{}-3", u32::MAX));
        fs::create_dir(&left).unwrap();
        let own = own(home.path(), "0::/user/session\n").unwrap();
        let group = Cgroup::near(&own, &MEMORY).unwrap();
        assert_eq!(group.path().parent(), Some(&*slice));
        assert!(!left.exists());
        let share = [("cpu", "cpu.max", "50000 100000".to_owned())];
        assert!(Cgroup::near(&own, &share).is_none());
        let enabled = fs::read_to_string(slice.join(SUBTREE)).unwrap();
        assert_eq!(enabled, "memory pids\n", "of others nothing is changed");
    }
}

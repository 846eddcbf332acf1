//! A group of cgroup v2, where its controllers are to be had: the kernel itself then counts memory
//! and processes, whatever a program does. Elsewhere the limits that each process has must do.

use std::{
    fs, io,
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

/// How long the kernel may take to empty a group whose processes were killed.
const PATIENCE: Duration = Duration::from_secs(5);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A group of its own for one sandbox. Dropping it kills what is in it and removes it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A group below our own for memory and processes; none where the controllers are not ours to
    /// give on, which is the usual case (a session of systemd's with `Delegate=yes` has them).
    pub fn new(limits: Limits) -> Option<Self> {
        Self::with(&[
            ("memory", "memory.max", limits.memory_bytes.to_string()),
            ("pids", "pids.max", limits.processes.to_string()),
        ])
    }

    /// A group below our own, with what is written to the files of controllers: controller, file, text.
    pub(crate) fn with(settings: &[(&str, &str, String)]) -> Option<Self> {
        let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::below(&own(Path::new(MOUNT), &memberships)?, settings)
    }

    /// A group below another one.
    fn below(parent: &Path, settings: &[(&str, &str, String)]) -> Option<Self> {
        sweep(parent);
        let read = |name: &str| fs::read_to_string(parent.join(name)).unwrap_or_default();
        let has_all = |text: &str| {
            let has = |wanted| text.split_whitespace().any(|name| name == wanted);
            settings.iter().all(|(controller, ..)| has(*controller))
        };
        if !has_all(&read("cgroup.controllers")) {
            return None;
        }
        if !has_all(&read("cgroup.subtree_control")) {
            let wanted = settings
                .iter()
                .map(|(controller, ..)| format!("+{controller}"));
            let wanted: Vec<String> = wanted.collect();
            // Refused while processes are in the group itself.
            fs::write(parent.join("cgroup.subtree_control"), wanted.join(" ")).ok()?;
        }
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
    fs::write(group.join("cgroup.procs"), "0").doing(|| format!("cannot enter {}", group.display()))
}

/// The folder of the group that a process is in, by its `/proc/PID/cgroup`.
fn own(mount: &Path, memberships: &str) -> Option<PathBuf> {
    let unified = memberships
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    let path = mount.join(unified.trim_start_matches('/'));
    path.join("cgroup.controllers").exists().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as the kernel has them, without the kernel behind them.
    fn hierarchy(controllers: &str, enabled: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("user")).unwrap();
        for (file, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", enabled),
        ] {
            fs::write(home.path().join("user").join(file), text).unwrap();
        }
        home
    }

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
        let group = Cgroup::below(&parent, &settings).unwrap();
        assert!(!left.exists() && used.exists());
        let read = |name: &str| fs::read_to_string(group.path().join(name)).unwrap();
        assert_eq!(read("memory.max"), (2_u64 << 30).to_string());
        assert_eq!(read("pids.max"), "512");
        join(group.path()).unwrap();
        assert_eq!(read("cgroup.procs"), "0");
    }

    #[test]
    fn there_is_none_without_controllers() {
        let home = hierarchy("cpu hugetlb\n", "");
        let parent = own(home.path(), "0::/user\n").unwrap();
        let memory = [("memory", "memory.max", "1".to_owned())];
        assert!(Cgroup::below(&parent, &memory).is_none());
        let share = [("cpu", "cpu.max", "50000 100000".to_owned())];
        let group = Cgroup::below(&parent, &share).unwrap();
        let enabled = fs::read_to_string(parent.join("cgroup.subtree_control"));
        assert_eq!(enabled.unwrap(), "+cpu");
        let quota = fs::read_to_string(group.path().join("cpu.max")).unwrap();
        assert_eq!(quota, "50000 100000");
        assert!(own(home.path(), "0::/elsewhere\n").is_none());
        assert!(own(home.path(), "4:memory:/user\n").is_none());
    }
}

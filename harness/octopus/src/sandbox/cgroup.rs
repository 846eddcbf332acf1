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
    /// A group below our own; none where the controllers for memory and processes are not ours to
    /// give on, which is the usual case (a session of systemd's with `Delegate=yes` has them).
    pub fn new(limits: Limits) -> Option<Self> {
        let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::below(&own(Path::new(MOUNT), &memberships)?, limits)
    }

    /// A group below another one.
    fn below(parent: &Path, limits: Limits) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(parent.join(name)).unwrap_or_default();
        let has_both = |text: &str| {
            let has = |wanted| text.split_whitespace().any(|name| name == wanted);
            has("memory") && has("pids")
        };
        if !has_both(&read("cgroup.controllers")) {
            return None;
        }
        if !has_both(&read("cgroup.subtree_control")) {
            // Refused while processes are in the group itself.
            fs::write(parent.join("cgroup.subtree_control"), "+memory +pids").ok()?;
        }
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("octopus-{}-{serial}", process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self { path };
        for (file, most) in [
            ("memory.max", limits.memory_bytes),
            ("pids.max", limits.processes),
        ] {
            fs::write(group.path.join(file), most.to_string()).ok()?;
        }
        // A kernel without swap accounting has no such file.
        let _no_swap = fs::write(group.path.join("memory.swap.max"), "0");
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
        let group = Cgroup::below(&parent, Limits::default()).unwrap();
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
        assert!(Cgroup::below(&parent, Limits::default()).is_none());
        assert!(own(home.path(), "0::/elsewhere\n").is_none());
        assert!(own(home.path(), "4:memory:/user\n").is_none());
    }
}

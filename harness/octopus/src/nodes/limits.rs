//! How much a node may use: a group of cgroup v2 where its controllers are to be had; elsewhere memory is limited
//! for each process by itself, and a share of the processor cannot be had.

use std::{fs::File, io, os::unix::process::CommandExt, process::Command};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{error::Error, sandbox::Cgroup};

/// The period in which a share of the processor is counted, in microseconds.
const PERIOD_US: u64 = 100_000;

/// How much a node may use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeLimits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processors: 0.5 is half of one.
    pub processors: Option<f64>,
}

impl NodeLimits {
    /// Whether there can be such limits here.
    ///
    /// # Errors
    /// Nobody here can limit processors.
    pub fn check(self) -> Result<(), Error> {
        if self.processors.is_some() && self.group().is_none() {
            return Err(Error::NoProcessorShares);
        }
        Ok(())
    }

    /// A group that limits all of it; none where there is nothing to limit or nobody who could.
    pub(super) fn group(self) -> Option<Cgroup> {
        let memory = self
            .memory_bytes
            .map(|bytes| ("memory", "memory.max", bytes.to_string()));
        let processors = self.processors.map(|processors| {
            let quota_us = (processors * PERIOD_US as f64).max(1000.0) as u64;
            ("cpu", "cpu.max", format!("{quota_us} {PERIOD_US}"))
        });
        let settings: Vec<_> = memory.into_iter().chain(processors).collect();
        (!settings.is_empty())
            .then(|| Cgroup::with(&settings))
            .flatten()
    }

    /// Has a command run in its group, or with what each process may have by itself.
    #[expect(unsafe_code, reason = "between fork and exec little is allowed")]
    pub(super) fn put_on(self, command: &mut Command, group: Option<&Cgroup>) -> io::Result<()> {
        let members = group.map(|group| {
            let path = group.path().join("cgroup.procs");
            File::options().write(true).open(path)
        });
        let members = members.transpose()?;
        let memory_bytes = self.memory_bytes.filter(|_| members.is_none());
        if members.is_none() && memory_bytes.is_none() {
            return Ok(());
        }
        let enter = move || -> io::Result<()> {
            if let Some(members) = &members {
                rustix::io::write(members, b"0")?;
            }
            if let Some(bytes) = memory_bytes {
                let limit = Rlimit {
                    current: Some(bytes),
                    maximum: Some(bytes),
                };
                setrlimit(Resource::Data, limit)?;
            }
            Ok(())
        };
        // SAFETY: two system calls, without allocation and locks.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_gets_no_more_memory_than_it_may_have() {
        let limits = NodeLimits {
            memory_bytes: Some(64 << 20),
            processors: None,
        };
        let group = limits.group();
        let allocate = |mib: u32| {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                &format!("head -c {mib}m /dev/zero | tail -c {mib}m | wc -c"),
            ]);
            limits.put_on(&mut command, group.as_ref()).unwrap();
            let output = command.output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        assert_eq!(allocate(1), (1 << 20).to_string());
        // `tail` has to hold all of it.
        assert_ne!(allocate(200), (200 << 20).to_string());
    }
}

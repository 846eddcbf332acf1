//! Where a submission is unpacked, built and judged: a sandbox, or, if the teacher wants none, a
//! folder. A command gets its input from a file, its output goes into one of limited size, and what
//! it says is kept as far as a reader wants it.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use octopus::{
    ProcessGroup, WorkDir, interrupt,
    sandbox::{Cgroup, Limits, Reach, Sandbox},
};

use super::tools;
use crate::{input_file, solution::CONFINEMENT};

/// How often a command is looked after.
const LOOK: Duration = Duration::from_millis(50);

/// How much of what a command says is kept, in bytes: its end.
const SAID_MOST: u64 = 64 << 10;

/// How much a judge needs beside its solution: memory, processes, disk.
const JUDGE_BYTES: u64 = 1 << 30;
const JUDGE_PROCESSES: u64 = 500;

/// What all rooms of a grading have in common.
#[derive(Debug, Clone)]
pub(super) struct Building {
    /// Whether submissions are shut in.
    pub has_sandboxes: bool,
    /// What each program of a submission may have.
    pub limits: Limits,
    /// Folders that builds and programs see, read-only.
    pub caches: Vec<PathBuf>,
    /// Whether builds have the network.
    pub build_network: bool,
}

/// What is done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Files are unpacked.
    Unpack,
    /// A student's build command is run.
    Build,
    /// A judge runs a student's program, in a sandbox of its own.
    Judge,
}

/// A room for one command.
#[derive(Debug)]
pub(super) struct Room {
    sandbox: Option<Sandbox>,
    folder: WorkDir,
    _cgroup: Option<Cgroup>,
}

/// How a command in a room has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// None if it was killed at the time limit.
    pub status: Option<ExitStatus>,
    /// The end of what it said on stderr.
    pub said: Vec<u8>,
}

impl Ended {
    /// Whether it ended by itself, with success.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Building {
    /// Finds out whether there can be sandboxes.
    ///
    /// # Errors
    /// There can be none; the line says why, and what to do.
    pub fn check(&self) -> Result<()> {
        if !self.has_sandboxes {
            return Ok(());
        }
        let told = "or --no-sandbox, with which submissions have all the rights that you have";
        Sandbox::new(self.limits).check().context(told)?;
        Ok(())
    }

    /// A new room.
    pub fn room(&self, purpose: Purpose) -> Result<Room> {
        let folder = WorkDir::temporary()?;
        let out = folder.path().join("out");
        fs::create_dir(&out).context("cannot make a folder for results")?;
        if !self.has_sandboxes {
            return Ok(Room {
                sandbox: None,
                folder,
                _cgroup: None,
            });
        }
        let mut limits = self.limits;
        if purpose != Purpose::Unpack {
            limits.processes = limits.processes.saturating_mul(2);
            limits.memory_bytes = limits.memory_bytes.saturating_mul(2);
        }
        if purpose == Purpose::Judge {
            limits.processes = limits.processes.saturating_mul(8) + JUDGE_PROCESSES;
            limits.memory_bytes = limits.memory_bytes.saturating_mul(4) + JUDGE_BYTES;
            limits.disk_bytes += JUDGE_BYTES;
        }
        // What comes out of a room is a file of ours.
        limits.file_bytes = limits.disk_bytes;
        let cgroup = Cgroup::new(limits);
        let mut sandbox = Sandbox::new(limits);
        if let Some(user) = sandbox.user() {
            // It can be entered, so that what is named below can be reached.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
            std::os::unix::fs::chown(&out, Some(user), Some(user))?;
        }
        sandbox.cgroup = cgroup.as_ref().map(|group| group.path().to_owned());
        sandbox.read_only.clone_from(&self.caches);
        sandbox.read_only.extend(tools::places());
        if purpose == Purpose::Build && self.build_network {
            sandbox.reach = Reach::Callers;
        }
        if purpose == Purpose::Judge {
            sandbox.read_only.push(env::current_exe()?);
            sandbox.writable.push(out);
        }
        Ok(Room {
            sandbox: Some(sandbox),
            folder,
            _cgroup: cgroup,
        })
    }

    /// What a judge has to know to shut its solution in, as the value of a variable.
    fn confinement(&self) -> Result<String> {
        let mut sandbox = Sandbox::new(self.limits);
        sandbox.reach = Reach::Callers;
        sandbox.read_only.clone_from(&self.caches);
        sandbox.read_only.extend(tools::places());
        sandbox.read_only.push(Path::new("/tmp").join(PROJECT));
        Ok(serde_json::to_string(&sandbox)?)
    }

    /// A command in a room.
    pub fn command(&self, room: &Room, purpose: Purpose, program: &Path) -> Result<Command> {
        let Some(sandbox) = &room.sandbox else {
            let mut command = Command::new(program);
            command
                .env("HOME", room.folder.path())
                // What a judge keeps of a failed run goes with the room.
                .env("TMPDIR", room.folder.path())
                .current_dir(room.folder.path());
            return Ok(command);
        };
        let mut command = sandbox.command(program);
        command.current_dir("/tmp").env("PATH", self.path());
        command.envs(tools::environment());
        if purpose == Purpose::Judge {
            command.env(CONFINEMENT, self.confinement()?);
        }
        Ok(command)
    }

    /// Where programs are looked for in a sandbox: the system's places, those of known tool chains,
    /// and `bin` in caches.
    fn path(&self) -> OsString {
        let of_caches = self.caches.iter().map(|cache| cache.join("bin"));
        let folders = tools::programs().into_iter().chain(of_caches);
        let system = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
        let folders = folders.chain(system.map(PathBuf::from));
        env::join_paths(folders).unwrap_or_default()
    }
}

/// The folder that a submission is unpacked into, in the home of a room.
pub(super) const PROJECT: &str = "project";

impl Room {
    /// The home of a command in it, as the command sees it.
    pub fn home(&self) -> &Path {
        match self.sandbox {
            Some(_) => Path::new("/tmp"),
            None => self.folder.path(),
        }
    }

    /// Where a judge puts its results; the same path inside and outside.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Runs a command: from `input`, into `output` if that is wanted.
    ///
    /// # Errors
    /// It cannot be started, or we were interrupted.
    pub fn run(
        &self,
        mut command: Command,
        input: Stdio,
        output: Option<&File>,
        limit: Duration,
    ) -> Result<Ended> {
        let mut log = tempfile::tempfile().context("cannot make a temporary file")?;
        command.stdin(input).stderr(log.try_clone()?);
        match output {
            Some(file) => command.stdout(file.try_clone()?),
            None => command.stdout(log.try_clone()?),
        };
        let mut group = ProcessGroup::spawn(&mut command).context("cannot start a command")?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = group.wait_for(LOOK)? {
                break Some(status);
            }
            interrupt::check()?;
            if start.elapsed() >= limit {
                group.kill()?;
                break None;
            }
            if self.sandbox.is_none() {
                // Without limits of the system's, a flood is at least noticed.
                if log.metadata()?.len() > Limits::default().file_bytes {
                    group.kill()?;
                    break None;
                }
            }
        };
        drop(group);
        interrupt::check()?;
        Ok(Ended {
            status,
            said: end_of(&mut log)?,
        })
    }
}

fn end_of(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SAID_MOST)))?;
    let mut bytes = Vec::new();
    file.take(SAID_MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file that a room has left, and nothing that a link leads to; none if there is no such
/// file or it is larger than `most` bytes.
pub(super) fn read_left(path: &Path, most: u64) -> Option<Vec<u8>> {
    let no_links = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(no_links.bits().cast_signed())
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    input_file::read_opened(file, most).ok()
}

/// A child whose output is another command's input; it is killed when this goes.
#[derive(Debug)]
pub(super) struct Feed(ProcessGroup);

impl Feed {
    /// Starts a command; what it says on stderr is nobody's business.
    pub fn start(command: &mut Command) -> Result<(Self, Stdio)> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut group = ProcessGroup::spawn(command)
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let pipe = group.child().stdout.take().context("no pipe")?;
        Ok((Self(group), pipe.into()))
    }

    /// Whether it has come to its end by itself. Its reader has ended already.
    pub fn has_completed(mut self) -> bool {
        let patience = Duration::from_secs(10);
        matches!(self.0.wait_for(patience), Ok(Some(status)) if status.success())
    }
}

/// Waits a little before something is tried again, unless we are interrupted.
pub(super) fn pause(time: Duration) {
    if !interrupt::requested() {
        thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_without_following_links() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(read_left(&at("file"), 4).unwrap(), b"text");
        assert_eq!(read_left(&at("file"), 3), None);
        assert_eq!(read_left(&at("link"), 100), None);
        assert_eq!(read_left(home.path(), 1 << 20), None);
        assert_eq!(read_left(&at("none"), 100), None);
    }
}

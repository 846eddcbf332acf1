//! Sandboxes: a program in namespaces of its own, which sees a read-only system and its folder,
//! has no network but its own, and cannot take more than it was given.
//!
//! A sandbox is this same program, started twice more: `enter` makes the namespaces (`user`, unless
//! it has the rights of root; `mount`, `PID`, `IPC`, `UTS`, and `network`), `init` is the first
//! process in them: it lays out the file system (`root`), sets the limits, starts the program as a
//! child without any rights, and collects orphans. When `init` ends, the kernel kills whatever is
//! left in the PID namespace, wherever it went: no process escapes by another group, session or
//! parent.
//!
//! A program whose `main` calls [`enable`] first can make sandboxes. One inside a sandbox can as
//! well: that is how a judge keeps itself apart from what it judges.

use std::{
    env,
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Doing, Error},
    process::ProcessGroup,
};

mod cgroup;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod root;

pub use cgroup::Cgroup;

/// This program.
pub const SELF: &str = "/proc/self/exe";

/// The first argument of a process that is to become a sandbox.
const ENTER: &str = "octopus-sandbox";

/// The first argument of the first process in a sandbox, whose program runs as the caller.
const INIT: &str = "octopus-init";

/// The same, if the caller is root: the program runs as somebody else.
const INIT_AS_OTHER: &str = "octopus-init-as-other";

/// The exit status of a sandbox that could not be set up; stderr says why.
pub const EXIT_NO_SANDBOX: u8 = 125;

/// What exit statuses of programs begin at that were ended by a signal, as shells have it.
#[cfg(target_os = "linux")]
const EXIT_SIGNALLED: i32 = 128;

/// Where the numbers of users and groups begin that programs run as if the caller is root, and how
/// many there are. Each sandbox takes another one: the kernel counts the processes of a user, not of
/// a sandbox. Nobody owns a file by such a number (systemd has them for the same purpose).
const USERS: (u32, u32) = (61_184, 4096);

/// How many sandboxes this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The most that a program in a sandbox can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory that belongs to its processes alone, in bytes, all of them together. Looked at from
    /// time to time; a single process gets no more at any time.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Size of the private disk (`/tmp`, and the folder if that is private), each, in bytes.
    pub disk_bytes: u64,
    /// Size of any file that it writes to, in bytes: one outside, such as its output, too.
    pub file_bytes: u64,
    /// Open files of a process.
    pub open_files: u64,
}

impl Default for Limits {
    /// 2 GiB of memory, 512 processes and threads, 512 MiB of disk, files of 256 MiB, of which
    /// 1,024 may be open.
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            processes: 512,
            disk_bytes: 512 << 20,
            file_bytes: 256 << 20,
            open_files: 1024,
        }
    }
}

/// What becomes of the folder that the command is started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Folder {
    /// It is the caller's own, and what the program writes there is seen outside.
    Shared,
    /// An empty one stands in its place, with the symbolic links that are in the caller's, and the
    /// folders in it, read-only. Nothing that is written there is seen outside, ever.
    Private,
}

/// Which network the program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// A loopback device of its own, and nothing else.
    Loopback,
    /// The caller's network, whatever that is.
    Callers,
}

/// What a program in a sandbox sees, and what it may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Files and folders that it sees, besides the system's programs and libraries.
    pub read_only: Vec<PathBuf>,
    /// Folders of the caller's that it may write to.
    pub writable: Vec<PathBuf>,
    /// What its current folder is.
    pub folder: Folder,
    /// Its network.
    pub reach: Reach,
    /// What it may have.
    pub limits: Limits,
    /// The group of the system's that counts and limits it as well.
    pub cgroup: Option<PathBuf>,
    /// Whom it runs as if the caller is root.
    user: u32,
}

impl Sandbox {
    /// One that sees nothing but the system, with a private folder and a network of its own.
    pub fn new(limits: Limits) -> Self {
        Self {
            read_only: Vec::new(),
            writable: Vec::new(),
            folder: Folder::Private,
            reach: Reach::Loopback,
            limits,
            cgroup: None,
            user: next_user(),
        }
    }

    /// The user and group that the program runs as, if not as the caller: what it is to write to
    /// must be theirs.
    pub fn user(&self) -> Option<u32> {
        is_privileged().then_some(self.user)
    }

    /// The arguments by which this program, started again, runs another one in the sandbox.
    /// Whatever follows them are that one's own.
    pub fn arguments(&self, program: &Path) -> [OsString; 3] {
        // Text that is not there is refused by whoever gets it.
        let written = serde_json::to_string(self).unwrap_or_default();
        [ENTER.into(), written.into(), program.into()]
    }

    /// A command that runs a program in the sandbox. Arguments, a folder, streams and variables can
    /// be added; of this process's environment there is `PATH` and the language only.
    ///
    /// The command ends with the program's status; 128 and the signal's number if a signal ended
    /// it; [`EXIT_NO_SANDBOX`], with a line on stderr, if there could be no sandbox.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(SELF);
        command.args(self.arguments(program)).env_clear();
        for name in ["PATH", "LANG", "LC_ALL", "TZ"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", "/tmp").env("TMPDIR", "/tmp");
        command
    }

    /// Tries whether there can be sandboxes here.
    ///
    /// # Errors
    /// There can be none; the message says in a line what is missing.
    pub fn check(&self) -> Result<(), Error> {
        // A sandbox within a sandbox.
        let mut command = self.command(SELF.as_ref());
        let inner = Self {
            reach: Reach::Callers,
            cgroup: None,
            ..Self::new(self.limits)
        };
        command
            .args(inner.arguments("true".as_ref()))
            .current_dir("/tmp")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let start = || "cannot start a sandbox".to_owned();
        let mut group = ProcessGroup::spawn(&mut command).doing(start)?;
        let mut said = String::new();
        if let Some(stderr) = group.child().stderr.take() {
            let _what_came = stderr.take(4096).read_to_string(&mut said);
        }
        let status = group.wait_for(Duration::MAX).doing(start)?;
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let line = said.lines().next().unwrap_or("it ended without a word");
        Err(Error::NoSandbox(line.to_owned()))
    }
}

fn next_user() -> u32 {
    let (first, count) = USERS;
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    // Other processes that make sandboxes should not begin with the same.
    let start = std::process::id().wrapping_mul(61);
    first + start.wrapping_add(made) % count
}

#[cfg(target_os = "linux")]
fn is_privileged() -> bool {
    use rustix::thread::CapabilitySet;
    let may_mount = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    may_mount && rustix::process::geteuid().is_root()
}

#[cfg(not(target_os = "linux"))]
fn is_privileged() -> bool {
    false
}

/// Lets this program make sandboxes. To be called first in `main`: in a process that is to become
/// one, this is where it works, and never returns.
pub fn enable() {
    let mut arguments = env::args_os().skip(1);
    let stage = arguments.next();
    let stage = stage.as_deref().and_then(|word| word.to_str());
    let Some(stage @ (ENTER | INIT | INIT_AS_OTHER)) = stage else {
        return;
    };
    let written = arguments.next().and_then(|text| text.into_string().ok());
    let sandbox = written.and_then(|text| serde_json::from_str::<Sandbox>(&text).ok());
    let ended = match sandbox {
        None => Err(Error::NoSandbox("a sandbox's own words are garbled".into())),
        Some(sandbox) => work(stage, &sandbox, &arguments.collect::<Vec<_>>()),
    };
    let status = ended.unwrap_or_else(|error| {
        // Whoever reads the program's stderr reads this instead.
        eprintln!("sandbox: {}", error.told());
        i32::from(EXIT_NO_SANDBOX)
    });
    std::process::exit(status);
}

#[cfg(target_os = "linux")]
fn work(stage: &str, sandbox: &Sandbox, words: &[OsString]) -> Result<i32, Error> {
    match stage {
        INIT => init::run(sandbox, words, None),
        INIT_AS_OTHER => init::run(sandbox, words, Some(sandbox.user)),
        _ => enter::run(sandbox, words),
    }
}

#[cfg(not(target_os = "linux"))]
fn work(_: &str, _: &Sandbox, _: &[OsString]) -> Result<i32, Error> {
    Err(Error::NoSandbox("sandboxes need Linux".into()))
}

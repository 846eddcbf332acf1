//! The way into a sandbox: new namespaces for the next process, and its end told as one's own.

use std::{
    ffi::OsString,
    fs, io,
    process::{Command, ExitStatus},
    sync::{Arc, atomic::AtomicBool},
};

use rustix::{
    process::{getegid, geteuid},
    thread::{CapabilitySets, UnshareFlags},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{EXIT_SIGNALLED, INIT, INIT_AS_OTHER, Reach, SELF, Sandbox, cgroup, is_privileged};
use crate::error::{Doing, Error};

/// The user and the group of a program in a user namespace. Not root's, whom some programs refuse
/// to run as, and who cannot make further namespaces without rights.
const INNER: u32 = 1000;

/// Makes the namespaces, starts `init` in them and waits for it; its exit status.
pub(super) fn run(sandbox: &Sandbox, words: &[OsString]) -> Result<i32, Error> {
    // The whole group is asked to end; we end when the program does. Handlers are not inherited.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .doing(|| "cannot listen for signals".to_owned())?;
    }
    if let Some(group) = &sandbox.cgroup {
        cgroup::join(group)?;
    }
    let mut flags =
        UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if sandbox.reach == Reach::Loopback {
        flags |= UnshareFlags::NEWNET;
    }
    let is_privileged = is_privileged();
    if is_privileged {
        unshare(flags).map_err(|error| missing("namespaces", &error))?;
    } else {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        unshare(flags | UnshareFlags::NEWUSER)
            .map_err(|error| missing("user namespaces", &error))?;
        // The order is the kernel's demand (user_namespaces(7)).
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{INNER} {user} 1")),
            ("gid_map", format!("{INNER} {group} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), text)
                .map_err(|error| missing("user namespaces", &error))?;
        }
        keep_rights().doing(|| "cannot hand rights on".to_owned())?;
    }
    let written = serde_json::to_string(sandbox).map_err(io::Error::from);
    let written = written.doing(|| "cannot hand a sandbox on".to_owned())?;
    let mut init = Command::new(SELF);
    let stage = if is_privileged { INIT_AS_OTHER } else { INIT };
    init.args([stage, &written]).args(words);
    let mut init = init
        .spawn()
        .map_err(|error| missing("PID namespaces", &error))?;
    let status = init
        .wait()
        .doing(|| "cannot wait for the sandbox".to_owned())?;
    Ok(code(status))
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let signal = status.signal().unwrap_or_default();
    status.code().unwrap_or(EXIT_SIGNALLED + signal)
}

/// Hands the rights that we have in the new namespaces on to `init`, which is not their root.
fn keep_rights() -> io::Result<()> {
    let all = rustix::thread::capabilities(None)?.permitted;
    let sets = CapabilitySets {
        effective: all,
        permitted: all,
        inheritable: all,
    };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in all.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// What the kernel or the administrator does not permit, and where that is set.
fn missing(what: &str, error: &io::Error) -> Error {
    Error::NoSandbox(format!(
        "{what} are not permitted here ({error}); the settings are kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces, and in a container \
         its profile for seccomp"
    ))
}

#[expect(unsafe_code, reason = "unshare(2) is unsafe for tables of files")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: `CLONE_FILES` is not among the flags, so no thread loses sight of a file; besides,
    // there is only one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

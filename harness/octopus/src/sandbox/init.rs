//! The first process in a sandbox: it prepares everything, starts the program without rights, and
//! takes in orphans until the program has ended. Its own end is that of all of them.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, exit},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, setrlimit},
    thread::CapabilitySet,
};

use super::{EXIT_NO_SANDBOX, EXIT_SIGNALLED, Limits, Reach, Sandbox, memory, root};
use crate::{
    error::{Doing, Error},
    netlink,
};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Prepares the sandbox and runs the program, as another user if one is given; its exit status.
pub(super) fn run(sandbox: &Sandbox, words: &[OsString], user: Option<u32>) -> Result<i32, Error> {
    // Its parent waits for it and does nothing else: if that is gone, nobody is interested.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(io::Error::from)
        .doing(|| "cannot tie the sandbox to its owner".to_owned())?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::NoSandbox("there is no program to run".into()));
    };
    root::enter(sandbox)?;
    if sandbox.reach == Reach::Loopback {
        netlink::raise(netlink::LOOPBACK)
            .doing(|| "cannot raise the loopback device".to_owned())?;
    }
    let _name_stays = rustix::system::sethostname(b"sandbox");
    limit(sandbox.limits).doing(|| "cannot set limits".to_owned())?;
    give_up_rights().doing(|| "cannot give up rights".to_owned())?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let child = match command.spawn() {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            eprintln!(
                "sandbox: cannot run {}: {error}",
                Path::new(program).display()
            );
            return Ok(i32::from(EXIT_NO_SANDBOX));
        }
    };
    let most = sandbox.limits.memory_bytes;
    // Without the thread the limit holds for each process alone.
    let _one_by_one = thread::Builder::new().spawn(move || watch(most));
    wait_for(child).doing(|| "cannot wait for the program".to_owned())
}

/// Collects whatever ends, until the program does.
fn wait_for(program: Pid) -> io::Result<i32> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((process, status))) if process == program => return Ok(code(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn code(status: WaitStatus) -> i32 {
    let signalled = || EXIT_SIGNALLED + status.terminating_signal().unwrap_or_default();
    status.exit_status().unwrap_or_else(signalled)
}

/// Ends everything when too much memory is used.
fn watch(most: u64) {
    loop {
        thread::sleep(LOOK);
        if memory::used() > most {
            eprintln!("sandbox: more than {} MiB of memory: ended", most >> 20);
            exit(EXIT_SIGNALLED + Signal::KILL.as_raw());
        }
    }
}

fn limit(limits: Limits) -> io::Result<()> {
    for (resource, most) in [
        // Address space alone costs nothing, and some run-times reserve much of it.
        (Resource::Data, limits.memory_bytes),
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, 0),
    ] {
        // What was limited already stays limited.
        let before = rustix::process::getrlimit(resource).maximum;
        let most = Some(before.map_or(most, |before| before.min(most)));
        let new = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(resource, new)?;
    }
    Ok(())
}

/// Whatever is started from now on has no capabilities in the sandbox, and gets none by a program
/// with the set-user-ID bit.
fn give_up_rights() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // What is left are our own, which end with the next program.
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

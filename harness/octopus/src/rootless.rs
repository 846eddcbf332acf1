//! The rights of root without being root: this program, started again in a user namespace in which its user is root
//! of what it makes there. Everybody there is still nobody else than the caller.

use std::{
    env,
    ffi::{CString, OsString},
    fs, io,
    os::unix::process::CommandExt,
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{getegid, geteuid},
    thread::{CapabilitySet, UnshareFlags},
};

use crate::{error::Error, machines::unshare};

/// The first argument of a process that is to become root of a namespace.
const ENTER: &str = "octopus-rootless";

/// What a process that could not become root exits with.
const EXIT_NO_RIGHTS: i32 = 2;

/// Lets [`restart`] work. To be called first in `main`.
pub fn enable() {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ENTER) {
        return;
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let error = match become_user(&Maps::new((0, user), (0, group))) {
        Ok(()) => started_again(arguments),
        Err(error) => error,
    };
    // There is nobody yet to tell it to.
    eprintln!("error: {}", refused(&error).told());
    std::process::exit(EXIT_NO_RIGHTS);
}

/// Whether we lack the rights that it takes to make machines.
pub fn is_needed() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    rustix::thread::capabilities(None).is_ok_and(|sets| !sets.effective.contains(needed))
}

/// Starts this program again with these arguments, in its own place, where it has those rights. Nothing that is not
/// written yet is.
///
/// # Errors
/// It returns only if it could not be started.
pub fn restart(arguments: impl Iterator<Item = OsString>) -> Error {
    refused(&started_again(
        std::iter::once(ENTER.into()).chain(arguments),
    ))
}

/// Has a program run as a user: really, or where we have only one to give away, as ourselves by that number.
pub(crate) fn run_as(command: &mut Command, user: u32) {
    if is_mapped(user) {
        command.uid(user).gid(user);
        return;
    }
    let maps = Maps::new((user, 0), (user, 0));
    let become_it = move || become_user(&maps);
    #[expect(
        unsafe_code,
        reason = "what runs between fork and exec must not take locks"
    )]
    // SAFETY: it calls the system only, with texts that were made before; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(become_it);
    }
}

/// Whether there is such a user in our namespace: whom files can be given to.
pub(crate) fn is_mapped(user: u32) -> bool {
    let maps = fs::read_to_string("/proc/self/uid_map");
    // Without such a file there are no namespaces.
    maps.map_or(true, |maps| maps.lines().any(|line| covers(line, user)))
}

/// A line of `uid_map`: the first number inside, the first outside, how many.
fn covers(line: &str, user: u32) -> bool {
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let user = u64::from(user);
    matches!(numbers[..], [first, _, count] if (first..first + count).contains(&user))
}

fn started_again(arguments: impl Iterator<Item = OsString>) -> io::Error {
    match env::current_exe() {
        Ok(program) => {
            let name = env::args_os().next().unwrap_or_default();
            Command::new(program).arg0(name).args(arguments).exec()
        }
        Err(error) => error,
    }
}

fn refused(error: &io::Error) -> Error {
    Error::NoMachines(format!(
        "they need root or user namespaces, which are not permitted here ({error}): run it as root, or look at \
         kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces, \
         and in a container at its profile for seccomp"
    ))
}

/// Files of a process and what is to be written there, in the order that the kernel demands (`user_namespaces(7)`).
struct Maps([(CString, Vec<u8>); 3]);

impl Maps {
    /// A user and a group, each the number inside and the one outside.
    fn new(user: (u32, u32), group: (u32, u32)) -> Self {
        let file = |name: &str, text: String| {
            // There is no zero in these names.
            let path = CString::new(format!("/proc/self/{name}")).unwrap_or_default();
            (path, text.into_bytes())
        };
        Self([
            file("setgroups", "deny".to_owned()),
            file("uid_map", format!("{} {} 1", user.0, user.1)),
            file("gid_map", format!("{} {} 1", group.0, group.1)),
        ])
    }
}

/// Takes this process, which must have one thread only, into a new user namespace.
fn become_user(maps: &Maps) -> io::Result<()> {
    unshare(UnshareFlags::NEWUSER)?;
    for (path, text) in &maps.0 {
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_cover_what_they_count() {
        assert!(covers("         0          0 4294967295", 65_534));
        assert!(covers("0 1000 1", 0));
        assert!(!covers("0 1000 1", 1));
        assert!(!covers("", 0));
        assert!(!covers("0 1000", 0));
    }
}

//! Another monotonic clock for what is started from now on: a time namespace. The clock of the wall and the rate of
//! all clocks are the kernel's, and the same for everybody.

use std::{fs, io};

use rustix::{
    thread::{UnshareFlags, gettid},
    time::{ClockId, clock_gettime},
};

/// What this thread starts from now on finds its monotonic clock, and the one that counts from the boot, at so many
/// seconds.
///
/// # Errors
/// No right to it, or no time namespaces (Linux 5.6).
pub(super) fn set(at_s: u64) -> io::Result<()> {
    super::machine::unshare(UnshareFlags::NEWTIME)?;
    let offset = |clock| at_s as i64 - clock_gettime(clock).tv_sec;
    let offsets = format!(
        "monotonic {} 0\nboottime {} 0\n",
        offset(ClockId::Monotonic),
        offset(ClockId::Boottime)
    );
    let thread = gettid().as_raw_nonzero();
    fs::write(format!("/proc/{thread}/timens_offsets"), offsets)
}

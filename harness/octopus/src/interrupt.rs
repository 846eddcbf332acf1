//! Ctrl-C, SIGTERM and SIGHUP as an orderly end.
//!
//! The first signal sets a flag and kills every running solution, so that whatever waits for one
//! wakes up, sees the flag through [`check`], and unwinds: guards remove sockets and folders, and
//! the partial report is written. A second signal, or a run that does not unwind within
//! `PATIENCE`, is answered by removing the folders here and exiting at once.

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{process, workdir};

/// How long an interrupted run may take to unwind: enough to stop five nodes and write a report.
const PATIENCE: Duration = Duration::from_secs(10);

/// The exit status of an interrupted run, as shells have it for SIGINT.
pub const EXIT_INTERRUPTED: u8 = 130;

static REQUESTED: Mutex<bool> = Mutex::new(false);
static CHANGED: Condvar = Condvar::new();

/// The error that unwinds an interrupted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Starts listening for signals, once a process.
pub fn install() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    // Lives as long as the process: there is no moment at which a signal should go unheard.
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                if std::mem::replace(&mut *flag(), true) {
                    leave_at_once();
                }
                CHANGED.notify_all();
                process::kill_all();
                thread::spawn(|| {
                    thread::sleep(PATIENCE);
                    leave_at_once();
                });
            }
        })?;
    Ok(())
}

/// Whether the run has been asked to end.
pub fn requested() -> bool {
    *flag()
}

/// Fails once the run has been asked to end; long work calls it between its steps.
pub fn check() -> Result<(), Interrupted> {
    if requested() {
        Err(Interrupted)
    } else {
        Ok(())
    }
}

/// Waits until the run is asked to end.
pub fn wait() {
    let mut requested = flag();
    while !*requested {
        requested = CHANGED
            .wait(requested)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// Waits for so long, or until the run is asked to end; whether it is.
pub fn wait_for(time: Duration) -> bool {
    let waited = CHANGED.wait_timeout_while(flag(), time, |requested| !*requested);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Takes a request to end as answered: for a program that had done its work and only waited for
/// one, so that it was not interrupted in anything.
pub fn answered() {
    *flag() = false;
}

fn flag() -> MutexGuard<'static, bool> {
    REQUESTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leave_at_once() -> ! {
    process::kill_all();
    workdir::remove_all();
    process::watcher::end();
    std::process::exit(i32::from(EXIT_INTERRUPTED));
}

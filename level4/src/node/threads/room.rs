//! Waiting for room on the disk.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::super::Figures;
use super::super::fault::Fault;
use super::Input;
use crate::log::LogError;
use crate::notes::note;

/// How long to wait before writing again to a full disk.
pub const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);

/// Whether a thread finds room on the disk. A full disk may get room again; any other failure leaves it unknown
/// what is on disk, and is a fault.
pub struct Room<'a> {
    core: &'a Sender<Input>,
    figures: &'a Figures,
    /// When it was last tried in vain.
    full: Option<Instant>,
}

impl<'a> Room<'a> {
    /// There is, as far as is known.
    pub fn new(core: &'a Sender<Input>, figures: &'a Figures) -> Self {
        Self {
            core,
            figures,
            full: None,
        }
    }

    /// Whether there is none.
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Whether it is time to try again.
    pub fn is_due(&self) -> bool {
        self.full
            .is_some_and(|tried| tried.elapsed() >= FULL_DISK_PAUSE)
    }

    /// Something was tried to be written; gives what came of it, unless there was no room.
    pub fn check<T>(&mut self, written: Result<T, LogError>) -> Result<Option<T>, Fault> {
        match written {
            Ok(value) => {
                if self.full.take().is_some() {
                    note(format_args!("there is room on the disk again"));
                    self.figures.waiting_for_room.fetch_sub(1, Relaxed);
                }
                Ok(Some(value))
            }
            Err(error) if is_full(&error) => {
                if self.full.replace(Instant::now()).is_none() {
                    note(format_args!("{error}; waiting for room"));
                    self.figures.waiting_for_room.fetch_add(1, Relaxed);
                }
                let _ = self.core.send(Input::StepDown(None));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn is_full(error: &LogError) -> bool {
    matches!(error, LogError::Io(cause) | LogError::Database(cause)
        if cause.kind() == io::ErrorKind::StorageFull)
}

/// Writes, as soon as there is room.
pub fn retry(
    core: &Sender<Input>,
    figures: &Figures,
    mut write: impl FnMut() -> Result<(), LogError>,
) -> Result<(), Fault> {
    let mut room = Room::new(core, figures);
    while room.check(write())?.is_none() {
        thread::sleep(FULL_DISK_PAUSE);
    }
    Ok(())
}

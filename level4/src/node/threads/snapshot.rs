//! The snapshot thread: saves the node's own snapshots beside the log, which must not wait for so much.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};

use raft::eraftpb::Snapshot;

use super::super::fault::Fault;
use super::{Input, retry};
use crate::log::{Folder, LogError, snapshot};

/// Saves until the state thread is gone.
pub(in crate::node) fn run(
    folder: PathBuf,
    snapshots: &Receiver<Snapshot>,
    core: &Sender<Input>,
) -> Result<(), Fault> {
    let mut folder = Folder::open(folder).map_err(LogError::Io)?;
    for snapshot in snapshots {
        retry(core, || snapshot::save(&mut folder, &snapshot))?;
        let _ = core.send(Input::Saved(snapshot.get_metadata().index));
    }
    Ok(())
}

//! The snapshot thread: saves the node's own snapshots beside the log, which must not wait for so much,
//! and digests their content, to be compared with the other replicas'.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};

use raft::eraftpb::Snapshot;

use super::super::fault::Fault;
use super::{Input, retry};
use crate::database::Database;
use crate::log::{Folder, LogError, snapshot};
use crate::machine::executor_state;
use crate::notes::note;

/// A snapshot to save.
pub(in crate::node) struct Save {
    pub snapshot: Snapshot,
    /// All nodes take one at this index, so that their contents can be compared.
    pub compare: bool,
}

/// Saves until the state thread is gone.
pub(in crate::node) fn run(
    folder: PathBuf,
    saves: &Receiver<Save>,
    core: &Sender<Input>,
) -> Result<(), Fault> {
    let mut folder = Folder::open(folder).map_err(LogError::Io)?;
    for Save { snapshot, compare } in saves {
        retry(core, || snapshot::save(&mut folder, &snapshot))?;
        let index = snapshot.get_metadata().index;
        let _ = core.send(Input::Saved(index));
        if !compare {
            continue;
        }
        let state = executor_state(&snapshot).map_err(|error| error.to_string());
        match state.and_then(|state| Database::digest(state).map_err(|error| error.to_string())) {
            Ok(digest) => {
                let _ = core.send(Input::Content(index, digest));
            }
            Err(error) => note(format_args!(
                "the content at {index} cannot be compared with the other nodes': {error}"
            )),
        }
    }
    Ok(())
}

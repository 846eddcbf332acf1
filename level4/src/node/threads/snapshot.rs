//! The snapshot thread: puts snapshots together, for which applying must not wait, and saves the node's
//! own beside the log, which must not wait for so much either; digests their content, to be compared with
//! the other replicas'.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};

use raft::eraftpb::Snapshot;

use super::super::Figures;
use super::super::fault::Fault;
use super::{Input, retry};
use crate::database::{Content, Database};
use crate::log::{Folder, LogError, snapshot};
use crate::machine::{Draft, executor_state};
use crate::message::Index;
use crate::notes::note;

/// A snapshot to finish, and what becomes of it.
pub(in crate::node) struct Save {
    pub draft: Draft<Content>,
    pub purpose: Purpose,
}

/// What a snapshot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Purpose {
    /// To begin from after a restart.
    Restart,
    /// That, and all nodes take one at this index, so that their contents can be compared.
    Compare,
    /// To be compared only: the state is in doubt.
    Doubt,
    /// A follower needs it.
    Follower,
}

/// Saves until the state thread is gone.
pub(in crate::node) fn run(
    folder: PathBuf,
    saves: &Receiver<Save>,
    core: &Sender<Input>,
    figures: &Figures,
) -> Result<(), Fault> {
    let mut folder = Folder::open(folder).map_err(LogError::Io)?;
    for Save { draft, purpose } in saves {
        let snapshot = draft.finish();
        if purpose == Purpose::Follower {
            let _ = core.send(Input::Offer(Some(snapshot)));
            continue;
        }
        let index = snapshot.get_metadata().index;
        if purpose != Purpose::Doubt {
            retry(core, figures, || snapshot::save(&mut folder, &snapshot))?;
            let _ = core.send(Input::Saved(index));
        }
        if matches!(purpose, Purpose::Compare | Purpose::Doubt) {
            compare(&snapshot, index, core);
        }
    }
    Ok(())
}

/// Digests the content of a snapshot.
fn compare(snapshot: &Snapshot, index: Index, core: &Sender<Input>) {
    let state = executor_state(snapshot).map_err(|error| error.to_string());
    match state.and_then(|state| Database::digest(state).map_err(|error| error.to_string())) {
        Ok(digest) => {
            let _ = core.send(Input::Content(index, digest));
        }
        Err(error) => note(format_args!(
            "the content at {index} cannot be compared with the other nodes': {error}"
        )),
    }
}

//! The snapshot thread: puts snapshots together, for which applying must not wait, and saves the node's
//! own beside the log, which must not wait for so much either; digests their content, to be compared with
//! the other replicas'.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};

use raft::eraftpb::Snapshot;
use tokio::sync::oneshot;

use super::super::Figures;
use super::super::fault::Fault;
use super::{Input, retry};
use crate::database::{Content, Database};
use crate::ids::Index;
use crate::log::{Folder, LogError, snapshot};
use crate::machine::{Draft, executor_state};
use crate::notes::note;

/// What is to be done.
pub(in crate::node) enum Save {
    /// Finish a snapshot, for this.
    Finish(Draft<Content>, Purpose),
    /// Finish one to begin from after a restart, and say so.
    Keep(Draft<Content>, oneshot::Sender<bool>),
    /// Give followers the newest that is saved, if it is from before this index, at which the state came
    /// into doubt: the doubt may last until they have caught up and say what they have.
    OfferSaved(Index),
}

/// What a snapshot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Purpose {
    /// To begin from after a restart.
    Restart,
    /// That, and all nodes take one at this index, so that their contents can be compared.
    Compare,
    /// To be compared only: the state is in doubt, this node's or another's.
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
    for save in saves {
        let (draft, purpose, done) = match save {
            Save::Finish(draft, purpose) => (draft, purpose, None),
            Save::Keep(draft, done) => (draft, Purpose::Restart, Some(done)),
            Save::OfferSaved(before) => {
                let saved = snapshot::load(&folder)?;
                let whole = saved.filter(|saved| Index::new(saved.get_metadata().index) < before);
                let _ = core.send(Input::Offer(whole));
                continue;
            }
        };
        let snapshot = draft.finish();
        if purpose == Purpose::Follower {
            let _ = core.send(Input::Offer(Some(snapshot)));
            continue;
        }
        let index = Index::new(snapshot.get_metadata().index);
        if purpose != Purpose::Doubt {
            retry(core, figures, || snapshot::save(&mut folder, &snapshot))?;
            figures.saved.store(index.get(), Relaxed);
            let _ = core.send(Input::Saved(index));
        }
        if let Some(done) = done {
            // Whoever asked may have gone.
            let _ = done.send(true);
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

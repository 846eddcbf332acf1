//! The snapshot thread: puts snapshots together, for which applying must not wait, and saves the node's
//! own beside the log, which must not wait for so much either; digests their content, to be compared with
//! the other replicas'.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};

use tokio::sync::oneshot;

use super::super::Figures;
use super::super::fault::Fault;
use super::super::parcel;
use super::Input;
use super::room::retry;
use super::state::SNAPSHOT_EVERY;
use crate::database::{Content, Shelf};
use crate::ids::Index;
use crate::log::{Folder, LogError, snapshot};
use crate::machine::{Draft, Saved as _};
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

/// Contents are digested at every index where all nodes take a snapshot, as long as they have less than this;
/// at every second one, if less than twice as much, and so on, bytes.
const DIGESTED: usize = 1 << 30;

/// Saves until the state thread is gone. `shelf` has what saved snapshots refer to.
pub(in crate::node) fn run(
    folder: PathBuf,
    shelf: Option<&Shelf>,
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
                let early = saved.filter(|saved| Index::new(saved.get_metadata().index) < before);
                let offered = early.map(|saved| parcel::offer_saved(saved, shelf));
                let offered = offered.and_then(|offered| {
                    let told = offered.inspect_err(|error| {
                        note(format_args!("no snapshot for a follower: {error}"));
                    });
                    told.ok()
                });
                let _ = core.send(Input::Offer(offered));
                continue;
            }
        };
        if purpose == Purpose::Follower {
            let _ = core.send(Input::Offer(Some(parcel::offer(&draft))));
            continue;
        }
        let index = draft.index();
        if purpose != Purpose::Doubt {
            let state = draft.state();
            retry(core, figures, || state.sync().map_err(LogError::Database))?;
            let snapshot = draft.finish_reference().map_err(LogError::Database)?;
            retry(core, figures, || snapshot::save(&mut folder, &snapshot))?;
            state.keep();
            figures.saved.fetch_max(index.get(), Relaxed);
            let _ = core.send(Input::Saved(index));
        }
        if let Some(done) = done {
            // Whoever asked may have gone.
            let _ = done.send(true);
        }
        let rounds = draft.state().size() / DIGESTED + 1;
        let is_turn = (index.get() / SNAPSHOT_EVERY).is_multiple_of(rounds as u64);
        if purpose == Purpose::Doubt || purpose == Purpose::Compare && is_turn {
            compare(draft.state(), index, core);
        }
    }
    Ok(())
}

/// Digests the content of a snapshot.
fn compare(content: &Content, index: Index, core: &Sender<Input>) {
    match content.digest() {
        Ok(digest) => {
            let _ = core.send(Input::Content(index, digest));
        }
        Err(error) => note(format_args!(
            "the content at {index} cannot be compared with the other nodes': {error}"
        )),
    }
}

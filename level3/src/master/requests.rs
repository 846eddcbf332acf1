//! What the master was asked to index, and how far that is done; kept in its data folder.
//!
//! A request only leaves its mark here and wakes the [keeper](super::keeper), which does the work.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::error::MasterError;
use crate::corpus::{Listing, Reject};

/// File in the data folder that names the folder to index.
const WANTED: &str = "wanted";

/// File in the data folder that is there while a request is not done: asking for the same folder
/// again must not be forgotten either, though all nodes agree on its old state.
const UNFINISHED: &str = "unfinished";

/// What was asked for and how far it is done.
pub(crate) struct Requests {
    state: Mutex<State>,
    /// Told of every new request.
    pub(super) wake: Notify,
    /// Where [`WANTED`] lies, if anywhere.
    data: Option<PathBuf>,
}

#[derive(Default)]
pub(super) struct State {
    /// The folder that is to be indexed.
    pub(super) wanted: Option<PathBuf>,
    /// Requests so far, and the last of them that is done, successfully or not.
    pub(super) requested: u64,
    pub(super) finished: u64,
    /// Why the last job failed, if it did.
    pub(super) failure: Option<MasterError>,
    /// Number of the last job.
    pub(super) job: u64,
    /// What the last walk had to leave out.
    pub(super) rejected: Vec<(String, Reject)>,
    /// What the walk of the last job saw, if that job is done.
    pub(super) seen: Option<Seen>,
}

/// What a walk saw of a tree, to compare with what another one sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    root: PathBuf,
    digest: u64,
    /// Whether all files are old enough for their stamps to be relied on.
    is_settled: bool,
}

impl Seen {
    pub(super) fn of(root: &Path, listing: &Listing) -> Self {
        let mut digest = DefaultHasher::new();
        for entry in &listing.entries {
            (&entry.path, entry.stamp).hash(&mut digest);
        }
        listing.rejected.len().hash(&mut digest);
        Self {
            root: root.to_owned(),
            digest: digest.finish(),
            is_settled: !listing.entries.iter().any(|entry| entry.stamp.is_fresh()),
        }
    }
}

/// The part of `/status` about indexing.
#[derive(Serialize)]
pub(crate) struct RequestsStatus {
    root: Option<PathBuf>,
    indexing: bool,
    error: Option<String>,
    unreadable: Vec<(String, Reject)>,
}

impl Requests {
    /// Continues with what `data` says was asked for before.
    pub(crate) fn new(data: Option<&Path>) -> Result<Self, MasterError> {
        let mut state = State::default();
        if let Some(data) = data {
            std::fs::create_dir_all(data).map_err(data_error(data))?;
            let wanted = data.join(WANTED);
            match std::fs::read(&wanted) {
                Ok(bytes) => {
                    use std::os::unix::ffi::OsStringExt as _;
                    state.wanted = Some(std::ffi::OsString::from_vec(bytes).into());
                    let unfinished = data.join(UNFINISHED).try_exists();
                    state.requested = u64::from(unfinished.map_err(data_error(data))?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(data_error(&wanted)(error)),
            }
        }
        let data = data.map(Path::to_owned);
        Ok(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            data,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that is to be indexed.
    pub(crate) fn wanted(&self) -> Option<PathBuf> {
        self.state().wanted.clone()
    }

    /// Asks for `root` to be indexed, now or after the job at work.
    pub(crate) fn request(&self, root: PathBuf) -> Result<(), MasterError> {
        // Held to the end, so that a job that is just done does not take the note away.
        let mut state = self.state();
        if let Some(data) = &self.data {
            use std::os::unix::ffi::OsStrExt as _;
            let draft = data.join("wanted.new");
            let write = || {
                std::fs::write(&draft, root.as_os_str().as_bytes())?;
                std::fs::write(data.join(UNFINISHED), "")?;
                std::fs::rename(&draft, data.join(WANTED))
            };
            write().map_err(data_error(data))?;
        }
        state.wanted = Some(root);
        state.requested += 1;
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Removes the note that a request is not done; the caller holds the state.
    pub(super) fn forget_request(&self) {
        let Some(note) = self.data.as_ref().map(|data| data.join(UNFINISHED)) else {
            return;
        };
        match std::fs::remove_file(&note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // It stays, and the next master indexes once more than it needs to.
                crate::note!("cannot remove {}: {error}", note.display());
            }
            _ => {}
        }
    }

    /// Whether a walk of `root` saw what the last job did not; `None` if there was nothing to walk.
    pub(crate) fn is_news(&self, root: &Path, listing: Option<&Listing>) -> bool {
        let seen = listing.map(|listing| Seen::of(root, listing));
        let state = self.state();
        match (seen, &state.seen) {
            (Some(now), Some(then)) => {
                !then.is_settled || now.digest != then.digest || now.root != then.root
            }
            // It is gone, which is said once.
            (None, _) => state.failure.is_none(),
            (Some(_), None) => true,
        }
    }

    /// Whether a state is being built that was asked for.
    pub(crate) fn is_indexing(&self) -> bool {
        let state = self.state();
        state.requested > state.finished
    }

    /// Why the index is not ready for queries, judging by the jobs alone.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let state = self.state();
        if state.requested > state.finished {
            return Some("indexing".to_owned());
        }
        state
            .failure
            .as_ref()
            .map(|failure| format!("indexing failed: {failure}"))
    }

    pub(crate) fn status(&self) -> RequestsStatus {
        let state = self.state();
        RequestsStatus {
            root: state.wanted.clone(),
            indexing: state.requested > state.finished,
            error: state.failure.as_ref().map(MasterError::to_string),
            unreadable: state.rejected.clone(),
        }
    }
}

/// Adds the path to an error of the data folder.
fn data_error(path: &Path) -> impl FnOnce(io::Error) -> MasterError {
    move |error| MasterError::Data {
        path: path.to_owned(),
        error,
    }
}

//! One root: what was asked to be indexed, how far that is done, and the state that is served.
//!
//! A request only leaves its mark here; the [keeper](super::keeper) does the work.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::error::MasterError;
use super::served::State;
use super::watch::WatchStatus;
use crate::corpus::{Listing, Reject};
use crate::index::Identity;
use crate::root::{Ignore, RootName};

/// For how long a failed job rests before it is tried again without being asked for.
const FAILURE_REST: Duration = Duration::from_secs(10);

/// What is to be indexed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The folder.
    pub path: PathBuf,
    /// What to leave out.
    #[serde(default)]
    pub ignore: Ignore,
}

impl Wanted {
    /// What a state was made from.
    pub(super) fn of(identity: &Identity) -> Self {
        Self {
            path: identity.root.clone().into(),
            ignore: identity.ignore,
        }
    }
}

/// A folder that is indexed under a name.
pub(crate) struct Root {
    name: RootName,
    progress: Mutex<Progress>,
    served: Mutex<Option<Arc<State>>>,
}

/// What was asked for and how far it is done.
#[derive(Default)]
struct Progress {
    wanted: Wanted,
    /// Requests so far, and the last of them that is done, successfully or not.
    requested: u64,
    finished: u64,
    /// Why the last job failed, if it did.
    failure: Option<MasterError>,
    /// When it failed.
    failed: Option<Instant>,
    /// The job at work.
    job: Option<AbortHandle>,
    /// Whether the root was removed.
    is_over: bool,
    /// Whether nodes have it and nobody has asked this master for it.
    is_adopted: bool,
    /// What the last walk had to leave out.
    rejected: Vec<(String, Reject)>,
    /// What the walk of the last job saw, if that job is done.
    seen: Option<Seen>,
    /// How changes are followed.
    watch: Option<WatchStatus>,
}

/// What a walk saw of a tree, to compare with what another one sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    wanted: Wanted,
    digest: u64,
    /// Whether all files are old enough for their stamps to be relied on.
    is_settled: bool,
}

impl Seen {
    pub(super) fn of(wanted: &Wanted, listing: &Listing) -> Self {
        let mut digest = DefaultHasher::new();
        for entry in &listing.entries {
            (&entry.path, entry.stamp).hash(&mut digest);
        }
        listing.rejected.len().hash(&mut digest);
        listing.revision.hash(&mut digest);
        Self {
            wanted: wanted.clone(),
            digest: digest.finish(),
            is_settled: !listing.entries.iter().any(|entry| entry.stamp.is_fresh()),
        }
    }
}

/// The part of `/status` about indexing a root.
#[derive(Serialize)]
pub(crate) struct RootStatus {
    name: RootName,
    root: PathBuf,
    ignore: Ignore,
    indexing: bool,
    error: Option<String>,
    unreadable: Vec<(String, Reject)>,
    state: Option<String>,
    pub watch: Option<WatchStatus>,
}

impl Root {
    /// A root; `asked` if it is still to be indexed.
    pub(super) fn new(name: RootName, wanted: Wanted, asked: bool) -> Self {
        let progress = Progress {
            wanted,
            requested: u64::from(asked),
            ..Progress::default()
        };
        Self {
            name,
            progress: Mutex::new(progress),
            served: Mutex::default(),
        }
    }

    /// A root that the nodes have.
    pub(super) fn adopted(name: RootName, wanted: Wanted) -> Self {
        let root = Self::new(name, wanted, false);
        root.progress().is_adopted = true;
        root
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &RootName {
        &self.name
    }

    /// What is to be indexed.
    pub(crate) fn wanted(&self) -> Wanted {
        self.progress().wanted.clone()
    }

    /// Asks for another job, and says what was wanted before.
    pub(super) fn ask(&self, wanted: Wanted) -> Wanted {
        let mut progress = self.progress();
        progress.requested += 1;
        progress.failed = None;
        std::mem::replace(&mut progress.wanted, wanted)
    }

    /// Takes note that it is asked for, whatever nodes know of it.
    pub(super) fn own(&self) {
        self.progress().is_adopted = false;
    }

    /// Whether it is here only because nodes have it.
    pub(super) fn is_adopted(&self) -> bool {
        self.progress().is_adopted
    }

    /// Takes a request back that cannot be written down.
    pub(super) fn take_back(&self, before: Wanted) {
        let mut progress = self.progress();
        progress.requested -= 1;
        progress.wanted = before;
    }

    /// Asks for another job of the same folder, as seen from outside no different from a request.
    pub(super) fn ask_again(&self) {
        self.progress().requested += 1;
    }

    /// The request to work on, if there is one and none is at work: its serial number and what is
    /// wanted. `start` starts the work.
    pub(super) fn begin(&self, start: impl FnOnce(Wanted, u64) -> AbortHandle) {
        let mut progress = self.progress();
        let is_idle = progress.job.as_ref().is_none_or(AbortHandle::is_finished);
        if is_idle && !progress.is_over && progress.requested > progress.finished {
            let (wanted, serial) = (progress.wanted.clone(), progress.requested);
            progress.job = Some(start(wanted, serial));
        }
    }

    /// Takes note of how the work on a request ended.
    pub(super) fn finish(&self, serial: u64, outcome: Result<Seen, MasterError>) {
        let mut progress = self.progress();
        progress.finished = progress.finished.max(serial);
        progress.failed = outcome.is_err().then(Instant::now);
        match outcome {
            Ok(seen) => (progress.seen, progress.failure) = (Some(seen), None),
            Err(failure) => (progress.seen, progress.failure) = (None, Some(failure)),
        }
        progress.job = None;
    }

    /// Ends all work on it, since it was removed.
    pub(super) fn end(&self) {
        let mut progress = self.progress();
        progress.is_over = true;
        if let Some(job) = progress.job.take() {
            job.abort();
        }
    }

    /// Whether it was removed.
    pub(super) fn is_over(&self) -> bool {
        self.progress().is_over
    }

    /// Whether a job may be started that nobody asked for: not shortly after one has failed.
    pub(super) fn is_rested(&self) -> bool {
        let progress = self.progress();
        let rested = |failed: Instant| failed.elapsed() >= FAILURE_REST;
        progress.requested == progress.finished && progress.failed.is_none_or(rested)
    }

    /// Whether there is a newer request than this one.
    pub(super) fn is_outdated(&self, serial: u64) -> bool {
        self.progress().requested > serial
    }

    /// Takes note of what a walk had to leave out.
    pub(super) fn set_rejected(&self, rejected: Vec<(String, Reject)>) {
        self.progress().rejected = rejected;
    }

    /// Takes note of how changes are followed.
    pub(super) fn set_watch(&self, status: WatchStatus) {
        self.progress().watch = Some(status);
    }

    /// Whether a walk saw what the last job did not; `None` if there was nothing to walk.
    pub(super) fn is_news(&self, wanted: &Wanted, listing: Option<&Listing>) -> bool {
        let seen = listing.map(|listing| Seen::of(wanted, listing));
        let progress = self.progress();
        match (seen, &progress.seen) {
            (Some(now), Some(then)) => {
                !then.is_settled || now.digest != then.digest || now.wanted != then.wanted
            }
            // It is gone, which is said once.
            (None, _) => progress.failure.is_none(),
            (Some(_), None) => true,
        }
    }

    /// Whether a state is being built that was asked for.
    pub(crate) fn is_indexing(&self) -> bool {
        let progress = self.progress();
        progress.requested > progress.finished
    }

    /// Why the index is not ready for queries, judging by the jobs alone.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let progress = self.progress();
        if progress.requested > progress.finished {
            return Some("indexing".to_owned());
        }
        let failure = progress.failure.as_ref();
        failure.map(|failure| format!("indexing failed: {failure}"))
    }

    /// The state in use, if it is known.
    pub(crate) fn served(&self) -> Option<Arc<State>> {
        let served = self.served.lock();
        served.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers queries from `state` from now on.
    pub(super) fn serve(&self, state: State) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        *served = Some(Arc::new(state));
    }

    pub(crate) fn status(&self) -> RootStatus {
        let state = self.served().map(|state| state.job.to_string());
        let progress = self.progress();
        RootStatus {
            name: self.name.clone(),
            root: progress.wanted.path.clone(),
            ignore: progress.wanted.ignore,
            indexing: progress.requested > progress.finished,
            error: progress.failure.as_ref().map(MasterError::to_string),
            unreadable: progress.rejected.clone(),
            state,
            watch: progress.watch.clone(),
        }
    }
}

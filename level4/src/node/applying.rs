//! What the state thread is at, for whoever looks from outside, and which entries it has to skip.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::fault::Fault;
use super::locked;
use crate::ids::Index;
use crate::message::Batch;

/// So much of a request is shown, characters.
const EXCERPT: usize = 200;

/// Shared by the threads.
#[derive(Debug, Default)]
pub(super) struct Applying(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The entry being applied, its content, and since when.
    now: Option<(Index, Bytes, Instant)>,
    /// The place of the request within it.
    place: Arc<AtomicUsize>,
    /// Entries to be skipped that have not come yet.
    skips: BTreeSet<Index>,
}

/// The entry that is being applied.
#[derive(Debug, Clone)]
pub struct AppliedNow {
    /// Its index.
    pub index: Index,
    /// For how long.
    pub since: Duration,
    /// The beginning of the request that is being executed.
    pub request: String,
}

impl Applying {
    /// `place` tells the place of a request within its entry.
    pub(super) fn watch(&self, place: Arc<AtomicUsize>) {
        locked(&self.0).place = place;
    }

    /// The state thread begins with an entry; gives those to be skipped.
    pub(super) fn begin(&self, index: Index, data: &Bytes) -> BTreeSet<Index> {
        let mut state = locked(&self.0);
        state.now = Some((index, data.clone(), Instant::now()));
        std::mem::take(&mut state.skips)
    }

    /// The entry is applied.
    pub(super) fn end(&self) {
        locked(&self.0).now = None;
    }

    /// The entry at `index` is to be skipped.
    ///
    /// # Errors
    ///
    /// If it is being applied: what it has done already can only be undone by starting again.
    pub(super) fn skip(&self, index: Index) -> Result<(), Fault> {
        let mut state = locked(&self.0);
        if state.now.as_ref().is_some_and(|&(now, ..)| now >= index) {
            return Err(Fault::Skip { index });
        }
        state.skips.insert(index);
        Ok(())
    }

    /// What is being applied.
    pub(super) fn look(&self) -> Option<AppliedNow> {
        let (index, data, since, place) = {
            let state = locked(&self.0);
            let (index, data, since) = state.now.clone()?;
            (index, data, since.elapsed(), state.place.load(Relaxed))
        };
        let requests = Batch::decode(&data).unwrap_or_default().requests;
        let request = requests.get(place).map_or_else(String::new, |request| {
            let body = request.command.body();
            let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]);
            text.chars().take(EXCERPT).collect()
        });
        Some(AppliedNow {
            index,
            since,
            request,
        })
    }
}

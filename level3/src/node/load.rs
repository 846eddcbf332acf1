//! How many searches a node runs at once, and on how many threads each.
//!
//! Threads that outnumber the processors only take memory: a search that is alone gets helpers, one
//! of many gets none. Expressions take memory for their automata, some ten megabytes at worst, so
//! only a few of them run at once and the others wait for their turn within their time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::byte_pool::BytePool;
use crate::search::{Budget, NODE_BYTES};

/// Searches by expression that run at once.
const MAX_HEAVY: usize = 6;

/// How often one that waits looks whether it still makes sense to.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What runs on the node.
pub(super) struct Load {
    running: AtomicUsize,
    heavy: Mutex<usize>,
    ended: Condvar,
    /// Memory for hits.
    pub bytes: BytePool,
}

/// The right to run, until it is dropped.
#[must_use = "the search counts as running for as long as this is kept"]
pub(super) struct Turn<'a> {
    load: &'a Load,
    threads: usize,
    is_heavy: bool,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            running: AtomicUsize::new(0),
            heavy: Mutex::new(0),
            ended: Condvar::new(),
            bytes: BytePool::new(NODE_BYTES),
        }
    }

    /// Queries and searches at work.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// A turn for what takes little memory: at once, on up to `threads` threads.
    pub(super) fn query(&self, threads: usize) -> Turn<'_> {
        self.turn(threads, false)
    }

    /// A turn for a search: a heavy one waits while many run, as long as its budget lasts.
    pub(super) fn search(&self, threads: usize, is_heavy: bool, budget: &Budget<'_>) -> Turn<'_> {
        if is_heavy {
            let mut running = self.heavy.lock().unwrap_or_else(PoisonError::into_inner);
            while *running >= MAX_HEAVY && budget.check().is_ok() {
                let waited = self.ended.wait_timeout(running, LOOK_EVERY);
                running = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            *running += 1;
        }
        self.turn(threads, is_heavy)
    }

    fn turn(&self, threads: usize, is_heavy: bool) -> Turn<'_> {
        // Relaxed: a number to divide by.
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        Turn {
            load: self,
            threads: (threads / running).max(1),
            is_heavy,
        }
    }
}

impl Turn<'_> {
    /// On how many threads to run.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.load.running.fetch_sub(1, Ordering::Relaxed);
        if self.is_heavy {
            let heavy = &self.load.heavy;
            *heavy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            self.load.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_for_searches_that_are_alone() {
        let load = Load::new();
        let first = load.query(4);
        let second = load.query(4);
        assert_eq!((first.threads(), second.threads()), (4, 2));
        drop((first, second));
        assert_eq!(load.query(4).threads(), 4);
    }

    #[test]
    fn a_heavy_search_waits_no_longer_than_its_budget() {
        let load = Load::new();
        let forever = Budget::new(None, &|| false, &load.bytes);
        let turns: Vec<_> = (0..MAX_HEAVY)
            .map(|_| load.search(1, true, &forever))
            .collect();
        let short = Budget::new(Some(Duration::from_millis(1)), &|| false, &load.bytes);
        drop(load.search(1, true, &short));
        assert!(short.check().is_err());
        drop(turns);
        drop(load.search(1, true, &forever));
    }
}

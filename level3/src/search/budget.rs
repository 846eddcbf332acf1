//! What one search may spend: time, memory for its hits, and the patience of whoever asked.
//!
//! Everything that searches calls [`Budget::check`] every few microseconds to milliseconds of work,
//! within files too. The first limit that is reached ends the search on all its threads.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::byte_pool::BytePool;

/// How often to look whether whoever asked is still there: a tenth of the time within which the
/// work of an abandoned search has to end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Hits of one request are cut beyond so many bytes, on each shard.
pub(crate) const REQUEST_BYTES: usize = 3 << 20;

/// Bytes that all searches at work on a node may hold in hits. With buffers, automata and the
/// index itself that stays well below the 500 MB of a node.
pub(crate) const NODE_BYTES: usize = 64 << 20;

/// Why a search ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// Its time is up.
    Time,
    /// Nobody waits for the answer any more.
    Asker,
}

/// What one search may spend. Shared by its threads; what it took from the pool comes back when
/// it is dropped.
pub struct Budget<'a> {
    started: Instant,
    limit: Option<Duration>,
    /// Says whether whoever asked has gone.
    has_gone: &'a (dyn Fn() -> bool + Sync),
    /// When to look next whether whoever asked is still there, in microseconds since the start.
    next_look_us: AtomicU64,
    /// 0 while nothing is spent.
    spent: AtomicU8,
    pool: &'a BytePool,
    taken: AtomicUsize,
}

impl<'a> Budget<'a> {
    /// A budget that lasts for `limit`, or for ever, or until `has_gone` says so.
    pub fn new(
        limit: Option<Duration>,
        has_gone: &'a (dyn Fn() -> bool + Sync),
        pool: &'a BytePool,
    ) -> Self {
        Self {
            started: Instant::now(),
            limit,
            has_gone,
            next_look_us: AtomicU64::new(LOOK_EVERY.as_micros() as u64),
            spent: AtomicU8::new(0),
            pool,
            taken: AtomicUsize::new(0),
        }
    }

    /// Fails from the moment on at which something is spent.
    pub(crate) fn check(&self) -> Result<(), Spent> {
        // Relaxed: a thread that learns of it a moment later only wastes work.
        match self.spent.load(Ordering::Relaxed) {
            0 => {}
            1 => return Err(Spent::Time),
            _ => return Err(Spent::Asker),
        }
        let now = self.started.elapsed();
        if self.limit.is_some_and(|limit| now >= limit) {
            self.spent.store(1, Ordering::Relaxed);
            return Err(Spent::Time);
        }
        let now_us = now.as_micros() as u64;
        let due = self.next_look_us.load(Ordering::Relaxed);
        if now_us >= due {
            let next = now_us + LOOK_EVERY.as_micros() as u64;
            self.next_look_us.store(next, Ordering::Relaxed);
            if (self.has_gone)() {
                self.spent.store(2, Ordering::Relaxed);
                return Err(Spent::Asker);
            }
        }
        Ok(())
    }

    /// Takes memory from the node's pool; `false` if it has not as much.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let taken = self.pool.take(bytes);
        if taken {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Budget<'_> {
    fn drop(&mut self) {
        self.pool.give_back(*self.taken.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn time_is_spent_for_good() {
        let pool = BytePool::new(0);
        let budget = Budget::new(Some(Duration::ZERO), &|| false, &pool);
        assert_eq!(budget.check(), Err(Spent::Time));
        let endless = Budget::new(None, &|| false, &pool);
        assert_eq!(endless.check(), Ok(()));
    }

    #[test]
    fn an_asker_who_has_gone_is_noticed() {
        let (pool, gone) = (BytePool::new(0), AtomicBool::new(false));
        let has_gone = || gone.load(Ordering::Relaxed);
        let budget = Budget::new(None, &has_gone, &pool);
        assert_eq!(budget.check(), Ok(()));
        gone.store(true, Ordering::Relaxed);
        while budget.check().is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(budget.check(), Err(Spent::Asker));
    }

    #[test]
    fn memory_comes_back() {
        let pool = BytePool::new(10);
        let first = Budget::new(None, &|| false, &pool);
        let second = Budget::new(None, &|| false, &pool);
        assert!(first.take(6) && !second.take(6) && second.take(4));
        drop(first);
        assert!(second.take(6) && !second.take(1));
    }
}

//! Memory that all connections share, taken in shares that give themselves back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// So many bytes for everybody together.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
#[must_use = "a share that is dropped is given back"]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(bytes),
        })
    }

    /// A share of nothing, to grow.
    pub fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Bytes that nobody has.
    pub fn left(&self) -> usize {
        self.left.load(Relaxed)
    }
}

impl Share {
    /// Takes more. Returns whether there was enough.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .budget
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_and_nobody_gets_more_than_there_is() {
        let budget = Budget::new(100);
        let mut first = budget.share();
        assert!(first.grow(60) && !first.grow(60) && first.grow(40));
        assert_eq!((first.bytes(), budget.left()), (100, 0));
        drop(first);
        assert!(budget.share().grow(100));
    }
}

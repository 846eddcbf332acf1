//! A budget of memory that many share: the hits of all searches on a node, the copies of all segments.
//!
//! It only counts. Whoever takes from it gives as much back when its memory is freed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes, less those that are taken.
#[derive(Debug)]
pub struct BytePool(AtomicUsize);

impl BytePool {
    /// A pool of so many bytes.
    pub const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Takes some; `false` if there are not as many left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        // Relaxed: only the number counts, and no other memory is guarded by it.
        let less = |left: usize| left.checked_sub(bytes);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok()
    }

    /// Gives back some that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

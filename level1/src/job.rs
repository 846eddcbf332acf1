//! The plain search core: a template, a target and a range of nonces in; matches and the number of
//! nonces tried out.
//!
//! The kernels' candidates are hashed again here from the whole object with the crates `sha1` and `sha2`, and
//! compared with all 160 bits of the target. Nothing else in the program calls something a match.

use crate::kernel::{Batch, Kernel, Sink, Work};
use crate::nonce::{COLUMNS, Nonce};
use crate::object_id::ObjectId;
use crate::target::Target;
use crate::template::CommitTemplate;
use std::ops::{ControlFlow, RangeInclusive};

/// A commit that meets the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which nonce it has.
    pub nonce: Nonce,
    /// Its id.
    pub id: ObjectId,
    /// The commit object's content.
    pub commit: Vec<u8>,
}

/// What became of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// The matches, in no particular order.
    pub matches: Vec<Match>,
    /// How many nonces were tried.
    pub tried: u64,
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Job {
    template: CommitTemplate,
    target: Target,
    work: Work,
}

impl Job {
    /// Asks for nonces that put the id of `template` into `target`.
    pub fn new(template: CommitTemplate, target: Target) -> Self {
        let work = Work::new(template.tail(), &target);
        Self {
            template,
            target,
            work,
        }
    }

    /// The same commit with another target.
    #[must_use]
    pub fn with_target(self, target: Target) -> Self {
        Self::new(self.template, target)
    }

    /// The range of ids asked for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What kernels are given.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Hashes a candidate in full, by another way than the kernels do.
    pub fn check(&self, nonce: Nonce) -> Option<Match> {
        let commit = self.template.commit(nonce);
        let id = ObjectId::of_with(self.work.tail.hash(), "commit", &commit);
        self.target
            .contains(id)
            .then_some(Match { nonce, id, commit })
    }

    /// Tries every nonce of `range` exactly once and returns all matches.
    pub fn search(&self, kernel: &mut dyn Kernel, range: RangeInclusive<u64>) -> Searched {
        let mut collector = Collector {
            job: self,
            searched: Searched::default(),
        };
        for batch in batches(range) {
            let _ = kernel.scan(&self.work, &batch, &mut collector);
        }
        collector.searched
    }
}

struct Collector<'a> {
    job: &'a Job,
    searched: Searched,
}

impl Sink for Collector<'_> {
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()> {
        self.searched.matches.extend(self.job.check(nonce));
        ControlFlow::Continue(())
    }

    fn progress(&mut self, tried: u64) -> ControlFlow<()> {
        self.searched.tried += tried;
        ControlFlow::Continue(())
    }
}

/// Cuts a range into rectangles: what is left of the first row, whole rows, and the beginning of
/// the last row.
fn batches(range: RangeInclusive<u64>) -> impl Iterator<Item = Batch> {
    let (first, last) = (Nonce(*range.start()), Nonce(*range.end()));
    let single = |row: u64, columns| Batch {
        rows: row..row + 1,
        columns,
    };
    let batches = if range.is_empty() {
        Vec::new()
    } else if first.row() == last.row() {
        vec![single(first.row(), first.column()..last.column() + 1)]
    } else {
        let whole = Batch {
            rows: first.row() + 1..last.row(),
            columns: 0..COLUMNS,
        };
        vec![
            single(first.row(), first.column()..COLUMNS),
            whole,
            single(last.row(), 0..last.column() + 1),
        ]
    };
    batches.into_iter().filter(|batch| !batch.rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_cover_a_range_once(
            start in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX - 100_000)],
            length in 0u64..200_000,
        ) {
            let end = start.saturating_add(length);
            let mut next = u128::from(start);
            for batch in batches(start..=end) {
                for row in batch.rows {
                    // The columns of a row are neighbours, so two ends stand for them all.
                    let first = Nonce::at(row, batch.columns.start).0;
                    let last = Nonce::at(row, batch.columns.end - 1).0;
                    prop_assert_eq!(u128::from(first), next);
                    next = u128::from(last) + 1;
                }
            }
            prop_assert_eq!(next, u128::from(end) + 1);
        }
    }

    #[test]
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "an empty range is what is tested"
    )]
    fn an_empty_range_has_no_batches() {
        assert_eq!(batches(5..=4).count(), 0);
    }
}

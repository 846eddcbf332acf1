//! How fast things are in the simulated world, in microseconds of virtual time.

use std::ops::Range;

use super::Time;

/// From what each is drawn.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// A message's way.
    pub message: Range<Time>,
    /// A write's way to the disk.
    pub write: Range<Time>,
    /// Until a step is applied.
    pub apply: Range<Time>,
    /// Putting a snapshot in place.
    pub install: Range<Time>,
    /// Writes that share a record of the log, at most.
    pub group: Range<usize>,
    /// Entries between two snapshots.
    pub snapshot: Range<u64>,
    /// Nothing happens by itself but what nodes do: a script says the rest.
    pub is_calm: bool,
}

impl Pace {
    /// Of a world in which nothing is certain; messages take about `delay`.
    pub fn wild(delay: Time) -> Self {
        Self {
            message: delay / 3..delay * 2,
            write: 100..8_000,
            apply: 10..5_000,
            // Longer than an election takes, at times.
            install: 0..1_000_000,
            group: 1..4,
            snapshot: 5..60,
            is_calm: false,
        }
    }

    /// Of a world in which everything takes as long as ever: 10 ms a message, 2 ms a write.
    pub fn calm(snapshot: u64) -> Self {
        let always = |time: Time| time..time + 1;
        Self {
            message: always(10_000),
            write: always(2_000),
            apply: always(200),
            install: always(1_000),
            group: 64..65,
            snapshot: always(snapshot),
            is_calm: true,
        }
    }
}

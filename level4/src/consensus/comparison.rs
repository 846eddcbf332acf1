//! Comparing contents when somebody is in doubt about his, without waiting for the next index at which all
//! do it anyway.
//!
//! Whoever is in doubt asks the others for their digests at the index where contents differed. They may have
//! restarted since, from a later snapshot, and not know any more; then nobody would ever decide it in a
//! cluster that nobody writes to. So the leader, when such questions go on, puts an entry into the log that
//! says: digest your content here. It does so less and less often, as it may be that nobody *can* decide
//! until a node comes back.

use super::Core;

/// The only byte of such an entry; batches and skips begin with others.
const COMPARE: u8 = 0x43;
/// The longest pause between two such entries, in times between comparisons.
const LONGEST_PAUSE: u64 = 64;

/// Whether the entry with this content says that contents are to be compared right after it.
pub fn asks_for_comparison(data: &[u8]) -> bool {
    data == [COMPARE]
}

/// When the leader last heard of a doubt, and did something about it.
#[derive(Debug, Default)]
pub(super) struct Comparisons {
    /// The tick at which somebody was last known to be in doubt.
    heard: Option<u64>,
    /// The tick of the next entry, and the pause after it.
    next: u64,
    pause: u64,
}

impl Comparisons {
    /// Somebody is in doubt at tick `now`; contents are compared every `period` ticks if need be. Whether
    /// an entry is due.
    fn is_due(&mut self, now: u64, period: u64) -> bool {
        let before = self.heard.replace(now);
        if before.is_none_or(|before| now - before > 4 * period) {
            // Mostly it is decided once all digests have come.
            (self.pause, self.next) = (period, now + 2 * period);
        }
        if now < self.next {
            return false;
        }
        self.pause = (2 * self.pause).min(LONGEST_PAUSE * period);
        self.next = now + self.pause;
        true
    }
}

impl Core {
    /// Has contents compared, if this node leads and somebody's is in doubt.
    pub(super) fn compare_contents(&mut self) {
        let in_doubt = self.agreement.take_doubt();
        let period = self.timing.compare.next_multiple_of(8);
        if in_doubt && self.is_leader() && self.comparisons.is_due(self.ticks, period) {
            // Refused while leadership moves; the next time will do.
            let _ = self.raw.propose(Vec::new(), vec![COMPARE]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Batch;

    #[test]
    fn the_entry_is_told_from_others() {
        assert!(asks_for_comparison(&[COMPARE]));
        assert!(!asks_for_comparison(&[]));
        assert!(!asks_for_comparison(&Batch::default().encode()));
        assert!(Batch::decode(&[COMPARE]).is_err());
    }

    #[test]
    fn a_doubt_that_lasts_is_looked_into_less_and_less_often() {
        let mut comparisons = Comparisons::default();
        let due = |now: &u64| comparisons.is_due(*now, 10);
        let ticks: Vec<u64> = (0..500).step_by(10).filter(due).collect();
        assert_eq!(ticks, [20, 40, 80, 160, 320]);
        // Another doubt.
        let due = |now: &u64| comparisons.is_due(*now, 10);
        let ticks: Vec<u64> = (1_000..1_050).step_by(10).filter(due).collect();
        assert_eq!(ticks, [1_020, 1_040]);
    }
}

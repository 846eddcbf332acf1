//! A minimum rate for clients that hold something while the proxy waits for them.
//!
//! Waiting spends credit as it passes; bytes that move earn it back, up to the grace with which
//! everybody starts. So a client may pause for the length of the grace at any time, but not be slower
//! than the rate for long. Time in which the proxy waits for a backend costs a client nothing. Who keeps
//! the account says how many bytes have moved in all, so that none can be counted twice.

use std::time::Duration;

use super::timer::Millis;

/// What became of some waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Bytes moved in it that had not been counted.
    pub moved: bool,
    /// There is credit left.
    pub in_time: bool,
}

/// One client's credit.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Milliseconds.
    credit: f64,
    grace: f64,
    /// Milliseconds that a byte earns.
    per_byte: f64,
    /// Bytes that have earned what they could, once they are counted.
    counted: Option<u64>,
}

impl Pace {
    /// At least so many bytes a second (0: no minimum), after a grace.
    pub fn new(bytes_per_second: u64, grace: Duration) -> Self {
        let grace = if bytes_per_second == 0 {
            f64::INFINITY
        } else {
            grace.as_secs_f64() * 1e3
        };
        Self {
            credit: grace,
            grace,
            per_byte: 1e3 / bytes_per_second.max(1) as f64,
            counted: None,
        }
    }

    /// The proxy begins to wait: the bytes that the client has moved by now, which are asked for the first
    /// time only, earn nothing.
    pub fn begin(&mut self, moved: impl FnOnce() -> u64) {
        self.counted.get_or_insert_with(moved);
    }

    /// The proxy waited so long for the client, which has moved so many bytes since its connection began
    /// (an estimate that goes back earns nothing until it is beyond where it was).
    pub fn spend(&mut self, waited: Millis, moved: u64) -> Spent {
        let counted = self.counted.get_or_insert(moved);
        let more = moved.saturating_sub(*counted);
        *counted += more;
        let earned = more as f64 * self.per_byte;
        self.credit = (self.credit - waited as f64 + earned).min(self.grace);
        Spent {
            moved: more > 0,
            in_time: self.credit > 0.0,
        }
    }

    /// How much longer it may do nothing, at most `most`.
    pub fn left(&self, most: Duration) -> Duration {
        most.min(Duration::from_millis(
            self.credit.clamp(1.0, 1e12).ceil() as u64
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pause_is_forgiven_and_a_trickle_is_not() {
        let grace = Duration::from_secs(5);
        let mut pace = Pace::new(1000, grace);
        pace.begin(|| 70);
        assert!(pace.spend(4_900, 70).in_time);
        assert_eq!(pace.left(Duration::MAX), Duration::from_millis(100));
        assert!(pace.spend(0, 10_070).in_time && pace.spend(4_900, 10_070).in_time);
        let seconds_at = |rate: u64| {
            let mut pace = Pace::new(1000, grace);
            pace.begin(|| 0);
            let lasts = |second: &u64| pace.spend(1000, second * rate).in_time;
            (1..=1000).take_while(lasts).count()
        };
        assert!((5..=6).contains(&seconds_at(100)), "{}", seconds_at(100));
        assert_eq!(seconds_at(1000), 1000);
        let mut free = Pace::new(0, grace);
        assert!(free.spend(u64::from(u32::MAX), 0).in_time);
    }

    proptest! {
        /// However the reports of what has moved come, and whatever they go back and forth between, time is
        /// given for each byte once.
        #[test]
        fn a_byte_earns_once(
            reports in prop::collection::vec((0_u64..400, 0_u64..5_000), 1..60),
            before in 0_u64..3_000,
        ) {
            let mut pace = Pace::new(1000, Duration::from_secs(5));
            pace.begin(|| before);
            pace.begin(|| 0);
            let (mut waited, mut most) = (0, before);
            for (wait, moved) in reports {
                let spent = pace.spend(wait, moved);
                prop_assert_eq!(spent.moved, moved > most);
                waited += wait;
                most = most.max(moved);
                // A byte is worth a millisecond here.
                prop_assert!(!spent.in_time || waited < 5_000 + (most - before));
            }
        }
    }
}

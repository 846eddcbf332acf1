//! How soon the next request can be expected.
//!
//! Holding a heavy client's request back only pays when its turn comes before another request would
//! come to take it; beyond that it is mere delay, and behind a front end with few connections it
//! keeps everybody else out. So the policy needs the expected wait, seen from any moment, for the
//! next arrival: E\[g²\] / 2 E\[g\] over the latest gaps g (the inspection paradox: a random moment is
//! more likely to fall into a long gap).
//!
//! Gaps are counted from the last arrival *or answer*: a client that may have only a few requests
//! open cannot send before it gets an answer, and that silence says nothing about its appetite. They
//! are forgotten by number and not by age, so that a front end which is never silent for long is
//! not judged for seconds by one long silence before it came.

use super::Seconds;

/// Gaps remembered: a burst of up to this many requests after silence is not taken for a stream.
const GAPS: usize = 32;

/// Longest gap that counts: silence beyond it means no more than "quiet".
const LONGEST_GAP: Seconds = 1.0;

/// The latest gaps between arrivals.
#[derive(Clone, Debug)]
pub struct Supply {
    last: Seconds,
    gaps: [Seconds; GAPS],
    oldest: usize,
}

impl Supply {
    /// Nothing seen yet: the next request is taken to be as far off as can be.
    pub fn new() -> Self {
        Self {
            last: 0.0,
            gaps: [LONGEST_GAP; GAPS],
            oldest: 0,
        }
    }

    /// A request came.
    pub fn arrived(&mut self, now: Seconds) {
        self.gaps[self.oldest] = (now - self.last).clamp(0.0, LONGEST_GAP);
        self.oldest = (self.oldest + 1) % GAPS;
        self.last = now;
    }

    /// Somebody was answered, and may send again.
    pub fn answered(&mut self, now: Seconds) {
        self.last = self.last.max(now);
    }

    /// Expected time from now to the next request.
    pub fn next_expected(&self) -> Seconds {
        // The sum starts a nanosecond above 0, so that gaps of nothing give nothing.
        let (sum, squares) = self.gaps.iter().fold((1e-9, 0.0), |(sum, squares), &gap| {
            (sum + gap, squares + gap * gap)
        });
        0.5 * squares / sum
    }
}

impl Default for Supply {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaps and answer in milliseconds.
    fn after(gaps: impl IntoIterator<Item = u32>) -> f64 {
        let mut supply = Supply::new();
        let mut now = 0.0;
        for gap in gaps {
            now += f64::from(gap) / 1e3;
            supply.arrived(now);
        }
        supply.next_expected() * 1e3
    }

    #[test]
    fn a_steady_stream_is_half_a_gap_away() {
        let expected = after(std::iter::repeat_n(10, 1_000));
        assert!((expected - 5.0).abs() < 0.1, "{expected}");
    }

    #[test]
    fn one_burst_after_silence_is_no_stream() {
        let expected = after([5_000].into_iter().chain(std::iter::repeat_n(0, 30)));
        assert!(expected > 400.0, "{expected}");
    }
}

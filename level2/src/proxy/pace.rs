//! A minimum rate for clients that hold something while the proxy waits for them.
//!
//! Waiting spends credit as it passes; bytes that move earn it back, up to the grace with which
//! everybody starts. So a client may pause for the length of the grace at any time, but not be slower
//! than the rate for long. Time in which the proxy waits for a backend costs a client nothing.

use std::time::Duration;

use super::timer::Millis;

/// One client's credit.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Milliseconds.
    credit: f64,
    grace: f64,
    /// Milliseconds that a byte earns.
    per_byte: f64,
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
        }
    }

    /// The proxy waited so long for the client, which moved so many bytes. Returns whether it is fast
    /// enough still.
    pub fn spend(&mut self, waited: Millis, moved: u64) -> bool {
        let earned = moved as f64 * self.per_byte;
        self.credit = (self.credit - waited as f64 + earned).min(self.grace);
        self.credit > 0.0
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
    use super::*;

    #[test]
    fn a_pause_is_forgiven_and_a_trickle_is_not() {
        let mut pace = Pace::new(1000, Duration::from_secs(5));
        assert!(pace.spend(4_900, 0));
        assert_eq!(pace.left(Duration::MAX), Duration::from_millis(100));
        assert!(pace.spend(0, 10_000) && pace.spend(4_900, 0));
        let mut trickle = Pace::new(1000, Duration::from_secs(5));
        let seconds = (0..100).take_while(|_| trickle.spend(1000, 100)).count();
        assert!((5..=6).contains(&seconds), "{seconds}");
        let mut steady = Pace::new(1000, Duration::from_secs(5));
        assert!((0..1000).all(|_| steady.spend(1000, 1000)));
        let mut free = Pace::new(0, Duration::from_secs(5));
        assert!(free.spend(u64::from(u32::MAX), 0));
    }
}

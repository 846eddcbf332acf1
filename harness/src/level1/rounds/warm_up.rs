//! What the field can do, and the difficulty that follows from it.
//!
//! The difficulty is set so that the whole field lands a coin every few seconds. What the field
//! can do is known from each player's last round, or else measured in a warm-up on chains that
//! become harder until pushing no longer takes most of the time.

use super::super::{difficulty::Difficulty, repository::Genesis};

/// The first warm-up chain's mean hashes a coin: a few seconds for a shell miner, nothing for others.
pub const FIRST_HASHES: f64 = 1024.0;

/// By how much a chain of the warm-up is harder than the one before.
pub const GROWTH: f64 = 16.0;

/// A warm-up chain is hard enough when a coin takes this many times as long as on the first chain,
/// where finding takes no time and noticing, fetching and pushing take all of it.
const HARD_ENOUGH: f64 = 2.5;

/// Coins that show whether a chain of the warm-up is hard enough.
const LOOK_COINS: u64 = 3;

/// Coins that measure the rate on the chain that is: a standard error of a quarter.
const MEASURE_COINS: u64 = 16;

/// A chain whose coins take so many hashes on average.
pub fn genesis(hashes: f64) -> Genesis {
    Genesis::single_player(Difficulty::of_expected_hashes(hashes))
}

/// What the chains of a warm-up have told so far.
#[derive(Debug, Default)]
pub struct Measured {
    /// Seconds a coin takes apart from finding it: the shortest mean interval seen.
    overhead: Option<f64>,
    /// Hashes a second of the whole field.
    pub rate: Option<f64>,
}

impl Measured {
    /// Whether so many coins, with this mean interval in seconds, tell enough of a chain.
    pub fn is_enough(&self, coins: u64, interval: Option<f64>) -> bool {
        let looked = coins > LOOK_COINS && !self.is_hard_enough(interval);
        looked || coins > MEASURE_COINS
    }

    fn is_hard_enough(&self, interval: Option<f64>) -> bool {
        let (Some(overhead), Some(interval)) = (self.overhead, interval) else {
            return false;
        };
        interval >= HARD_ENOUGH * overhead
    }

    /// Takes in a chain's mean interval between coins, in seconds; whether no harder chain is
    /// needed.
    pub fn take(&mut self, hashes: f64, interval: f64) -> bool {
        let enough = self.is_hard_enough(Some(interval));
        let finding = if enough {
            interval - self.overhead.unwrap_or_default()
        } else {
            // Mostly overhead: the rate is at least this.
            interval
        };
        self.rate = Some(hashes / finding);
        self.overhead = Some(self.overhead.map_or(interval, |least| least.min(interval)));
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_tells_finding_from_pushing() {
        // A field of 5 MH/s that needs 0.4 s a coin for everything else.
        let interval = |hashes: f64| 0.4 + hashes / 5e6;
        let mut measured = Measured::default();
        let mut hashes = FIRST_HASHES;
        let mut chains = 1;
        while !measured.take(hashes, interval(hashes)) {
            hashes *= GROWTH;
            chains += 1;
        }
        assert_eq!(chains, 4);
        let rate = measured.rate.unwrap();
        assert!((rate / 5e6 - 1.0).abs() < 1e-3, "{rate}");
    }
}

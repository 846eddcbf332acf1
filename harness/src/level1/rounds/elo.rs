//! Elo ratings after a round: every pair of players has played a game that more coins win.
//!
//! The expected score is the usual logistic curve with 400 points to a factor of ten (A. Elo,
//! *The Rating of Chessplayers*, 1978). K is shared among a player's opponents, so a round moves a
//! rating by 32 at most, however many took part.

/// The rating of who has not played yet.
pub const INITIAL: f64 = 1000.0;

/// The most that one round can move a rating.
const K: f64 = 32.0;

/// A player's round: the rating before it and the coins mined in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Played {
    /// The rating before the round.
    pub rating: f64,
    /// Coins in the round.
    pub coins: u64,
}

/// The score that `rating` can expect against `opponent`: 0 to 1.
fn expected(rating: f64, opponent: f64) -> f64 {
    1.0 / (1.0 + libm::pow(10.0, (opponent - rating) / 400.0))
}

/// The ratings after the round, in the same order.
pub fn update(players: &[Played]) -> Vec<f64> {
    let opponents = players.len().saturating_sub(1).max(1);
    let k = K / opponents as f64;
    let gain = |index: usize, player: &Played| -> f64 {
        let others = players
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        others
            .map(|(_, other)| {
                let score = match player.coins.cmp(&other.coins) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
                k * (score - expected(player.rating, other.rating))
            })
            .sum()
    };
    let players = players.iter().enumerate();
    players
        .map(|(index, player)| player.rating + gain(index, player))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn update_of(players: &[(f64, u64)]) -> Vec<f64> {
        let players: Vec<_> = players
            .iter()
            .map(|&(rating, coins)| Played { rating, coins })
            .collect();
        update(&players)
    }

    #[test]
    fn equals_win_and_lose_half_of_k() {
        assert_eq!(update_of(&[(1000.0, 3), (1000.0, 2)]), [1016.0, 984.0]);
        assert_eq!(update_of(&[(1000.0, 2), (1000.0, 2)]), [1000.0, 1000.0]);
        // Two opponents share K: won against one, tied with the other.
        assert_eq!(
            update_of(&[(1000.0, 2), (1000.0, 2), (1000.0, 0)]),
            [1008.0, 1008.0, 984.0]
        );
        assert_eq!(update_of(&[(1200.0, 0)]), [1200.0]);
        assert!(update_of(&[]).is_empty());
    }

    #[test]
    fn a_favourite_gains_little() {
        // 400 points ahead: expected score 10/11.
        let after = update_of(&[(1400.0, 1), (1000.0, 0)]);
        assert!(
            (after[0] - (1400.0 + 32.0 / 11.0)).abs() < 1e-9,
            "{after:?}"
        );
    }

    proptest! {
        #[test]
        fn points_are_only_exchanged(players in prop::collection::vec((0.0..3000.0, 0_u64..5), 2..9)) {
            let before: f64 = players.iter().map(|player| player.0).sum();
            let after = update_of(&players);
            prop_assert!((after.iter().sum::<f64>() - before).abs() < 1e-6);
            for ((before, _), after) in players.iter().zip(after) {
                prop_assert!((after - before).abs() <= K + 1e-9);
            }
        }
    }
}

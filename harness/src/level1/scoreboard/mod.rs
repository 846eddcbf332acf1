//! The scoreboard: who has how many coins, since when, and how the rounds before went.
//!
//! [`Scoreboard`] is all of it as a value, which is also its JSON; `page` makes it a page, in its
//! `words`; `coin_chart` says what is drawn; `landings` knows the coins of the current chain.

mod coin_chart;
pub mod landings;
mod page;
mod words;

use serde::Serialize;

pub use landings::Landings;
pub use page::{Fragments, Visit, round_page};

use super::{
    difficulty::Difficulty,
    player_name,
    rounds::book::{Player, Rated, Round},
};
use landings::Landed;

/// The present moves in steps of so many seconds, so that a page on which nothing lands changes
/// rarely.
const PRESENT_STEP_S: u64 = 10;

/// Everything that the page shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scoreboard {
    /// What is being played, for people.
    pub title: String,
    /// The path to clone from, such as `/level1`.
    pub path: String,
    /// Where `master` stands.
    pub head: String,
    /// The difficulty at the head.
    pub difficulty: String,
    /// What is going on.
    pub phase: Phase,
    /// The round that is being played, or was last.
    pub round: Option<RoundInfo>,
    /// Whether the coins are those of the moment when the board was frozen.
    pub frozen: bool,
    /// Everybody's coins on this chain, most first.
    pub coins: Vec<CoinLine>,
    /// The players, best rating first.
    pub ratings: Vec<RatingLine>,
    /// The last rounds, latest first.
    pub rounds: Vec<Round>,
    /// Everybody's ratings after the last rounds, earliest first.
    pub course: Vec<Rated>,
    /// When the board was made, in Unix seconds.
    pub now_s: u64,
}

/// What is going on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// A chain for anybody, without an end.
    #[default]
    Open,
    /// The speed of the field is being measured; these coins do not count.
    WarmUp,
    /// A round is being played.
    Round,
    /// A round is over, and another begins.
    Pause {
        /// When, in Unix seconds.
        next_s: u64,
    },
    /// The last round is over.
    Over,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundInfo {
    /// Counted from 1.
    pub number: u64,
    /// Unix seconds.
    pub start_s: u64,
    /// Unix seconds; pushes are refused from then on.
    pub end_s: u64,
    /// For everybody with at least one coin.
    pub bonus_points: u64,
    /// Unix seconds; from then until the end the board shows no more coins.
    pub freeze_s: Option<u64>,
}

/// Somebody's coins with their rank.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CoinLine {
    /// 1 for the most coins; ties share a rank.
    pub rank: usize,
    /// The player.
    pub name: String,
    /// Whether it is one of the server's own miners.
    pub bot: bool,
    /// Coins on this chain.
    pub coins: u64,
    /// When the last of them landed, in Unix milliseconds.
    pub last_coin_ms: Option<u64>,
    /// Hashes a second, as far as coins tell: so many of the round's difficulty in so much time.
    /// `None` without coins, and where nothing says when mining began.
    pub hashes_per_s: Option<f64>,
    /// When each landed; for the chart.
    #[serde(skip)]
    pub times_ms: Vec<u64>,
}

impl Scoreboard {
    /// The same with everybody's speed.
    #[must_use]
    pub fn with_rates(mut self) -> Self {
        let difficulty: Option<Difficulty> = self.difficulty.parse().ok();
        let hashes_per_coin = difficulty.map(|difficulty| difficulty.expected_hashes());
        let hashes = hashes_per_coin.zip(self.played_s());
        for line in &mut self.coins {
            let rate = hashes.map(|(each, seconds)| line.coins as f64 * each / seconds as f64);
            line.hashes_per_s = rate.filter(|_| line.coins > 0);
        }
        self
    }

    /// When the coins on the board began to count, if they have a round.
    fn start_s(&self) -> Option<u64> {
        let round = self.round.as_ref()?;
        let counts = matches!(self.phase, Phase::Round | Phase::Pause { .. } | Phase::Over);
        counts.then_some(round.start_s)
    }

    /// For how long the coins that are shown were mined, in seconds, at least 1.
    fn played_s(&self) -> Option<u64> {
        let (start_s, round) = (self.start_s()?, self.round.as_ref()?);
        let frozen = round.freeze_s.filter(|_| self.frozen);
        // The host may have ended it early.
        let over = self.rounds.iter().find(|over| over.number == round.number);
        let until_s = frozen
            .or(over.map(|over| over.end_s))
            .unwrap_or_else(|| self.now_s.next_multiple_of(PRESENT_STEP_S).min(round.end_s));
        Some(until_s.saturating_sub(start_s).max(1))
    }
}

/// A player's standing over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatingLine {
    /// 1 for the best; ties share a rank.
    pub rank: usize,
    /// The player.
    pub name: String,
    /// Elo.
    pub rating: f64,
    /// By how much the last round that it played moved it, of those that are shown.
    pub change: Option<f64>,
    /// Bonus points of all rounds.
    pub points: u64,
}

/// The part of the scoreboard that does not come from the chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// What is going on.
    pub phase: Phase,
    /// The round that is being played, or was last.
    pub round: Option<RoundInfo>,
    /// Everybody's rating.
    pub ratings: Vec<RatingLine>,
    /// The last rounds, latest first.
    pub rounds: Vec<Round>,
    /// Everybody's ratings after the last rounds.
    pub course: Vec<Rated>,
}

impl Standing {
    /// Whether the coins that land are not shown at this time.
    pub fn is_frozen(&self, now_s: u64) -> bool {
        let freeze_s = self.round.as_ref().and_then(|round| round.freeze_s);
        self.phase == Phase::Round && freeze_s.is_some_and(|freeze_s| now_s >= freeze_s)
    }

    /// Everybody's coins as they may be shown at this time, most first: players without any too.
    pub fn coins<'a>(
        &self,
        players: impl Iterator<Item = &'a String>,
        landings: &Landings,
        now_s: u64,
    ) -> Vec<CoinLine> {
        let until_ms = if self.is_frozen(now_s) {
            let freeze_s = self.round.as_ref().and_then(|round| round.freeze_s);
            freeze_s.map(|seconds| seconds * 1000)
        } else {
            None
        };
        let landed = |name: &String| landings.players().get(name).cloned().unwrap_or_default();
        let without = players
            .filter(|name| !landings.players().contains_key(*name))
            .map(|name| (name, Landed::default()));
        let with = landings.players().keys().map(|name| (name, landed(name)));
        rank(with.chain(without).map(|(name, landed)| {
            let landed = until_ms.map_or_else(|| landed.clone(), |until| landed.until(until));
            (name.clone(), landed)
        }))
    }
}

/// Coins, most first; who has as many as somebody else shares the rank.
fn rank(coins: impl Iterator<Item = (String, Landed)>) -> Vec<CoinLine> {
    let mut lines: Vec<CoinLine> = coins
        .map(|(name, landed)| CoinLine {
            rank: 0,
            bot: player_name::is_bot(&name),
            name,
            coins: landed.coins,
            last_coin_ms: landed.times_ms.last().copied(),
            hashes_per_s: None,
            times_ms: landed.times_ms,
        })
        .collect();
    // Of two with as many coins, who had them first is above, but ranks are by coins alone.
    let key = |line: &CoinLine| (line.last_coin_ms.unwrap_or(u64::MAX), line.name.clone());
    lines.sort_by(|a, b| b.coins.cmp(&a.coins).then_with(|| key(a).cmp(&key(b))));
    let all: Vec<u64> = lines.iter().map(|line| line.coins).collect();
    for line in &mut lines {
        line.rank = 1 + all.partition_point(|&coins| coins > line.coins);
    }
    lines
}

/// Everybody's rating with its rank and its last change, from what the book has.
pub fn ratings(players: &[Player], rounds: &[Round]) -> Vec<RatingLine> {
    let last = |name: &str| {
        let mut results = rounds.iter().flat_map(|round| &round.results);
        let result = results.find(|result| result.name == name)?;
        Some(result.rating_after - result.rating_before)
    };
    let rank = |rating: f64| {
        let better = players.iter().filter(|other| other.rating > rating);
        1 + better.count()
    };
    players
        .iter()
        .map(|player| RatingLine {
            rank: rank(player.rating),
            name: player.name.clone(),
            rating: player.rating,
            change: last(&player.name),
            points: player.points,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landed(coins: u64, last_ms: u64) -> Landed {
        Landed {
            coins,
            times_ms: (0..coins).map(|index| last_ms - index).rev().collect(),
        }
    }

    #[test]
    fn coins_are_ranked_and_ties_share_a_rank() {
        let coins = [
            ("cyd", landed(2, 300)),
            ("bob", landed(2, 200)),
            ("ada", landed(7, 400)),
            ("eve", Landed::default()),
            ("bot-1", landed(1, 100)),
        ];
        let coins = coins.map(|(name, landed)| (name.to_owned(), landed));
        let lines = rank(coins.into_iter());
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.rank, line.name.as_str(), line.bot))
            .collect();
        assert_eq!(
            shown,
            [
                (1, "ada", false),
                (2, "bob", false),
                (2, "cyd", false),
                (4, "bot-1", true),
                (5, "eve", false)
            ]
        );
    }

    #[test]
    fn speeds_follow_from_coins_and_the_time_that_counts() {
        let coins = [("ada", landed(3, 400)), ("eve", Landed::default())];
        let coins = rank(
            coins
                .map(|(name, landed)| (name.to_owned(), landed))
                .into_iter(),
        );
        let info = RoundInfo {
            number: 1,
            start_s: 100,
            end_s: 1000,
            bonus_points: 50,
            freeze_s: Some(820),
        };
        let speeds = |phase, frozen, now_s, rounds: &[Round]| {
            let board = Scoreboard {
                title: String::new(),
                path: String::new(),
                head: String::new(),
                difficulty: "01".into(),
                phase,
                round: Some(info.clone()),
                frozen,
                coins: coins.clone(),
                ratings: Vec::new(),
                rounds: rounds.to_vec(),
                course: Vec::new(),
                now_s,
            };
            let lines = board.with_rates().coins;
            // In coins of 256 hashes, for as many seconds as they were mined.
            let seconds = |line: &CoinLine| Some((3.0 * 256.0 / line.hashes_per_s?).round() as u64);
            lines.iter().map(seconds).collect::<Vec<_>>()
        };
        assert_eq!(speeds(Phase::Round, false, 295, &[]), [Some(200), None]);
        assert_eq!(speeds(Phase::Round, true, 900, &[]), [Some(720), None]);
        assert_eq!(speeds(Phase::Over, false, 5000, &[]), [Some(900), None]);
        let early = Round {
            number: 1,
            start_s: 100,
            end_s: 400,
            duration_s: 900,
            difficulty: "01".into(),
            bonus_points: 50,
            note: None,
            results: Vec::new(),
        };
        assert_eq!(
            speeds(Phase::Over, false, 5000, &[early]),
            [Some(300), None]
        );
        assert_eq!(speeds(Phase::WarmUp, false, 295, &[]), [None, None]);
    }

    #[test]
    fn a_board_is_frozen_in_the_last_minutes_of_a_round_only() {
        let mut standing = Standing {
            phase: Phase::Round,
            round: Some(RoundInfo {
                number: 1,
                start_s: 100,
                end_s: 1000,
                bonus_points: 50,
                freeze_s: Some(820),
            }),
            ..Standing::default()
        };
        assert!(!standing.is_frozen(819));
        assert!(standing.is_frozen(820));
        standing.phase = Phase::Over;
        assert!(!standing.is_frozen(2000));
    }
}

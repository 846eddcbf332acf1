//! Results and coins as CSV (RFC 4180, without the carriage returns) and as JSON, for spreadsheets
//! and programs.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use super::book::{Coin, Round};

/// A round with its coins, as it stands in the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundWithCoins {
    /// The round and its result.
    #[serde(flatten)]
    pub round: Round,
    /// Everything that landed, also the bots'.
    pub coins: Vec<Coin>,
}

/// One line for each player of each round.
pub fn results_csv(rounds: &[Round]) -> String {
    let mut text = String::from(
        "round,start,end,difficulty,rank,player,coins,points,rating_before,rating_after,last_coin\n",
    );
    for round in rounds {
        for line in &round.results {
            let last = line.last_coin_ms.map(time).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{},{:.3},{:.3},{last}",
                round.number,
                time(round.start_s * 1000),
                time(round.end_s * 1000),
                round.difficulty,
                line.rank,
                field(&line.name),
                line.coins,
                line.points,
                line.rating_before,
                line.rating_after,
            );
        }
    }
    text
}

/// One line for each coin of a round, in the order in which they landed.
pub fn coins_csv(round: u64, coins: &[Coin]) -> String {
    let mut text = String::from("round,time,player,commit\n");
    text += &coin_lines(round, coins);
    text
}

/// The same without the heading.
pub fn coin_lines(round: u64, coins: &[Coin]) -> String {
    let mut text = String::new();
    for coin in coins {
        let _ = writeln!(
            text,
            "{round},{},{},{}",
            time(coin.time_ms),
            field(&coin.name),
            coin.commit
        );
    }
    text
}

/// A name as a field. In books of before names were chosen with more care, one may begin with a
/// sign that makes a spreadsheet take it for a formula.
fn field(name: &str) -> String {
    let is_formula = name.starts_with(['=', '+', '-', '@']);
    let name = if is_formula {
        format!("'{name}")
    } else {
        name.to_owned()
    };
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name
    }
}

/// Unix milliseconds as RFC 3339 has them.
fn time(ms: u64) -> String {
    // The form ends with the year 9999.
    let ms = ms.min(253_402_300_799_999);
    let time = UNIX_EPOCH + Duration::from_millis(ms);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::book::Ranked, *};

    #[test]
    fn results_are_lines_of_fields() {
        let line = |rank, name: &str, last_coin_ms| Ranked {
            rank,
            name: name.into(),
            coins: 3,
            points: 50,
            rating_before: 1000.0,
            rating_after: 1016.0,
            last_coin_ms,
        };
        let round = Round {
            number: 7,
            start_s: 1_700_000_000,
            end_s: 1_700_000_060,
            duration_s: 60,
            difficulty: "0001".into(),
            bonus_points: 50,
            note: None,
            results: vec![
                line(1, "ada l.", Some(1_700_000_001_500)),
                line(2, "@x,\"y\"", None),
            ],
        };
        assert_eq!(
            results_csv(&[round]),
            "round,start,end,difficulty,rank,player,coins,points,rating_before,rating_after,last_coin\n\
             7,2023-11-14T22:13:20.000Z,2023-11-14T22:14:20.000Z,0001,1,ada l.,3,50,1000.000,1016.000,\
             2023-11-14T22:13:21.500Z\n\
             7,2023-11-14T22:13:20.000Z,2023-11-14T22:14:20.000Z,0001,2,\"'@x,\"\"y\"\"\",3,50,1000.000,\
             1016.000,\n"
        );
    }

    #[test]
    fn coins_are_lines_of_fields() {
        let coin = Coin {
            time_ms: 1_700_000_001_500,
            name: "bot-1".into(),
            commit: "00ab".into(),
        };
        assert_eq!(
            coins_csv(2, &[coin]),
            "round,time,player,commit\n2,2023-11-14T22:13:21.500Z,bot-1,00ab\n"
        );
    }
}

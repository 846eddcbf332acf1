//! The scoreboard, as a page for people and as JSON for programs.

use serde::Serialize;

use super::{ledger::Ledger, rounds::book::Player};

/// How often a browser asks for the page again, in seconds: about once a coin in a round.
const REFRESH_S: u32 = 5;

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
    /// The round, where one is being played.
    pub round: Option<RoundInfo>,
    /// The ledger, most coins first.
    pub coins: Vec<CoinLine>,
    /// The players, best rating first.
    pub ratings: Vec<RatingLine>,
}

/// A running round.
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
}

/// A ledger entry with its rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoinLine {
    /// 1 for the most coins; ties share a rank.
    pub rank: usize,
    /// The player.
    pub name: String,
    /// Coins on this chain.
    pub coins: u64,
}

/// A player's standing over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatingLine {
    /// The player.
    pub name: String,
    /// Elo.
    pub rating: f64,
    /// Bonus points of all rounds.
    pub points: u64,
}

/// The ledger's entries, most coins first.
pub fn rank(ledger: &Ledger) -> Vec<CoinLine> {
    let mut lines: Vec<_> = ledger
        .entries()
        .iter()
        .map(|entry| CoinLine {
            rank: 1 + ledger
                .entries()
                .iter()
                .filter(|other| other.balance > entry.balance)
                .count(),
            name: entry.name.clone(),
            coins: entry.balance,
        })
        .collect();
    lines.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| a.name.cmp(&b.name)));
    lines
}

impl From<&Player> for RatingLine {
    fn from(player: &Player) -> Self {
        Self {
            name: player.name.clone(),
            rating: player.rating,
            points: player.points,
        }
    }
}

impl Scoreboard {
    /// The page; `now_s` is the time in Unix seconds.
    pub fn html(&self, now_s: u64) -> String {
        let title = escape(&self.title);
        let round = self.round.as_ref().map_or_else(String::new, |round| {
            let left = round.end_s.saturating_sub(now_s);
            format!(
                "<p>Round {}: {} left, {} bonus points for who has a coin.</p>\n",
                round.number,
                if left == 0 {
                    "no time".to_owned()
                } else {
                    format!("{}:{:02} min", left / 60, left % 60)
                },
                round.bonus_points,
            )
        });
        let coins = self.coins.iter().map(|line| {
            [
                line.rank.to_string(),
                escape(&line.name),
                line.coins.to_string(),
            ]
        });
        let ratings = self.ratings.iter().map(|line| {
            let rating = format!("{:.0}", line.rating);
            [escape(&line.name), rating, line.points.to_string()]
        });
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\n<title>{title}</title>\n\
             <style>\nbody {{ font-family: sans-serif; margin: 2em auto; max-width: 40em }}\n\
             table {{ border-collapse: collapse; margin-bottom: 2em }}\n\
             td, th {{ padding: .2em 1em; text-align: left; border-bottom: 1px solid #ccc }}\n\
             code {{ overflow-wrap: anywhere }}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
             {round}<p>Clone <code>{}</code> from this server. The difficulty is \
             <code>{}</code>, the head <code>{}</code>.</p>\n<h2>Coins</h2>\n{}<h2>Ratings</h2>\n{}\
             <p><a href=\"/scoreboard.json\">scoreboard.json</a></p>\n</body>\n</html>\n",
            escape(&self.path),
            escape(&self.difficulty),
            escape(&self.head),
            table(["rank", "player", "coins"], coins),
            table(["player", "rating", "points"], ratings),
        )
    }
}

fn table(head: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> String {
    let row = |cells: &[String; 3], tag: &str| {
        let cells = cells
            .each_ref()
            .map(|cell| format!("<{tag}>{cell}</{tag}>"));
        format!("<tr>{}</tr>\n", cells.concat())
    };
    let body: String = rows.map(|cells| row(&cells, "td")).collect();
    format!(
        "<table>\n{}{body}</table>\n",
        row(&head.map(str::to_owned), "th")
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoreboard() -> Scoreboard {
        let ledger = Ledger::parse(b"t\n=\nbob: 2\nada: 7\ncyd: 2\n").unwrap();
        Scoreboard {
            title: "A <game>".into(),
            path: "/level1".into(),
            head: "00ab".into(),
            difficulty: "000001".into(),
            round: Some(RoundInfo {
                number: 3,
                start_s: 100,
                end_s: 1000,
                bonus_points: 50,
            }),
            coins: rank(&ledger),
            ratings: vec![RatingLine {
                name: "ada".into(),
                rating: 1016.4,
                points: 50,
            }],
        }
    }

    #[test]
    fn coins_are_ranked_and_ties_share_a_rank() {
        let lines = scoreboard().coins;
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.rank, line.name.as_str()))
            .collect();
        assert_eq!(shown, [(1, "ada"), (2, "bob"), (2, "cyd")]);
    }

    #[test]
    fn the_page_shows_everything_and_escapes_it() {
        let page = scoreboard().html(365);
        for part in [
            "<h1>A &lt;game></h1>",
            "10:35 min left",
            "<tr><td>1</td><td>ada</td><td>7</td></tr>",
            "<tr><td>ada</td><td>1016</td><td>50</td></tr>",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        assert!(scoreboard().html(2000).contains("no time left"));
    }
}

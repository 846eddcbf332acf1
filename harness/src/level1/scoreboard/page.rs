//! The scoreboard as a page for people.
//!
//! It is whole without script and is then asked for again every few seconds. With script, the two
//! [`Fragments`] are replaced as they change. Everything that a player chose is escaped by the
//! template.

use maud::{Markup, PreEscaped, html};

use super::{
    super::rounds::book::{Coin, Round},
    CoinLine, PRESENT_STEP_S, Phase, Scoreboard,
    coin_chart::{Colours, coin_chart},
    words::{clock, into_the_round, shortened, speed, winners},
};
use crate::web::{
    self,
    chart::{Chart, Line, Shape, nice_step},
    utc,
};

/// How often a browser without script asks for the page again, in seconds: about once a coin in a
/// round.
const REFRESH_S: u32 = 5;

/// The most spaces between the rounds below the chart of the ratings.
const ROUND_TICKS: f64 = 10.0;

/// The parts of the page that change while it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragments {
    /// The round, the coins and their chart.
    pub live: String,
    /// Ratings and the rounds before.
    pub history: String,
}

/// Where a reader sees the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The server's name and port, as the reader's browser has them.
    pub host: String,
}

impl Scoreboard {
    /// The page.
    pub fn html(&self, visit: &Visit) -> String {
        let content = html! {
            h1 { (self.title) }
            div #live { (self.live(Some(self.now_s))) }
            (self.instructions(visit))
            div #history { (self.history()) }
        };
        frame(&self.title, self.now_s, &content)
    }

    /// The parts of the page that change.
    pub fn fragments(&self) -> Fragments {
        Fragments {
            live: self.live(None).into_string(),
            history: self.history().into_string(),
        }
    }

    /// `now_s` is the time for whoever does not count down by script.
    fn live(&self, now_s: Option<u64>) -> Markup {
        html! {
            (self.status(now_s))
            @if self.coins.is_empty() {
                p.quiet { "Nobody plays yet." }
            } @else {
                (coin_table(&self.coins, self.start_s()))
                (self.chart().svg())
            }
            p.quiet {
                "Difficulty " code { (self.difficulty) } ", head " code { (self.head) }
            }
        }
    }

    /// What is going on, and until when.
    fn status(&self, now_s: Option<u64>) -> Markup {
        let number = self.round.as_ref().map(|round| round.number);
        html! {
            p.status {
                @match (self.phase, &self.round) {
                    (Phase::Open, _) => "Mining is open.",
                    (Phase::WarmUp, _) => "Warm-up: start your miners. These coins do not count.",
                    (Phase::Round, Some(round)) => {
                        b { "Round " (round.number) } " ends in "
                        (countdown(round.end_s, now_s))
                        ", " (round.bonus_points) " bonus points for who has a coin."
                    }
                    (Phase::Pause { next_s }, _) => {
                        @if let Some(number) = number { b { "Round " (number) } " is over. " }
                        "The next begins in " (countdown(next_s, now_s)) "."
                    }
                    (Phase::Round | Phase::Over, _) => {
                        @if let Some(number) = number { b { "Round " (number) } " is over" }
                        @else { "The game is over" }
                        ", and it was the last."
                    }
                }
            }
            @if self.frozen {
                p.frozen { "Frozen: coins that land now are shown when the round is over." }
            }
        }
    }

    fn chart(&self) -> Chart {
        let all = || self.coins.iter().flat_map(|line| &line.times_ms).copied();
        let first = all().min().unwrap_or(self.now_s * 1000) as f64 / 1000.0;
        let now = self.now_s.next_multiple_of(PRESENT_STEP_S) as f64;
        let (start, end, present) = match (self.start_s(), &self.round) {
            (Some(start), Some(round)) => {
                let frozen = round.freeze_s.filter(|_| self.frozen);
                let present = frozen.map_or(now, |freeze_s| freeze_s as f64);
                (start as f64, round.end_s as f64, present)
            }
            _ => (first, now.max(first + 1.0), now),
        };
        let coins = self.coins.iter().map(|line| {
            let before = line.coins - line.times_ms.len() as u64;
            (line.name.as_str(), before, line.times_ms.as_slice())
        });
        let names = || self.coins.iter().map(|line| line.name.as_str());
        let colours = Colours::of(names(), self.ratings.iter().map(|line| line.name.as_str()));
        let from_start = self.start_s().is_some();
        coin_chart((start, end), present.min(end), from_start, &colours, coins)
    }

    fn instructions(&self, visit: &Visit) -> Markup {
        let Visit { scheme, host } = visit;
        let path = &self.path;
        let folder = path.trim_start_matches('/');
        html! {
            details {
                summary { "How to play" }
                p {
                    "Clone this, with the name and the token that the host gave you. Without them \
                     you can look, but not push."
                }
                pre { code { "git clone " (scheme) "://" b { "NAME:TOKEN" } "@" (host) (path) } }
                p {
                    "A coin is a commit on top of " code { "master" } " whose id is less than "
                    code { "difficulty.txt" } " and which raises your entry of "
                    code { "LEDGER.txt" } " by one; push it before somebody else does. The README "
                    "in " code { (folder) } " has the rules. A ready miner:"
                }
                pre { code {
                    "level1 mine --coins 0 " (scheme) "://" b { "NAME:TOKEN" } "@" (host) (path)
                    " " b { "NAME" }
                } }
            }
        }
    }

    fn history(&self) -> Markup {
        if self.rounds.is_empty() {
            return html! {};
        }
        html! {
            h2 { "Ratings" }
            div.wide { table {
                thead { tr {
                    th.number { "rank" } th { "player" } th.number { "rating" }
                    th.number { "change" } th.number { "points" }
                } }
                tbody { @for line in &self.ratings { tr {
                    td.number { (line.rank) }
                    td { (line.name) }
                    td.number { (format!("{:.0}", line.rating)) }
                    td.number { (line.change.map_or_else(String::new, |by| format!("{by:+.1}"))) }
                    td.number { (line.points) }
                } } }
            } }
            (self.course_chart().svg())
            h2 { "Rounds" }
            div.wide { table {
                thead { tr {
                    th.number { "round" } th { "begun (UTC)" } th { "winner" }
                    th.number { "coins" } th { "difficulty" }
                } }
                tbody { @for round in &self.rounds { tr {
                    td.number { a href=(format!("/rounds/{}", round.number)) { (round.number) } }
                    td.time { (utc(round.start_s)[..16]) }
                    td { (winners(round)) }
                    td.number { (round.results.iter().map(|line| line.coins).sum::<u64>()) }
                    td { code title=(round.difficulty) { (shortened(&round.difficulty)) } }
                } } }
            } }
        }
    }

    fn course_chart(&self) -> Chart {
        let names = || self.ratings.iter().map(|line| line.name.as_str());
        let colours = Colours::of(names(), self.coins.iter().map(|line| line.name.as_str()));
        let lines = self.ratings.iter().map(|player| {
            let own = self.course.iter().filter(|rated| rated.name == player.name);
            let first = own.clone().next();
            // From what it was before the first round that is shown.
            let before = first.map(|rated| (rated.round as f64 - 1.0, rated.before));
            let after = own.map(|rated| (rated.round as f64, rated.rating));
            Line {
                name: player.name.clone(),
                colour: colours.get(&player.name),
                points: before.into_iter().chain(after).collect(),
                shape: Shape::Straight,
            }
        });
        let first = self.course.iter().map(|rated| rated.round).min();
        let last = self.course.iter().map(|rated| rated.round).max();
        let (first, last) = (first.unwrap_or(1), last.unwrap_or(1));
        let step = nice_step((last - first) as f64 / ROUND_TICKS) as u64;
        let ticks = (first..=last).filter(|round| round % step == 0);
        Chart {
            title: "Ratings after each round".into(),
            x: (first as f64 - 1.0, last as f64),
            x_ticks: ticks
                .map(|round| (round as f64, round.to_string()))
                .collect(),
            from_zero: false,
            lines: lines.filter(|line| !line.points.is_empty()).collect(),
        }
    }
}

/// The page of a round that is over; `newest` is the number of the last one.
pub fn round_page(title: &str, round: &Round, coins: &[Coin], newest: u64, now_s: u64) -> String {
    let played_s = round.end_s.saturating_sub(round.start_s);
    let colours = Colours::of(
        round.results.iter().map(|line| line.name.as_str()),
        coins.iter().map(|coin| coin.name.as_str()),
    );
    let mut players: Vec<(&str, Vec<u64>)> = round
        .results
        .iter()
        .map(|line| (line.name.as_str(), Vec::new()))
        .collect();
    for coin in coins {
        match players.iter_mut().find(|(name, _)| *name == coin.name) {
            Some((_, times)) => times.push(coin.time_ms),
            None => players.push((&coin.name, vec![coin.time_ms])),
        }
    }
    let lines = players
        .iter()
        .map(|(name, times)| (*name, 0, times.as_slice()));
    let span = (
        round.start_s as f64,
        round.end_s.max(round.start_s + 1) as f64,
    );
    let number = round.number;
    let content = html! {
        p.quiet { a href="/" { "Scoreboard" } }
        h1 { "Round " (number) }
        p.status {
            "Begun " (utc(round.start_s)) " UTC, played for " (clock(played_s))
            " of " (clock(round.duration_s)) ". Difficulty " code { (round.difficulty) }
            ", " (round.bonus_points) " bonus points for who had a coin."
        }
        @if let Some(note) = &round.note { p.frozen { (note) } }
        div.wide { table {
            thead { tr {
                th.number { "rank" } th { "player" } th.number { "coins" }
                th.number { "last coin at" } th.number { "bonus" } th.number { "rating" }
                th.number { "change" }
            } }
            tbody { @for line in &round.results { tr {
                td.number { (line.rank) }
                td { (line.name) }
                td.number { (line.coins) }
                td.number { (into_the_round(line.last_coin_ms, round.start_s)) }
                td.number { (line.points) }
                td.number { (format!("{:.0}", line.rating_after)) }
                td.number { (format!("{:+.1}", line.rating_after - line.rating_before)) }
            } } }
        } }
        @if coins.is_empty() {
            p.quiet { "When coins landed in it is not known, or none did." }
        } @else {
            (coin_chart(span, span.1, true, &colours, lines).svg())
        }
        nav {
            @if number > 1 { a href=(format!("/rounds/{}", number - 1)) { "← Round " (number - 1) } }
            @if number < newest {
                a href=(format!("/rounds/{}", number + 1)) { "Round " (number + 1) " →" }
            }
            a href=(format!("/rounds/{number}/coins.csv")) { "coins.csv" }
        }
    };
    frame(&format!("{title}: round {number}"), now_s, &content)
}

fn coin_table(lines: &[CoinLine], start_s: Option<u64>) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                th.number { "rank" } th { "player" } th.number { "coins" }
                th.number { @if start_s.is_some() { "last coin at" } @else { "last coin (UTC)" } }
                @if start_s.is_some() {
                    th.number title="estimated from the coins" { "speed" }
                }
            } }
            tbody { @for line in lines { tr.none[line.coins == 0] {
                td.number { (line.rank) }
                td { (line.name) @if line.bot { " " span.bot { "bot" } } }
                td.number { (line.coins) }
                td.number { (last_coin(line.last_coin_ms, start_s)) }
                @if start_s.is_some() {
                    td.number { (line.hashes_per_s.map_or_else(|| "–".to_owned(), speed)) }
                }
            } } }
        } }
    }
}

/// When a coin landed, from the round's begin where there is one; the script says how long ago.
fn last_coin(time_ms: Option<u64>, start_s: Option<u64>) -> Markup {
    let Some(ms) = time_ms else {
        return html! {};
    };
    let text = match start_s {
        Some(start_s) => into_the_round(Some(ms), start_s),
        None => utc(ms / 1000),
    };
    html! { time data-at=(ms / 1000) { (text) } }
}

/// The time until then; counted down by the script.
fn countdown(until_s: u64, now_s: Option<u64>) -> Markup {
    let left = now_s.map_or_else(
        || "…".to_owned(),
        |now_s| clock(until_s.saturating_sub(now_s)),
    );
    html! { b.countdown role="timer" data-until=(until_s) { (left) } }
}

fn frame(title: &str, now_s: u64, content: &Markup) -> String {
    let head = html! {
        link rel="stylesheet" href="/scoreboard.css";
        script defer src="/scoreboard.js" {}
        noscript { (PreEscaped(format!(
            "<meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">"
        ))) }
    };
    let body = html! {
        body data-now=(now_s) {
            main.scores { (content) }
            footer {
                a href="/scoreboard.json" { "scoreboard.json" } " "
                a href="/rounds.json" { "rounds.json" } " "
                a href="/rounds.csv" { "rounds.csv" }
                span #link {}
            }
        }
    };
    web::frame(title, &head, &body).into_string()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{RatingLine, RoundInfo},
        *,
    };
    use crate::level1::rounds::book::{Ranked, Rated};

    fn visit() -> Visit {
        Visit {
            scheme: "http",
            host: "game.example:8014".into(),
        }
    }

    fn round(number: u64) -> Round {
        Round {
            number,
            start_s: 1_700_000_000,
            end_s: 1_700_000_060,
            duration_s: 60,
            difficulty: "0001".into(),
            bonus_points: 50,
            note: Some("<cut> short".into()),
            results: vec![Ranked {
                rank: 1,
                name: "ada".into(),
                coins: 2,
                points: 50,
                rating_before: 1000.0,
                rating_after: 1016.4,
                last_coin_ms: Some(1_700_000_007_000),
            }],
        }
    }

    fn scoreboard() -> Scoreboard {
        let line = |rank, name: &str, times: &[u64]| CoinLine {
            rank,
            name: name.into(),
            bot: name.starts_with("bot-"),
            coins: times.len() as u64,
            last_coin_ms: times.last().copied(),
            hashes_per_s: None,
            times_ms: times.to_vec(),
        };
        Scoreboard {
            title: "A <game>".into(),
            path: "/level1".into(),
            head: "00ab".into(),
            difficulty: "000001".into(),
            phase: Phase::Round,
            round: Some(RoundInfo {
                number: 3,
                start_s: 100,
                end_s: 1000,
                bonus_points: 50,
                freeze_s: None,
            }),
            frozen: false,
            coins: vec![
                line(1, "ada", &[110_000, 165_000]),
                line(2, "bot-1", &[120_000]),
                line(3, "<eve> & \"co\"", &[]),
            ],
            ratings: vec![RatingLine {
                rank: 1,
                name: "ada".into(),
                rating: 1016.4,
                change: Some(16.4),
                points: 50,
            }],
            rounds: vec![round(2)],
            course: vec![Rated {
                round: 2,
                name: "ada".into(),
                before: 1000.0,
                rating: 1016.4,
            }],
            now_s: 365,
        }
    }

    #[test]
    fn the_page_shows_everything_and_escapes_it() {
        let page = scoreboard().with_rates().html(&visit());
        for part in [
            "<h1>A &lt;game&gt;</h1>",
            "data-until=\"1000\">10:35</b>",
            "<td>ada</td><td class=\"number\">2</td>",
            "<time data-at=\"165\">1:05</time>",
            "<td class=\"number\">124 kH/s</td>",
            "<td>&lt;eve&gt; &amp; &quot;co&quot;</td><td class=\"number\">0</td>\
             <td class=\"number\"></td><td class=\"number\">–</td>",
            "<td>ada</td><td class=\"number\">1016</td><td class=\"number\">+16.4</td>",
            "git clone http://<b>NAME:TOKEN</b>@game.example:8014/level1",
            "href=\"/rounds/2\"",
            "<svg",
            "http-equiv=\"refresh\"",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn what_is_going_on_is_said() {
        let said = |phase, frozen| {
            let board = Scoreboard {
                phase,
                frozen,
                ..scoreboard()
            };
            board.fragments().live
        };
        assert!(said(Phase::Open, false).contains("Mining is open"));
        assert!(said(Phase::WarmUp, false).contains("do not count"));
        let pause = said(Phase::Pause { next_s: 1030 }, false);
        assert!(pause.contains("is over. The next begins in <b"), "{pause}");
        assert!(said(Phase::Over, false).contains("is over, and it was the last"));
        assert!(said(Phase::Round, true).contains("Frozen:"));
    }

    #[test]
    fn a_page_on_which_nothing_happens_stays_as_it_is() {
        let mut board = scoreboard().with_rates();
        let before = board.fragments();
        board.now_s += 3;
        assert_eq!(board.with_rates().fragments(), before);
    }

    #[test]
    fn a_round_that_is_over_has_its_page() {
        let coins = [5, 7].map(|second| Coin {
            time_ms: (1_700_000_000 + second) * 1000,
            name: "ada".into(),
            commit: "00".into(),
        });
        let page = round_page("Game", &round(2), &coins, 3, 0);
        for part in [
            "<h1>Round 2</h1>",
            "played for 1:00 of 1:00",
            "&lt;cut&gt; short",
            "0:07",
            "href=\"/rounds/1\"",
            "href=\"/rounds/3\"",
            "<svg",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}

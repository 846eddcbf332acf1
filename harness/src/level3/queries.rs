//! The queries, one after another, each answer compared with the oracle's. A fault strikes when a third
//! of them are done; only from then on may an answer say that it is not whole.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::encoded;
use super::fault::{Fault, Killed, Struck};
use super::feed::Answer;
use super::oracle::Expected;
use super::servers::{Body, Servers};
use crate::report::{Cause, Failure};
use octopus::interrupt;

/// How many wrong answers are shown.
const SHOWN: usize = 3;

/// What came of the queries.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The answers that came, right or wrong, in the order of the queries.
    pub answers: Vec<Answered>,
    /// Answers that said by themselves that they are not complete; only a fault excuses them.
    pub marked: usize,
    /// Queries that were answered wrongly.
    pub wrong: usize,
    /// Why the solution does not pass: the first of the wrong answers, or what ended it all.
    pub failure: Option<Failure>,
    /// The node that was killed.
    pub killed: Option<Killed>,
}

/// A query that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The query's place, from 0.
    pub place: usize,
    /// When it was asked, from the first query.
    pub asked: Duration,
    /// From the first byte of the question to the last of the answer.
    pub time: Duration,
    /// Whether the answer was whole and right.
    pub right: bool,
}

impl Outcome {
    /// The latencies of all answers; none if there is none.
    pub fn latencies(&self) -> Option<Latencies> {
        Latencies::of(self.answers.iter().map(|answer| answer.time).collect())
    }
}

/// Latencies of all answers.
#[derive(Debug, PartialEq)]
pub struct Latencies {
    /// Arithmetic mean.
    pub mean: Duration,
    /// Nearest rank.
    pub median: Duration,
    /// Nearest rank.
    pub p99: Duration,
    /// The longest.
    pub slowest: Duration,
}

impl Latencies {
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort();
        let rank = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).copied()
        };
        let slowest = rank(1.0)?;
        Some(Self {
            mean: times.iter().sum::<Duration>() / times.len() as u32,
            median: rank(0.5)?,
            p99: rank(0.99)?,
            slowest,
        })
    }
}

/// Sends every query and judges its answer. Goes on after a wrong one, and ends at a silence or at
/// the end of the solution.
pub fn ask_all(
    servers: &mut Servers,
    queries: &[&str],
    expected: &Expected,
    fault: Option<Fault>,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut wrong = Vec::new();
    let mut struck = None;
    let begun = Instant::now();
    for (place, query) in queries.iter().enumerate() {
        interrupt::check()?;
        if let Some(fault) = fault
            && place == queries.len() / 3
        {
            match fault.strike(servers, place) {
                Ok(fault) => struck = Some(fault),
                Err(failure) => {
                    outcome.failure = Some(failure);
                    break;
                }
            }
        }
        let asked = begun.elapsed();
        let (came, time) = ask(servers, place, query, expected)?;
        outcome.answers.extend(time.map(|time| Answered {
            place,
            asked,
            time,
            right: matches!(came, Asked::Judged(Verdict::Right)),
        }));
        if let (Some(time), Asked::Judged(verdict)) = (time, &came) {
            servers.feed.answered(place, time, verdict.in_a_word());
        }
        match came {
            Asked::Judged(Verdict::Right) => {}
            Asked::Judged(Verdict::Incomplete(_)) if struck.is_some() => outcome.marked += 1,
            Asked::Judged(Verdict::Incomplete(why)) => {
                wrong.push(Failure::new("not_answered", why).at(named(place, query)));
            }
            Asked::Judged(Verdict::Wrong(failure)) => wrong.push(failure.at(named(place, query))),
            Asked::Over(failure) => {
                let failure = failure.at(named(place, query));
                outcome.failure = Some(cut_short(failure, &wrong, place, queries.len()));
                break;
            }
        }
    }
    if let Some(Struck::Killed(killed)) = struck {
        outcome.killed = Some(killed);
    }
    outcome.wrong = wrong.len();
    outcome.failure = outcome.failure.or_else(|| summary(&wrong, queries.len()));
    Ok(outcome)
}

/// What came of one query.
pub(super) enum Asked {
    /// An answer came, or word that there is none.
    Judged(Verdict),
    /// No further query makes sense.
    Over(Failure),
}

/// Asks a query; also how long the answer took, if one came.
pub(super) fn ask(
    servers: &mut Servers,
    place: usize,
    query: &str,
    expected: &Expected,
) -> Result<(Asked, Option<Duration>)> {
    if let Some(failure) = servers.out_of_time() {
        return Ok((Asked::Over(failure), None));
    }
    let answered = servers.client.get(&format!("/?q={}", encoded(query)));
    interrupt::check()?;
    Ok(match answered {
        Ok((answer, time)) => {
            let body = Body::read(&answer);
            let verdict = judge(answer.status, body, |results| {
                let difference = expected.compare(place, results)?;
                Some(Failure::new("wrong_output", difference.to_string()))
            });
            (Asked::Judged(verdict), Some(time))
        }
        Err(error) => {
            let message = format!("no answer: {error}");
            let asked = match (servers.ended()?, servers.out_of_time()) {
                (Some(failure), _) | (None, Some(failure)) => Asked::Over(failure),
                _ if error.kind() == ErrorKind::TimedOut => {
                    Asked::Over(Failure::slow("not_answered", message))
                }
                _ => Asked::Judged(Verdict::Incomplete(message)),
            };
            (asked, None)
        }
    })
}

pub(super) fn named(place: usize, query: &str) -> String {
    format!("query {} {query:?}", place + 1)
}

/// One failure for all wrong answers: how many, and the first three.
fn summary(wrong: &[Failure], queries: usize) -> Option<Failure> {
    let (first, others) = wrong.split_first()?;
    if others.is_empty() {
        let message = format!(
            "1 of {queries} queries is answered wrongly: {}",
            first.message
        );
        return Some(Failure {
            message,
            ..first.clone()
        });
    }
    let mut message = format!("{} of {queries} queries are answered wrongly", wrong.len());
    message.extend(list(wrong));
    Some(Failure {
        message,
        ..first.clone()
    })
}

/// The failure that ended the queries, with the wrong answers until then.
fn cut_short(failure: Failure, wrong: &[Failure], place: usize, queries: usize) -> Failure {
    let mut message = failure.message.clone();
    let left = queries - place - 1;
    if left > 0 {
        message.extend(["; ", &left.to_string(), " queries after it were not asked"]);
    }
    if !wrong.is_empty() {
        message.extend([
            "\n",
            &wrong.len().to_string(),
            " before it were answered wrongly",
        ]);
        message.extend(list(wrong));
    }
    // A wrong answer is the solution's doing, whatever came after it.
    let cause = if wrong.is_empty() {
        failure.cause
    } else {
        Cause::Solution
    };
    Failure {
        message,
        cause,
        ..failure
    }
}

/// Lines with the first few of the wrong answers.
fn list(wrong: &[Failure]) -> Vec<String> {
    let shown = wrong.iter().take(SHOWN).map(|failure| {
        let place = failure.place.as_deref().unwrap_or("a query");
        format!("\n    {place}: {}", failure.message)
    });
    let more = wrong.len().saturating_sub(SHOWN);
    let rest = (more > 0).then(|| format!("\n    … and {more} more"));
    shown.chain(rest).collect()
}

/// What an answer to a query is worth.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// All hits and nothing else.
    Right,
    /// It says that it is not a whole answer.
    Incomplete(String),
    /// It claims to be whole, and is not.
    Wrong(Failure),
}

impl Verdict {
    fn in_a_word(&self) -> Answer {
        match self {
            Self::Right => Answer::Right,
            Self::Incomplete(_) => Answer::Partial,
            Self::Wrong(_) => Answer::Wrong,
        }
    }
}

/// Judges an answer; one that says that it is partial is not looked into.
fn judge(
    status: u16,
    body: Option<Body>,
    compare: impl FnOnce(&[String]) -> Option<Failure>,
) -> Verdict {
    if status != 200 {
        let error = body.and_then(|body| body.error).unwrap_or_default();
        return Verdict::Incomplete(format!("status {status} {error}"));
    }
    let Some(body) = body else {
        return Verdict::Wrong(Failure::new(
            "wrong_output",
            "the answer is not the contract's JSON",
        ));
    };
    if !body.success || body.partial {
        let error = body.error.unwrap_or_default();
        let what = if body.success {
            "marked partial"
        } else {
            "not a success"
        };
        return Verdict::Incomplete(format!("{what} {error}"));
    }
    match compare(&body.results.unwrap_or_default()) {
        None => Verdict::Right,
        Some(failure) => Verdict::Wrong(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str, right: bool) -> Verdict {
        let failure = (!right).then(|| Failure::new("wrong_output", "x"));
        judge(status, serde_json::from_str(body).ok(), |_| failure)
    }

    #[test]
    fn only_a_marked_answer_may_be_incomplete() {
        let whole = r#"{"success": true, "results": []}"#;
        assert_eq!(verdict(200, whole, true), Verdict::Right);
        assert!(matches!(verdict(200, whole, false), Verdict::Wrong(_)));
        assert!(matches!(verdict(502, whole, false), Verdict::Incomplete(_)));
        let failed = r#"{"success": false, "error": "node 2"}"#;
        assert!(matches!(
            verdict(200, failed, false),
            Verdict::Incomplete(_)
        ));
        let partial = r#"{"success": true, "partial": true, "results": []}"#;
        assert!(matches!(
            verdict(200, partial, false),
            Verdict::Incomplete(_)
        ));
        assert!(matches!(verdict(200, "<html>", true), Verdict::Wrong(_)));
    }

    #[test]
    fn all_wrong_answers_are_counted_and_three_are_shown() {
        let wrong: Vec<Failure> = (0..5)
            .map(|n| Failure::new("wrong_output", format!("m{n}")).at(named(n, "q")))
            .collect();
        assert_eq!(summary(&[], 50), None);
        let one = summary(&wrong[..1], 50).unwrap();
        assert_eq!(one.message, "1 of 50 queries is answered wrongly: m0");
        let all = summary(&wrong, 50).unwrap();
        assert_eq!(
            all.message,
            "5 of 50 queries are answered wrongly\n    query 1 \"q\": m0\n    query 2 \"q\": m1\n    \
             query 3 \"q\": m2\n    … and 2 more"
        );
        assert_eq!(all.place.as_deref(), Some("query 1 \"q\""));
    }

    #[test]
    fn a_silence_after_a_wrong_answer_is_the_solutions_doing() {
        let silence = || Failure::slow("not_answered", "no answer");
        assert_eq!(cut_short(silence(), &[], 49, 50), silence());
        let wrong = [Failure::new("wrong_output", "m").at("query 1")];
        let cut = cut_short(silence(), &wrong, 9, 50);
        assert_eq!(cut.cause, Cause::Solution);
        assert_eq!(
            cut.message,
            "no answer; 40 queries after it were not asked\n1 before it were answered wrongly\n    \
             query 1: m"
        );
    }

    #[test]
    fn latencies_of_a_list() {
        let times = (1..=100).rev().map(Duration::from_secs).collect();
        let expected = Latencies {
            mean: Duration::from_millis(50_500),
            median: Duration::from_secs(50),
            p99: Duration::from_secs(99),
            slowest: Duration::from_secs(100),
        };
        assert_eq!(Latencies::of(times), Some(expected));
        assert_eq!(Latencies::of(Vec::new()), None);
    }
}

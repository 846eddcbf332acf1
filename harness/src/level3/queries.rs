//! The queries, one after another, each answer compared with the oracle's.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::client::encoded;
use super::nodes::{self, Slowed};
use super::oracle::Expected;
use super::servers::{Body, Servers};
use crate::console;
use crate::report::Failure;
use octopus::interrupt;

/// What is done to a node while it is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node is killed when a third of the queries are done.
    Kill(u32),
    /// The node is stopped for so long, again and again.
    Slow(u32, Duration),
}

/// What came of the queries.
#[derive(Debug)]
pub struct Outcome {
    /// The latencies, unless not even one query was answered.
    pub latencies: Option<Latencies>,
    /// Answers that said by themselves that they are not complete; only a fault excuses them.
    pub marked: usize,
    /// The first answer that was wrong.
    pub failure: Option<Failure>,
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

/// Sends every query and judges its answer; ends at the first that is wrong.
pub fn ask_all(
    servers: &mut Servers,
    queries: &[&str],
    expected: &Expected,
    fault: Option<Fault>,
) -> Result<Outcome> {
    let mut outcome = Outcome {
        latencies: None,
        marked: 0,
        failure: None,
    };
    let slowed = match fault {
        Some(Fault::Slow(node, stop)) => {
            let slowed = Slowed::new(servers.leader(), node, stop);
            if slowed.is_none() {
                outcome.failure = Some(no_such_node(node));
                return Ok(outcome);
            }
            slowed
        }
        _ => None,
    };
    let mut times = Vec::with_capacity(queries.len());
    for (place, query) in queries.iter().enumerate() {
        interrupt::check()?;
        if let Some(Fault::Kill(node)) = fault
            && place == queries.len() / 3
        {
            servers.look_at_memory();
            if !nodes::signal(servers.leader(), node, Signal::KILL) {
                outcome.failure = Some(no_such_node(node));
                break;
            }
            console::log(&format!(
                "level 3: node {node} is killed before query {}",
                place + 1
            ));
        }
        let answered = servers.client.get(&format!("/?q={}", encoded(query)));
        interrupt::check()?;
        let verdict = match answered {
            Ok((answer, time)) => {
                times.push(time);
                let body = Body::read(&answer);
                judge(answer.status, body, |results| {
                    expected.compare(place, results).map(Failure::from)
                })
            }
            Err(error) => Verdict::Incomplete(format!("no answer: {error}")),
        };
        match verdict {
            Verdict::Right => {}
            Verdict::Incomplete(_) if fault.is_some() => outcome.marked += 1,
            Verdict::Incomplete(why) => {
                outcome.failure = Some(Failure::new("not_answered", why));
            }
            Verdict::Wrong(failure) => outcome.failure = Some(failure),
        }
        if let Some(failure) = outcome.failure.take() {
            outcome.failure = Some(failure.at(format!("query {} {query:?}", place + 1)));
            break;
        }
    }
    drop(slowed);
    outcome.latencies = Latencies::of(times);
    Ok(outcome)
}

fn no_such_node(node: u32) -> Failure {
    let message = format!("no process with `--id {node}` was found among the solution's");
    Failure::new("no_such_node", message)
}

/// What an answer to a query is worth.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// All hits and nothing else.
    Right,
    /// It says that it is not a whole answer.
    Incomplete(String),
    /// It claims to be whole, and is not.
    Wrong(Failure),
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

//! What came of a run: the score, the verdict and why, the figures, and the summary for people.

use std::{sync::Arc, time::Duration};

use octopus::{EventLog, NodeId, Traffic};
use serde_json::json;

use super::{
    judge::Disqualified,
    percentile,
    requests::{Checked, Outcome as Ended, Requests},
    run::{Judged, Seen},
    score::Score,
};
use crate::{noise::Noise, report::Failure};

/// How long a number may be overdue before it counts as lost. The delays of a bad moment add up
/// to about half of it.
const LATE: Duration = Duration::from_secs(2);

/// How many of the nodes' last lines a failure shows.
const LINES: usize = 10;

/// What came of a run.
pub(super) struct Outcome {
    pub score: Score,
    pub traffic: Traffic,
    pub duration: Duration,
    pub answered: u64,
    pub requests: u64,
    pub checked: Checked,
    pub noise: Noise,
    pub log: Arc<EventLog>,
    judged: Judged,
    disqualified: Option<Disqualified>,
    stuck: Option<Failure>,
    replicas: Option<Failure>,
    latencies_us: Vec<u64>,
    said: Vec<Vec<String>>,
}

impl Outcome {
    pub fn new(seen: Seen) -> Self {
        let requests = seen.board.take_requests();
        let checked = requests.check();
        record_requests(&requests, &seen.log);
        let reason = seen
            .disqualified
            .as_ref()
            .map(|why| why.failure.message.clone());
        // The 2014 text has whole units: 30s, not 30.002s.
        let whole =
            Duration::from_millis((seen.duration.as_secs_f64() * 10.0).floor() as u64 * 100);
        let score = Score::new(
            seen.traffic.total(),
            seen.judged.correct,
            reason,
            whole,
            seen.traffic.nodes,
        );
        seen.log.record(
            "end",
            json!({
                "total": score.total,
                "correct": score.correct_queries,
                "disqualifier": score.disqualifier,
                "links": seen.traffic,
                "history": checked,
            }),
        );
        Self {
            score,
            traffic: seen.traffic,
            duration: seen.duration,
            answered: seen.answered,
            requests: seen.requests,
            checked,
            noise: seen.noise,
            judged: seen.judged,
            disqualified: seen.disqualified,
            stuck: seen.stuck,
            replicas: seen.replicas,
            latencies_us: requests.latencies_us(seen.duration.as_micros() as u64),
            said: seen.said,
            log: seen.log,
        }
    }

    /// Why the run is not passed, if it is not: what is wrong before what is missing, and what
    /// nobody knows last.
    pub fn failure(&self) -> Option<Failure> {
        let violation = self.checked.violation.as_ref();
        if let Some(why) = &self.disqualified {
            let mut failure = why.failure.clone();
            if let Some(violation) = violation {
                failure.message = format!("{}\n{}", failure.message.trim_end(), violation.shown());
            }
            return Some(failure.said(self.said_by(Some(why.node))));
        }
        let undecided = self.checked.undecided.as_ref();
        violation
            .map(|violation| Failure::new("history", violation.shown()))
            .or_else(|| self.replicas.clone())
            .or_else(|| self.stuck.clone())
            .or_else(|| undecided.map(|why| Failure::undecided("history_undecided", why)))
            .map(|failure| failure.said(self.said_by(None)))
    }

    /// The last lines that a node said, or all of them.
    fn said_by(&self, node: Option<NodeId>) -> Vec<String> {
        if let Some(lines) = node.and_then(|node| self.said.get(node)) {
            return lines.clone();
        }
        let talkers = self.said.iter().filter(|lines| !lines.is_empty()).count();
        let each = LINES / talkers.max(1);
        let of = |(node, lines): (usize, &Vec<String>)| {
            let last = lines.len().saturating_sub(each.max(1));
            let named = lines[last..]
                .iter()
                .map(|line| format!("[node{node}] {line}"));
            named.collect::<Vec<_>>()
        };
        self.said
            .iter()
            .enumerate()
            .flat_map(of)
            .take(LINES)
            .collect()
    }

    /// Answers that wait for a lower number.
    pub fn unjudged(&self) -> usize {
        self.judged.unjudged.0
    }

    /// The first number that no answer carried while higher ones were, and when that showed.
    ///
    /// A number that may still have been on its way when the run ended is none of these.
    pub fn lost_number(&self) -> Option<(u64, u64)> {
        let (_, since_us) = self.judged.unjudged;
        let since_us = since_us.filter(|_| self.disqualified.is_none())?;
        let waited = self
            .duration
            .saturating_sub(Duration::from_micros(since_us));
        (waited > LATE).then_some((self.score.correct_queries, since_us))
    }

    /// Names and milliseconds.
    pub fn latency_figures(&self) -> Vec<(&'static str, f64)> {
        [
            ("latency_p50_ms", 50.0),
            ("latency_p90_ms", 90.0),
            ("latency_p99_ms", 99.0),
        ]
        .into_iter()
        .filter_map(|(name, percent)| {
            let us = percentile(&self.latencies_us, percent)?;
            Some((name, us as f64 / 1000.0))
        })
        .collect()
    }

    /// The summary of 2014, and what ours adds.
    pub fn summary(&self, reference: Option<f64>) -> String {
        let mut text = self.score.pretty.clone();
        let mut add = |line: String| {
            text.push('\n');
            text.push_str(&line);
        };
        if let Some(reference) = reference {
            add(format!(
                "{:.2} times the reference's {reference:.0} points",
                self.score.total / reference
            ));
        }
        let latencies: Vec<String> = self
            .latency_figures()
            .iter()
            .map(|(name, ms)| format!("{} {ms:.1} ms", &name[8..11]))
            .collect();
        if !latencies.is_empty() {
            add(format!(
                "Latency from first request to answer: {}",
                latencies.join(", ")
            ));
        }
        add(format!(
            "Requests: {}, answered: {}",
            self.requests, self.answered
        ));
        if let Some((number, at_us)) = self.lost_number() {
            add(format!(
                "Number {number} is missing: the count stopped there at {:.3} s, {} answers stay \
                 unjudged",
                at_us as f64 / 1e6,
                self.unjudged()
            ));
        } else if self.unjudged() > 0 {
            add(format!(
                "{} answers waited for a lower number when the run ended",
                self.unjudged()
            ));
        }
        if let Some(stuck) = &self.stuck {
            add(format!("No progress: {}", stuck.message));
        }
        add(self.checked.shown());
        text
    }
}

/// Puts the requests into the event log, for the report and for other programs.
fn record_requests(requests: &Requests, log: &EventLog) {
    for request in requests.all() {
        let (status, number) = match &request.outcome {
            Ended::Answer { number, .. } => ("answered", Some(*number)),
            Ended::Unreadable(_) => ("bad", None),
            Ended::Lost(_) => ("lost", None),
            Ended::Unsent(_) => ("unsent", None),
            Ended::Open => ("open", None),
        };
        let why = match &request.outcome {
            Ended::Unreadable(why) | Ended::Lost(why) | Ended::Unsent(why) => Some(why),
            _ => None,
        };
        let mut fields = json!({
            "query": request.query,
            "attempt": request.attempt,
            "node": request.node,
            "end_us": request.end_us,
            "status": status,
            "number": number,
        });
        if let (Some(why), Some(fields)) = (why, fields.as_object_mut()) {
            fields.insert("why".to_owned(), why.as_str().into());
        }
        log.record_at(request.start_us, "request", fields);
    }
}

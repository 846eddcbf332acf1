//! What came of a run: counts and latencies by kind of client, and the points of 2014.

use std::collections::BTreeMap;

use super::backend::BackendTally;
use super::flood::{Played, Samples, Verdict};
use super::population::score;
use super::traffic::Kind;
use crate::recording::Recording;

/// Counts for the clients of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// Requests that became due.
    pub sent: usize,
    /// Correct answers within the time of the run.
    pub correct: usize,
    /// Answers with status 200 and a wrong HMAC.
    pub wrong: usize,
    /// Answers with any other status.
    pub rejected: usize,
    /// Requests given up after a second of silence.
    pub timed_out: usize,
    /// Requests whose connection failed.
    pub broken: usize,
    /// How many whole answers had which status.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests still waiting when the time was over.
    pub unanswered: usize,
    /// Milliseconds from when each correctly answered request was due to its answer, ascending.
    pub latencies_ms: Vec<f64>,
}

/// Everything that was counted in a run.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Legitimate clients.
    pub mice: Side,
    /// Malicious ones.
    pub elephants: Side,
    /// The backends, in order.
    pub backends: Vec<BackendTally>,
    /// Answers that the backends could give if they were never idle.
    pub capacity: f64,
    /// The length of the run in milliseconds.
    pub length_ms: u64,
    /// How late the load generator itself was, in milliseconds, ascending.
    pub lateness_ms: Vec<f64>,
    /// Evenness of the answered shares of the mice's requests: 1 if every mouse got the same share
    /// of its own, 1/n if one got all.
    pub evenness: f64,
    /// Evenness of the answers to the elephants: 1 if each had as many.
    pub flood_evenness: f64,
    /// Slow connections that the solution closed.
    pub slow_closed: usize,
    /// Requests that ended oddly.
    pub samples: Samples,
    /// What happened, for `--events` and `--report`.
    pub recording: Recording,
}

impl Tally {
    /// Counts a run of `length_ms`; what came after it does not count.
    pub fn count(
        played: &Played,
        backends: Vec<BackendTally>,
        capacity: f64,
        length_ms: u64,
    ) -> Self {
        let mut mice = Side::default();
        let mut elephants = Side::default();
        let mut asked = vec![0_usize; played.traffic.clients.len()];
        let mut answered = asked.clone();
        for (arrival, outcome) in played.traffic.arrivals.iter().zip(&played.outcomes) {
            if arrival.due_us >= length_ms * 1000 {
                continue;
            }
            let side = match played.traffic.client(arrival.client).kind {
                Kind::Mouse => &mut mice,
                Kind::Elephant => &mut elephants,
            };
            side.sent += 1;
            asked[arrival.client.0] += 1;
            match outcome.filter(|outcome| outcome.at_us <= length_ms * 1000) {
                None => side.unanswered += 1,
                Some(outcome) => match outcome.verdict {
                    Verdict::Correct => {
                        *side.statuses.entry(200).or_default() += 1;
                        side.correct += 1;
                        let latency_us = outcome.at_us.saturating_sub(arrival.due_us);
                        side.latencies_ms.push(latency_us as f64 / 1000.0);
                        answered[arrival.client.0] += 1;
                    }
                    Verdict::Wrong => {
                        *side.statuses.entry(200).or_default() += 1;
                        side.wrong += 1;
                    }
                    Verdict::Rejected(status) => {
                        *side.statuses.entry(status).or_default() += 1;
                        side.rejected += 1;
                    }
                    Verdict::TimedOut => side.timed_out += 1,
                    Verdict::Broken => side.broken += 1,
                },
            }
        }
        mice.latencies_ms.sort_by(f64::total_cmp);
        elephants.latencies_ms.sort_by(f64::total_cmp);
        let mut lateness_ms: Vec<f64> = played
            .lateness
            .iter()
            .map(|late| late.as_secs_f64() * 1000.0)
            .collect();
        lateness_ms.sort_by(f64::total_cmp);
        let shares = (0..asked.len())
            .filter(|&client| played.traffic.clients[client].kind == Kind::Mouse)
            .filter(|&client| asked[client] > 0)
            .map(|client| share(answered[client], asked[client]));
        let mouse_evenness = evenness(&shares.collect::<Vec<_>>());
        let floods = (0..asked.len())
            .filter(|&client| played.traffic.clients[client].kind == Kind::Elephant)
            .map(|client| answered[client] as f64);
        let flood_evenness = evenness(&floods.collect::<Vec<_>>());
        Self {
            mice,
            elephants,
            backends,
            capacity,
            length_ms,
            lateness_ms,
            evenness: mouse_evenness,
            flood_evenness,
            slow_closed: played.slow_closed,
            samples: played.samples.clone(),
            recording: Recording::default(),
        }
    }

    /// Correct answers to anybody.
    pub fn answers(&self) -> usize {
        self.mice.correct + self.elephants.correct
    }

    /// The points of 2014.
    pub fn score(&self) -> f64 {
        score(self.mice.correct, self.answers() as f64, self.capacity)
    }

    /// Answers that the backends could have given and did not.
    pub fn deficit(&self) -> f64 {
        self.capacity - self.answers() as f64
    }

    /// Requests that found a backend and its queue full.
    pub fn overflows(&self) -> usize {
        self.backends.iter().map(|backend| backend.overflows).sum()
    }

    /// Requests that a failing backend answered with 500.
    pub fn failures(&self) -> usize {
        self.backends.iter().map(|backend| backend.failures).sum()
    }

    /// Answers with status 200 and a wrong HMAC, to anybody.
    pub fn wrong(&self) -> usize {
        self.mice.wrong + self.elephants.wrong
    }

    /// The share of the mice's requests that were answered correctly.
    pub fn mice_share(&self) -> f64 {
        share(self.mice.correct, self.mice.sent)
    }

    /// The share of the backends' time that was work.
    pub fn busy(&self) -> f64 {
        let work: u64 = self.backends.iter().map(|backend| backend.work_ms).sum();
        let slots = self.backends.len() * super::population::SLOTS;
        work as f64 / (slots as u64 * self.length_ms).max(1) as f64
    }
}

/// The value below which a share of an ascending list lies (nearest rank); none of an empty one.
pub fn percentile(ascending: &[f64], share: f64) -> Option<f64> {
    let rank = (share * ascending.len() as f64).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).copied()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// Jain's fairness index.
fn evenness(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares == 0.0 {
        0.0
    } else {
        sum * sum / (values.len() as f64 * squares)
    }
}

#[cfg(test)]
mod tests {
    use super::super::flood::Outcome;
    use super::super::traffic::{Arrival, Client, ClientIndex, Traffic};
    use super::*;

    fn played(outcomes: Vec<Option<(Verdict, u64)>>) -> Played {
        let clients = [("m", Kind::Mouse), ("e", Kind::Elephant)]
            .map(|(name, kind)| Client {
                name: name.into(),
                kind,
            })
            .into();
        let arrivals = (0..outcomes.len())
            .map(|turn| Arrival::plain(turn as u64 * 1000, ClientIndex(turn % 2)))
            .collect();
        let outcomes = outcomes
            .into_iter()
            .map(|outcome| outcome.map(|(verdict, at_us)| Outcome { verdict, at_us }))
            .collect();
        Played {
            traffic: Traffic::new(clients, arrivals),
            outcomes,
            lateness: Vec::new(),
            slow_closed: 0,
            samples: Samples::default(),
        }
    }

    #[test]
    fn only_correct_answers_in_time_count() {
        let played = played(vec![
            Some((Verdict::Correct, 80_000)),
            Some((Verdict::Correct, 80_000)),
            Some((Verdict::Wrong, 80_000)),
            Some((Verdict::Rejected(429), 4000)),
            Some((Verdict::Correct, 1_000_001)),
            None,
        ]);
        let tally = Tally::count(&played, Vec::new(), 53.3, 1000);
        assert_eq!(
            (tally.mice.sent, tally.mice.correct, tally.mice.wrong),
            (3, 1, 1)
        );
        assert_eq!(tally.mice.unanswered, 1, "an answer after the end is none");
        assert_eq!((tally.elephants.correct, tally.elephants.rejected), (1, 1));
        assert_eq!(tally.elephants.unanswered, 1);
        assert_eq!(tally.mice.latencies_ms, [80.0]);
        assert_eq!(tally.mice.statuses, [(200, 2)].into());
        assert_eq!(tally.elephants.statuses, [(200, 1), (429, 1)].into());
        assert!((tally.score() - 0.01).abs() < 1e-9);
        assert!((tally.deficit() - 51.3).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(percentile(&values, 0.5), Some(2.0));
        assert_eq!(percentile(&values, 0.99), Some(4.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn evenness_is_one_for_equals_and_small_for_one_that_takes_all() {
        assert!((evenness(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-9);
        assert!((evenness(&[9.0, 0.0, 0.0]) - 1.0 / 3.0).abs() < 1e-9);
    }
}

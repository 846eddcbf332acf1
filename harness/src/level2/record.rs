//! What is recorded of a run for `--events` and `--report`: every request, and how many requests
//! each backend held at any time.

use std::time::Instant;

use serde_json::json;

use super::{
    backend::BackendTally,
    flood::{Played, Verdict},
    population::{ROOM, SLOTS},
    traffic::Kind,
};
use crate::recording::{Event, Mark, Panel, Point, Recording, Series};

/// Requests are counted over so many microseconds: a round of the contest.
const ROUND_US: u64 = 500_000;

/// The record of a run that started at `started`.
pub(super) fn record(played: &Played, backends: &[BackendTally], started: Instant) -> Recording {
    let mut events = requests(played);
    for (number, backend) in backends.iter().enumerate() {
        events.extend(occupancy(backend, started).map(|(t_us, held)| {
            json!({"t_us": t_us, "event": "backend", "backend": number, "requests": held})
        }));
    }
    events.sort_by_key(|event| event["t_us"].as_u64());
    let seconds = length(played);
    let numbered = backends.iter().enumerate();
    let mut panels: Vec<Panel> = numbered
        .map(|(number, backend)| queue(number, backend, started, seconds))
        .collect();
    panels.extend([
        ends(played, Kind::Mouse, "Mice"),
        ends(played, Kind::Elephant, "Elephants"),
        latencies(played),
    ]);
    Recording {
        events,
        panels,
        ..Recording::default()
    }
}

fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Correct) => "served",
        Some(Verdict::Wrong) => "wrong",
        Some(Verdict::Rejected(_)) => "rejected",
        Some(Verdict::TimedOut) => "timed_out",
        Some(Verdict::Broken) => "broken",
        None => "unanswered",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Mouse => "mouse",
        Kind::Elephant => "elephant",
    }
}

fn requests(played: &Played) -> Vec<Event> {
    let both = played.traffic.arrivals.iter().zip(&played.outcomes);
    let event = both.enumerate().map(|(number, (arrival, outcome))| {
        let client = played.traffic.client(arrival.client);
        let verdict = outcome.map(|outcome| outcome.verdict);
        let status = match verdict {
            Some(Verdict::Correct | Verdict::Wrong) => Some(200),
            Some(Verdict::Rejected(status)) => Some(status),
            _ => None,
        };
        json!({
            "t_us": arrival.due_us, "event": "request", "request": number + 1,
            "client": client.name, "kind": kind(client.kind),
            "end_us": outcome.map(|outcome| outcome.at_us),
            "outcome": word(verdict), "status": status,
        })
    });
    event.collect()
}

/// The times, in microseconds from the start, at which a backend held more or fewer requests than
/// before, and how many.
fn occupancy(backend: &BackendTally, started: Instant) -> impl Iterator<Item = (u64, usize)> {
    let since = move |at: &Instant| at.saturating_duration_since(started).as_micros() as u64;
    backend
        .occupancy
        .iter()
        .map(move |(at, held)| (since(at), *held))
}

/// One backend over time.
fn queue(number: usize, backend: &BackendTally, started: Instant, seconds: f64) -> Panel {
    let points = occupancy(backend, started)
        .map(|(t_us, held)| Point(t_us as f64 / 1e6, held as f64, None))
        .filter(|point| point.0 <= seconds);
    Panel {
        title: format!("At backend {number}, {SLOTS} in work and others waiting"),
        x: "seconds",
        x_end: Some(seconds),
        y: "requests",
        limit: Some(((SLOTS + ROOM) as f64, "one more overflows")),
        series: vec![Series {
            name: "in work or waiting",
            colour: "other",
            mark: Mark::Steps,
            points: points.collect(),
        }],
        ..Panel::default()
    }
}

/// The seconds that the schedule fills, in whole rounds.
fn length(played: &Played) -> f64 {
    let last = played.traffic.arrivals.iter().map(|arrival| arrival.due_us);
    let rounds = last.max().map_or(0, |last_us| last_us / ROUND_US + 1);
    rounds as f64 * ROUND_US as f64 / 1e6
}

/// How the requests of one side ended, by the round in which they were due.
fn ends(played: &Played, side: Kind, name: &str) -> Panel {
    type Counted = fn(Option<Verdict>) -> bool;
    let classes: [(&str, &str, Counted); 3] = [
        ("served", "good", |verdict| {
            verdict == Some(Verdict::Correct)
        }),
        ("refused", "lost", |verdict| {
            matches!(verdict, Some(Verdict::Rejected(_)))
        }),
        ("wrong, broken, or without an answer", "bad", |verdict| {
            !matches!(verdict, Some(Verdict::Correct | Verdict::Rejected(_)))
        }),
    ];
    let both = || played.traffic.arrivals.iter().zip(&played.outcomes);
    let rounds = both()
        .map(|(arrival, _)| arrival.due_us / ROUND_US + 1)
        .max();
    let series = classes.into_iter().map(|(name, colour, counts)| {
        let mut rounds = vec![0_u32; rounds.unwrap_or(0) as usize];
        for (arrival, outcome) in both() {
            let is_side = played.traffic.client(arrival.client).kind == side;
            if is_side && counts(outcome.map(|outcome| outcome.verdict)) {
                rounds[(arrival.due_us / ROUND_US) as usize] += 1;
            }
        }
        let at = |round: usize| round as f64 * ROUND_US as f64 / 1e6;
        let points = rounds.iter().enumerate();
        Series {
            name,
            colour,
            mark: Mark::Bars,
            points: points
                .map(|(round, &count)| Point(at(round), f64::from(count), None))
                .collect(),
        }
    });
    Panel {
        title: format!("{name} by the round of their request"),
        x: "seconds",
        x_end: Some(length(played)),
        y: "requests",
        series: series.collect(),
        ..Panel::default()
    }
}

fn latencies(played: &Played) -> Panel {
    let side = |wanted: Kind, name, colour| {
        let both = played.traffic.arrivals.iter().zip(&played.outcomes);
        let points = both.enumerate().filter_map(|(number, (arrival, outcome))| {
            let client = played.traffic.client(arrival.client);
            let outcome = outcome.filter(|outcome| outcome.verdict == Verdict::Correct)?;
            let ms = outcome.at_us.saturating_sub(arrival.due_us) as f64 / 1e3;
            let seconds = arrival.due_us as f64 / 1e6;
            let words = format!(
                "request {} of {} {} at {seconds:.3} s: {ms:.1} ms",
                number + 1,
                kind(client.kind),
                client.name
            );
            (client.kind == wanted).then_some(Point(seconds, ms, Some(words)))
        });
        Series {
            name,
            colour,
            mark: Mark::Dots,
            points: points.collect(),
        }
    };
    Panel {
        title: "From when a request was due to its answer".into(),
        x: "seconds",
        x_end: Some(length(played)),
        y: "milliseconds",
        series: vec![
            side(Kind::Elephant, "elephants", "lost"),
            side(Kind::Mouse, "mice", "good"),
        ],
        ..Panel::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{
        flood::{Outcome, Samples},
        traffic::{Arrival, Client, ClientIndex, Traffic},
    };
    use super::*;

    #[test]
    fn every_request_is_an_event_and_is_counted_in_one_bar() {
        let clients = [("m", Kind::Mouse), ("e", Kind::Elephant)].map(|(name, kind)| Client {
            name: name.into(),
            kind,
        });
        let verdicts = [
            Some(Verdict::Correct),
            Some(Verdict::Rejected(429)),
            Some(Verdict::TimedOut),
            None,
        ];
        let arrival = |turn: usize| Arrival::plain(turn as u64 * 200_000, ClientIndex(turn % 2));
        let outcome = |verdict: Verdict| Outcome {
            verdict,
            at_us: 900_000,
        };
        let played = Played {
            traffic: Traffic::new(clients.into(), (0..4).map(arrival).collect()),
            outcomes: verdicts.map(|verdict| verdict.map(outcome)).into(),
            lateness: Vec::new(),
            slow_closed: 0,
            samples: Samples::default(),
        };
        let started = Instant::now();
        let backend = BackendTally {
            occupancy: vec![(started + Duration::from_micros(300_000), 1)],
            ..BackendTally::default()
        };
        let recording = record(&played, &[backend], started);
        let kinds: Vec<_> = recording
            .events
            .iter()
            .map(|event| &event["event"])
            .collect();
        assert_eq!(
            kinds,
            ["request", "request", "backend", "request", "request"]
        );
        assert_eq!(recording.events[1]["status"], 429);
        assert_eq!(recording.events[3]["outcome"], "timed_out");
        let counted: f64 = recording.panels[1..3]
            .iter()
            .flat_map(|panel| &panel.series)
            .flat_map(|series| &series.points)
            .map(|point| point.1)
            .sum();
        assert!((counted - 4.0).abs() < 1e-9);
        assert_eq!(recording.panels[3].series[1].points.len(), 1);
    }
}

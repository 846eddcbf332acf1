//! The charts of a run on the flaky network, made from its event log (`docs/events.md`).
//!
//! States and acts are drawn from the events that say exactly when they changed, never from the
//! samples; only traffic is counted by them. `cluster` draws nodes, links, monkeys and traffic,
//! `requests` what level 4's client saw.

mod cluster;
mod requests;

use serde_json::Value;

use crate::recording::{Band, Recording};

/// What the page draws of a log, whose events are in the order of time.
pub fn record(events: &[Value]) -> Recording {
    let log = Log::new(events);
    let mut panels = requests::panels(&log);
    panels.extend(cluster::panels(&log));
    let mut bands = cluster::bands(&log);
    bands.extend(moments(&log));
    bands.extend(requests::violation(&log).map(|(band, _)| band));
    Recording {
        panels,
        bands,
        time: Some((0.0, log.end)),
        glossary: cluster::glossary(&log),
        ..Recording::default()
    }
}

/// An event log that is being drawn.
struct Log<'a> {
    events: &'a [Value],
    nodes: usize,
    /// What links join: the nodes, and the clients' machine if its links are flaky.
    places: usize,
    /// The time of the last thing that happened, in seconds.
    end: f64,
}

impl<'a> Log<'a> {
    fn new(events: &'a [Value]) -> Self {
        let ends = events.iter().flat_map(|event| {
            let [begin, end] = ["t_us", "end_us"].map(|name| seconds(&event[name]));
            [begin, end]
        });
        let first = |name| events.first().and_then(|event| event[name].as_u64());
        let nodes = first("nodes").unwrap_or(0) as usize;
        Self {
            events,
            nodes,
            places: first("places").map_or(nodes, |places| places as usize),
            end: ends.fold(0.0, f64::max),
        }
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["event"] == kind)
    }

    fn lanes(&self) -> Vec<String> {
        (0..self.nodes).map(|node| format!("node {node}")).collect()
    }
}

/// Microseconds as seconds; 0 of what is none.
fn seconds(us: &Value) -> f64 {
    us.as_u64().unwrap_or(0) as f64 / 1e6
}

fn index(value: &Value) -> usize {
    value.as_u64().unwrap_or(0) as usize
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What happened to the whole run.
fn moments(log: &Log<'_>) -> Vec<Band> {
    let kinds = [
        ("disqualified", "bad", "disqualified"),
        ("exit", "bad", "ended by itself"),
        (
            "monkeys_start",
            "other",
            "the times of the schedule count from here",
        ),
        ("probe", "other", "all is healed, and the nodes are probed"),
    ];
    let bands = kinds.into_iter().flat_map(|(kind, colour, what)| {
        log.of(kind).map(move |event| {
            let at = seconds(&event["t_us"]);
            let words = match event["node"].as_u64() {
                Some(node) => format!("{at:.6} s: node {node} {what} ({})", text(&event["text"])),
                None => format!("{at:.6} s: {what}\n{}", text(&event["text"])),
            };
            Band {
                from: at,
                to: at,
                colour,
                words,
            }
        })
    });
    bands.collect()
}

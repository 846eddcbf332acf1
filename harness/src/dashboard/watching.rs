//! What is known of the run that goes on, from what it tells (`live_feed`): bounded, whatever it
//! says.

use std::{collections::VecDeque, time::Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::level3::Answer;

/// How many of the lines that a run prints are shown, and how much of each.
const LINES_MAX: usize = 200;
const LINE_MAX: usize = 500;

/// How many views of the queues are drawn: ten a second for minutes.
const QUEUES_MAX: usize = 3_000;

/// How many answers of a search are drawn.
const ANSWERS_MAX: usize = 3_000;

/// How many nodes of a search are shown.
const SEARCH_NODES_MAX: usize = 64;

/// How many of a chain's events are shown.
const CHAIN_MAX: usize = 100;

/// How many results of a run are shown.
const RESULTS_MAX: usize = 100;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// It goes on.
    Running,
    /// It is being stopped.
    Stopping,
    /// It is over; in words.
    Over(String),
}

/// A run as it is seen.
#[derive(Debug, Clone)]
pub(super) struct Watching {
    /// The project's name.
    pub project: String,
    pub level: u8,
    pub stage: u8,
    pub since: Instant,
    pub phase: Phase,
    /// What it printed, the newest last.
    pub lines: VecDeque<String>,
    /// The latest view of the network.
    pub network: Option<Value>,
    /// Seconds, and how many requests each backend held.
    pub queues: VecDeque<(f64, Vec<f64>)>,
    /// How many requests fit a backend.
    pub queue_room: f64,
    /// How long the flood lasts, in seconds.
    pub queue_end_s: f64,
    /// What happened to the chain, the newest last.
    pub chain: VecDeque<Value>,
    /// How a search stands.
    pub search: Option<Search>,
    pub results: Vec<Value>,
    /// Numbers in the history.
    pub kept: Vec<i64>,
}

/// How a search (level 3) stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// `starting`, `indexing` or `asking`.
    pub phase: String,
    /// How many queries there are.
    pub of: u64,
    /// The nodes' processes, as they were told last.
    pub nodes: Vec<Value>,
    /// Query, milliseconds and how it was answered, the newest last.
    pub answers: VecDeque<(f64, f64, Answer)>,
    /// How many were answered in each way, in the order of [`Answer::ALL`].
    pub counts: [u64; 3],
}

impl Search {
    fn hear(&mut self, is: &Value) {
        let phase = is["phase"].as_str().unwrap_or_default();
        self.phase = phase.chars().take(20).collect();
        self.of = is["of"].as_u64().unwrap_or_default();
        let nodes = is["nodes"].as_array().into_iter().flatten();
        self.nodes = nodes.take(SEARCH_NODES_MAX).cloned().collect();
        for told in is["answers"].as_array().into_iter().flatten() {
            if let (Ok(how), Some(query), Some(ms)) = (
                Answer::deserialize(&told["answer"]),
                told["query"].as_f64(),
                told["ms"].as_f64(),
            ) {
                self.counts[how as usize] += 1;
                push(&mut self.answers, (query, ms, how), ANSWERS_MAX);
            }
        }
    }
}

impl Watching {
    /// A run that begins now.
    pub fn new(project: String, level: u8, stage: u8) -> Self {
        Self {
            project,
            level,
            stage,
            since: Instant::now(),
            phase: Phase::Running,
            lines: VecDeque::new(),
            network: None,
            queues: VecDeque::new(),
            queue_room: 0.0,
            queue_end_s: 0.0,
            chain: VecDeque::new(),
            search: None,
            results: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Takes in a line of the feed; what makes no sense is passed over.
    pub fn hear(&mut self, line: &str) {
        let Ok(mut told) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let is = told.get_mut("is").map(Value::take).unwrap_or_default();
        match told["live"].as_str() {
            Some("network") => self.network = Some(is),
            Some("queues") => self.hear_queues(&is),
            Some("search") => self.search.get_or_insert_default().hear(&is),
            Some("chain") => push(&mut self.chain, is, CHAIN_MAX),
            Some("result") if self.results.len() < RESULTS_MAX => self.results.push(is),
            Some("kept") => {
                let ids = is.as_array().into_iter().flatten();
                self.kept = ids.filter_map(Value::as_i64).take(RESULTS_MAX).collect();
            }
            _ => {}
        }
    }

    fn hear_queues(&mut self, is: &Value) {
        let held = is["held"].as_array().into_iter().flatten();
        let held: Vec<f64> = held.filter_map(Value::as_f64).take(16).collect();
        let number = |name: &str| is[name].as_f64().unwrap_or_default();
        (self.queue_room, self.queue_end_s) = (number("room"), number("of_s"));
        push(&mut self.queues, (number("at_s"), held), QUEUES_MAX);
    }

    /// Takes in a line that the run printed.
    pub fn print(&mut self, line: &str) {
        let shown = line.chars().filter(|c| !c.is_control() || *c == '\t');
        push(&mut self.lines, shown.take(LINE_MAX).collect(), LINES_MAX);
    }

    /// Whether it goes on.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    queue.push_back(item);
    if queue.len() > most {
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_seen_as_it_tells_and_stays_bounded() {
        let mut run = Watching::new("mine".into(), 2, 1);
        for number in 0..10_000 {
            run.hear(&format!(
                r#"{{"live":"queues","is":{{"at_s":{number},"of_s":20,"room":6,"held":[1,2]}}}}"#
            ));
            run.hear(r#"{"live":"chain","is":{"event":"landed","name":"ada","balance":1}}"#);
            run.print(&"\u{1b}[31mred".repeat(1000));
        }
        for number in 0..ANSWERS_MAX + 100 {
            run.hear(&format!(
                r#"{{"live":"search","is":{{"phase":"asking","of":50,"nodes":[{{"node":1}}],
                "answers":[{{"query":{number},"ms":0.5,"answer":"partial"}},{{"answer":"odd"}}]}}}}"#
            ));
        }
        run.hear(r#"{"live":"kept","is":[7]}"#);
        run.hear(r#"{"live":"network","is":{"facts":[]}}"#);
        for nonsense in [
            "",
            "{",
            "[1]",
            "7",
            r#"{"live":"queues","is":[]}"#,
            r#"{"live":"search","is":7}"#,
            r#"{"live":3}"#,
        ] {
            run.hear(nonsense);
        }
        assert_eq!(run.queues.len(), QUEUES_MAX);
        assert_eq!(run.queues[0].1, [1.0, 2.0]);
        assert_eq!((run.chain.len(), run.lines.len()), (CHAIN_MAX, LINES_MAX));
        assert_eq!(run.lines[0].chars().count(), LINE_MAX);
        assert!(!run.lines[0].contains('\u{1b}'));
        let search = run.search.unwrap();
        assert_eq!(search.answers.len(), ANSWERS_MAX);
        assert_eq!(search.counts, [0, ANSWERS_MAX as u64 + 100, 0]);
        assert_eq!(run.kept, [7]);
        assert!(run.network.is_some());
    }
}

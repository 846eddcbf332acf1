//! The live view: one screen on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use crate::console;
use octopus::{LinkState, NodeState, Octopus, Pair};

/// Where there is no terminal, a line every so many views.
const LINE_EVERY: u32 = 20;

/// How many acts the screen shows.
const ACTS: usize = 8;

const CLEAR: &str = "\x1b[H\x1b[J";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Shows a run while it goes on.
pub(super) struct Screen {
    nodes: usize,
    duration: Duration,
    terminal: bool,
    shown: u32,
    /// Time and answers at the last views, for the rate.
    rates: Vec<(f64, u64)>,
}

impl Screen {
    /// A screen if stderr is a terminal and nothing else is written to it.
    pub fn new(nodes: usize, duration: Duration, verbose: bool) -> Self {
        let terminal = io::stderr().is_terminal() && !verbose;
        Self {
            nodes,
            duration,
            terminal,
            shown: 0,
            rates: Vec::new(),
        }
    }

    pub fn show(&mut self, octopus: &Octopus, answered: u64, correct: u64) {
        let now = octopus.log().elapsed().as_secs_f64();
        self.rates.push((now, answered));
        if self.rates.len() > 5 {
            self.rates.remove(0);
        }
        let rate = match (self.rates.first(), self.rates.last()) {
            (Some(first), Some(last)) if last.0 > first.0 => {
                (last.1 - first.1) as f64 / (last.0 - first.0)
            }
            _ => 0.0,
        };
        let total = octopus.network().traffic().total();
        let head = format!(
            "{now:5.1} s of {} · {answered} answered, {correct} correct · {rate:.0} queries/s · \
             {} KB read, {} KB delivered · {} connections",
            humantime::format_duration(self.duration),
            total.bytes_read / 1024,
            total.bytes_written / 1024,
            total.connections,
        );
        if self.terminal {
            let screen = format!(
                "{CLEAR}{BOLD}level 4{PLAIN}  {head}\n\n{}",
                self.matrix(octopus)
            );
            // A terminal that is gone wants no view.
            let _ = io::stderr().lock().write_all(screen.as_bytes());
        } else if self.shown.is_multiple_of(LINE_EVERY) && self.shown > 0 {
            console::log(&format!("level 4: {head}"));
        }
        self.shown += 1;
    }

    /// Leaves the terminal for what is printed next.
    pub fn close(&self) {
        if self.terminal {
            let _ = io::stderr().lock().write_all(CLEAR.as_bytes());
        }
    }

    fn matrix(&self, octopus: &Octopus) -> String {
        let mut lines = vec![" ".repeat(17)];
        for node in 0..self.nodes {
            lines[0].push_str(&right(7, &format!("→{node}")));
        }
        let links = octopus.network().links();
        let leader = octopus.log().last("leader", 1);
        let leader = leader.first().and_then(|event| event["node"].as_u64());
        for node in 0..self.nodes {
            let state = octopus.nodes().state(node);
            let colour = match state {
                NodeState::Running => GREEN,
                NodeState::Frozen => YELLOW,
                NodeState::Killed | NodeState::Exited => RED,
            };
            let star = if leader == Some(node as u64) {
                "★"
            } else {
                " "
            };
            let mut line = format!("node {node:<2} {star}{colour}{:<8}{PLAIN}", state.word());
            for other in 0..self.nodes {
                line.push_str(&cell(&links, self.nodes, node, other));
            }
            lines.push(line);
        }
        lines.push("(milliseconds of latency; ✗ nothing gets through)\n".to_owned());
        for act in octopus.log().last("act", ACTS) {
            let seconds = act["t_us"].as_u64().unwrap_or_default() as f64 / 1e6;
            let what = act["text"].as_str().unwrap_or_default();
            lines.push(format!("{seconds:8.3} s  {what}"));
        }
        lines.join("\n") + "\n"
    }
}

/// What gets from one node to another.
fn cell(links: &[LinkState], nodes: usize, from: usize, to: usize) -> String {
    if from == to {
        return right(7, "·");
    }
    let pair = Pair::new(from, to);
    let link = &links[pair.index(nodes)];
    if !link.is_up() || link.loses(pair.direction_from(from)) {
        format!("{RED}{}{PLAIN}", right(7, "✗"))
    } else if link.spike_ms > 0 {
        format!("{YELLOW}{:>7}{PLAIN}", link.latency_ms + link.spike_ms)
    } else {
        right(7, &link.latency_ms.to_string())
    }
}

fn right(width: usize, text: &str) -> String {
    format!("{text:>width$}")
}

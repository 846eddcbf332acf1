//! Clients that ask the nodes, while the network breaks, and the verdict on what they saw.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use octopus::{Machine, Octopus, Progress};
use serde_json::{Value, json};

use crate::{
    level4::percentile,
    report::{CaseResult, Failure},
    system::Health,
    workload::{
        ClientSettings, Clients, Done, End, Finding, Flaw, Operation, Program, Recorder, into_log,
        judge, lines,
    },
};

/// Who asks the nodes.
pub(super) enum Asking {
    Clients(Clients),
    Program(Program),
}

/// How it ended.
pub(super) struct Judgement {
    done: Vec<Done>,
    finding: Finding,
    /// What did not work any more when everything was healed.
    no_progress: Option<String>,
    /// What is wrong with a program of the user's that asked.
    flaw: Option<Flaw>,
}

impl Asking {
    /// Lets clients begin.
    pub fn start(
        settings: Option<ClientSettings>,
        command: Option<&str>,
        octopus: &Octopus,
        folder: &Path,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let machine: &Arc<Machine> = octopus
            .client_machine()
            .context("clients need --machines")?;
        match (settings, command) {
            (_, Some(command)) => {
                let nodes = octopus.nodes().count();
                Program::start(command, folder, machine, nodes, recorder).map(Self::Program)
            }
            (Some(settings), None) => {
                Clients::start(settings, machine, recorder).map(Self::Clients)
            }
            (None, None) => anyhow::bail!("nobody asks"),
        }
    }

    /// Ends it; everything is healed. Judges what was seen, and writes it down in the log. `stuck` is for how long nobody
    /// was answered after an earlier healing, if that was too long.
    pub fn finish(
        self,
        octopus: &Octopus,
        recorder: &Recorder,
        health: Option<Health>,
        within: Duration,
        stuck: Option<Duration>,
    ) -> Judgement {
        let (no_progress, flaw) = match self {
            Self::Clients(clients) => (clients.finish(within).err(), None),
            Self::Program(program) => (None, program.finish().err()),
        };
        let unwell = health.and_then(|health| health.finish(within).err());
        let stuck = stuck.map(|time| {
            format!(
                "nothing that was asked after everything was healed was answered within {time:?}"
            )
        });
        let no_progress = stuck.or(no_progress).or(unwell);
        let done = recorder.take();
        into_log(&done, octopus.log());
        Judgement {
            finding: judge(&done),
            done,
            no_progress,
            flaw,
        }
    }
}

/// How far clients have come, for the monkey that waits for it.
pub(super) fn progress(recorder: &Recorder) -> Progress {
    let (newest_queued, newest_answered) = recorder.newest();
    Progress {
        newest_queued,
        newest_answered,
    }
}

impl Judgement {
    /// What the log's last event says of it.
    pub fn told(&self) -> Value {
        match &self.finding {
            Finding::Right => json!({ "verdict": "right" }),
            Finding::Undecided(why) => json!({ "verdict": "undecided", "why": why }),
            Finding::Wrong {
                message,
                operations,
            } => json!({
                "verdict": "wrong",
                "violation": { "message": message, "queries": operations },
            }),
        }
    }

    /// Writes the history.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = String::new();
        for line in lines(&self.done) {
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
        }
        fs::write(path, text)
            .with_context(|| format!("cannot write the history to {}", path.display()))
    }

    /// What the verdict means, and what it is about, for somebody who sees it for the first time.
    pub fn headline(&self) -> String {
        if self.done.is_empty() && self.flaw.is_none() {
            return "Undecided: the clients have asked nothing.".to_owned();
        }
        let asked: BTreeSet<&str> = self
            .done
            .iter()
            .map(|one| meaning(&one.operation))
            .collect();
        let asked: Vec<&str> = asked.into_iter().collect();
        let verdict = match (&self.finding, &self.flaw) {
            (_, Some(Flaw::Garbled(_))) => "Undecided: what the clients wrote is no history",
            (Finding::Right, _) => {
                "Right: what the clients were answered is what a system without faults could have answered"
            }
            (Finding::Wrong { .. }, _) => {
                "Wrong: no system without faults could have answered what the clients were answered"
            }
            (Finding::Undecided(_), _) => {
                "Undecided: it was not found out whether a system without faults could have answered so"
            }
        };
        format!("{verdict}. What has to hold: {}.", asked.join("; "))
    }

    /// Adds figures and the verdict to a result; a page that shows more is written, or could be.
    pub fn judge(&self, mut result: CaseResult, has_page: bool) -> CaseResult {
        let mut took = Vec::new();
        let (mut failed, mut unknown) = (0_usize, 0_usize);
        for one in &self.done {
            match (&one.end, one.end_us) {
                (End::Ok(_), Some(end_us)) => took.push(end_us.saturating_sub(one.start_us)),
                (End::Fail(_), _) => failed += 1,
                _ => unknown += 1,
            }
        }
        took.sort_unstable();
        result = result
            .figure("operations_answered", took.len())
            .figure("operations_not_done", failed)
            .figure("operations_unknown", unknown);
        for (name, percent) in [("latency_p50_ms", 50.0), ("latency_p99_ms", 99.0)] {
            if let Some(us) = percentile(&took, percent) {
                result = result.figure(name, us as f64 / 1e3);
            }
        }
        result = result.figure("history", self.told()["verdict"].clone());
        match self.failure(took.len(), has_page) {
            Some(failure) if result.failure.is_none() => result.fail(failure),
            _ => result,
        }
    }

    fn failure(&self, answered: usize, has_page: bool) -> Option<Failure> {
        if let Some(Flaw::Garbled(why)) = &self.flaw {
            return Some(Failure::undecided("no_history", why.clone()));
        }
        if let Finding::Wrong {
            message,
            operations,
        } = &self.finding
        {
            let shown = operations.iter().take(10).filter_map(|&number| {
                let one = self.done.get(number)?;
                Some(format!("\n  {}", told(one)))
            });
            let message = format!("{message}{}", shown.collect::<String>());
            let failure = Failure::new("history", message);
            return Some(failure.hint(if has_page {
                "the first chart of the page has these operations, and those beside them."
            } else {
                "--report FILE draws these operations on the time axis of the monkeys' acts."
            }));
        }
        if let Some(Flaw::Failed(why)) = &self.flaw {
            return Some(Failure::undecided("workload", why.clone()));
        }
        if let Some(why) = &self.no_progress {
            return Some(Failure::slow("no_progress", why.clone()));
        }
        if answered == 0 {
            return Some(Failure::slow("no_progress", "no operation was answered"));
        }
        match &self.finding {
            Finding::Undecided(why) => Some(Failure::undecided("history", why.clone())),
            _ => None,
        }
    }
}

/// What has to hold for operations of this kind.
fn meaning(operation: &Operation) -> &'static str {
    match operation {
        Operation::Read(_) | Operation::Write(..) | Operation::Swap(..) => {
            "each register is read and written as if there were one copy of it, in real time (it is linearizable)"
        }
        Operation::Add(_) | Operation::Members => {
            "what was acknowledged is in the set when it is read, and nothing that nobody added"
        }
        Operation::Append(..) | Operation::List(_) => {
            "each list is read as a beginning of one and the same, in the order of real time"
        }
        Operation::Move(..) | Operation::Accounts => {
            "the sum of all accounts is always the same, and none is below nothing"
        }
        Operation::Put(_) | Operation::Take => {
            "what the queue has accepted comes out of it, and once"
        }
        Operation::Transaction(_) => {
            "one order of all transactions, which is one of real time, explains what they have read"
        }
    }
}

fn told(one: &Done) -> String {
    let end = match (&one.end, one.end_us) {
        (End::Ok(reply), Some(at)) => format!(
            "to {:.6} s: {}",
            at as f64 / 1e6,
            short(&reply.value(&one.operation))
        ),
        (End::Fail(why), _) => format!("not done: {why}"),
        (End::Info(why), _) => format!("unknown: {why}"),
        _ => "unanswered".to_owned(),
    };
    let start = one.start_us as f64 / 1e6;
    format!(
        "process {}, node {}, {}, {start:.6} s {end}",
        one.process,
        one.node,
        one.operation.told()
    )
}

/// A value that fits a line.
fn short(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    let items = value.as_array().map_or(0, Vec::len);
    let begin: String = text.chars().take(MOST).collect();
    format!("{begin}… ({items} in all)")
}

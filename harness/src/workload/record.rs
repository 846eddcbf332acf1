//! What was asked and answered, on the clock of the event log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use octopus::EventLog;
use serde_json::json;

use super::operation::{Line, Operation, Reply, Type};

/// The most operations of a run that are kept; what is asked afterwards is asked in vain.
const MOST: usize = 1_000_000;

/// An operation with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Who asked.
    pub process: usize,
    /// The node that was asked, or that the client is at home at.
    pub node: usize,
    /// What was asked.
    pub operation: Operation,
    /// When, in microseconds of the log.
    pub start_us: u64,
    /// When it ended, if it did.
    pub end_us: Option<u64>,
    /// How.
    pub end: End,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It has not.
    Open,
    /// It was answered.
    Ok(Reply),
    /// It was certainly not executed; why.
    Fail(String),
    /// Nobody knows; why.
    Info(String),
}

/// Collects operations from any thread.
#[derive(Debug)]
pub struct Recorder {
    log: Arc<EventLog>,
    done: Mutex<Vec<Done>>,
}

impl Recorder {
    /// One on the clock of a log.
    pub fn new(log: Arc<EventLog>) -> Self {
        Self {
            log,
            done: Mutex::default(),
        }
    }

    /// An operation begins; its number, none if there is no room for more.
    pub fn begin(&self, process: usize, node: usize, operation: Operation) -> Option<usize> {
        let mut done = self.lock();
        (done.len() < MOST).then(|| {
            done.push(Done {
                process,
                node,
                operation,
                start_us: self.log.now_us(),
                end_us: None,
                end: End::Open,
            });
            done.len() - 1
        })
    }

    /// It ends.
    pub fn end(&self, number: usize, end: End) {
        let mut done = self.lock();
        // Taken under the lock: what begins after this has a later time.
        done[number].end_us = Some(self.log.now_us());
        done[number].end = end;
    }

    /// How many were answered so far, failed, and are of unknown end.
    pub fn counts(&self) -> (usize, usize, usize) {
        let done = self.lock();
        let count = |is: fn(&End) -> bool| done.iter().filter(|one| is(&one.end)).count();
        (
            count(|end| matches!(end, End::Ok(_))),
            count(|end| matches!(end, End::Fail(_))),
            count(|end| matches!(end, End::Info(_) | End::Open)),
        )
    }

    /// The numbers, from 1, of the newest operation that has begun, and of the newest that was answered.
    pub fn newest(&self) -> (u64, u64) {
        let done = self.lock();
        let answered = done.iter().rposition(|one| matches!(one.end, End::Ok(_)));
        (
            done.len() as u64,
            answered.map_or(0, |place| place as u64 + 1),
        )
    }

    /// All of them, in the order of their beginnings.
    pub fn take(&self) -> Vec<Done> {
        std::mem::take(&mut self.lock())
    }

    /// What was asked under a number.
    pub fn operation(&self, number: usize) -> Operation {
        self.lock()[number].operation.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Done>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts operations into the event log, in the form in which level 4's requests are there.
pub fn into_log(done: &[Done], log: &EventLog) {
    for (number, one) in done.iter().enumerate() {
        let (status, why, reply) = match &one.end {
            End::Open => ("open", None, None),
            End::Ok(reply) => ("answered", None, Some(reply.value(&one.operation))),
            End::Fail(why) => ("unsent", Some(why), None),
            End::Info(why) => ("lost", Some(why), None),
        };
        log.record_at(
            one.start_us,
            "request",
            json!({
                "query": number, "attempt": 1, "node": one.node, "process": one.process,
                "what": one.operation.told(), "reply": reply,
                "end_us": one.end_us, "status": status, "why": why,
            }),
        );
    }
}

/// Operations as JSON lines of Jepsen's vocabulary, in the order of time.
pub fn lines(done: &[Done]) -> Vec<Line> {
    let mut lines = Vec::new();
    for one in done {
        let (f, key, value) = one.operation.parts();
        let line = |kind, value, us: u64, error| Line {
            process: one.process,
            node: Some(one.node),
            kind,
            f: f.to_owned(),
            key,
            value,
            time: us * 1000,
            error,
        };
        lines.push(line(Type::Invoke, value.clone(), one.start_us, None));
        let Some(end_us) = one.end_us else { continue };
        lines.push(match &one.end {
            End::Ok(reply) => line(Type::Ok, reply.value(&one.operation), end_us, None),
            End::Fail(why) => line(Type::Fail, value, end_us, Some(why.clone())),
            End::Info(why) => line(Type::Info, value, end_us, Some(why.clone())),
            End::Open => continue,
        });
    }
    lines.sort_by_key(|line| line.time);
    lines
}

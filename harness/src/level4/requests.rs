//! The record of a run's requests, and what their history comes to.
//!
//! Each attempt of each query is recorded with its start, its end and its outcome. After the run
//! the record is given to the crate `history`, which decides whether one copy of the
//! data can have given the answers, and executed each attempt at most once.

use std::collections::HashMap;

use history::{
    Budget, History, OperationId, Verdict, check,
    sql_counter::{self, SqlCounter, unanswered_numbers},
};
use octopus::NodeId;
use serde::Serialize;

use super::query::{PEOPLE, QueryId, Statement};

/// How many numbers may be given to nobody. 2014's judge counted up to a number that was lost and
/// stopped there, whoever had lost it; a second one is a habit.
const STRAY_NUMBERS: u64 = 1;

/// One attempt of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The query it carries.
    pub query: QueryId,
    /// 1 for the first request of the query.
    pub attempt: u32,
    /// The node it is sent to.
    pub node: NodeId,
    /// What the query does.
    pub what: Statement,
    /// When it was sent, in microseconds of the event log.
    pub start_us: u64,
    /// When it ended; `None` for one that was open at the end of the run.
    pub end_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With status 200.
    Answer {
        /// The sequence number.
        number: u64,
        /// What the database printed.
        output: Vec<u8>,
    },
    /// With a 200 that breaks off or cannot be read, which disqualifies. It was executed, or may
    /// have been.
    Unreadable(String),
    /// Without an answer, or with another status: it may have been executed, or may be yet.
    Lost(String),
    /// Nobody was there to take it: it cannot have been executed.
    Unsent(String),
    /// Not at all before the end of the run.
    Open,
}

/// All requests of a run, in the order of their beginning.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    all: Vec<Request>,
}

/// A proof that the answers are not those of one copy of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What is wrong.
    pub message: String,
    /// The fewest requests that show it, in the order of their numbers.
    pub requests: Vec<String>,
    /// Requests that show where the wrong answer comes from.
    pub compare: Vec<String>,
    /// The queries of all of them.
    pub queries: Vec<QueryId>,
}

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Answers checked.
    pub checked: usize,
    /// Numbers below the highest one that no answer carries.
    pub unanswered_numbers: u64,
    /// What is wrong, if anything.
    pub violation: Option<Violation>,
    /// Why the check could not tell, if it could not.
    pub undecided: Option<String>,
}

impl Requests {
    /// Adds a request that begins; returns its place.
    pub fn begin(&mut self, request: Request) -> usize {
        self.all.push(request);
        self.all.len() - 1
    }

    /// Says how a request ended.
    pub fn end(&mut self, place: usize, at_us: u64, outcome: Outcome) {
        self.all[place].end_us = Some(at_us);
        self.all[place].outcome = outcome;
    }

    /// All requests in the order of their beginning.
    pub fn all(&self) -> &[Request] {
        &self.all
    }

    /// How the newest request that did not succeed ended, in words.
    pub fn last_trouble(&self) -> Option<(NodeId, &str)> {
        self.all
            .iter()
            .rev()
            .find_map(|request| match &request.outcome {
                Outcome::Lost(why) | Outcome::Unsent(why) => Some((request.node, why.as_str())),
                Outcome::Open => Some((request.node, "no answer")),
                _ => None,
            })
    }

    /// The request whose answer came last.
    pub fn last_answered(&self) -> Option<&Request> {
        let answered = self.all.iter().filter(|request| {
            matches!(request.outcome, Outcome::Answer { .. }) && request.end_us.is_some()
        });
        answered.max_by_key(|request| request.end_us)
    }

    /// How long each query that was answered by a time took from its first request to its answer,
    /// in microseconds, ascending.
    pub fn latencies_us(&self, until_us: u64) -> Vec<u64> {
        let mut first = HashMap::new();
        let mut latencies = Vec::new();
        for request in &self.all {
            let start = *first.entry(request.query).or_insert(request.start_us);
            if let (Outcome::Answer { .. }, Some(end)) = (&request.outcome, request.end_us)
                && end <= until_us
            {
                latencies.push(end.saturating_sub(start));
            }
        }
        latencies.sort_unstable();
        latencies
    }

    /// Checks the whole history.
    pub fn check(&self) -> Checked {
        let (history, answered_by) = self.history();
        let shown = |id: &OperationId| {
            answered_by
                .get(id)
                .map_or_else(String::new, |&place| shown(&self.all[place]))
        };
        let mut checked = Checked {
            checked: answered_by.len(),
            unanswered_numbers: unanswered_numbers(&history),
            ..Checked::default()
        };
        let model = SqlCounter::new(PEOPLE).with_stray_numbers(STRAY_NUMBERS);
        match check(&model, &history, Budget::default()) {
            Verdict::Right => {}
            Verdict::Undecided(why) => checked.undecided = Some(why),
            Verdict::Wrong(mut explanation) => {
                explanation
                    .operations
                    .sort_by_key(|id| answered_by.get(id).map(|&place| number(&self.all[place])));
                let both = explanation.operations.iter().chain(&explanation.compare);
                let queries = both.filter_map(|id| answered_by.get(id));
                checked.violation = Some(Violation {
                    queries: queries.map(|&place| self.all[place].query).collect(),
                    message: explanation.message,
                    requests: explanation.operations.iter().map(shown).collect(),
                    compare: explanation.compare.iter().map(shown).collect(),
                });
            }
        }
        checked
    }

    /// The record as a history of operations, and which request each was answered by.
    fn history(
        &self,
    ) -> (
        History<Statement, sql_counter::Answer>,
        HashMap<OperationId, usize>,
    ) {
        let mut history = History::default();
        let mut operations: HashMap<QueryId, OperationId> = HashMap::new();
        let mut answered_by = HashMap::new();
        for (place, request) in self.all.iter().enumerate() {
            let start = request.start_us;
            let id = match operations.get(&request.query) {
                Some(&id) => {
                    history.retry(id, start);
                    id
                }
                None => history.invoke(request.node, request.what.clone(), start),
            };
            operations.insert(request.query, id);
            match &request.outcome {
                Outcome::Answer { number, output } => {
                    let answer = sql_counter::Answer {
                        number: *number,
                        shown: output.clone(),
                    };
                    history.answer(id, request.end_us.unwrap_or(start), answer);
                    answered_by.insert(id, place);
                }
                Outcome::Unsent(_) => history.withdraw(id),
                Outcome::Unreadable(_) | Outcome::Lost(_) | Outcome::Open => {}
            }
        }
        (history, answered_by)
    }
}

impl Checked {
    /// What the check found, in a line.
    pub fn shown(&self) -> String {
        match (&self.violation, &self.undecided) {
            (Some(violation), _) => format!("History violated: {}", violation.message),
            (None, Some(why)) => format!("History undecided: {why}"),
            (None, None) if self.checked == 0 => "History: no answers".to_owned(),
            (None, None) => format!(
                "History: {} answers, linearizable, each executed once",
                self.checked
            ),
        }
    }
}

impl Violation {
    /// The message with the requests that show it.
    pub fn shown(&self) -> String {
        let mut lines = vec![self.message.clone()];
        lines.extend(self.requests.iter().map(|request| format!("  {request}")));
        let compare = |request: &String| format!("  compare {request}");
        lines.extend(self.compare.iter().map(compare));
        lines.join("\n")
    }
}

fn number(request: &Request) -> u64 {
    match request.outcome {
        Outcome::Answer { number, .. } => number,
        _ => 0,
    }
}

fn shown(request: &Request) -> String {
    let seconds = |us: u64| us as f64 / 1e6;
    format!(
        "number {}: query {} to node {}, sent at {:.6} s, answered at {:.6} s",
        number(request),
        request.query,
        request.node,
        seconds(request.start_us),
        seconds(request.end_us.unwrap_or(request.start_us))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level4::{
        query::{Generator, sql},
        sqlite::Database,
    };

    /// The first queries, executed one after the other on a real database.
    fn serial(count: usize) -> Requests {
        let mut database = Database::new().unwrap();
        let mut requests = Requests::default();
        for query in Generator::new(3, 5).take(count) {
            let output = database.execute(&sql(&query.what)).unwrap();
            let number = query.id;
            let place = requests.begin(Request {
                query: query.id,
                attempt: 1,
                node: query.node,
                what: query.what,
                start_us: number * 10 + 1,
                end_us: None,
                outcome: Outcome::Open,
            });
            requests.end(place, number * 10 + 5, Outcome::Answer { number, output });
        }
        requests
    }

    #[test]
    fn what_sqlite_prints_is_what_the_model_expects() {
        let checked = serial(500).check();
        let expected = Checked {
            checked: 500,
            ..Checked::default()
        };
        assert_eq!(checked, expected);
        assert!(checked.shown().contains("linearizable"));
        assert!(!Requests::default().check().shown().contains("linearizable"));
    }

    #[test]
    fn a_second_boot_that_finds_the_table_is_right() {
        let mut database = Database::new().unwrap();
        let mut requests = Requests::default();
        let boot = Generator::new(3, 5).next().unwrap();
        for attempt in 1..=2 {
            let output = database.execute(&sql(&boot.what)).unwrap();
            let place = requests.begin(Request {
                query: boot.id,
                attempt,
                node: boot.node,
                what: boot.what.clone(),
                start_us: u64::from(attempt) * 10,
                end_us: None,
                outcome: Outcome::Open,
            });
            let outcome = match attempt {
                1 => Outcome::Lost("status 500".to_owned()),
                _ => Outcome::Answer { number: 1, output },
            };
            requests.end(place, u64::from(attempt) * 10 + 5, outcome);
        }
        assert_eq!(requests.check().violation, None);
        // Had nobody taken the first, nobody would have made the table.
        requests.end(0, 15, Outcome::Unsent("connection refused".to_owned()));
        let violation = requests.check().violation.unwrap();
        assert!(
            violation.message.contains("finds the table"),
            "{violation:?}"
        );
    }

    #[test]
    fn a_violation_names_its_requests() {
        let mut requests = serial(20);
        let copy = requests.all[7].outcome.clone();
        requests.all[12].outcome = copy;
        let violation = requests.check().violation.unwrap();
        // One answer proves it: it cannot be that of its query.
        assert_eq!(violation.message, "number 7 does not show its own change");
        assert_eq!(violation.requests.len(), 1);
        assert!(violation.requests[0].starts_with("number 7: query 12 to node "));
    }

    #[test]
    fn latencies_end_with_the_run() {
        assert_eq!(serial(20).latencies_us(105), [4; 11]);
    }
}

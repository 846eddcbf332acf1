//! The judge: takes answers in the order of their arrival, puts them in the order of their
//! numbers, and compares each with what its own database says.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    query::{QueryId, Statement, sql},
    sqlite::Database,
};
use crate::report::Failure;
use octopus::NodeId;

/// An answer with status 200, as it came from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The query.
    pub query: QueryId,
    /// What it does.
    pub what: Statement,
    /// The node that answered.
    pub node: NodeId,
    /// When it came, in microseconds of the event log.
    pub at_us: u64,
    /// Its sequence number.
    pub number: u64,
    /// What the database printed.
    pub output: Vec<u8>,
}

/// Why a run is disqualified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disqualified {
    /// The node that did it.
    pub node: NodeId,
    /// What it did.
    pub failure: Failure,
}

/// The judge. See the module's text.
#[derive(Debug)]
pub struct Judge {
    database: Database,
    /// The number that is judged next: all below are.
    next: u64,
    /// Answers that wait for lower numbers.
    waiting: BTreeMap<u64, Answer>,
}

impl Judge {
    /// A judge who has seen nothing.
    pub fn new() -> Result<Self> {
        Ok(Self {
            database: Database::new()?,
            next: 0,
            waiting: BTreeMap::new(),
        })
    }

    /// Takes an answer and judges all whose turn has come.
    ///
    /// # Errors
    /// `Ok(Err(…))` is the reason to disqualify; `Err` an error of the judge's own.
    pub fn take(&mut self, answer: Answer) -> Result<Result<(), Disqualified>> {
        let number = answer.number;
        if number < self.next || self.waiting.contains_key(&number) {
            let message = format!(
                "node {} answered query {} with number {number}, which another answer carried",
                answer.node, answer.query
            );
            let place = format!("sequence number {number}");
            return Ok(Err(Disqualified {
                node: answer.node,
                failure: Failure::new("repeated_number", message).at(place),
            }));
        }
        self.waiting.insert(number, answer);
        while let Some(answer) = self.waiting.remove(&self.next) {
            let expected = self.database.execute(&sql(&answer.what))?;
            if expected != answer.output {
                return Ok(Err(Disqualified {
                    node: answer.node,
                    failure: wrong_output(&answer, &expected),
                }));
            }
            self.next += 1;
        }
        Ok(Ok(()))
    }

    /// How many answers were judged right.
    pub fn correct(&self) -> u64 {
        self.next
    }

    /// How many answers wait for a lower number, and when the first of them came.
    pub fn unjudged(&self) -> (usize, Option<u64>) {
        (
            self.waiting.len(),
            self.waiting.values().map(|answer| answer.at_us).min(),
        )
    }
}

fn wrong_output(answer: &Answer, expected: &[u8]) -> Failure {
    let message = format!(
        "node {} answered query {} ({}) with\n{}but the right answer is\n{}",
        answer.node,
        answer.query,
        sql(&answer.what),
        shown(&answer.output),
        shown(expected),
    );
    Failure::new("wrong_output", message).at(format!("sequence number {}", answer.number))
}

/// An output as indented lines, cut off where it gets long.
fn shown(output: &[u8]) -> String {
    const LINES: usize = 20;
    let text = String::from_utf8_lossy(output);
    let mut shown = String::new();
    for line in text.lines().take(LINES) {
        shown.extend(["    ", line, "\n"]);
    }
    if text.is_empty() {
        shown.push_str("    (nothing)\n");
    }
    if text.lines().count() > LINES {
        shown.push_str("    …\n");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level4::query::Generator;

    /// Right answers to the first queries of a seed, in order.
    fn right_answers(count: usize) -> Vec<Answer> {
        let mut database = Database::new().unwrap();
        Generator::new(1, 5)
            .take(count)
            .map(|query| Answer {
                query: query.id,
                node: query.node,
                at_us: query.id * 10,
                number: query.id,
                output: database.execute(&sql(&query.what)).unwrap(),
                what: query.what,
            })
            .collect()
    }

    #[test]
    fn answers_may_come_in_any_order() {
        let mut judge = Judge::new().unwrap();
        for answer in right_answers(50).into_iter().rev() {
            judge.take(answer).unwrap().unwrap();
        }
        assert_eq!(judge.correct(), 50);
    }

    #[test]
    fn a_number_that_comes_twice_disqualifies_judged_or_not() {
        for repeated in [0, 2] {
            let mut judge = Judge::new().unwrap();
            let answers = right_answers(4);
            judge.take(answers[0].clone()).unwrap().unwrap();
            judge.take(answers[2].clone()).unwrap().unwrap();
            let again = Answer {
                number: repeated,
                ..answers[3].clone()
            };
            let Disqualified { node, failure } = judge.take(again).unwrap().unwrap_err();
            assert_eq!(node, answers[3].node);
            assert_eq!(failure.kind, "repeated_number");
        }
    }

    #[test]
    fn a_wrong_output_disqualifies_when_its_turn_comes() {
        let mut judge = Judge::new().unwrap();
        let mut answers = right_answers(3);
        answers[2].output.extend(b"more\n");
        judge.take(answers[2].clone()).unwrap().unwrap();
        judge.take(answers[0].clone()).unwrap().unwrap();
        let failure = judge.take(answers[1].clone()).unwrap().unwrap_err().failure;
        assert_eq!(failure.kind, "wrong_output");
        assert_eq!(failure.place.as_deref(), Some("sequence number 2"));
    }

    #[test]
    fn a_lost_number_stops_the_count_and_no_more() {
        let mut judge = Judge::new().unwrap();
        for answer in right_answers(10) {
            if answer.number != 4 {
                judge.take(answer).unwrap().unwrap();
            }
        }
        assert_eq!(judge.correct(), 4);
        assert_eq!(judge.unjudged(), (5, Some(50)));
    }
}

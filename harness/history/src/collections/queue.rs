//! A queue, of which only this is asked: what was put in comes out, once. Its order is not checked.

use rustc_hash::FxHashMap;

use super::{some, wrong};
use crate::{
    check::Verdict,
    operations::{History, OperationId},
};

/// What is asked of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueInput {
    /// To take this. No element is put in by two operations.
    Put(i64),
    /// To give one of its elements.
    Take,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueOutput {
    /// It has taken it.
    Accepted,
    /// The element, and none if it is empty.
    Gives(Option<i64>),
}

/// Whether nothing came out twice or that nobody had put in, and nothing is lost. The history ends with the queue
/// being emptied. As many elements may be missing as takes were never answered.
pub fn check_queue(history: &History<QueueInput, QueueOutput>) -> Verdict {
    let mut puts: FxHashMap<i64, (OperationId, bool)> = FxHashMap::default();
    let mut takes: FxHashMap<i64, OperationId> = FxHashMap::default();
    let mut unanswered = 0;
    let mut twice = Vec::new();
    let mut last_empty = None;
    for (id, operation) in history.operations() {
        match (
            &operation.input,
            operation.answer().map(|answer| &answer.output),
        ) {
            (QueueInput::Put(element), answer) => {
                puts.insert(*element, (id, answer.is_some()));
            }
            (QueueInput::Take, Some(QueueOutput::Gives(Some(element)))) => {
                if let Some(first) = takes.insert(*element, id) {
                    twice.push((*element, first, id));
                }
            }
            (QueueInput::Take, Some(_)) => last_empty = Some(id),
            (QueueInput::Take, None) => unanswered += 1,
        }
    }
    if let Some((element, id)) = takes
        .iter()
        .find(|(element, _)| !puts.contains_key(element))
    {
        return wrong(
            format!("element {element} came out, and nobody had put it in"),
            &[*id],
        );
    }
    if let Some(&(element, first, second)) = twice.first() {
        let message = format!("{} elements came out twice: {element} first", twice.len());
        return wrong(message, &[first, second]);
    }
    let Some(empty) = last_empty else {
        return Verdict::Undecided(
            "the queue was never seen empty, so nothing can be said to be lost".to_owned(),
        );
    };
    let missing = puts
        .iter()
        .filter(|(element, (_, accepted))| *accepted && !takes.contains_key(element));
    let mut missing: Vec<(i64, OperationId)> =
        missing.map(|(&element, put)| (element, put.0)).collect();
    missing.sort_unstable();
    if missing.len() <= unanswered {
        return Verdict::Right;
    }
    let elements: Vec<i64> = missing.iter().map(|(element, _)| *element).collect();
    let accepted = puts.values().filter(|(_, accepted)| *accepted).count();
    let message = format!(
        "{} of {accepted} accepted elements never came out, and only {unanswered} takes were not answered: {}",
        missing.len(),
        some(&elements)
    );
    wrong(message, &[missing[0].1, empty])
}

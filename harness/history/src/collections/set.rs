//! A set to which different elements are added, and which is read whole.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{some, start, wrong};
use crate::{
    check::Verdict,
    operations::{History, OperationId, Time},
};

/// What is asked of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetInput {
    /// To hold this, too. No element is added by two operations.
    Add(i64),
    /// All that it holds.
    Read,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOutput {
    /// The element was added.
    Added,
    /// What it holds.
    Holds(Vec<i64>),
}

/// Whether every read has all that was added before it, nothing that nobody added, and no less than another read
/// before it.
pub fn check_set(history: &History<SetInput, SetOutput>) -> Verdict {
    let mut adds: FxHashMap<i64, (OperationId, Time, Option<Time>)> = FxHashMap::default();
    let mut reads: Vec<(OperationId, Time, Time, &[i64])> = Vec::new();
    for (id, operation) in history.operations() {
        let answer = operation.answer();
        match (
            &operation.input,
            answer.map(|answer| (&answer.output, answer.at)),
        ) {
            (SetInput::Add(element), answer) => {
                adds.insert(*element, (id, start(operation), answer.map(|(_, at)| at)));
            }
            (SetInput::Read, Some((SetOutput::Holds(elements), at))) => {
                reads.push((id, start(operation), at, elements));
            }
            (SetInput::Read, _) => {}
        }
    }
    if reads.is_empty() {
        return Verdict::Undecided("the set was never read".to_owned());
    }
    reads.sort_by_key(|&(.., at, _)| at);
    let mut before: Option<(OperationId, Time, FxHashSet<i64>)> = None;
    // The last read knows most of what is lost.
    for &(id, from, to, elements) in reads.iter().rev() {
        let held: FxHashSet<i64> = elements.iter().copied().collect();
        if let Some(stranger) = held
            .iter()
            .find(|element| adds.get(element).is_none_or(|add| add.1 > to))
        {
            return wrong(
                format!("element {stranger} is read, and nobody has added it by then"),
                &[id],
            );
        }
        let acknowledged = adds
            .iter()
            .filter(|(_, (.., end))| end.is_some_and(|end| end < from));
        let all = acknowledged.clone().count();
        let lost = acknowledged.filter(|(element, _)| !held.contains(element));
        let mut lost: Vec<(i64, OperationId)> =
            lost.map(|(&element, add)| (element, add.0)).collect();
        if !lost.is_empty() {
            lost.sort_unstable();
            let elements: Vec<i64> = lost.iter().map(|(element, _)| *element).collect();
            let message = format!(
                "{} of {all} acknowledged elements are lost: {}",
                lost.len(),
                some(&elements)
            );
            return wrong(message, &[lost[0].1, id]);
        }
        if let Some((later, later_from, later_held)) = &before {
            let mut missing: Vec<i64> = held.difference(later_held).copied().collect();
            missing.sort_unstable();
            if let (Some(element), true) = (missing.first(), to < *later_from) {
                return wrong(
                    format!("element {element} was read, and is missing later"),
                    &[id, *later],
                );
            }
            if let (Some(one), Some(other)) = (missing.first(), later_held.difference(&held).next())
            {
                let message = format!(
                    "of two reads one has {one} and not {other}, the other one {other} and not {one}"
                );
                return wrong(message, &[id, *later]);
            }
        }
        before = Some((id, from, held));
    }
    Verdict::Right
}

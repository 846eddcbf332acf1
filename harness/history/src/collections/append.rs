//! A list to which different elements are appended, and which is read whole. Reads tell the order of all that
//! they show, so what remains is whether that order agrees with real time.

use rustc_hash::FxHashMap;

use super::{start, wrong};
use crate::{
    check::Verdict,
    operations::{History, OperationId, Time},
};

/// What is asked of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendInput {
    /// To end with this. No element is appended by two operations.
    Append(i64),
    /// All of it.
    Read,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutput {
    /// It was appended.
    Appended,
    /// What it holds.
    Holds(Vec<i64>),
}

/// Whether the reads are beginnings of one list, and its order is one of real time.
pub fn check_append(history: &History<AppendInput, AppendOutput>) -> Verdict {
    let mut appends: FxHashMap<i64, (OperationId, Time, Option<Time>)> = FxHashMap::default();
    let mut reads: Vec<(OperationId, Time, Time, &[i64])> = Vec::new();
    for (id, operation) in history.operations() {
        let answer = operation.answer();
        match (
            &operation.input,
            answer.map(|answer| (&answer.output, answer.at)),
        ) {
            (AppendInput::Append(element), answer) => {
                appends.insert(*element, (id, start(operation), answer.map(|(_, at)| at)));
            }
            (AppendInput::Read, Some((AppendOutput::Holds(elements), at))) => {
                reads.push((id, start(operation), at, elements));
            }
            (AppendInput::Read, _) => {}
        }
    }
    let Some(&(longest, .., list)) = reads.iter().max_by_key(|read| read.3.len()) else {
        return Verdict::Undecided("the list was never read".to_owned());
    };
    let mut places: FxHashMap<i64, usize> = FxHashMap::default();
    for (place, element) in list.iter().enumerate() {
        if places.insert(*element, place).is_some() {
            return wrong(
                format!("element {element} is in the list twice"),
                &[longest],
            );
        }
        if !appends.contains_key(element) {
            return wrong(
                format!("element {element} is read, and nobody has appended it"),
                &[longest],
            );
        }
    }
    if let Some(other) = reads.iter().find(|read| !list.starts_with(read.3)) {
        let place = other
            .3
            .iter()
            .zip(list)
            .take_while(|(one, other)| one == other)
            .count();
        let message = format!(
            "two reads differ from place {place} on: neither is the beginning of the other"
        );
        return wrong(message, &[other.0, longest]);
    }
    in_time(&appends, &reads, list)
}

/// One after the other as the list has them: each append, then the reads that end with it. Whoever comes before
/// another in this order must not have been sent after that one's answer.
fn in_time(
    appends: &FxHashMap<i64, (OperationId, Time, Option<Time>)>,
    reads: &[(OperationId, Time, Time, &[i64])],
    list: &[i64],
) -> Verdict {
    let mut order: Vec<(usize, u8, OperationId, Time, Option<Time>)> = Vec::new();
    for (place, element) in list.iter().enumerate() {
        if let Some(&(id, from, to)) = appends.get(element) {
            order.push((place + 1, 0, id, from, to));
        }
    }
    order.extend(
        reads
            .iter()
            .map(|&(id, from, to, held)| (held.len(), 1, id, from, Some(to))),
    );
    // What was acknowledged and is in no read comes behind all of them.
    let unread = appends
        .iter()
        .filter(|(element, _)| !list.contains(element));
    order.extend(
        unread
            .filter(|(_, add)| add.2.is_some())
            .map(|(_, &(id, from, to))| (usize::MAX, 0, id, from, to)),
    );
    order.sort_by_key(|&(place, kind, _, from, _)| (place, kind, from));
    let mut latest: Option<(Time, OperationId)> = None;
    for (place, _, id, from, to) in order {
        if let (Some((sent, other)), Some(to)) = (latest, to)
            && to < sent
        {
            let message = if place == usize::MAX {
                "an append was acknowledged before a read was sent that does not show it".to_owned()
            } else {
                "an operation that was answered before another was sent comes after it in the list"
                    .to_owned()
            };
            return wrong(message, &[other, id]);
        }
        if place != usize::MAX && latest.is_none_or(|(sent, _)| from > sent) {
            latest = Some((from, id));
        }
    }
    Verdict::Right
}

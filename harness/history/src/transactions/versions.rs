//! The order of each list's elements, as reads tell it, and what is wrong with reads by themselves.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Step, TransactionOutput};
use crate::{
    check::Verdict,
    collections::wrong,
    operations::{History, Operation, OperationId},
};

type Transaction = Operation<Vec<Step>, TransactionOutput>;

/// A committed transaction has read this of a list, without what it has appended itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub by: OperationId,
    pub key: i64,
    /// How many elements of the list's order it has seen.
    pub length: usize,
}

/// What reads tell.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// The elements of each list, in their order, as far as they were read.
    pub orders: FxHashMap<i64, Vec<i64>>,
    /// Who has appended an element to a list.
    pub writers: FxHashMap<(i64, i64), OperationId>,
    pub reads: Vec<Read>,
    /// The appends of transactions that were executed which nobody has read: they come behind all that was.
    pub unread: Vec<(i64, OperationId)>,
}

/// Reads a history.
///
/// # Errors
/// Reads are wrong by themselves.
pub(super) fn read(history: &History<Vec<Step>, TransactionOutput>) -> Result<Versions, Verdict> {
    let mut versions = Versions::default();
    for (id, transaction) in history.operations() {
        for step in &transaction.input {
            if let Step::Append(key, element) = step {
                versions.writers.insert((*key, *element), id);
            }
        }
    }
    let mut reads: Vec<(OperationId, i64, &[i64])> = Vec::new();
    for (id, transaction) in history.operations() {
        external_reads(id, transaction, &mut reads)?;
    }
    let mut longest: FxHashMap<i64, (OperationId, &[i64])> = FxHashMap::default();
    for &(by, key, elements) in &reads {
        let known = longest.entry(key).or_insert((by, elements));
        if elements.len() > known.1.len() {
            *known = (by, elements);
        }
    }
    for &(by, key, elements) in &reads {
        let (other, order) = longest[&key];
        if !order.starts_with(elements) {
            let message = format!(
                "two transactions have read list {key} in different orders: neither is the beginning of the other"
            );
            return Err(wrong(message, &[by, other]));
        }
        versions.reads.push(Read {
            by,
            key,
            length: elements.len(),
        });
    }
    for (&key, &(by, elements)) in &longest {
        elements_are_known(history, &versions, key, elements, by)?;
        versions.orders.insert(key, elements.to_vec());
    }
    nothing_unfinished_was_read(history, &versions)?;
    own_appends_come_first(history, &versions)?;
    appends_are_in_their_order(history, &versions)?;
    versions.unread = unread(history, &versions);
    Ok(versions)
}

/// What a transaction has read of others' appends; its own have to be where it has put them.
fn external_reads<'a>(
    id: OperationId,
    transaction: &'a Transaction,
    reads: &mut Vec<(OperationId, i64, &'a [i64])>,
) -> Result<(), Verdict> {
    let Some(TransactionOutput::Committed(outputs)) =
        transaction.answer().map(|answer| &answer.output)
    else {
        return Ok(());
    };
    let mut own: FxHashMap<i64, Vec<i64>> = FxHashMap::default();
    let mut seen: FxHashMap<i64, &[i64]> = FxHashMap::default();
    for (step, output) in transaction.input.iter().zip(outputs) {
        match (step, output) {
            (Step::Append(key, element), _) => own.entry(*key).or_default().push(*element),
            (Step::Read(key), Some(elements)) => {
                let own = own.get(key).map_or(&[][..], Vec::as_slice);
                let Some(others) = elements.strip_suffix(own) else {
                    let message = format!(
                        "a transaction has read list {key} without what it had appended itself (internal)"
                    );
                    return Err(wrong(message, &[id]));
                };
                match seen.insert(*key, others) {
                    None => reads.push((id, *key, others)),
                    Some(before) if before == others => {}
                    Some(_) => {
                        let message = format!(
                            "a transaction has read list {key} twice, and somebody else's append in between (internal)"
                        );
                        return Err(wrong(message, &[id]));
                    }
                }
            }
            (Step::Read(_), None) => {}
        }
    }
    Ok(())
}

/// Each element was appended by a transaction that may have been executed, and is there once.
fn elements_are_known(
    history: &History<Vec<Step>, TransactionOutput>,
    versions: &Versions,
    key: i64,
    elements: &[i64],
    by: OperationId,
) -> Result<(), Verdict> {
    let mut seen = FxHashSet::default();
    for element in elements {
        if !seen.insert(*element) {
            let message = format!("element {element} is in list {key} twice");
            return Err(wrong(message, &[by]));
        }
        let Some(&writer) = versions.writers.get(&(key, *element)) else {
            let message = format!("element {element} of list {key} was appended by nobody");
            return Err(wrong(message, &[by]));
        };
        let answer = history.get(writer).answer();
        if answer.is_some_and(|answer| answer.output == TransactionOutput::Aborted) {
            let message = format!(
                "element {element} of list {key} was read, and its transaction was not executed (G1a)"
            );
            return Err(wrong(message, &[by, writer]));
        }
    }
    Ok(())
}

/// No read ends in the middle of what another transaction has appended.
fn nothing_unfinished_was_read(
    history: &History<Vec<Step>, TransactionOutput>,
    versions: &Versions,
) -> Result<(), Verdict> {
    for read in &versions.reads {
        let order = &versions.orders[&read.key];
        let Some(newest) = read.length.checked_sub(1).map(|place| order[place]) else {
            continue;
        };
        let writer = versions.writers[&(read.key, newest)];
        let steps = &history.get(writer).input;
        let of_list = |step: &&Step| matches!(step, Step::Append(key, _) if *key == read.key);
        let last = steps.iter().rev().find(of_list);
        if writer != read.by && last != Some(&Step::Append(read.key, newest)) {
            let message = format!(
                "list {} was read as it was in the middle of a transaction, up to {newest} (G1b)",
                read.key
            );
            return Err(wrong(message, &[read.by, writer]));
        }
    }
    Ok(())
}

/// No transaction has read what it appended only later.
fn own_appends_come_first(
    history: &History<Vec<Step>, TransactionOutput>,
    versions: &Versions,
) -> Result<(), Verdict> {
    let orders = versions.orders.iter();
    let places = orders.flat_map(|(&key, order)| {
        let elements = order.iter().enumerate();
        elements.map(move |(place, &element)| ((key, element), place))
    });
    let places: FxHashMap<(i64, i64), usize> = places.collect();
    for read in &versions.reads {
        for step in &history.get(read.by).input {
            if let Step::Append(key, element) = *step
                && key == read.key
                && places
                    .get(&(key, element))
                    .is_some_and(|&place| place < read.length)
            {
                let message = format!(
                    "a transaction has read {element} in list {key} before it had appended that itself (internal)"
                );
                return Err(wrong(message, &[read.by]));
            }
        }
    }
    Ok(())
}

/// What one transaction has appended to a list is there in the order in which it has.
fn appends_are_in_their_order(
    history: &History<Vec<Step>, TransactionOutput>,
    versions: &Versions,
) -> Result<(), Verdict> {
    for (&key, order) in &versions.orders {
        let mut left: FxHashMap<OperationId, Vec<i64>> = FxHashMap::default();
        for &element in order {
            let writer = versions.writers[&(key, element)];
            let left = left.entry(writer).or_insert_with(|| {
                let steps = history.get(writer).input.iter().rev();
                let of_list = |step: &Step| match *step {
                    Step::Append(list, element) if list == key => Some(element),
                    _ => None,
                };
                steps.filter_map(of_list).collect()
            });
            // What is left out is found by the graph.
            while let Some(next) = left.pop() {
                if next == element {
                    break;
                }
                if order.contains(&next) {
                    let message = format!(
                        "list {key} has {element} before {next}, which the same transaction appended earlier (internal)"
                    );
                    return Err(wrong(message, &[writer]));
                }
            }
        }
    }
    Ok(())
}

/// The appends that nobody has read of transactions that were executed: those that were answered so, and those of
/// which another append was read.
fn unread(
    history: &History<Vec<Step>, TransactionOutput>,
    versions: &Versions,
) -> Vec<(i64, OperationId)> {
    let mut read: FxHashSet<(i64, i64)> = FxHashSet::default();
    for (&key, order) in &versions.orders {
        read.extend(order.iter().map(|&element| (key, element)));
    }
    let mut unread = Vec::new();
    for (id, transaction) in history.operations() {
        let appends = transaction.input.iter().filter_map(|step| match step {
            Step::Append(key, element) => Some((*key, *element)),
            Step::Read(_) => None,
        });
        let (seen, unseen): (Vec<_>, Vec<_>) = appends.partition(|append| read.contains(append));
        let committed = matches!(
            transaction.answer().map(|answer| &answer.output),
            Some(TransactionOutput::Committed(_))
        );
        if committed || !seen.is_empty() {
            unread.extend(unseen.into_iter().map(|(key, _)| (key, id)));
        }
    }
    unread
}

//! Transactions of several steps on lists: each appends to lists and reads them whole. Was there one order in which
//! they were executed, one at a time, and is it one of real time?
//!
//! Reads tell the order of what was appended (`versions`), and with it who came before whom (`graph`); an order
//! exists exactly if that goes round in no circle. What is wrong is told by its name in Adya's thesis (1999), as
//! by Elle (Kingsbury and Alvaro, 2020): G0, G1a, G1b, G1c, G-single, G2.

mod graph;
#[cfg(test)]
mod tests;
mod versions;

use crate::{check::Verdict, operations::History};

/// One thing that a transaction does to a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The list is to end with this. No element is appended to a list twice.
    Append(i64, i64),
    /// All of the list.
    Read(i64),
}

/// How a transaction ended, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionOutput {
    /// It was executed; what each step has read, none of an append.
    Committed(Vec<Option<Vec<i64>>>),
    /// It was certainly not executed.
    Aborted,
}

/// Whether the transactions can have been executed one at a time, in an order of real time.
pub fn check_transactions(history: &History<Vec<Step>, TransactionOutput>) -> Verdict {
    let versions = match versions::read(history) {
        Ok(versions) => versions,
        Err(verdict) => return verdict,
    };
    if versions.reads.is_empty() {
        return Verdict::Undecided("nothing was read".to_owned());
    }
    graph::check(history, &versions)
}

//! Sets, lists, queues and accounts: checks that need no search, since answers tell so much. Each says of a
//! history whether one copy of the data could have given it, with the operations that prove that it could not.

mod append;
mod bank;
mod queue;
mod set;

pub use append::{AppendInput, AppendOutput, check_append};
pub use bank::{Bank, BankInput, BankOutput, check_bank};
pub use queue::{QueueInput, QueueOutput, check_queue};
pub use set::{SetInput, SetOutput, check_set};

use crate::{
    check::{Explanation, Verdict},
    operations::{Operation, OperationId, Time},
};

/// When an operation was sent.
pub(crate) fn start<I, O>(operation: &Operation<I, O>) -> Time {
    operation.attempts().first().copied().unwrap_or(Time::MAX)
}

pub(crate) fn wrong(message: String, operations: &[OperationId]) -> Verdict {
    let mut operations = operations.to_vec();
    operations.sort_unstable();
    operations.dedup();
    Verdict::Wrong(Explanation {
        message,
        operations,
        compare: Vec::new(),
    })
}

/// The first few of many, in words.
fn some(of: &[i64]) -> String {
    const FEW: usize = 10;
    let shown: Vec<String> = of.iter().take(FEW).map(ToString::to_string).collect();
    let rest = if of.len() > FEW { ", …" } else { "" };
    format!("{}{rest}", shown.join(", "))
}

//! Accounts between which money is moved: it does not become more or less, and no account has less than
//! nothing.

use super::wrong;
use crate::{check::Verdict, operations::History};

/// What the accounts hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bank {
    /// The sum at the beginning, and for ever.
    pub total: i64,
}

/// What is asked of a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankInput {
    /// To move so much from one account to another, if there is so much.
    Move(usize, usize, i64),
    /// What all accounts hold at one moment.
    Read,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankOutput {
    /// Whether there was enough to move.
    Moved(bool),
    /// What the accounts hold.
    Holds(Vec<i64>),
}

/// Whether every read has the whole sum and no account below nothing.
pub fn check_bank(bank: Bank, history: &History<BankInput, BankOutput>) -> Verdict {
    let mut reads = 0;
    for (id, operation) in history.operations() {
        let Some(BankOutput::Holds(accounts)) = operation.answer().map(|answer| &answer.output)
        else {
            continue;
        };
        reads += 1;
        let sum: i64 = accounts
            .iter()
            .fold(0, |sum, account| sum.saturating_add(*account));
        if sum != bank.total {
            let message = format!(
                "the accounts hold {sum} and not {} ({accounts:?})",
                bank.total
            );
            return wrong(message, &[id]);
        }
        if let Some(place) = accounts.iter().position(|account| *account < 0) {
            return wrong(format!("account {place} holds {}", accounts[place]), &[id]);
        }
    }
    if reads == 0 {
        return Verdict::Undecided("the accounts were never read".to_owned());
    }
    Verdict::Right
}

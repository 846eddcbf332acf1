//! A register: it is read, written, and swapped if it holds what is expected.

use rustc_hash::FxHashSet;

use super::Specification;
use crate::operations::OperationId;

/// What is asked of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterInput {
    /// What it holds.
    Read,
    /// To hold this from now on.
    Write(i64),
    /// To hold the second if it holds the first.
    Swap(i64, i64),
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOutput {
    /// What it holds, if it was ever written.
    Holds(Option<i64>),
    /// It was written.
    Written,
    /// Whether it held what was expected.
    Swapped(bool),
}

/// The specification of a register that was never written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

impl Specification for Register {
    type Input = RegisterInput;
    type Output = RegisterOutput;
    type State = Option<i64>;

    fn initial(&self) -> Option<i64> {
        None
    }

    fn step(
        &self,
        state: &Option<i64>,
        input: &RegisterInput,
        output: Option<&RegisterOutput>,
    ) -> Option<Option<i64>> {
        use RegisterInput::{Read, Swap, Write};
        use RegisterOutput::{Holds, Swapped, Written};
        match (input, output) {
            (Read, Some(Holds(value))) => (value == state).then_some(*state),
            (Read, None) => Some(*state),
            (Write(value), Some(Written) | None) => Some(Some(*value)),
            (Swap(from, to), Some(Swapped(true)) | None) => {
                (*state == Some(*from)).then_some(Some(*to))
            }
            (Swap(from, _), Some(Swapped(false))) => (*state != Some(*from)).then_some(*state),
            // An answer to another question.
            _ => None,
        }
    }

    /// A value that nobody has met cannot have mattered; one that was swapped for another was met by who did that.
    /// But a swap that failed may have met any value.
    fn relevant<'a>(
        &self,
        known: &[(&'a RegisterInput, &'a RegisterOutput)],
        unseen: Vec<(OperationId, &'a RegisterInput)>,
    ) -> Vec<OperationId> {
        let failed =
            |(_, output): &(_, &RegisterOutput)| **output == RegisterOutput::Swapped(false);
        let any = known.iter().any(failed);
        let met = known
            .iter()
            .filter_map(|(input, output)| match (input, output) {
                (_, RegisterOutput::Holds(value)) => *value,
                (RegisterInput::Swap(from, _), RegisterOutput::Swapped(true)) => Some(*from),
                _ => None,
            });
        let mut met: FxHashSet<i64> = met.collect();
        let mut kept = Vec::new();
        let mut left = unseen;
        loop {
            let before = kept.len();
            left.retain(|&(id, input)| {
                let (value, from) = match *input {
                    RegisterInput::Read => return true,
                    RegisterInput::Write(value) => (value, None),
                    RegisterInput::Swap(from, to) => (to, Some(from)),
                };
                let matters = any || met.contains(&value);
                if matters {
                    kept.push(id);
                    met.extend(from);
                }
                !matters
            });
            if kept.len() == before {
                return kept;
            }
        }
    }

    fn told(&self, input: &RegisterInput, output: Option<&RegisterOutput>) -> String {
        let asked = match input {
            RegisterInput::Read => "reads".to_owned(),
            RegisterInput::Write(value) => format!("writes {value}"),
            RegisterInput::Swap(from, to) => format!("swaps {from} for {to}"),
        };
        match output {
            Some(RegisterOutput::Holds(Some(value))) => format!("{asked} {value}"),
            Some(RegisterOutput::Holds(None)) => format!("{asked} nothing"),
            Some(RegisterOutput::Swapped(false)) => format!("{asked} in vain"),
            Some(RegisterOutput::Written | RegisterOutput::Swapped(true)) => asked,
            None => format!("{asked}, unanswered"),
        }
    }
}

//! The verdict on what clients saw, by the checks of the crate `history`.

use std::collections::BTreeMap;

use history::{
    AppendInput, AppendOutput, Bank, BankInput, BankOutput, Budget, History, Linearizable,
    OperationId, QueueInput, QueueOutput, Register, RegisterInput, RegisterOutput, SetInput,
    SetOutput, TransactionOutput, Verdict, check, check_append, check_bank, check_queue, check_set,
    check_transactions,
};

use super::{
    generate::{ACCOUNTS, BALANCE},
    operation::{Operation, Reply},
    record::{Done, End},
};

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// What clients saw can have been.
    Right,
    /// It cannot.
    Wrong {
        /// What is wrong.
        message: String,
        /// The numbers of the operations that prove it.
        operations: Vec<usize>,
    },
    /// Nobody knows; why.
    Undecided(String),
}

/// Judges operations, whatever they are of: each kind by its own check.
pub fn judge(done: &[Done]) -> Finding {
    let mut registers: BTreeMap<i64, Part<RegisterInput, RegisterOutput>> = BTreeMap::new();
    let mut lists: BTreeMap<i64, Part<AppendInput, AppendOutput>> = BTreeMap::new();
    let (mut set, mut bank, mut queue) = (Part::default(), Part::default(), Part::default());
    let mut transactions = Part::default();
    for (number, one) in done.iter().enumerate() {
        // What was certainly not executed is no part of the history, unless somebody has seen of it.
        if let (Operation::Transaction(steps), End::Fail(_), Some(end_us)) =
            (&one.operation, &one.end, one.end_us)
        {
            let aborted = (TransactionOutput::Aborted, end_us);
            transactions.add_ended(number, one, steps.clone(), aborted);
            continue;
        }
        if matches!(one.end, End::Fail(_)) {
            continue;
        }
        match one.operation {
            Operation::Transaction(ref steps) => {
                transactions.add(number, one, steps.clone(), transaction);
            }
            Operation::Read(key) => {
                registers
                    .entry(key)
                    .or_default()
                    .add(number, one, RegisterInput::Read, register);
            }
            Operation::Write(key, value) => {
                let input = RegisterInput::Write(value);
                registers
                    .entry(key)
                    .or_default()
                    .add(number, one, input, register);
            }
            Operation::Swap(key, from, to) => {
                let input = RegisterInput::Swap(from, to);
                registers
                    .entry(key)
                    .or_default()
                    .add(number, one, input, swapped);
            }
            Operation::Append(key, value) => {
                lists
                    .entry(key)
                    .or_default()
                    .add(number, one, AppendInput::Append(value), list);
            }
            Operation::List(key) => {
                lists
                    .entry(key)
                    .or_default()
                    .add(number, one, AppendInput::Read, list);
            }
            Operation::Add(value) => set.add(number, one, SetInput::Add(value), members),
            Operation::Members => set.add(number, one, SetInput::Read, members),
            Operation::Move(from, to, amount) => {
                bank.add(number, one, BankInput::Move(from, to, amount), accounts);
            }
            Operation::Accounts => bank.add(number, one, BankInput::Read, accounts),
            Operation::Put(value) => queue.add(number, one, QueueInput::Put(value), elements),
            Operation::Take => queue.add(number, one, QueueInput::Take, elements),
        }
    }
    let model = Linearizable(Register);
    let of_registers = registers.iter().map(|(key, part)| {
        let what = format!("register {key}");
        part.finding(&what, |history| check(&model, history, Budget::default()))
    });
    let of_lists = lists
        .iter()
        .map(|(key, part)| part.finding(&format!("list {key}"), check_append));
    let total = ACCOUNTS as i64 * BALANCE;
    let others = [
        set.finding("the set", check_set),
        bank.finding("the bank", |history| check_bank(Bank { total }, history)),
        queue.finding("the queue", check_queue),
        transactions.finding("the lists", check_transactions),
    ];
    let mut found = Finding::Right;
    for one in of_registers.chain(of_lists).chain(others) {
        match one {
            Finding::Wrong { .. } => return one,
            Finding::Undecided(_) => found = one,
            Finding::Right => {}
        }
    }
    found
}

/// The history of one thing, with the numbers of its operations.
struct Part<I, O> {
    history: History<I, O>,
    numbers: Vec<usize>,
}

impl<I, O> Default for Part<I, O> {
    fn default() -> Self {
        Self {
            history: History::default(),
            numbers: Vec::new(),
        }
    }
}

impl<I, O> Part<I, O> {
    fn add(&mut self, number: usize, one: &Done, input: I, output: impl Fn(&Reply) -> Option<O>) {
        let id = self.history.invoke(one.process, input, one.start_us);
        self.numbers.push(number);
        if let (End::Ok(reply), Some(end_us)) = (&one.end, one.end_us)
            && let Some(output) = output(reply)
        {
            self.history.answer(id, end_us, output);
        }
    }

    /// Adds an operation that has ended in a known way, whatever it was answered.
    fn add_ended(&mut self, number: usize, one: &Done, input: I, (output, end_us): (O, u64)) {
        let id = self.history.invoke(one.process, input, one.start_us);
        self.numbers.push(number);
        self.history.answer(id, end_us, output);
    }

    fn finding(&self, what: &str, check: impl FnOnce(&History<I, O>) -> Verdict) -> Finding {
        if self.numbers.is_empty() {
            return Finding::Right;
        }
        let number = |id: &OperationId| self.numbers[id.index()];
        match check(&self.history) {
            Verdict::Right => Finding::Right,
            Verdict::Undecided(why) => Finding::Undecided(format!("{what}: {why}")),
            Verdict::Wrong(explanation) => Finding::Wrong {
                message: format!("{what}: {}", explanation.message),
                operations: explanation.operations.iter().map(number).collect(),
            },
        }
    }
}

fn register(reply: &Reply) -> Option<RegisterOutput> {
    Some(match reply {
        Reply::Value(value) => RegisterOutput::Holds(*value),
        Reply::Done => RegisterOutput::Written,
        Reply::Refused | Reply::Values(_) | Reply::Transaction(_) => return None,
    })
}

fn swapped(reply: &Reply) -> Option<RegisterOutput> {
    match reply {
        Reply::Done => Some(RegisterOutput::Swapped(true)),
        Reply::Refused => Some(RegisterOutput::Swapped(false)),
        Reply::Value(_) | Reply::Values(_) | Reply::Transaction(_) => None,
    }
}

fn list(reply: &Reply) -> Option<AppendOutput> {
    match reply {
        Reply::Values(values) => Some(AppendOutput::Holds(values.clone())),
        Reply::Done => Some(AppendOutput::Appended),
        Reply::Value(_) | Reply::Refused | Reply::Transaction(_) => None,
    }
}

fn members(reply: &Reply) -> Option<SetOutput> {
    match reply {
        Reply::Values(values) => Some(SetOutput::Holds(values.clone())),
        Reply::Done => Some(SetOutput::Added),
        Reply::Value(_) | Reply::Refused | Reply::Transaction(_) => None,
    }
}

fn accounts(reply: &Reply) -> Option<BankOutput> {
    match reply {
        Reply::Values(values) => Some(BankOutput::Holds(values.clone())),
        Reply::Done => Some(BankOutput::Moved(true)),
        Reply::Refused => Some(BankOutput::Moved(false)),
        Reply::Value(_) | Reply::Transaction(_) => None,
    }
}

fn transaction(reply: &Reply) -> Option<TransactionOutput> {
    match reply {
        Reply::Transaction(seen) => Some(TransactionOutput::Committed(seen.clone())),
        _ => None,
    }
}

fn elements(reply: &Reply) -> Option<QueueOutput> {
    match reply {
        Reply::Value(value) => Some(QueueOutput::Gives(*value)),
        Reply::Done => Some(QueueOutput::Accepted),
        Reply::Values(_) | Reply::Refused | Reply::Transaction(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use history::Step;

    use super::*;

    fn one(operation: Operation, start_us: u64, end_us: u64, end: End) -> Done {
        Done {
            process: 0,
            node: 0,
            operation,
            start_us,
            end_us: Some(end_us),
            end,
        }
    }

    #[test]
    fn each_kind_is_judged_by_its_own_check() {
        let ok = |operation, at, reply| one(operation, at, at + 1, End::Ok(reply));
        let mut done = vec![
            ok(Operation::Write(1, 5), 10, Reply::Done),
            one(
                Operation::Write(1, 6),
                20,
                21,
                End::Fail("no leader".to_owned()),
            ),
            ok(Operation::Read(1), 30, Reply::Value(Some(5))),
            ok(Operation::Read(2), 30, Reply::Value(None)),
            ok(Operation::Swap(1, 4, 7), 32, Reply::Refused),
            ok(Operation::Swap(1, 5, 7), 34, Reply::Done),
            ok(Operation::Read(1), 36, Reply::Value(Some(7))),
            ok(Operation::Add(4), 40, Reply::Done),
            ok(Operation::Members, 50, Reply::Values(vec![4])),
        ];
        assert_eq!(judge(&done), Finding::Right);
        done.push(ok(Operation::Read(1), 60, Reply::Value(None)));
        let Finding::Wrong {
            message,
            operations,
        } = judge(&done)
        else {
            panic!("a value went back to nothing");
        };
        assert!(message.starts_with("register 1: no order"), "{message}");
        assert_eq!(operations, [0, 9]);
        done.pop();
        done.push(ok(Operation::Members, 70, Reply::Values(Vec::new())));
        let Finding::Wrong {
            message,
            operations,
        } = judge(&done)
        else {
            panic!("an element is lost");
        };
        assert!(
            message.contains("1 of 1 acknowledged elements are lost: 4"),
            "{message}"
        );
        assert_eq!(operations, [7, 9]);
    }

    #[test]
    fn what_a_transaction_did_that_was_not_executed_must_not_be_seen() {
        let append = |key, element| Operation::Transaction(vec![Step::Append(key, element)]);
        let read = |seen: &[i64]| {
            let end = End::Ok(Reply::Transaction(vec![Some(seen.to_vec())]));
            one(Operation::Transaction(vec![Step::Read(1)]), 30, 31, end)
        };
        let done = End::Ok(Reply::Transaction(vec![None]));
        let mut all = vec![
            one(append(1, 5), 10, 11, done),
            one(append(1, 6), 20, 21, End::Fail("rolled back".to_owned())),
            read(&[5]),
        ];
        assert_eq!(judge(&all), Finding::Right);
        all[2] = read(&[5, 6]);
        let Finding::Wrong {
            message,
            operations,
        } = judge(&all)
        else {
            panic!("nobody has executed that");
        };
        assert!(message.starts_with("the lists: element 6") && message.contains("G1a"));
        assert_eq!(operations, [1, 2]);
    }
}

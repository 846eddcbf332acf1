//! Operations and their answers, and the lines in which they are written: Jepsen's vocabulary as JSON.
//!
//! `{"process": 3, "type": "invoke", "f": "write", "key": 7, "value": 12, "time": 1500000}`, and later the same
//! with `ok`, `fail` (it was certainly not executed) or `info` (nobody knows). Times are nanoseconds of any clock
//! that does not jump, the same for all lines.

use history::Step;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is asked of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The value of a register.
    Read(i64),
    /// A register is to have this value.
    Write(i64, i64),
    /// A register is to have the third if it has the second.
    Swap(i64, i64, i64),
    /// The set is to have this.
    Add(i64),
    /// All that the set has.
    Members,
    /// A list is to end with this.
    Append(i64, i64),
    /// All of a list.
    List(i64),
    /// So much is to be moved from one account to another.
    Move(usize, usize, i64),
    /// What all accounts hold.
    Accounts,
    /// The queue is to take this.
    Put(i64),
    /// The queue is to give something.
    Take,
    /// Steps on lists that are to be executed all at once, or not at all.
    Transaction(Vec<Step>),
}

/// What a system answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// It was not done, as what was expected was not so: a swap or a move.
    Refused,
    /// A value, if there is one.
    Value(Option<i64>),
    /// Several.
    Values(Vec<i64>),
    /// What each step of a transaction has read; none of those that read nothing.
    Transaction(Vec<Option<Vec<i64>>>),
}

/// What a line says of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// It begins.
    Invoke,
    /// It was answered.
    Ok,
    /// It was certainly not executed.
    Fail,
    /// Nobody knows whether it was, or will be.
    Info,
}

/// A line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Who asks: one thing at a time.
    pub process: usize,
    /// The node that is asked; unless said, the process's number modulo that of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// What happens.
    #[serde(rename = "type")]
    pub kind: Type,
    /// What is asked; at its end it need not be said again.
    #[serde(default)]
    pub f: String,
    /// Of which register or list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<i64>,
    /// What for, and what was answered.
    #[serde(default)]
    pub value: Value,
    /// When, in nanoseconds; what is read counts from when it comes.
    #[serde(default)]
    pub time: u64,
    /// Why it failed, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Operation {
    /// Its name, its key, and its value.
    pub fn parts(&self) -> (&'static str, Option<i64>, Value) {
        match *self {
            Self::Transaction(ref steps) => ("txn", None, written(steps, &[])),
            Self::Read(key) => ("read", Some(key), Value::Null),
            Self::Write(key, value) => ("write", Some(key), value.into()),
            Self::Swap(key, from, to) => ("cas", Some(key), json!([from, to])),
            Self::Add(value) => ("add", None, value.into()),
            Self::Members => ("members", None, Value::Null),
            Self::Append(key, value) => ("append", Some(key), value.into()),
            Self::List(key) => ("list", Some(key), Value::Null),
            Self::Move(from, to, amount) => ("transfer", None, json!([from, to, amount])),
            Self::Accounts => ("accounts", None, Value::Null),
            Self::Put(value) => ("enqueue", None, value.into()),
            Self::Take => ("dequeue", None, Value::Null),
        }
    }

    /// The operation that a line invokes; none of one that nobody knows.
    pub fn of(line: &Line) -> Option<Self> {
        let number = || line.value.as_i64();
        let numbers =
            || -> Option<Vec<i64>> { line.value.as_array()?.iter().map(Value::as_i64).collect() };
        Some(match line.f.as_str() {
            "read" => Self::Read(line.key.unwrap_or(0)),
            "write" => Self::Write(line.key.unwrap_or(0), number()?),
            "cas" => match numbers()?[..] {
                [from, to] => Self::Swap(line.key.unwrap_or(0), from, to),
                _ => return None,
            },
            "add" => Self::Add(number()?),
            "members" => Self::Members,
            "append" => Self::Append(line.key.unwrap_or(0), number()?),
            "list" => Self::List(line.key.unwrap_or(0)),
            "transfer" => match numbers()?[..] {
                [from, to, amount] => {
                    Self::Move(from.try_into().ok()?, to.try_into().ok()?, amount)
                }
                _ => return None,
            },
            "accounts" => Self::Accounts,
            "enqueue" => Self::Put(number()?),
            "dequeue" => Self::Take,
            "txn" => {
                let steps = line.value.as_array()?.iter();
                Self::Transaction(steps.map(step).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// What an `ok` line answers to this.
    pub fn reply_of(&self, line: &Line) -> Option<Reply> {
        Some(match self {
            Self::Read(_) | Self::Take => match &line.value {
                Value::Null => Reply::Value(None),
                value => Reply::Value(Some(value.as_i64()?)),
            },
            Self::Members | Self::List(_) | Self::Accounts => {
                let values = line.value.as_array()?.iter().map(Value::as_i64);
                Reply::Values(values.collect::<Option<_>>()?)
            }
            Self::Transaction(steps) => {
                let answers = line.value.as_array()?;
                if answers.len() != steps.len() {
                    return None;
                }
                let seen = steps.iter().zip(answers).map(|(asked, answer)| {
                    (step(answer)? == *asked).then_some(())?;
                    match asked {
                        Step::Append(..) => Some(None),
                        Step::Read(_) => {
                            let elements = answer.get(2)?.as_array()?.iter();
                            elements.map(Value::as_i64).collect::<Option<_>>().map(Some)
                        }
                    }
                });
                Reply::Transaction(seen.collect::<Option<_>>()?)
            }
            Self::Swap(..) | Self::Move(..) if line.value == false => Reply::Refused,
            _ => Reply::Done,
        })
    }

    /// The operation in words.
    pub fn told(&self) -> String {
        let (f, key, value) = self.parts();
        let key = key.map_or_else(String::new, |key| format!(" {key}:"));
        let value = if value.is_null() {
            String::new()
        } else {
            format!(" {value}")
        };
        format!("{f}{key}{value}")
    }
}

impl Reply {
    /// The value of the line that says it.
    pub fn value(&self, to: &Operation) -> Value {
        match self {
            Self::Done => to.parts().2,
            Self::Refused => false.into(),
            Self::Value(value) => json!(value),
            Self::Values(values) => json!(values),
            Self::Transaction(seen) => match to {
                Operation::Transaction(steps) => written(steps, seen),
                _ => Value::Null,
            },
        }
    }
}

/// Steps as Jepsen writes them, with what was read: `[["append", 1, 5], ["r", 2, [4]]]`.
fn written(steps: &[Step], seen: &[Option<Vec<i64>>]) -> Value {
    let steps = steps.iter().enumerate().map(|(place, step)| match step {
        Step::Append(key, element) => json!(["append", key, element]),
        Step::Read(key) => json!(["r", key, seen.get(place)]),
    });
    steps.collect()
}

fn step(value: &Value) -> Option<Step> {
    let key = value.get(1)?.as_i64()?;
    match value.get(0)?.as_str()? {
        "append" => Some(Step::Append(key, value.get(2)?.as_i64()?)),
        "r" => Some(Step::Read(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_as_they_are_written() {
        let all = [
            (Operation::Read(3), Reply::Value(Some(4))),
            (Operation::Read(3), Reply::Value(None)),
            (Operation::Write(3, 4), Reply::Done),
            (Operation::Swap(3, 4, 5), Reply::Refused),
            (Operation::Swap(3, 4, 5), Reply::Done),
            (Operation::Add(9), Reply::Done),
            (Operation::Members, Reply::Values(vec![9, 1])),
            (Operation::Append(1, 2), Reply::Done),
            (Operation::List(1), Reply::Values(Vec::new())),
            (Operation::Move(0, 1, 7), Reply::Refused),
            (Operation::Accounts, Reply::Values(vec![1, 2])),
            (Operation::Put(4), Reply::Done),
            (Operation::Take, Reply::Value(None)),
            (
                Operation::Transaction(vec![Step::Append(1, 2), Step::Read(3)]),
                Reply::Transaction(vec![None, Some(vec![4, 5])]),
            ),
        ];
        for (operation, reply) in all {
            let (f, key, value) = operation.parts();
            let line = |kind, value| Line {
                node: None,
                process: 1,
                kind,
                f: f.to_owned(),
                key,
                value,
                time: 5,
                error: None,
            };
            let written = serde_json::to_string(&line(Type::Invoke, value)).unwrap();
            let read: Line = serde_json::from_str(&written).unwrap();
            assert_eq!(Operation::of(&read).as_ref(), Some(&operation), "{written}");
            let answer = line(Type::Ok, reply.value(&operation));
            assert_eq!(operation.reply_of(&answer), Some(reply), "{written}");
        }
    }
}

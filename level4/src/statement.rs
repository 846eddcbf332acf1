//! SQL statements with parameters, and their results, as plain typed data with one encoding.
//!
//! The API reads them from rqlite's JSON, the log entry and the replicated answer hold their bytes, the
//! database executes them, and the API writes results as JSON. Numbers travel as their bits, so what a
//! client sent is what SQLite gets, and what SQLite has is what a client is told.

use crate::codec::{Malformed, Reader, Writer};

/// A value of a row or a parameter: SQLite's five storage classes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT, in UTF-8 whatever the database's encoding. Bytes that are none are replaced by U+FFFD,
    /// as JSON has no others.
    Text(String),
    /// BLOB.
    Blob(Vec<u8>),
}

/// What is bound to a statement's parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameters {
    /// By place, from the first; there may be more than the statement has.
    Positional(Vec<Value>),
    /// By name, without the `:`, `@` or `$`.
    Named(Vec<(String, Value)>),
}

/// One item of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Usually one statement; of several the last one's result is given.
    pub sql: String,
    /// The same for all statements in `sql`.
    pub parameters: Parameters,
}

/// Statements that are executed together, in order.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what a request asks for, each on its own"
)]
pub struct Statements {
    /// In this order.
    pub list: Vec<Statement>,
    /// All in one transaction: the first failure undoes and ends everything.
    pub transaction: bool,
    /// Statements that give rows return them; else only those do that change something (`RETURNING`).
    pub rows: bool,
    /// Columns are named with their tables (`t.a`), where they have one.
    pub qualified: bool,
    /// Foreign keys are checked.
    pub foreign_keys: bool,
}

/// The result of one [`Statement`].
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It gave rows, or could have.
    Rows(Rows),
    /// It was executed.
    Done {
        /// Of the connection's last INSERT in this request; `None`: there was none.
        last_insert_id: Option<i64>,
        /// Without those of triggers and foreign keys; `None`: nothing was changed.
        rows_affected: Option<u64>,
    },
    /// SQLite's message, or ours.
    Error(String),
}

/// What a query gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Names.
    pub columns: Vec<String>,
    /// Declared types in lower case; of expressions, the storage class of the first row's value; empty if that is
    /// NULL, or there is none.
    pub types: Vec<String>,
    /// Rows of as many values as there are columns.
    pub values: Vec<Vec<Value>>,
}

/// First byte of both encodings.
const VERSION: u8 = 1;

impl Statement {
    /// A statement without parameters.
    pub fn plain(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            parameters: Parameters::Positional(Vec::new()),
        }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.bytes(self.sql.as_bytes());
        match &self.parameters {
            Parameters::Positional(values) => {
                writer.uint((values.len() as u64) << 1);
                for value in values {
                    value.encode(writer);
                }
            }
            Parameters::Named(values) => {
                writer.uint((values.len() as u64) << 1 | 1);
                for (name, value) in values {
                    writer.bytes(name.as_bytes());
                    value.encode(writer);
                }
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let sql = reader.text()?;
        let count = reader.uint()?;
        let parameters = if count & 1 == 0 {
            Parameters::Positional(list(reader, count >> 1, Value::decode)?)
        } else {
            Parameters::Named(list(reader, count >> 1, |reader| {
                Ok((reader.text()?, Value::decode(reader)?))
            })?)
        };
        Ok(Self { sql, parameters })
    }
}

/// `count` items. Grows with what is read, so that a false count allocates nothing.
fn list<T>(
    reader: &mut Reader,
    count: u64,
    mut item: impl FnMut(&mut Reader) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(reader)?);
    }
    Ok(items)
}

fn text(reader: &mut Reader) -> Result<String, Malformed> {
    reader.text()
}

impl Value {
    /// Appends the bytes that [`Value::decode`] reads.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Null => writer.byte(0),
            Self::Integer(value) => {
                writer.byte(1);
                // Zigzag: small numbers of either sign are short.
                writer.uint((value << 1 ^ value >> 63) as u64);
            }
            Self::Real(value) => {
                writer.byte(2);
                writer.raw(&value.to_bits().to_le_bytes());
            }
            Self::Text(value) => {
                writer.byte(3);
                writer.bytes(value.as_bytes());
            }
            Self::Blob(value) => {
                writer.byte(4);
                writer.bytes(value);
            }
        }
    }

    /// Reads [`Value::encode`]'s bytes.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            0 => Self::Null,
            1 => {
                let value = reader.uint()?;
                Self::Integer((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            2 => {
                let mut bits = [0; 8];
                for byte in &mut bits {
                    *byte = reader.byte()?;
                }
                Self::Real(f64::from_bits(u64::from_le_bytes(bits)))
            }
            3 => Self::Text(reader.text()?),
            4 => Self::Blob(reader.bytes()?.to_vec()),
            _ => return Err(Malformed { at: 0 }),
        })
    }

    /// About the bytes it takes in an answer.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 8,
            Self::Blob(bytes) => bytes.len() + 8,
            Self::Null | Self::Integer(_) | Self::Real(_) => 16,
        }
    }
}

impl Statements {
    /// Each for itself, and those that give rows return them.
    pub fn query(list: Vec<Statement>) -> Self {
        Self {
            list,
            transaction: false,
            rows: true,
            qualified: false,
            foreign_keys: false,
        }
    }

    /// The bytes for a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.byte(VERSION);
        let flags = [
            self.transaction,
            self.rows,
            self.qualified,
            self.foreign_keys,
        ];
        writer.byte(
            (flags.into_iter().zip(0..)).fold(0, |all, (flag, bit)| all | u8::from(flag) << bit),
        );
        writer.uint(self.list.len() as u64);
        for statement in &self.list {
            statement.encode(&mut writer);
        }
        writer.finish()
    }

    /// Reads [`Statements::encode`]'s bytes.
    ///
    /// # Errors
    ///
    /// Bytes that are not in that format, or in one of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Malformed { at: 0 });
        }
        let flags = reader.byte()?;
        let count = reader.uint()?;
        Ok(Self {
            list: list(&mut reader, count, Statement::decode)?,
            transaction: flags & 1 != 0,
            rows: flags & 2 != 0,
            qualified: flags & 4 != 0,
            foreign_keys: flags & 8 != 0,
        })
    }
}

impl Outcome {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Rows(rows) => {
                writer.byte(0);
                writer.uint(rows.columns.len() as u64);
                for text in rows.columns.iter().chain(&rows.types) {
                    writer.bytes(text.as_bytes());
                }
                writer.uint(rows.values.len() as u64);
                for value in rows.values.iter().flatten() {
                    value.encode(writer);
                }
            }
            Self::Done {
                last_insert_id,
                rows_affected,
            } => {
                writer.byte(1);
                Value::encode(&last_insert_id.map_or(Value::Null, Value::Integer), writer);
                writer.uint(rows_affected.map_or(0, |count| count + 1));
            }
            Self::Error(message) => {
                writer.byte(2);
                writer.bytes(message.as_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            0 => {
                let width = reader.uint()?;
                let columns = list(reader, width, text)?;
                let types = list(reader, width, text)?;
                let height = reader.uint()?;
                if width == 0 && height > 0 {
                    return Err(Malformed { at: 0 });
                }
                let values = list(reader, height, |reader| list(reader, width, Value::decode))?;
                Self::Rows(Rows {
                    columns,
                    types,
                    values,
                })
            }
            1 => Self::Done {
                last_insert_id: match Value::decode(reader)? {
                    Value::Integer(id) => Some(id),
                    _ => None,
                },
                rows_affected: reader.uint()?.checked_sub(1),
            },
            2 => Self::Error(reader.text()?),
            _ => return Err(Malformed { at: 0 }),
        })
    }

    /// The bytes of an answer.
    pub fn encode_all(outcomes: &[Self]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.byte(VERSION);
        writer.uint(outcomes.len() as u64);
        for outcome in outcomes {
            outcome.encode(&mut writer);
        }
        writer.finish()
    }

    /// Reads [`Outcome::encode_all`]'s bytes.
    ///
    /// # Errors
    ///
    /// Bytes that are not in that format, or in one of another version.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Malformed { at: 0 });
        }
        let count = reader.uint()?;
        list(&mut reader, count, Self::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            // All bits, but for NaNs, which are not equal to themselves.
            any::<f64>()
                .prop_filter("NaN", |number| !number.is_nan())
                .prop_map(Value::Real),
            any::<String>().prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Blob),
        ]
    }

    fn statement() -> impl Strategy<Value = Statement> {
        let parameters = prop_oneof![
            prop::collection::vec(value(), 0..4).prop_map(Parameters::Positional),
            prop::collection::vec((any::<String>(), value()), 0..4).prop_map(Parameters::Named),
        ];
        (any::<String>(), parameters).prop_map(|(sql, parameters)| Statement { sql, parameters })
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let rows = (1..4usize).prop_flat_map(|width| {
            let texts = || prop::collection::vec(any::<String>(), width);
            let row = prop::collection::vec(value(), width);
            (texts(), texts(), prop::collection::vec(row, 0..4)).prop_map(
                |(columns, types, values)| {
                    Outcome::Rows(Rows {
                        columns,
                        types,
                        values,
                    })
                },
            )
        });
        let done = (any::<Option<i64>>(), prop::option::of(0..u64::MAX)).prop_map(
            |(last_insert_id, rows_affected)| Outcome::Done {
                last_insert_id,
                rows_affected,
            },
        );
        prop_oneof![rows, done, any::<String>().prop_map(Outcome::Error)]
    }

    proptest! {
        #[test]
        fn statements_survive_the_log(
            list in prop::collection::vec(statement(), 0..4),
            [transaction, rows, qualified, foreign_keys]: [bool; 4],
        ) {
            let statements = Statements { list, transaction, rows, qualified, foreign_keys };
            prop_assert_eq!(Statements::decode(&statements.encode()).unwrap(), statements);
        }

        #[test]
        fn outcomes_survive_the_answer(outcomes in prop::collection::vec(outcome(), 0..4)) {
            let bytes = Outcome::encode_all(&outcomes);
            prop_assert_eq!(Outcome::decode_all(&bytes).unwrap(), outcomes);
        }

        #[test]
        fn mutated_bytes_are_refused_or_read_without_a_panic(
            list in prop::collection::vec(statement(), 1..3),
            outcomes in prop::collection::vec(outcome(), 1..3),
            at: prop::sample::Index,
            byte: u8,
            length: prop::sample::Index,
        ) {
            let mut first = Statements { list, transaction: true, rows: true, qualified: true, foreign_keys: true }.encode();
            let mut second = Outcome::encode_all(&outcomes);
            for bytes in [&mut first, &mut second] {
                let place = at.index(bytes.len());
                bytes[place] = byte;
                bytes.truncate(length.index(bytes.len()) + 1);
            }
            let _ = Statements::decode(&first);
            let _ = Outcome::decode_all(&second);
        }
    }
}

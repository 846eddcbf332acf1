//! The changes of one request as bytes: the tables that they are of, then one after the other.

use bytes::Bytes;

pub use super::super::engine::preupdate::Operation;
use crate::codec::{Malformed, Reader, Writer};
use crate::statement::Value;

/// Instead of changes: they were too many.
const LOST: u8 = 0;
const KEPT: u8 = 1;
/// In a change's first byte, above its operation: the row's values follow,
const HAS_VALUES: u8 = 4;
/// or could not be read.
const IS_UNREADABLE: u8 = 8;

/// One row's change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What was done.
    pub operation: Operation,
    /// To a row of this table.
    pub table: String,
    /// The table's columns, if its values are kept.
    pub columns: Vec<String>,
    /// The row's id before, 0 for tables WITHOUT ROWID,
    pub old_row_id: i64,
    /// and after.
    pub new_row_id: i64,
    /// The row before: `None` if there was none, or its values are not kept,
    pub before: Option<Vec<Value>>,
    /// and after.
    pub after: Option<Vec<Value>>,
    /// Its values were to be kept, and could not be read.
    pub is_unreadable: bool,
}

/// Tables in the order in which they were first met, and changes that refer to them by their places.
#[derive(Debug, Default)]
pub struct Log {
    bytes: Vec<u8>,
}

/// What a hook sees of a change.
#[derive(Debug)]
pub struct Seen<'a> {
    /// What is being done.
    pub operation: Operation,
    /// The table's place.
    pub table: usize,
    /// As in [`Change`].
    pub row_ids: (i64, i64),
    /// The row's values before and after; `None`: they are not kept.
    pub values: Option<Result<Rows<'a>, ()>>,
}

/// A row before and after; none where there is none.
pub type Rows<'a> = (&'a [Value], &'a [Value]);

impl Log {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what came after so many bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Appends all of `other`, and empties it.
    pub fn append(&mut self, other: &mut Self) {
        self.bytes.append(&mut other.bytes);
    }

    /// Appends a change.
    pub fn push(&mut self, seen: &Seen) {
        let mut writer = Writer::new();
        let values = match &seen.values {
            None => 0,
            Some(Ok(_)) => HAS_VALUES,
            Some(Err(())) => IS_UNREADABLE,
        };
        writer.byte(seen.operation as u8 | values);
        writer.uint(seen.table as u64);
        let (old, new) = seen.row_ids;
        match seen.operation {
            Operation::Insert => zigzag(&mut writer, new),
            Operation::Delete => zigzag(&mut writer, old),
            Operation::Update => {
                zigzag(&mut writer, old);
                zigzag(&mut writer, new);
            }
        }
        if let Some(Ok((before, after))) = seen.values {
            for value in before.iter().chain(after) {
                value.encode(&mut writer);
            }
        }
        self.bytes.extend(writer.finish());
    }
}

fn zigzag(writer: &mut Writer, value: i64) {
    writer.uint((value << 1 ^ value >> 63) as u64);
}

fn unzigzag(reader: &mut Reader) -> Result<i64, Malformed> {
    let value = reader.uint()?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// A table's name and columns.
pub type Table = (String, Vec<String>);

/// The changes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes(Bytes);

impl Changes {
    /// From the bytes of some.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Some of these tables.
    pub fn of(tables: &[Table], log: &Log) -> Self {
        let mut writer = Writer::new();
        writer.byte(KEPT);
        writer.uint(tables.len() as u64);
        for (name, columns) in tables {
            writer.bytes(name.as_bytes());
            writer.uint(columns.len() as u64);
            for column in columns {
                writer.bytes(column.as_bytes());
            }
        }
        writer.raw(&log.bytes);
        Self(writer.finish().into())
    }

    /// More than there is room for.
    pub fn lost() -> Self {
        Self(Bytes::from_static(&[LOST]))
    }

    /// Whether they were too many to be kept.
    pub fn are_lost(&self) -> bool {
        self.0.first() == Some(&LOST)
    }

    /// As they are in logs and snapshots.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The same, to be kept.
    pub fn shared(&self) -> Bytes {
        self.0.clone()
    }

    /// Of the bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// One after the other.
    ///
    /// # Errors
    ///
    /// Bytes in another format.
    pub fn list(&self) -> Result<Vec<Change>, Malformed> {
        let mut reader = Reader::new(&self.0);
        if reader.byte()? != KEPT {
            return Err(Malformed { at: 0 });
        }
        let mut tables: Vec<Table> = Vec::new();
        for _ in 0..reader.uint()? {
            let name = reader.text()?;
            let mut columns = Vec::new();
            for _ in 0..reader.uint()? {
                columns.push(reader.text()?);
            }
            tables.push((name, columns));
        }
        let mut list = Vec::new();
        while !reader.is_empty() {
            list.push(one(&mut reader, &tables)?);
        }
        Ok(list)
    }
}

fn one(reader: &mut Reader, tables: &[Table]) -> Result<Change, Malformed> {
    let malformed = Malformed { at: 0 };
    let first = reader.byte()?;
    let operation = match first & 3 {
        0 => Operation::Insert,
        1 => Operation::Update,
        2 => Operation::Delete,
        _ => return Err(malformed),
    };
    let place = usize::try_from(reader.uint()?).map_err(|_| malformed)?;
    let (table, columns) = tables.get(place).ok_or(malformed)?;
    let id = unzigzag(reader)?;
    let (old_row_id, new_row_id) = match operation {
        Operation::Insert => (0, id),
        Operation::Delete => (id, 0),
        Operation::Update => (id, unzigzag(reader)?),
    };
    let mut row = |is_there: bool| {
        let values = columns.iter().map(|_| Value::decode(reader));
        (is_there && first & HAS_VALUES != 0)
            .then(|| values.collect::<Result<Vec<_>, _>>())
            .transpose()
    };
    let before = row(operation != Operation::Insert)?;
    let after = row(operation != Operation::Delete)?;
    Ok(Change {
        operation,
        table: table.clone(),
        columns: columns.clone(),
        old_row_id,
        new_row_id,
        before,
        after,
        is_unreadable: first & IS_UNREADABLE != 0,
    })
}

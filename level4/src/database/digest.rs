//! A digest of everything in a database, the same for two that would answer alike, however their pages
//! are laid out.

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::engine::image::Image;
use super::engine::vfs::File;
use super::guard::Access;
use super::session::Session;
use super::state::Parts;
use super::{Budget, Content, Database, DatabaseError};
use crate::codec::Writer;

/// Digests values in order: CRC32C of each, mixed into 64 bits.
#[derive(Default)]
struct Digest(u64);

impl Digest {
    fn bytes(&mut self, kind: u8, bytes: &[u8]) {
        let value = u64::from(crc32c::crc32c(bytes)) << 32 ^ bytes.len() as u64 ^ u64::from(kind);
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    fn row(&mut self, row: &Row, columns: usize) -> Result<(), rusqlite::Error> {
        for column in 0..columns {
            match row.get_ref(column)? {
                ValueRef::Null => self.bytes(0, &[]),
                ValueRef::Integer(value) => self.bytes(1, &value.to_le_bytes()),
                ValueRef::Real(value) => self.bytes(2, &value.to_bits().to_le_bytes()),
                ValueRef::Text(value) => self.bytes(3, value),
                ValueRef::Blob(value) => self.bytes(4, value),
            }
        }
        Ok(())
    }

    fn rows(&mut self, connection: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
        let mut statement = connection.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.row(row, columns)?;
        }
        Ok(())
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Database {
    /// Digests a database as [`crate::machine::Executor::save`] gives it in bytes.
    ///
    /// # Errors
    ///
    /// If it is not a usable database.
    pub fn digest(state: &[u8]) -> Result<u64, DatabaseError> {
        let parts = Parts::read(state)?;
        let (image, _) = parts.split(Image::new(parts.file));
        digest(parts.budget, image)
    }
}

impl Content {
    /// Digests the database: the budget, the schema, and all rows of all tables with their row ids.
    ///
    /// # Errors
    ///
    /// If it is not a usable database.
    pub fn digest(&self) -> Result<u64, DatabaseError> {
        let (head, image) = self.database();
        digest(Parts::read(head)?.budget, image.clone())
    }
}

fn digest(budget: Budget, image: Image) -> Result<u64, DatabaseError> {
    let mut digest = Digest::default();
    let mut encoded = Writer::new();
    budget.encode(&mut encoded);
    digest.bytes(6, &encoded.finish());
    let file = File::new(image);
    let session = Session::open(&file, Access::Read)?;
    let connection = session.connection();
    // A loaded file may have values that no request could make.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::MAX)?;
    digest.rows(
        connection,
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name",
    )?;
    // Virtual tables keep their rows in ordinary ones.
    let sql = "SELECT name FROM sqlite_schema \
                   WHERE type = 'table' AND rootpage > 0 ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let tables = statement.query_map([], |row| row.get::<_, String>(0))?;
    for table in tables {
        let table = table?;
        digest.bytes(5, table.as_bytes());
        // What is computed when it is read is not content.
        let sql = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 2";
        let mut statement = connection.prepare(sql)?;
        let columns = statement.query_map([&table], |row| row.get::<_, String>(0))?;
        let columns: Result<Vec<String>, _> =
            columns.map(|name| name.map(|name| quoted(&name))).collect();
        let columns = columns?.join(", ");
        let rest = format!("{columns} FROM {} NOT INDEXED", quoted(&table));
        let with_row_id = format!("SELECT rowid, {rest}");
        if connection.prepare(&with_row_id).is_ok() {
            digest.rows(connection, &with_row_id)?;
        } else {
            digest.rows(connection, &format!("SELECT {rest}"))?;
        }
    }
    Ok(digest.0)
}

//! A database as SQL text that makes it again (the `sqlite3` shell's `.dump`), and one without free pages.
//!
//! Both work on a copy of one moment, away from the log, so what they may use is for this node alone to say.

use std::fmt::Write as _;
use std::io;

use super::DatabaseError;
use super::engine::image::Image;
use super::engine::meter::{Budget, Scope};
use super::engine::statement::{Script, Statement};
use super::engine::vfs::File;
use super::guard::Access;
use super::readers::View;
use super::session::{Session, Work};
use crate::machine::Moment;
use crate::statement::Value;

/// Why there is no dump, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It cannot be read.
    #[error("{0}")]
    Sql(String),
    /// A table that was asked for is not there.
    #[error("no such table: {0}")]
    NoTable(String),
    /// It cannot be read on this node.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It cannot be passed on.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Nothing of the log is executed.
const MOMENT: Moment = Moment {
    time_ms: 0,
    seed: 0,
};

/// What reading all of a database may use.
fn budget(view: &View) -> Budget {
    Budget {
        steps: u64::MAX,
        ..view.budget().bulk(Scope::Load, view.size() as u64)
    }
}

/// Does `work` with the copy.
fn with<T>(
    image: Image,
    access: Access,
    budget: Budget,
    work: impl FnOnce(&Work) -> Result<T, DumpError>,
) -> Result<(T, Image), DumpError> {
    let file = File::new(image);
    let mut session = Session::open(&file, access).map_err(DatabaseError::from)?;
    session.is_foreign = true;
    let mut done = None;
    session.request(&file, MOMENT, budget, |at_work| {
        done = Some(work(at_work));
        Vec::new()
    })?;
    let nothing = || DumpError::Sql("nothing was done".to_owned());
    let done = done.ok_or_else(nothing)??;
    Ok((done, file.image()))
}

impl View {
    /// The same database without free pages.
    ///
    /// # Errors
    ///
    /// If SQLite cannot make it within the budget of such work.
    pub fn vacuumed(&self) -> Result<Self, DumpError> {
        let vacuum = |work: &Work| work.control("VACUUM").map_err(DumpError::Sql);
        let ((), image) = with(self.image(), Access::Write, budget(self), vacuum)?;
        Ok(self.with(image))
    }

    /// Writes SQL that makes the database again, or these `tables` of it, with what belongs to them.
    ///
    /// # Errors
    ///
    /// If a table is not there, the database cannot be read, or `out` takes no more.
    pub fn dump(&self, tables: &[String], out: &mut dyn io::Write) -> Result<(), DumpError> {
        let write = |work: &Work| write(work, tables, out);
        with(self.image(), Access::Read, budget(self), write)?;
        Ok(())
    }
}

/// A part of the schema.
struct Object {
    kind: String,
    name: String,
    /// What it belongs to; a table, itself.
    table: String,
    sql: String,
}

fn write(work: &Work, tables: &[String], out: &mut dyn io::Write) -> Result<(), DumpError> {
    let schema = schema(work)?;
    let is_table = |object: &Object, name: &str| {
        object.kind == "table" && object.name.eq_ignore_ascii_case(name)
    };
    for name in tables {
        if !schema.iter().any(|object| is_table(object, name)) {
            return Err(DumpError::NoTable(name.clone()));
        }
    }
    let is_asked = |object: &&Object| {
        tables.is_empty()
            || tables
                .iter()
                .any(|name| object.table.eq_ignore_ascii_case(name))
    };
    // What virtual tables keep in tables of their own comes back with them.
    let shadows = column(
        work,
        "SELECT name FROM pragma_table_list WHERE type = 'shadow' AND schema = 'main'",
    )?;
    let is_shadow = |object: &&Object| shadows.contains(&object.name);
    out.write_all(b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")?;
    let parts = || schema.iter().filter(is_asked).filter(|o| !is_shadow(o));
    for table in parts().filter(|object| object.kind == "table") {
        if table.name == "sqlite_sequence" {
            out.write_all(b"DELETE FROM sqlite_sequence;\n")?;
        } else if table.name.starts_with("sqlite_stat") {
            out.write_all(b"ANALYZE sqlite_schema;\n")?;
        } else {
            writeln!(out, "{};", table.sql)?;
        }
        rows(work, table, out)?;
    }
    for object in parts().filter(|object| object.kind != "table" && !object.sql.is_empty()) {
        writeln!(out, "{};", object.sql)?;
    }
    out.write_all(b"COMMIT;\n")?;
    Ok(())
}

/// Tables in the order in which they were made, those that SQLite fills by itself last.
fn schema(work: &Work) -> Result<Vec<Object>, DumpError> {
    let mut objects = Vec::new();
    let query = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
        ORDER BY name LIKE 'sqlite\\_%' ESCAPE '\\', rowid";
    each_row(work, query, |row| {
        let [kind, name, table, sql] = [0, 1, 2, 3].map(|column| text(row.value(column)));
        objects.push(Object {
            kind,
            name,
            table,
            sql,
        });
        Ok(())
    })?;
    Ok(objects)
}

/// INSERTs of everything in a table.
fn rows(work: &Work, table: &Object, out: &mut dyn io::Write) -> Result<(), DumpError> {
    let name = quoted(&table.name);
    let columns = format!(
        "SELECT name FROM pragma_table_xinfo({}) WHERE hidden = 0",
        literal(&table.name)
    );
    let mut columns: Vec<String> = column(work, &columns)?.iter().map(|c| quoted(c)).collect();
    let is_text_index = table.sql.to_ascii_lowercase().contains("using fts");
    if is_text_index {
        columns.insert(0, "rowid".to_owned());
    }
    if columns.is_empty() {
        return Ok(());
    }
    let columns = columns.join(",");
    let mut line = String::new();
    each_row(work, &format!("SELECT {columns} FROM {name}"), |row| {
        line.clear();
        // Writing into a string does not fail.
        let _ = write!(line, "INSERT INTO {name}({columns}) VALUES(");
        for column in 0..row.columns() {
            if column > 0 {
                line.push(',');
            }
            append(&mut line, &row.value(column));
        }
        line.push_str(");\n");
        out.write_all(line.as_bytes())?;
        Ok(())
    })
}

fn column(work: &Work, sql: &str) -> Result<Vec<String>, DumpError> {
    let mut values = Vec::new();
    each_row(work, sql, |row| {
        values.push(text(row.value(0)));
        Ok(())
    })?;
    Ok(values)
}

fn each_row(
    work: &Work,
    sql: &str,
    mut each: impl FnMut(&Statement) -> Result<(), DumpError>,
) -> Result<(), DumpError> {
    let mut script = Script::new(sql.as_bytes());
    if let Some(mut statement) = work.next(&mut script, false).map_err(DumpError::Sql)? {
        while statement.step().map_err(DumpError::Sql)? {
            each(&statement)?;
        }
    }
    Ok(())
}

fn text(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        _ => String::new(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value as SQL, to the last bit.
fn append(line: &mut String, value: &Value) {
    // Writing into a string does not fail.
    let _ = match value {
        Value::Null => write!(line, "NULL"),
        // There is no such literal.
        Value::Integer(i64::MIN) => write!(line, "(-9223372036854775807-1)"),
        Value::Integer(value) => write!(line, "{value}"),
        Value::Real(value) if value.is_infinite() => {
            let sign = if *value > 0.0 { "" } else { "-" };
            write!(line, "{sign}9.0e+999")
        }
        Value::Real(value) => write!(line, "{value:?}"),
        // SQL text ends at a NUL.
        Value::Text(text) if text.contains('\0') => {
            line.push_str("CAST(");
            append_blob(line, text.as_bytes());
            write!(line, " AS TEXT)")
        }
        Value::Text(text) => write!(line, "{}", literal(text)),
        Value::Blob(bytes) => {
            append_blob(line, bytes);
            Ok(())
        }
    };
}

fn append_blob(line: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    line.push_str("x'");
    for byte in bytes {
        line.push(DIGITS[usize::from(byte >> 4)].into());
        line.push(DIGITS[usize::from(byte & 15)].into());
    }
    line.push('\'');
}

#[cfg(test)]
mod tests {
    use super::super::engine;
    use super::*;
    use crate::database::Database;
    use crate::machine::Executor as _;
    use crate::message::Command;
    use proptest::prelude::*;
    use rusqlite::Connection;

    fn database(sql: &str) -> View {
        let mut database = Database::new().unwrap();
        let made = database.execute(MOMENT, &Command::Shell(sql.to_owned().into()));
        assert_eq!(made.unwrap(), "");
        database.view()
    }

    fn dumped(view: &View, tables: &[String]) -> String {
        let mut out = Vec::new();
        view.dump(tables, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// What SQLite has after it has read the dump.
    fn read_back(dump: &str) -> Connection {
        let file = File::new(Image::default());
        let connection = engine::open(&file).unwrap();
        connection.execute_batch(dump).unwrap();
        connection
    }

    #[test]
    fn a_dump_makes_the_same_database() {
        let view = database(
            "CREATE TABLE \"a \"\"b\" (id INTEGER PRIMARY KEY AUTOINCREMENT, x, y AS (length(x)));
             INSERT INTO \"a \"\"b\" (x) VALUES ('it''s'), (char(0, 65)), (-9223372036854775808), (9e999);
             INSERT INTO \"a \"\"b\" (x) VALUES (x'00ff'), (1); DELETE FROM \"a \"\"b\" WHERE id = 6;
             CREATE TABLE w (k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES (2, 'b'), (1, 'a');
             CREATE INDEX i ON w (v); CREATE VIEW v AS SELECT k FROM w;
             CREATE TRIGGER r AFTER INSERT ON w BEGIN DELETE FROM w WHERE k = 7; END;
             CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f (rowid, t) VALUES (9, 'to be');",
        );
        let again = read_back(&dumped(&view, &[]));
        let all = |sql: &str| -> Vec<String> {
            let mut statement = again.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        assert_eq!(
            all("SELECT id || typeof(x) || hex(x) || y FROM \"a \"\"b\""),
            [
                "1text697427734",
                "2text00410",
                "3integer2D3932323333373230333638353437373538303820",
                "4real496E663",
                "5blob00FF2",
            ]
        );
        assert_eq!(all("SELECT k || v FROM w"), ["1a", "2b"]);
        assert_eq!(all("SELECT seq || '' FROM sqlite_sequence"), ["6"]);
        assert_eq!(
            all("SELECT rowid || t FROM f WHERE f MATCH 'be'"),
            ["9to be"]
        );
        let names = all("SELECT name FROM sqlite_schema WHERE name IN ('i', 'v', 'r') ORDER BY 1");
        assert_eq!(names, ["i", "r", "v"]);
    }

    #[test]
    fn a_dump_of_some_tables_has_what_belongs_to_them() {
        let view = database("CREATE TABLE a (x); CREATE TABLE b (y); CREATE INDEX i ON b (y);");
        let dump = dumped(&view, &["B".to_owned()]);
        assert!(dump.contains("CREATE TABLE b") && dump.contains("CREATE INDEX i"));
        assert!(!dump.contains("CREATE TABLE a"));
        let error = view.dump(&["c".to_owned()], &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "no such table: c");
    }

    #[test]
    fn a_vacuumed_copy_is_smaller_and_has_the_same() {
        let view = database(
            "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(1000000)), (1); DELETE FROM t WHERE a <> 1;",
        );
        let copy = view.vacuumed().unwrap();
        assert!(copy.size() < view.size() / 10);
        assert_eq!(dumped(&copy, &[]), dumped(&view, &[]));
    }

    proptest! {
        #[test]
        fn values_are_read_back_bit_for_bit(
            bits: u64,
            integer: i64,
            text in any::<String>(),
            blob in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let real = f64::from_bits(bits);
            prop_assume!(!real.is_nan());
            let mut line = String::from("SELECT ");
            for (place, value) in [
                Value::Real(real),
                Value::Integer(integer),
                Value::Text(text.clone()),
                Value::Blob(blob.clone()),
            ].iter().enumerate() {
                if place > 0 { line.push(',') }
                append(&mut line, value);
            }
            let file = File::new(Image::default());
            let connection = engine::open(&file).unwrap();
            let row = connection.query_row(&line, [], |row| {
                Ok((row.get::<_, f64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, Vec<u8>>(3)?))
            });
            let (real_again, integer_again, text_again, blob_again) = row.unwrap();
            prop_assert_eq!(real_again.to_bits(), bits);
            prop_assert_eq!(integer_again, integer);
            prop_assert_eq!(text_again, text);
            prop_assert_eq!(blob_again, blob);
        }
    }
}

//! The judge's own SQLite: runs a query as the `sqlite3` shell of 2014 would, and gives what that
//! shell would print. In process, so that judging takes microseconds.

use anyhow::Result;
use rusqlite::{
    Batch, Connection, Error, config::DbConfig, fallible_iterator::FallibleIterator,
    types::ValueRef,
};

/// A database in memory.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

impl Database {
    /// An empty one, with the settings of the shell: no foreign keys.
    pub fn new() -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
        Ok(Self { connection })
    }

    /// What the shell prints for `sql` given as one line: its rows in list mode, or, after an
    /// error, the error alone.
    pub fn execute(&mut self, sql: &str) -> Result<Vec<u8>> {
        let mut printed = Vec::new();
        match self.run(sql, &mut printed) {
            Ok(()) => Ok(printed),
            Err(Error::SqliteFailure(error, message)) => {
                let message = message.unwrap_or_else(|| error.to_string());
                Ok(format!("Error: near line 1: {message}\n").into_bytes())
            }
            Err(Error::SqlInputError { msg, .. }) => {
                Ok(format!("Error: near line 1: {msg}\n").into_bytes())
            }
            Err(other) => Err(other.into()),
        }
    }

    fn run(&self, sql: &str, printed: &mut Vec<u8>) -> rusqlite::Result<()> {
        let mut batch = Batch::new(&self.connection, sql);
        while let Some(mut statement) = batch.next()? {
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    if column > 0 {
                        printed.push(b'|');
                    }
                    self.print(row.get_ref(column)?, printed)?;
                }
                printed.push(b'\n');
            }
        }
        Ok(())
    }

    fn print(&self, value: ValueRef<'_>, printed: &mut Vec<u8>) -> rusqlite::Result<()> {
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(integer) => printed.extend(integer.to_string().bytes()),
            // SQLite knows best how the shell prints a real.
            ValueRef::Real(real) => {
                let mut format = self
                    .connection
                    .prepare_cached("SELECT printf('%!.15g', ?1)")?;
                let text: String = format.query_row([real], |row| row.get(0))?;
                printed.extend(text.bytes());
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                printed.extend(bytes.iter().take_while(|&&byte| byte != 0));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level4::query::{Statement, Update, sql};

    fn printed(database: &mut Database, sql: &str) -> String {
        String::from_utf8(database.execute(sql).unwrap()).unwrap()
    }

    #[test]
    fn it_prints_as_the_shell_does() {
        let mut database = Database::new().unwrap();
        assert_eq!(
            printed(
                &mut database,
                "SELECT 1, NULL, 'a', 0.1, 1e100, 3.0, x'410042'; SELECT 2"
            ),
            "1||a|0.1|1.0e+100|3.0|A\n2\n"
        );
        assert_eq!(
            printed(&mut database, "SELECT 5; SELECT * FROM nowhere; SELECT 6"),
            "Error: near line 1: no such table: nowhere\n"
        );
    }

    #[test]
    fn the_clients_queries_give_what_they_gave_in_2014() {
        let mut database = Database::new().unwrap();
        assert_eq!(printed(&mut database, &sql(&Statement::Boot)), "");
        let update = Update {
            person: 1,
            friends: 17,
            word: "abcdefghijkmnpq".to_owned(),
        };
        assert_eq!(
            printed(&mut database, &sql(&Statement::Update(update))),
            "siddarth|0|0|\ngdb|17|1|abcdefghijkmnpq\nchristian|0|0|\nandy|0|0|\ncarl|0|0|\n"
        );
        assert_eq!(
            printed(&mut database, &sql(&Statement::Boot)),
            "Error: near line 1: table ctf3 already exists\n"
        );
    }
}

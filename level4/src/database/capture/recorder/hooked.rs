//! Takes down changes by SQLite's hooks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::super::changes::{Log, Seen, Table};
use super::super::{Changes, Selection};
use crate::database::engine::preupdate::{self, Change, Row, Watch};
use crate::statement::Value;

/// The hooks of one connection, to be kept at least as long as that.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Mutex<Notes>>);

/// A table that was met.
#[derive(Debug)]
struct Met {
    name: String,
    /// Which of its columns have values, by place; `None`: they were not asked for.
    stored: Option<Vec<bool>>,
    /// The names of those; `None`: not looked up yet.
    columns: Option<Vec<String>>,
}

#[derive(Debug)]
struct Notes {
    selection: Selection,
    /// Tables by name, as they are now; `None`: its changes are not wanted.
    places: BTreeMap<String, Option<usize>>,
    /// All tables that this request has met. One that was altered is another one.
    tables: Vec<Met>,
    /// Bytes of these.
    described: usize,
    /// Some of them lack their columns' names.
    has_nameless: bool,
    /// What the open transaction has done,
    open: Log,
    /// and what those before it have.
    committed: Log,
    /// How long `open` was at each savepoint.
    savepoints: Vec<usize>,
    /// The witness takes part in the open transaction.
    is_witnessed: bool,
    /// There was more than is to be kept.
    is_lost: bool,
}

impl Recorder {
    /// Takes down what this connection changes from here on.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn install(connection: &mut Connection, selection: Selection) -> rusqlite::Result<Self> {
        let recorder = Self(Arc::new(Mutex::new(Notes {
            selection,
            places: BTreeMap::new(),
            tables: Vec::new(),
            described: 0,
            has_nameless: false,
            open: Log::default(),
            committed: Log::default(),
            savepoints: Vec::new(),
            is_witnessed: false,
            is_lost: false,
        })));
        preupdate::install(connection, &recorder.0)?;
        let (commits, undoes) = (recorder.clone(), recorder.clone());
        connection.commit_hook(Some(move || {
            commits.notes().commit();
            false
        }))?;
        connection.rollback_hook(Some(move || undoes.notes().open.truncate(0)))?;
        Ok(recorder)
    }

    /// What it takes down.
    pub fn selection(&self) -> Selection {
        self.notes().selection.clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A statement is about to be compiled; the schema may be another one than before the last.
    ///
    /// # Errors
    ///
    /// SQLite's message.
    pub fn before_statement(
        &self,
        connection: &Connection,
        schema_changed: bool,
    ) -> Result<(), String> {
        self.name_columns(connection);
        if schema_changed {
            self.notes().places.clear();
        }
        // Outside of transactions, statements are done as a whole or undone as a whole.
        if !connection.is_autocommit() && !self.notes().is_witnessed {
            let joined = connection.execute_batch(preupdate::JOIN);
            joined.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Looks up the names of columns that are not known yet, while their tables are as they were.
    fn name_columns(&self, connection: &Connection) {
        if !self.notes().has_nameless {
            return;
        }
        let nameless = |notes: &Notes| {
            let mut tables = notes.tables.iter().enumerate();
            tables
                .find(|(_, met)| met.columns.is_none())
                .map(|(place, met)| (place, met.name.clone()))
        };
        // Not while it is locked: hooks may be called.
        loop {
            let Some((place, name)) = nameless(&self.notes()) else {
                break;
            };
            let name = name.replace('"', "\"\"");
            let sql = format!("SELECT * FROM main.\"{name}\" LIMIT 0");
            let Ok(statement) = connection.prepare(&sql) else {
                // A budget that is used up; the request ends.
                return;
            };
            let columns: Vec<&str> = statement.column_names().collect();
            self.notes().name(place, &columns);
        }
        self.notes().has_nameless = false;
    }

    /// A request is done, and no transaction is open; gives what it has changed.
    pub fn finish(&self, connection: &Connection) -> Option<Changes> {
        self.name_columns(connection);
        let mut notes = self.notes();
        let changes = notes.take();
        notes.places.clear();
        notes.tables.clear();
        notes.described = 0;
        notes.has_nameless = false;
        notes.open.truncate(0);
        notes.committed.truncate(0);
        notes.is_lost = false;
        changes
    }
}

impl Notes {
    fn commit(&mut self) {
        self.committed.append(&mut self.open);
        self.savepoints.clear();
    }

    /// What was committed, of the tables that are in it.
    fn take(&mut self) -> Option<Changes> {
        if self.is_lost {
            return Some(Changes::lost());
        }
        if self.committed.len() == 0 {
            return None;
        }
        let tables = self.tables.drain(..).map(Met::named);
        Some(Changes::of(&tables.collect::<Vec<_>>(), &self.committed))
    }

    /// The place of a table; `None`: nobody wants its changes.
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.selection.has(name).then_some(self.tables.len());
        if place.is_some() {
            self.described += name.len();
            self.has_nameless |= !self.selection.row_ids_only;
            self.tables.push(Met {
                name: name.to_owned(),
                stored: None,
                columns: self.selection.row_ids_only.then(Vec::new),
            });
        }
        self.places.insert(name.to_owned(), place);
        place
    }

    fn name(&mut self, place: usize, names: &[&str]) {
        let Some(met) = self.tables.get_mut(place) else {
            return;
        };
        let stored = met.stored.as_deref().unwrap_or_default();
        let columns = names.iter().zip(stored).filter(|(_, stored)| **stored);
        let columns: Vec<String> = columns.map(|(name, _)| (*name).to_owned()).collect();
        self.described += columns.iter().map(String::len).sum::<usize>();
        met.columns = Some(columns);
    }

    /// The values of a change, if the table has them.
    fn values(&mut self, place: usize, change: &Change) -> Result<(Vec<Value>, Vec<Value>), ()> {
        let rows = (
            change.before().map_err(drop)?,
            change.after().map_err(drop)?,
        );
        let met = self.tables.get_mut(place).ok_or(())?;
        let row = if rows.0.is_empty() { &rows.1 } else { &rows.0 };
        met.stored
            .get_or_insert_with(|| row.iter().map(Option::is_some).collect());
        let values = |row: Row| row.into_iter().flatten().collect();
        Ok((values(rows.0), values(rows.1)))
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.open.truncate(0);
        self.committed.truncate(0);
    }
}

impl Met {
    /// With as many columns as it has values, whatever they are called.
    fn named(self) -> Table {
        let stored = self.stored.unwrap_or_default();
        let count = stored.into_iter().filter(|stored| *stored).count();
        let mut columns = self.columns.unwrap_or_default();
        for number in columns.len()..count {
            columns.push(format!("column {}", number + 1));
        }
        (self.name, columns)
    }
}

impl Watch for Notes {
    fn change(&mut self, change: &Change) {
        if self.is_lost {
            return;
        }
        let Some(place) = self.place(change.table) else {
            return;
        };
        let values = (!self.selection.row_ids_only).then(|| self.values(place, change));
        self.open.push(&Seen {
            operation: change.operation,
            table: place,
            row_ids: (change.old_row_id, change.new_row_id),
            values: values.as_ref().map(|values| match values {
                Ok((before, after)) => Ok((before.as_slice(), after.as_slice())),
                Err(()) => Err(()),
            }),
        });
        if self.open.len() + self.committed.len() + self.described > self.selection.limit {
            self.lose();
        }
    }

    fn joins(&mut self) {
        self.is_witnessed = true;
        self.savepoints.clear();
    }

    fn leaves(&mut self) {
        self.is_witnessed = false;
        self.savepoints.clear();
    }

    fn savepoint(&mut self, number: usize) {
        self.savepoints.truncate(number);
        let length = self.open.len();
        self.savepoints.resize(number + 1, length);
    }

    fn release(&mut self, number: usize) {
        self.savepoints.truncate(number);
    }

    fn roll_back_to(&mut self, number: Option<usize>) {
        let Some(number) = number else {
            self.open.truncate(0);
            self.savepoints.clear();
            return;
        };
        if let Some(length) = self.savepoints.get(number) {
            self.open.truncate(*length);
        }
        self.savepoints.truncate(number + 1);
    }
}

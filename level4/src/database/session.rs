//! A connection with its guard, and what runs one request on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;
use rusqlite::Connection;

use super::DatabaseError;
use super::capture::{Changes, Recorder, Selection};
use super::engine::meter::{self, Budget};
use super::engine::statement::{self, Script, Statement};
use super::engine::vfs::File;
use super::engine::{self, functions};
use super::guard::{Access, Guard, Seen};
use super::nesting::TooLong;
use crate::machine::Moment;

/// A connection to a database and what watches over it.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// Takes down what it changes, where that is wanted. It has to be there for longer than the connection.
    recorder: Option<Recorder>,
    guard: Guard,
    access: Access,
    /// The file came from a client: damage that SQLite finds in it is an answer.
    pub is_foreign: bool,
    /// Rows that the last request changed, for the replicas' digest.
    pub changes: u64,
    /// The rows that it changed, if they are taken down.
    pub taken_down: Option<Changes>,
}

/// One request at work on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Work<'c> {
    /// The connection.
    pub connection: &'c Connection,
    guard: &'c Guard,
    recorder: Option<&'c Recorder>,
    file: &'c File,
    budget: Budget,
}

impl<'c> Work<'c> {
    /// The next statement of a script, under the budget that it gets; `None`: there are none left.
    /// Without `own_transactions`, it may not begin or end one.
    ///
    /// # Errors
    ///
    /// SQLite's message, or ours.
    pub fn next(
        &self,
        script: &mut Script,
        own_transactions: bool,
    ) -> Result<Option<Statement<'c>>, String> {
        let compiled = self.compile(script, own_transactions)?;
        Ok(compiled.map(|(statement, _)| statement))
    }

    /// Likewise, and what was seen while it was compiled.
    ///
    /// # Errors
    ///
    /// As [`Work::next`].
    pub fn compile(
        &self,
        script: &mut Script,
        own_transactions: bool,
    ) -> Result<Option<(Statement<'c>, Seen)>, String> {
        self.before_statement()?;
        self.guard
            .charge_nesting(script.rest())
            .map_err(|error| error.to_string())?;
        let begin = script.rest().len();
        let statement = script.next(self.connection)?;
        let seen = self.guard.take_seen();
        self.guard.charge_firing(script.last(begin), &seen);
        if seen.is_bulk {
            meter::allow_bulk();
        }
        if seen.makes_table || seen.alters_table {
            self.guard
                .add_table(script.last(begin), seen.alters_table)
                .map_err(|error| error.to_string())?;
            if self.guard.has_generated_columns() {
                meter::make_table();
            }
        }
        if let Some(name) = &seen.view {
            let text = script.last(begin);
            self.guard
                .add_view(name, &String::from_utf8_lossy(text))
                .map_err(|error| error.to_string())?;
        }
        if let Some(name) = &seen.trigger {
            let text = String::from_utf8_lossy(script.last(begin));
            self.guard.add_trigger(name, &text);
        }
        if let Some((operation, name)) = &seen.savepoint {
            self.guard.note_savepoint(*operation, name.clone());
        }
        if let Some(operation) = seen.transaction
            && !own_transactions
        {
            return Err(format!(
                "{operation} is not allowed in a request that is a transaction"
            ));
        }
        if let Some(is_case_sensitive) = seen.like {
            // The pragma has put SQLite's own functions back when it was compiled, and has no more to do.
            drop(statement);
            functions::install(self.connection, is_case_sensitive).map_err(|e| e.to_string())?;
            return self.compile(script, own_transactions);
        }
        Ok(statement.map(|statement| (statement, seen)))
    }

    /// A statement that was just run is about to be run again, without being compiled again: all as [`Work::next`]
    /// would have it for one that changes rows and nothing else.
    ///
    /// # Errors
    ///
    /// SQLite's message, or that of a budget that is used up.
    pub fn again(&self, sql: &[u8], seen: &Seen) -> Result<(), String> {
        self.before_statement()?;
        let nesting = self.guard.charge_nesting(sql);
        nesting.map_err(|error| error.to_string())?;
        statement::charge_again(sql.len())?;
        self.guard.charge_firing(sql, seen);
        Ok(())
    }

    /// Goes before every statement.
    fn before_statement(&self) -> Result<(), String> {
        if let Some(recorder) = self.recorder {
            let schema_changed = self.guard.used.load(Relaxed);
            recorder.before_statement(self.connection, schema_changed)?;
        }
        if self.guard.is_firing_stale() {
            let learnt = self.guard.learn_firing(self.connection);
            learnt.map_err(|error| error.to_string())?;
        }
        self.guard.take_seen();
        meter::begin_statement(
            self.budget,
            self.file.len() as u64,
            self.guard.has_generated_columns(),
        );
        Ok(())
    }

    /// The first column of the first row of a query, as text.
    ///
    /// # Errors
    ///
    /// SQLite's message.
    pub fn text(&self, sql: &str) -> Result<String, String> {
        let mut script = Script::new(sql.as_bytes());
        let mut text = Vec::new();
        if let Some(mut statement) = self.next(&mut script, false)?
            && statement.step()?
        {
            statement.print(0, &mut text);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a statement of ours.
    ///
    /// # Errors
    ///
    /// SQLite's message.
    pub fn control(&self, sql: &str) -> Result<(), String> {
        let mut script = Script::new(sql.as_bytes());
        if let Some(mut statement) = self.next(&mut script, true)? {
            while statement.step()? {}
        }
        Ok(())
    }
}

/// Ends an open transaction. What comes of its failure cannot be told.
pub fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
        meter::fail("a transaction cannot be rolled back");
    }
}

impl Session {
    /// A connection to a file.
    pub fn open(file: &File, access: Access) -> Result<Self, rusqlite::Error> {
        let mut connection = engine::open(file)?;
        let guard = Guard::install(&mut connection, access)?;
        Ok(Self {
            connection,
            recorder: None,
            guard,
            access,
            is_foreign: false,
            changes: 0,
            taken_down: None,
        })
    }

    /// Whether it takes down what requests change.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// Takes down from here on what requests change, or no longer. The connection is a new one.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn record(
        &mut self,
        file: &File,
        selection: Option<Selection>,
    ) -> Result<(), rusqlite::Error> {
        let mut fresh = Self::open(file, self.access)?;
        fresh.is_foreign = self.is_foreign;
        let recorder = selection.map(|found| Recorder::install(&mut fresh.connection, found));
        fresh.recorder = recorder.transpose()?;
        *self = fresh;
        Ok(())
    }

    /// Runs `work` as one request to the database in `file`.
    ///
    /// # Errors
    ///
    /// If the environment failed meanwhile: what came of it is no answer.
    pub fn request(
        &mut self,
        file: &File,
        moment: Moment,
        budget: Budget,
        work: impl FnOnce(&Work) -> Vec<u8>,
    ) -> Result<Bytes, DatabaseError> {
        meter::set_foreign(self.is_foreign);
        self.guard
            .begin(&self.connection, budget, moment.time_ms, moment.seed);
        let before = self.connection.total_changes();
        let output = work(&Work {
            connection: &self.connection,
            guard: &self.guard,
            recorder: self.recorder.as_ref(),
            file,
            budget,
        });
        meter::settle();
        let changes = self.connection.total_changes() - before;
        roll_back(&self.connection);
        let recorder = self.recorder.as_ref();
        let taken_down = recorder.and_then(|recorder| recorder.finish(&self.connection));
        let fresh = self.leave(file);
        (self.changes, self.taken_down) = (changes, taken_down);
        if let Some(fault) = meter::end() {
            return Err(DatabaseError::Environment(fault));
        }
        fresh.map_err(|_| DatabaseError::Environment("the database cannot be opened again"))?;
        Ok(output.into())
    }

    /// Replaces a connection that is not as it was.
    fn leave(&mut self, file: &File) -> Result<(), rusqlite::Error> {
        if self.guard.used.load(Relaxed) || self.guard.has_virtual_tables {
            let selection = self.recorder.as_ref().map(Recorder::selection);
            self.record(file, selection)?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// If the database, which somebody else has made, has what compiles for too long.
    pub fn check_tables(&self) -> Result<(), TooLong> {
        self.guard.check_tables()
    }

    /// The connection, for what is no request.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Has requests end as soon as `flag` is set, or at `deadline`.
    pub fn watch(
        &mut self,
        flag: Arc<AtomicBool>,
        deadline: Option<Instant>,
    ) -> Result<(), rusqlite::Error> {
        let look = move || {
            !meter::look()
                || flag.load(Relaxed)
                || deadline.is_some_and(|deadline| Instant::now() >= deadline)
        };
        let steps = meter::STEPS_A_LOOK as i32;
        self.connection.progress_handler(steps, Some(look))
    }
}

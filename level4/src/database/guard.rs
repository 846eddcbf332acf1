//! What SQL may not do: leave the database, change how it is kept, run for ever, or see anything that
//! differs from node to node.

mod pragmas;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::engine::meter::{self, Budget};
use super::engine::preupdate::WITNESS;
use super::engine::{functions, random, statement};
use super::firing::{Change, Firing, Operation};
use super::nesting::{TooLong, TooNested, Views};

/// The longest text or blob, bytes.
const VALUE_LIMIT: i32 = 16 * 1024 * 1024;
/// The highest tree of an expression, in nodes. SQLite's compiler goes through a tree once for each of its
/// nodes, and through those of generated columns within each other: columns, times this, times the frames
/// of a node have to fit the stack.
const EXPRESSION_LIMIT: i32 = 200;
/// The longest program of a statement, in instructions (24 bytes each).
const PROGRAM_LIMIT: i32 = 1_400_000;
/// How deep triggers may fire each other. Whatever opens a table goes through all the places at which it is
/// open, so that deep recursion costs by the square.
const TRIGGER_LIMIT: i32 = 200;
/// The largest database, bytes. Where it is in memory, the end of that may come before.
const DATABASE_LIMIT: i64 = 64 * 1024 * 1024 * 1024;
/// How often ALTER TABLE looks at each view and trigger.
const ALTER_LOOKS: u64 = 4;
/// Charged for each view that has to be looked at when one is made.
const VIEW_STEPS: u64 = 10;
/// Bytes of the schema's text that take one step to read.
const SCHEMA_BYTES_A_STEP: u64 = 8;
/// Bytes of `randomblob` that take one step.
const RANDOM_BYTES_A_STEP: u64 = 16;

/// Functions that reach out of the database. `fts3_tokenizer` takes and gives addresses of code.
const FORBIDDEN_FUNCTIONS: [&str; 2] = ["fts3_tokenizer", "load_extension"];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Requests from the log, the same on every node.
    Write,
    /// This node's readers, and the check of a file before it becomes the database.
    Read,
}

/// What the hooks of one connection share with its owner.
#[derive(Debug, Default, Clone)]
pub struct Guard {
    /// The connection is not as it was when it was opened: it has temporary objects or settings, or
    /// remembers (of the schema, of statistics) what a node that starts from a snapshot would not.
    pub used: Arc<AtomicBool>,
    /// What has been compiled since it was last taken.
    seen: Arc<Mutex<Seen>>,
    /// Virtual tables keep statements compiled and content cached, in ways of their own.
    pub has_virtual_tables: bool,
    /// The savepoints that are open, as far as statements that were compiled tell.
    savepoints: Arc<Mutex<Vec<String>>>,
    /// The views, those that this request has made among them.
    views: Arc<Mutex<Views>>,
    /// The triggers and foreign keys, likewise.
    firing: Arc<Mutex<Firing>>,
    /// There are any.
    fires: Arc<AtomicBool>,
    /// A compilation, and what has been charged as a trigger in it.
    charged_triggers: Arc<Mutex<(u32, BTreeSet<String>)>>,
    /// State of the generator behind `random()`.
    random: Arc<AtomicU64>,
    /// `total_changes()` at the request's start.
    changes: Arc<AtomicU64>,
}

/// What the authorizer saw of a statement that was compiled.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Seen {
    /// `BEGIN`, `COMMIT` or `ROLLBACK`.
    pub transaction: Option<&'static str>,
    /// `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`, and the savepoint's name.
    pub savepoint: Option<(TransactionOperation, String)>,
    /// It goes through the whole database: CREATE INDEX, REINDEX.
    pub is_bulk: bool,
    /// It makes a table,
    pub makes_table: bool,
    /// or alters one.
    pub alters_table: bool,
    /// The view that it makes.
    pub view: Option<String>,
    /// The trigger that it makes.
    pub trigger: Option<String>,
    /// What it changes, triggers apart; not noted where there are neither triggers nor foreign keys.
    changes: Vec<Change>,
    /// `PRAGMA case_sensitive_like` was set to this.
    pub like: Option<bool>,
}

impl Seen {
    /// Whether nothing was seen but changes of rows.
    pub fn is_plain(&self) -> bool {
        matches!(
            self,
            Self {
                transaction: None,
                savepoint: None,
                is_bulk: false,
                makes_table: false,
                alters_table: false,
                view: None,
                trigger: None,
                changes: _,
                like: None,
            }
        )
    }
}

impl Guard {
    /// Installs the hooks, and makes the connection remember what requests would make it remember: the
    /// schema, with virtual tables.
    pub fn install(connection: &mut Connection, access: Access) -> Result<Self> {
        let mut guard = Self::default();
        statement::configure(connection);
        if access == Access::Write {
            // Opens a cursor that writes, for which a connection takes a page's buffer and keeps it.
            // Whatever stands against it stands against a request, too.
            let _ = connection.execute_batch("BEGIN; CREATE TABLE \"\" (a); ROLLBACK");
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
        }
        connection.execute_batch(
            "PRAGMA temp_store = FILE; PRAGMA cache_spill = OFF; PRAGMA synchronous = OFF;
             PRAGMA cache_size = -2048; PRAGMA mmap_size = 0; SELECT 1 FROM sqlite_schema",
        )?;
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = DATABASE_LIMIT / page;
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
        if access == Access::Read {
            connection.execute_batch("PRAGMA query_only = ON")?;
        }
        for (limit, most) in [
            (Limit::SQLITE_LIMIT_LENGTH, VALUE_LIMIT),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_LIMIT),
            (Limit::SQLITE_LIMIT_VDBE_OP, PROGRAM_LIMIT),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, TRIGGER_LIMIT),
        ] {
            connection.set_limit(limit, most)?;
        }
        let hook_guard = guard.clone();
        connection.authorizer(Some(move |context: AuthContext| {
            authorize(&context, access, &hook_guard)
        }))?;
        connection.progress_handler(meter::STEPS_A_LOOK as i32, Some(|| !meter::look()))?;
        guard.install_random(connection)?;
        functions::install(connection, false)?;
        statement::count_changes_from(connection, &guard.changes)?;
        guard.has_virtual_tables = warm(connection)?;
        guard.learn_views(connection)?;
        guard.learn_firing(connection)?;
        guard.used.store(false, Relaxed);
        guard.take_seen();
        Ok(guard)
    }

    /// Prepares for a request.
    pub fn begin(&self, connection: &Connection, budget: Budget, time_ms: u64, seed: u64) {
        statement::forget_pages(connection);
        random::set(time_ms, seed);
        self.random.store(seed, Relaxed);
        self.changes.store(connection.total_changes(), Relaxed);
        statement::forget_last_rowid(connection);
        self.take_seen();
        self.open_savepoints().clear();
        self.firing().begin();
        meter::begin(budget);
    }

    /// Takes views, triggers and tables from the schema. Views that are nested too deep, or are too broad, are
    /// refused when they are used.
    fn learn_views(&self, connection: &Connection) -> Result<()> {
        let mut views = self.views();
        let mut list = connection
            .prepare("SELECT type, name, sql FROM sqlite_schema WHERE type <> 'index'")?;
        let mut rows = list.query([])?;
        while let Some(row) = rows.next()? {
            // A file that was loaded may have anything there.
            let (kind, name, sql) = (row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?);
            let (ValueRef::Text(name), ValueRef::Text(sql)) = (name, sql) else {
                continue;
            };
            let (name, text) = (String::from_utf8_lossy(name), String::from_utf8_lossy(sql));
            match kind {
                ValueRef::Text(b"view") => views.add(&name, &text),
                ValueRef::Text(b"trigger") => views.add_trigger(&name, &text),
                _ => views.add_table(sql, false),
            }
        }
        let _ = views.follow();
        Ok(())
    }

    /// Takes triggers and foreign keys from the schema, if they are not known from it.
    pub fn learn_firing(&self, connection: &Connection) -> Result<()> {
        let mut firing = self.firing();
        firing.clear();
        let mut list = connection.prepare(
            "SELECT type, sql FROM sqlite_schema UNION ALL SELECT type, sql FROM sqlite_temp_schema",
        )?;
        let mut rows = list.query([])?;
        while let Some(row) = rows.next()? {
            if let ValueRef::Text(sql) = row.get_ref(1)? {
                meter::charge(sql.len() as u64 / SCHEMA_BYTES_A_STEP);
            }
            match (row.get_ref(0)?, row.get_ref(1)?) {
                (ValueRef::Text(b"trigger"), ValueRef::Text(sql)) => firing.add_trigger(sql),
                (ValueRef::Text(b"table"), ValueRef::Text(sql)) => firing.add_table(sql),
                _ => {}
            }
        }
        self.fires.store(!firing.is_empty(), Relaxed);
        Ok(())
    }

    /// Whether they have to be taken from the schema again: a table has another name.
    pub fn is_firing_stale(&self) -> bool {
        self.firing().is_stale()
    }

    /// Has a statement charged for what SQLite keeps of the programs that it may run.
    pub fn charge_firing(&self, sql: &[u8], seen: &Seen) {
        if !seen.changes.is_empty() {
            let deepest = TRIGGER_LIMIT as usize;
            let cost = self.firing().cost_of(sql, &seen.changes, deepest);
            meter::charge(cost.steps);
            meter::keep(cost.bytes_a_step);
        }
    }

    fn firing(&self) -> std::sync::MutexGuard<'_, Firing> {
        self.firing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether compiling may have to put generated columns in their places.
    pub fn has_generated_columns(&self) -> bool {
        self.views().has_generated_columns()
    }

    /// A statement that makes or `alters` a table is about to run.
    ///
    /// # Errors
    ///
    /// If it, or what was there before, has generated columns and is too long.
    pub fn add_table(&self, sql: &[u8], alters: bool) -> std::result::Result<(), TooLong> {
        self.firing().add_table(sql);
        self.note_firing();
        let mut views = self.views();
        views.add_table(sql, alters);
        views.check_tables()
    }

    fn note_firing(&self) {
        self.fires.store(!self.firing().is_empty(), Relaxed);
    }

    /// # Errors
    ///
    /// If the database has a table with generated columns that is too long.
    pub fn check_tables(&self) -> std::result::Result<(), TooLong> {
        self.views().check_tables()
    }

    /// Charges for the SELECTs that the first statement of `sql` nests, and for what views in it stand for.
    ///
    /// # Errors
    ///
    /// If that is too much.
    pub fn charge_nesting(&self, sql: &[u8]) -> std::result::Result<(), TooNested> {
        let extent = self.views().extent_of(sql)?;
        meter::charge(extent.steps());
        Ok(())
    }

    /// Charges for the compiling of a trigger, or whatever has this name, once in a compilation.
    fn charge_trigger(&self, name: &str) -> bool {
        let compilation = meter::compilation();
        let mut charged = self.charged_triggers();
        if charged.0 != compilation {
            *charged = (compilation, BTreeSet::new());
        }
        !charged.1.insert(name.to_owned()) || meter::charge(self.views().trigger_steps(name))
    }

    /// Charges for so many looks at all views and triggers.
    fn charge_schema(&self, looks: u64) -> bool {
        meter::charge(self.views().all_steps().saturating_mul(looks))
    }

    fn charged_triggers(&self) -> std::sync::MutexGuard<'_, (u32, BTreeSet<String>)> {
        self.charged_triggers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A statement that makes a view is about to run.
    ///
    /// # Errors
    ///
    /// If that would make this view or another one too deep or too broad.
    pub fn add_view(&self, name: &str, sql: &str) -> std::result::Result<(), TooNested> {
        let looks = self.views().add_and_follow(name, sql)?;
        meter::charge(looks * VIEW_STEPS);
        Ok(())
    }

    /// A statement that makes a trigger is about to run.
    pub fn add_trigger(&self, name: &str, sql: &str) {
        self.views().add_trigger(name, sql);
        self.firing().add_trigger(sql.as_bytes());
        self.note_firing();
    }

    fn views(&self) -> std::sync::MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been compiled since this was last asked.
    pub fn take_seen(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }

    /// A statement that opens or closes savepoints is about to run. What does not come of it (a release
    /// may fail) matters little: the most that were ever open count.
    pub fn note_savepoint(&self, operation: TransactionOperation, name: String) {
        let mut open = self.open_savepoints();
        let known = open.iter().rposition(|known| *known == name);
        match (operation, known) {
            (TransactionOperation::Begin, _) => open.push(name),
            (TransactionOperation::Release, Some(place)) => open.truncate(place),
            (TransactionOperation::Rollback, Some(place)) => open.truncate(place + 1),
            _ => {}
        }
        meter::savepoints(open.len());
    }

    fn open_savepoints(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.savepoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note_change(&self, operation: Operation, table: &str) {
        let changes = &mut self.seen().changes;
        // An UPDATE comes once for each column.
        let is_known = changes
            .last()
            .is_some_and(|(last, name)| *last == operation && name.eq_ignore_ascii_case(table));
        if !is_known {
            changes.push((operation, table.to_ascii_lowercase()));
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // Nothing panics while it holds the lock.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install_random(&self, connection: &Connection) -> Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let state = self.random.clone();
        connection.create_scalar_function("random", 0, flags, move |_| {
            // SQLite never gives the smallest integer, so that abs() works.
            Ok((next(&state) as i64).max(-i64::MAX))
        })?;
        let state = self.random.clone();
        connection.create_scalar_function("randomblob", 1, flags, move |context| {
            let length = integer(context.get_raw(0)).max(1);
            if length > i64::from(VALUE_LIMIT) {
                return Err(rusqlite::Error::UserFunctionError(
                    "string or blob too big".into(),
                ));
            }
            meter::charge(length as u64 / RANDOM_BYTES_A_STEP);
            let words = std::iter::repeat_with(|| next(&state).to_le_bytes());
            Ok(words.flatten().take(length as usize).collect::<Vec<u8>>())
        })
    }
}

/// Connects every virtual table; gives whether there are any.
fn warm(connection: &Connection) -> Result<bool> {
    let mut list =
        connection.prepare("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL %'")?;
    let names = list.query_map([], |row| row.get::<_, String>(0))?;
    let mut has_any = false;
    for name in names.collect::<Result<Vec<_>>>()? {
        let name = name.replace('"', "\"\"");
        has_any = true;
        // One whose module is not here stays as it is.
        let _ = connection.prepare(&format!("SELECT * FROM \"{name}\" LIMIT 0"));
    }
    Ok(has_any)
}

/// A value as an integer, as SQLite's own functions take it: text by the number it begins with.
fn integer(value: ValueRef) -> i64 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(value) => value,
        ValueRef::Real(value) => value as i64,
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            let text = text.trim_ascii_start();
            let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
            let digits = text[sign..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            let number = std::str::from_utf8(&text[..sign + digits]).unwrap_or_default();
            number.parse().unwrap_or_default()
        }
    }
}

fn next(state: &AtomicU64) -> u64 {
    let (after, number) = random::next(state.load(Relaxed));
    state.store(after, Relaxed);
    number
}

/// What SQL may do: a list of what is allowed.
fn authorize(context: &AuthContext, access: Access, guard: &Guard) -> Authorization {
    // A trigger is compiled with what fires it.
    if let Some(name) = context.accessor
        && !guard.charge_trigger(name)
    {
        return Authorization::Deny;
    }
    let changes_connection = || {
        guard.used.store(true, Relaxed);
        Authorization::Allow
    };
    match &context.action {
        // The only way by which SQL gets at what full-text search may ask.
        AuthAction::Read { table_name, .. }
            if table_name.eq_ignore_ascii_case("pragma_data_version") =>
        {
            Authorization::Deny
        }
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Savepoint {
            operation,
            savepoint_name,
        } => {
            guard.seen().savepoint = Some((*operation, savepoint_name.to_ascii_lowercase()));
            Authorization::Allow
        }
        AuthAction::Transaction { operation } => {
            guard.seen().transaction = Some(match operation {
                TransactionOperation::Begin => "BEGIN",
                TransactionOperation::Rollback => "ROLLBACK",
                _ => "COMMIT",
            });
            Authorization::Allow
        }
        // The schema's own tables, statistics among them.
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => {
            if context.accessor.is_none() && guard.fires.load(Relaxed) {
                let operation = match context.action {
                    AuthAction::Insert { .. } => Operation::Insert,
                    AuthAction::Update { .. } => Operation::Update,
                    _ => Operation::Delete,
                };
                guard.note_change(operation, table_name);
            }
            guard.used.fetch_or(
                table_name.starts_with("sqlite_") && *table_name != WITNESS,
                Relaxed,
            );
            Authorization::Allow
        }
        // VACUUM attaches a nameless database to build the new file in; so may anybody: it is
        // temporary, and gone after the request. SQLite gives no name at all where it is computed.
        AuthAction::Attach { filename } => {
            guard.used.store(true, Relaxed);
            // Compiled while a statement runs: VACUUM.
            if meter::is_running() {
                meter::allow_bulk();
            }
            allow(filename.is_empty() && access == Access::Write)
        }
        AuthAction::CreateIndex { .. } | AuthAction::Reindex { .. } => {
            guard.seen().is_bulk = true;
            changes_connection()
        }
        AuthAction::CreateTable { .. } | AuthAction::CreateTempTable { .. } => {
            guard.seen().makes_table = true;
            changes_connection()
        }
        AuthAction::AlterTable { .. } => {
            guard.seen().alters_table = true;
            changes_connection();
            // It looks whether the whole schema still fits, a few times.
            allow(guard.charge_schema(ALTER_LOOKS))
        }
        AuthAction::CreateTrigger { trigger_name, .. }
        | AuthAction::CreateTempTrigger { trigger_name, .. } => {
            guard.seen().trigger = Some((*trigger_name).to_owned());
            changes_connection()
        }
        AuthAction::CreateView { view_name } | AuthAction::CreateTempView { view_name } => {
            guard.seen().view = Some((*view_name).to_owned());
            changes_connection()
        }
        action if changes_schema(action) => changes_connection(),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => pragmas::authorize(pragma_name, *pragma_value, guard),
        AuthAction::Function { function_name } => {
            let is_same = |name: &&str| function_name.eq_ignore_ascii_case(name);
            allow(!FORBIDDEN_FUNCTIONS.iter().any(is_same))
        }
        _ => Authorization::Deny,
    }
}

fn allow(allowed: bool) -> Authorization {
    if allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

/// What changes the schema, or is temporary.
fn changes_schema(action: &AuthAction) -> bool {
    matches!(
        action,
        AuthAction::CreateTempIndex { .. }
            | AuthAction::DropTempIndex { .. }
            | AuthAction::DropTempTable { .. }
            | AuthAction::DropTempTrigger { .. }
            | AuthAction::DropTempView { .. }
            | AuthAction::CreateVtable { .. }
            | AuthAction::DropIndex { .. }
            | AuthAction::DropTable { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::DropView { .. }
            | AuthAction::DropVtable { .. }
            | AuthAction::Analyze { .. }
            | AuthAction::Detach { .. }
    )
}

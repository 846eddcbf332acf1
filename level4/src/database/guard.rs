//! What SQL may not do: leave the database, change how it is kept, run for ever, or see anything that
//! differs from node to node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::sqlite;

/// A request may take this many steps of SQLite's virtual machine, about two seconds. Counted, not
/// timed, so that it ends at the same step on every node.
pub const STEP_LIMIT: u64 = 50_000_000;
/// Steps between looks at the count.
const STEPS_A_LOOK: u64 = 1_000;
/// The longest text or blob, bytes. The limit on steps bounds work only as far as one step is bounded.
const VALUE_LIMIT: i32 = 16 * 1024 * 1024;

/// What a request may take of `randomblob` for one look, bytes.
const RANDOM_BYTES_A_LOOK: u64 = 16 * 1024;

/// Pragmas that only look.
const LOOKING_PRAGMAS: [&str; 18] = [
    "collation_list",
    "compile_options",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "page_count",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];
/// Pragmas that may be set: their effect ends with the request, or is part of the data. What is in
/// neither list could change how the database is kept, or would show what differs from node to node
/// (`database_list`, `module_list`).
const SETTING_PRAGMAS: [&str; 8] = [
    "application_id",
    "case_sensitive_like",
    "defer_foreign_keys",
    "foreign_keys",
    "ignore_check_constraints",
    "recursive_triggers",
    "reverse_unordered_selects",
    "user_version",
];
/// Functions that reach out of the database. `fts3_tokenizer` takes and gives addresses of code.
const FORBIDDEN_FUNCTIONS: [&str; 2] = ["fts3_tokenizer", "load_extension"];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Requests from the log, the same on every node.
    Write,
    /// This node's readers.
    Read,
}

/// What the hooks of one connection share with its owner.
#[derive(Debug, Default, Clone)]
pub struct Guard {
    /// The connection is not as it was when it was opened: it has temporary objects or settings, or
    /// remembers (of the schema, of statistics) what a node that starts from a snapshot would not.
    pub used: Arc<AtomicBool>,
    /// Looks left.
    looks: Arc<AtomicU64>,
    /// State of the generator behind `random()`.
    random: Arc<AtomicU64>,
    /// `total_changes()` at the request's start.
    changes: Arc<AtomicU64>,
}

impl Guard {
    /// Installs the hooks. Reads the schema, so that doing so is not counted as a request's work.
    pub fn install(connection: &mut Connection, access: Access) -> Result<Self> {
        let guard = Self::default();
        sqlite::configure(connection);
        connection.execute_batch("PRAGMA temp_store = MEMORY; SELECT 1 FROM sqlite_schema")?;
        if access == Access::Read {
            connection.execute_batch("PRAGMA query_only = ON")?;
        }
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_LIMIT)?;
        let used = guard.used.clone();
        let hook = move |context: AuthContext| authorize(&context, access, &used);
        connection.authorizer(Some(hook))?;
        let looks = guard.looks.clone();
        let look = move || {
            looks
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1))
                .is_err()
        };
        connection.progress_handler(STEPS_A_LOOK as i32, Some(look))?;
        guard.install_random(connection)?;
        sqlite::count_changes_from(connection, &guard.changes)?;
        Ok(guard)
    }

    /// Prepares for a request.
    pub fn begin(&self, connection: &Connection, seed: u64) {
        self.looks.store(STEP_LIMIT / STEPS_A_LOOK, Relaxed);
        self.random.store(seed, Relaxed);
        sqlite::seed_own_generator(seed);
        self.changes.store(connection.total_changes(), Relaxed);
        sqlite::forget_last_rowid(connection);
    }

    fn install_random(&self, connection: &Connection) -> Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let state = self.random.clone();
        connection.create_scalar_function("random", 0, flags, move |_| {
            // SQLite never gives the smallest integer, so that abs() works.
            Ok((next(&state) as i64).max(-i64::MAX))
        })?;
        let (state, looks) = (self.random.clone(), self.looks.clone());
        connection.create_scalar_function("randomblob", 1, flags, move |context| {
            let length = integer(context.get_raw(0)).max(1);
            if length > i64::from(VALUE_LIMIT) {
                return Err(rusqlite::Error::UserFunctionError(
                    "string or blob too big".into(),
                ));
            }
            let cost = length as u64 / RANDOM_BYTES_A_LOOK;
            let _ = looks.fetch_update(Relaxed, Relaxed, |n| Some(n.saturating_sub(cost)));
            let words = std::iter::repeat_with(|| next(&state).to_le_bytes());
            Ok(words.flatten().take(length as usize).collect::<Vec<u8>>())
        })
    }
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

/// SplitMix64.
fn next(state: &AtomicU64) -> u64 {
    let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn authorize(context: &AuthContext, access: Access, used: &AtomicBool) -> Authorization {
    let allow = |allowed| {
        if allowed {
            Authorization::Allow
        } else {
            Authorization::Deny
        }
    };
    let changes_connection = || {
        used.store(true, Relaxed);
        Authorization::Allow
    };
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. } => Authorization::Allow,
        // The schema's own tables, statistics among them.
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => {
            used.fetch_or(table_name.starts_with("sqlite_"), Relaxed);
            Authorization::Allow
        }
        // VACUUM attaches a nameless database to build the new file in; so may anybody: it is
        // temporary, and gone after the request. SQLite gives no name at all where it is computed.
        AuthAction::Attach { filename } => {
            used.store(true, Relaxed);
            allow(filename.is_empty() && access == Access::Write)
        }
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTable { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateVtable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropVtable { .. }
        | AuthAction::AlterTable { .. }
        | AuthAction::Analyze { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Reindex { .. } => changes_connection(),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let name = pragma_name.to_ascii_lowercase();
            let sets = pragma_value.is_some() && SETTING_PRAGMAS.contains(&name.as_str());
            used.fetch_or(sets, Relaxed);
            let looks = LOOKING_PRAGMAS.contains(&name.as_str())
                && (name != "encoding" || pragma_value.is_none());
            allow(looks || SETTING_PRAGMAS.contains(&name.as_str()))
        }
        AuthAction::Function { function_name } => {
            let is_same = |name: &&str| function_name.eq_ignore_ascii_case(name);
            allow(!FORBIDDEN_FUNCTIONS.iter().any(is_same))
        }
        _ => Authorization::Deny,
    }
}

//! What SQL may not do: leave the database, change how it is kept, run for ever, or see anything that
//! differs from node to node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Result};

use super::sqlite;

/// A request may take this many steps of SQLite's virtual machine, about two seconds. Counted, not
/// timed, so that it ends at the same step on every node.
pub const STEP_LIMIT: u64 = 50_000_000;
/// Steps between looks at the count.
const STEPS_A_LOOK: u64 = 1_000;
/// The longest text or blob, bytes.
const VALUE_LIMIT: i32 = 64 * 1024 * 1024;

/// Pragmas that only look, or whose effect ends with the request, or that are part of the data.
const ALLOWED_PRAGMAS: [&str; 27] = [
    "application_id",
    "case_sensitive_like",
    "collation_list",
    "compile_options",
    "database_list",
    "defer_foreign_keys",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "ignore_check_constraints",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "module_list",
    "page_count",
    "quick_check",
    "recursive_triggers",
    "reverse_unordered_selects",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
    "pragma_list",
];
/// Of these, the ones that may be looked at only.
const READ_ONLY_PRAGMAS: [&str; 1] = ["encoding"];

/// What the hooks of one connection share with its owner.
#[derive(Debug, Default, Clone)]
pub struct Guard {
    /// The connection has temporary objects or settings that must not outlive the request.
    pub used: Arc<AtomicBool>,
    /// Looks left.
    looks: Arc<AtomicU64>,
    /// State of the generator behind `random()`.
    random: Arc<AtomicU64>,
    /// `total_changes()` at the request's start.
    changes: Arc<AtomicU64>,
}

impl Guard {
    /// Installs the hooks.
    pub fn install(connection: &mut Connection) -> Result<Self> {
        let guard = Self::default();
        connection.execute_batch("PRAGMA temp_store = MEMORY")?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_LIMIT)?;
        let used = guard.used.clone();
        connection.authorizer(Some(move |context: AuthContext| authorize(&context, &used)))?;
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
        let state = self.random.clone();
        connection.create_scalar_function("randomblob", 1, flags, move |context| {
            let length = context
                .get::<Option<i64>>(0)
                .ok()
                .flatten()
                .unwrap_or(1)
                .max(1);
            if length > i64::from(VALUE_LIMIT) {
                return Err(rusqlite::Error::UserFunctionError(
                    "string or blob too big".into(),
                ));
            }
            let words = std::iter::repeat_with(|| next(&state).to_le_bytes());
            Ok(words.flatten().take(length as usize).collect::<Vec<u8>>())
        })
    }
}

/// SplitMix64.
fn next(state: &AtomicU64) -> u64 {
    let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn authorize(context: &AuthContext, used: &AtomicBool) -> Authorization {
    let allow = |allowed| {
        if allowed {
            Authorization::Allow
        } else {
            Authorization::Deny
        }
    };
    match context.action {
        // VACUUM attaches a nameless database to build the new file in; so may anybody: it is
        // temporary, and gone after the request.
        AuthAction::Attach { filename } => {
            used.store(true, Relaxed);
            allow(filename.is_empty())
        }
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => {
            used.store(true, Relaxed);
            Authorization::Allow
        }
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            used.fetch_or(pragma_value.is_some(), Relaxed);
            let name = pragma_name.to_ascii_lowercase();
            let writes = pragma_value.is_some() && READ_ONLY_PRAGMAS.contains(&name.as_str());
            allow(ALLOWED_PRAGMAS.contains(&name.as_str()) && !writes)
        }
        AuthAction::Function { function_name } => {
            allow(!function_name.eq_ignore_ascii_case("load_extension"))
        }
        _ => Authorization::Allow,
    }
}

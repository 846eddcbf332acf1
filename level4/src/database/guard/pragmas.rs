//! Which PRAGMAs SQL may use: those that only look, or whose effect ends with the request or is part of the data.

use std::sync::atomic::Ordering::Relaxed;

use rusqlite::hooks::Authorization;

use super::{Guard, meter};

/// PRAGMAs that compile views.
const VIEW_PRAGMAS: [&str; 3] = ["table_info", "table_list", "table_xinfo"];
/// Pragmas that only look.
const LOOKING_PRAGMAS: [&str; 17] = [
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
/// Pragmas that may be looked at, and not set: what they show is the same on every node.
const READABLE_PRAGMAS: [&str; 11] = [
    "auto_vacuum",
    "cache_size",
    "journal_mode",
    "legacy_alter_table",
    "locking_mode",
    "max_page_count",
    "page_size",
    "read_uncommitted",
    "schema_version",
    "synchronous",
    "temp_store",
];
/// All others that the engine has. Those that it does not have do nothing, as everywhere.
const REFUSED_PRAGMAS: [&str; 34] = [
    "analysis_limit",
    "automatic_index",
    "busy_timeout",
    "cache_spill",
    "cell_size_check",
    "checkpoint_fullfsync",
    "count_changes",
    "data_store_directory",
    "data_version",
    "database_list",
    "default_cache_size",
    "empty_result_callbacks",
    "full_column_names",
    "fullfsync",
    "hard_heap_limit",
    "incremental_vacuum",
    "journal_size_limit",
    "legacy_file_format",
    "lock_proxy_file",
    "mmap_size",
    "module_list",
    "query_only",
    "secure_delete",
    "short_column_names",
    "soft_heap_limit",
    "stats",
    "temp_store_directory",
    "threads",
    "trusted_schema",
    "wal_autocheckpoint",
    "wal_checkpoint",
    "writable_schema",
    "activate_extensions",
    "key",
];
/// Whether a PRAGMA may be used, and what that does to the connection.
pub(super) fn authorize(name: &str, value: Option<&str>, guard: &Guard) -> Authorization {
    let name = name.to_ascii_lowercase();
    let sets = value.is_some() && SETTING_PRAGMAS.contains(&name.as_str());
    guard.used.fetch_or(sets, Relaxed);
    if name == "recursive_triggers" && sets {
        guard.firing().recurse();
    }
    if name == "case_sensitive_like"
        && let Some(value) = value
    {
        let value = value.to_ascii_lowercase();
        let on = matches!(value.as_str(), "on" | "yes" | "true")
            || value.parse::<i64>().is_ok_and(|number| number != 0);
        guard.seen().like = Some(on);
    }
    // These find out the columns of views, for which all are compiled that they stand for. They are asked for
    // within statements, too.
    if VIEW_PRAGMAS.contains(&name.as_str()) && !guard.charge_schema(1) {
        return Authorization::Deny;
    }
    // Full-text search asks it while a statement runs, to know whether what it remembers is still so. It differs
    // from node to node.
    if name == "data_version" && meter::is_running() {
        return Authorization::Allow;
    }
    let is_in = |list: &[&str]| list.contains(&name.as_str());
    let looks = is_in(&LOOKING_PRAGMAS) && (name != "encoding" || value.is_none());
    if looks || is_in(&SETTING_PRAGMAS) || is_in(&READABLE_PRAGMAS) && value.is_none() {
        Authorization::Allow
    } else if is_in(&LOOKING_PRAGMAS) || is_in(&READABLE_PRAGMAS) || is_in(&REFUSED_PRAGMAS) {
        Authorization::Deny
    } else {
        // Advice, or what the engine does not know.
        Authorization::Ignore
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::engine;
    use crate::database::engine::image::Image;
    use crate::database::engine::vfs::File;

    /// Pragmas that are advice, which is not taken here.
    const ADVISING_PRAGMAS: [&str; 2] = ["optimize", "shrink_memory"];

    #[test]
    fn every_pragma_that_the_engine_has_is_in_one_of_the_lists() {
        let lists: [&[&str]; 5] = [
            &LOOKING_PRAGMAS,
            &SETTING_PRAGMAS,
            &READABLE_PRAGMAS,
            &ADVISING_PRAGMAS,
            &REFUSED_PRAGMAS,
        ];
        let file = File::new(Image::default());
        let connection = engine::open(&file).unwrap();
        let mut names = connection.prepare("PRAGMA pragma_list").unwrap();
        let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
        for name in names.map(Result::unwrap) {
            let count = lists
                .iter()
                .filter(|list| list.contains(&name.as_str()))
                .count();
            assert_eq!(count, 1, "{name}");
        }
    }
}

//! Everything that touches the replicated database runs under the guard: this lists, from the sources,
//! where connections are opened and who uses SQLite's handles.

use std::collections::BTreeSet;
use std::path::Path;

/// What opens or uses a connection, and the only files in which it may stand.
const PLACES: [(&str, &[&str]); 8] = [
    ("Connection::open", &["engine/mod.rs"]),
    ("engine::open(", &["session.rs"]),
    (
        "Session::open(",
        &["digest.rs", "dump.rs", "loading.rs", "mod.rs", "readers.rs"],
    ),
    ("Self::open(file, self.access)", &["session.rs"]),
    ("Guard::install(", &["session.rs"]),
    (
        "ffi::",
        &[
            "engine/allocator.rs",
            "engine/cache.rs",
            "engine/functions/collation.rs",
            "engine/functions/mod.rs",
            "engine/functions/pattern.rs",
            "engine/functions/strings.rs",
            "engine/mod.rs",
            "engine/preupdate/hook.rs",
            "engine/random.rs",
            "engine/statement.rs",
            "engine/vfs.rs",
        ],
    ),
    ("Backup::", &[]),
    ("deserialize", &[]),
];

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            // Tests may have a database of their own beside it.
            let text = text.split("\n#[cfg(test)]\nmod tests {").next();
            found.push((name, text.unwrap_or_default().to_owned()));
        }
    }
}

#[test]
fn connections_are_opened_in_one_place_and_always_guarded() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let database = format!("{}/database/", source.display());
    let mut found = Vec::new();
    sources(&source, &mut found);
    for (pattern, allowed) in PLACES {
        let places: BTreeSet<String> = found
            .iter()
            .filter(|(name, text)| text.contains(pattern) && !name.ends_with("connections.rs"))
            .map(|(name, _)| name.strip_prefix(&database).unwrap_or(name).to_owned())
            .collect();
        let allowed = allowed.iter().map(|&name| name.to_owned());
        assert_eq!(places, allowed.collect(), "{pattern}");
    }
    // No connection leaves the module.
    for (name, text) in &found {
        let uses = text.contains("rusqlite");
        assert!(
            !uses || name.starts_with(&database),
            "{name} uses SQLite by itself"
        );
    }
}

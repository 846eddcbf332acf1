//! The one place that calls SQLite's C interface, and everything of SQLite that is replaced.
//!
//! [`vfs`] keeps files as [`image`]s, in memory or in [`pages`] of a file, [`random`] gives time and chance, [`allocator`] and
//! [`cache`] count what a request uses on its [`meter`], [`functions`] replaces the built-in functions
//! whose cost is not in proportion to what they are given, [`statement`] runs SQL, and [`preupdate`] tells
//! what it changes.

mod allocator;
mod cache;
pub mod functions;
pub mod image;
pub mod meter;
pub mod pages;
pub mod preupdate;
pub mod random;
pub mod statement;
pub mod vfs;

use std::sync::OnceLock;

use rusqlite::{Connection, OpenFlags, ffi};

use vfs::File;

/// Puts our parts in place, before SQLite is used for the first time.
fn start() -> i32 {
    static RESULT: OnceLock<i32> = OnceLock::new();
    *RESULT.get_or_init(|| {
        let parts = [
            allocator::install,
            cache::install,
            random::install,
            initialize,
            vfs::install,
        ];
        let results = parts.into_iter().map(|install| install());
        results
            .into_iter()
            .find(|&code| code != ffi::SQLITE_OK)
            .unwrap_or(ffi::SQLITE_OK)
    })
}

fn initialize() -> i32 {
    statement::initialize()
}

/// Opens a database file of ours. Every connection of this process is opened here.
pub fn open(file: &File) -> rusqlite::Result<Connection> {
    let code = start();
    if code != ffi::SQLITE_OK {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags_and_vfs(file.name(), flags, vfs::NAME)
}

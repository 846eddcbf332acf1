//! Threads and their stacks: where SQLite compiles, it recurses as deep as SQL makes it, within limits that
//! the guard sets.

use std::io;
use std::thread;

use rustix::process::{Resource, getrlimit};

const MIB: usize = 1024 * 1024;

/// What a thread is for.
#[derive(Debug, Clone, Copy)]
pub enum Stack {
    /// It compiles no SQL.
    Usual,
    /// It does.
    Sql,
}

impl Stack {
    /// Its size in bytes: what the guard's limits can need, or what does for all but the strangest SQL
    /// where addresses are limited (`ulimit -v`). Only what is used takes memory.
    fn size(self, limited: bool) -> usize {
        match self {
            Self::Usual => 2 * MIB,
            Self::Sql if limited => 64 * MIB,
            Self::Sql => 512 * MIB,
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// If the system gives none.
    pub fn spawn(self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let limited = getrlimit(Resource::As).current.is_some();
        let thread = thread::Builder::new().name(name.to_owned());
        thread.stack_size(self.size(limited)).spawn(work).map(drop)
    }
}

//! Threads and their stacks: where SQLite compiles, it recurses as deep as SQL makes it, within limits that
//! the guard sets.

use std::io;
use std::thread;

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
    /// Its size in bytes. Only what is used takes memory, though all of it takes addresses (`ulimit -v`).
    fn size(self) -> usize {
        match self {
            Self::Usual => 2 * MIB,
            Self::Sql => 128 * MIB,
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// If the system gives none.
    pub fn spawn(self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned());
        thread.stack_size(self.size()).spawn(work).map(drop)
    }
}

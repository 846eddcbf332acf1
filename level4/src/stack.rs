//! Threads and their stacks: where SQLite compiles, it recurses as deep as SQL makes it, within limits that
//! the guard sets.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Stacks to be tried, in bytes: what the guard's limits can need, then what does for all but the
    /// strangest SQL where the system gives fewer addresses (`ulimit -v`). Only what is used takes memory.
    fn sizes(self) -> &'static [usize] {
        match self {
            Self::Usual => &[2 * MIB],
            Self::Sql => &[512 * MIB, 64 * MIB],
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// If the system gives none, not even with a smaller stack.
    pub fn spawn(self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        spawn_with(self.sizes(), name, work)
    }
}

fn spawn_with(sizes: &[usize], name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // The system takes the closure with it when it refuses.
    let work = Arc::new(Mutex::new(Some(work)));
    let mut result = Ok(());
    for &size in sizes {
        let work = work.clone();
        let run = move || {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(work) = work {
                work();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned());
        result = thread.stack_size(size).spawn(run).map(drop);
        if result.is_ok() {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn where_the_larger_stack_is_refused_the_smaller_one_does() {
        let (sender, receiver) = mpsc::channel();
        let work = move || sender.send(1).unwrap();
        spawn_with(&[1 << 50, 1 << 20], "small", work).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        spawn_with(&[1 << 50], "none", || ()).unwrap_err();
    }
}

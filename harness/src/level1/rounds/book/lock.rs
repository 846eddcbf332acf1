//! One book, one host: a lock beside the database.
//!
//! It is a file of its own, since SQLite's locks are released whenever the process that holds them
//! closes any handle of the database. It stays when the host has gone; what counts is the lock on
//! it, which goes with the process.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The most bytes of a lock file that are read: a process number.
const NOTE_MAX: u64 = 32;

/// Holds the book for this process until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the lock gives the book away"]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the database at `path`, which must exist.
    ///
    /// # Errors
    /// Another process has it.
    pub fn take(path: &Path) -> Result<Self> {
        let shown = path.display();
        // The same file by another name is the same book.
        let real = fs::canonicalize(path).with_context(|| format!("cannot resolve {shown}"))?;
        let beside = beside(&real);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .with_context(|| format!("cannot open {}", beside.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _unreadable = (&file).take(NOTE_MAX).read_to_string(&mut holder);
                let holder = holder.trim();
                let who = if holder.is_empty() {
                    String::new()
                } else {
                    format!(" (process {holder})")
                };
                bail!("{shown} is in use by another host{who}; a game has one at a time");
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", beside.display()));
            }
        }
        // For people and for the message above; nothing depends on it.
        let _unwritten = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_has_one_host_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("game.sqlite");
        fs::write(&path, "").unwrap();
        let alias = dir.path().join("alias");
        std::os::unix::fs::symlink(&path, &alias).unwrap();
        let first = Lock::take(&path).unwrap();
        let refused = Lock::take(&alias).unwrap_err().to_string();
        let holder = format!("another host (process {})", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        drop(first);
        drop(Lock::take(&alias).unwrap());
    }
}

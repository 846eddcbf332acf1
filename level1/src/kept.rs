//! The match that is kept in the clone until it has been pushed, or overtaken.
//!
//! Its objects are in the clone's object database; the file `level1/find` in the git folder names
//! the commit, its parent and its player. A run that was interrupted, or that lost its server,
//! leaves it to the next one, which tries it first.

use crate::git::{GitError, Repository};
use crate::ledger::Player;
use crate::object_id::ObjectId;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use thiserror::Error;

/// The file's name below the git folder.
const NAME: &str = "level1/find";

/// The most that is read of the file, in bytes: two ids and a name are far shorter.
const LENGTH_MAX: usize = 4096;

/// Why a match cannot be kept.
#[derive(Debug, Error)]
#[error("cannot keep the match in {}: {error}", .path.display())]
pub struct KeptError {
    path: PathBuf,
    error: io::Error,
}

/// A match that has not been pushed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMatch {
    /// The commit.
    pub id: ObjectId,
    /// The head that it was found on.
    pub parent: ObjectId,
    /// Whose coin it is.
    pub player: Player,
}

/// Where a clone keeps its match.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
}

impl KeptFile {
    /// The file of this clone, whether or not it exists.
    pub fn of(repository: &Repository) -> Result<Self, GitError> {
        let path = repository.git_path(NAME)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The match kept, if there is one. What is no match, such as half a file, is none.
    pub fn read(&self) -> Option<KeptMatch> {
        let text = fs::read(&self.path).ok()?;
        (text.len() <= LENGTH_MAX).then(|| parse(&text)).flatten()
    }

    /// Keeps a match in place of the one that is there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, kept: &KeptMatch) -> Result<(), KeptError> {
        let KeptMatch { id, parent, player } = kept;
        let text = format!("{id} {parent} {}\n", player.name());
        let new = self.path.with_extension("new");
        let write = || {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|error| KeptError {
            path: self.path.clone(),
            error,
        })
    }

    /// Forgets the match.
    pub fn forget(&self) {
        // A file that is gone has been forgotten; one that stays is overtaken the next time.
        let _ = fs::remove_file(&self.path);
    }
}

fn parse(text: &[u8]) -> Option<KeptMatch> {
    let line = str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let (id, rest) = line.split_once(' ')?;
    let (parent, player) = rest.split_once(' ')?;
    Some(KeptMatch {
        id: ObjectId::from_hex(id).ok()?,
        parent: ObjectId::from_hex(parent).ok()?,
        player: Player::new(player).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_kept_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeptFile {
            path: folder.path().join("level1/find"),
        };
        assert_eq!(file.read(), None);
        let kept = KeptMatch {
            id: ObjectId::of("commit", b"1"),
            parent: ObjectId::of("commit", b"2"),
            player: Player::new("ann b").unwrap(),
        };
        file.keep(&kept).unwrap();
        assert_eq!(file.read(), Some(kept));
        file.forget();
        assert_eq!(file.read(), None);
    }

    #[test]
    fn what_is_no_match_is_none() {
        let id = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        for text in [
            String::new(),
            "\n".to_owned(),
            id.to_owned(),
            format!("{id} {id}\n"),
            format!("{id} {id} ann"),
            format!("{id} {id} a/b\n"),
            format!("{id} x ann\n"),
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}

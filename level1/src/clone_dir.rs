//! Where the clone is: the classic place, a reused clone, or a new one that is removed again when
//! it turns out to be no gitcoin chain.

use crate::git::{self, GitError, Repository, without_secrets};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use thiserror::Error;

/// Why there is no clone to work in.
#[derive(Debug, Error)]
pub enum CloneError {
    /// The folder exists and holds something else.
    #[error("{} is a clone of {}, not of {}; choose another folder with --dir", .dir.display(), without_secrets(.origin), without_secrets(.url))]
    OtherOrigin {
        /// The folder.
        dir: PathBuf,
        /// The remote it has.
        origin: String,
        /// The remote asked for.
        url: String,
    },
    /// The folder exists and is no repository with a remote.
    #[error("{} exists and is no clone; choose another folder with --dir", .0.display())]
    NotAClone(PathBuf),
    /// No folder's name can be derived from the URL.
    #[error("'{}' does not name a folder to clone into; choose one with --dir", without_secrets(.0))]
    NoName(String),
    /// The repository's objects are not named by SHA-1.
    #[error("the repository uses {0}; only SHA-1 can be mined")]
    ObjectFormat(String),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// A clone, and whether this run made it.
#[derive(Debug)]
pub struct CloneDir {
    repository: Repository,
    made: bool,
}

impl CloneDir {
    /// Clones `url` into `dir`, or takes the clone of `url` that is there. `stop`, once set, ends
    /// the clone.
    pub fn obtain(url: &str, dir: &Path, stop: &Arc<AtomicBool>) -> Result<Self, CloneError> {
        let is_there = dir
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some());
        let made = !is_there;
        let repository = if is_there {
            existing(url, dir)?
        } else {
            git::clone(url, dir, stop)?
        };
        let obtained = Self { repository, made };
        match obtained.repository.object_format() {
            Ok(format) if format == "sha1" => Ok(obtained),
            Ok(format) => {
                obtained.discard();
                Err(CloneError::ObjectFormat(format))
            }
            Err(error) => {
                obtained.discard();
                Err(error.into())
            }
        }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Leaves things as they were found: removes a clone that this run made.
    pub fn discard(&self) {
        if self.made {
            // What cannot be removed is left for its owner to see.
            let _ = std::fs::remove_dir_all(self.repository.dir());
        }
    }
}

fn existing(url: &str, dir: &Path) -> Result<Repository, CloneError> {
    let not_a_clone = || CloneError::NotAClone(dir.to_owned());
    let repository = match Repository::open(dir) {
        Err(GitError::Failed { .. }) => return Err(not_a_clone()),
        opened => opened?,
    };
    let origin = repository.origin()?.ok_or_else(not_a_clone)?;
    // Git makes a relative path absolute when it clones.
    let same_path = |x: &str, y: &str| {
        let (x, y) = (Path::new(x).canonicalize(), Path::new(y).canonicalize());
        matches!((x, y), (Ok(x), Ok(y)) if x == y)
    };
    if origin == url || same_path(&origin, url) {
        return Ok(repository);
    }
    Err(CloneError::OtherOrigin {
        dir: dir.to_owned(),
        origin,
        url: url.to_owned(),
    })
}

/// The classic miner's place for a clone: `PATH` for an scp-like `host:PATH`, else the URL's last
/// component; always below the current folder.
pub fn classic_dir(url: &str) -> Result<PathBuf, CloneError> {
    let no_name = || CloneError::NoName(url.to_owned());
    let colon = url.find(':').filter(|_| !url.contains("://"));
    // A colon after a slash belongs to a local path's name.
    let scp_path = colon
        .filter(|&at| !url[..at].contains('/'))
        .map(|at| &url[at + 1..]);
    let path = scp_path.unwrap_or(url).trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_matches('/');
    let last = path.rsplit(['/', ':']).next().unwrap_or(path);
    let leaves = path.split('/').any(|part| part == "..");
    let chosen = if scp_path.is_some() && !leaves {
        path
    } else {
        last
    };
    if matches!(chosen, "" | "." | "..") {
        return Err(no_name());
    }
    Ok(Path::new(".").join(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_in_2014() {
        for (url, dir) in [
            ("lvl1-abc@stripe-ctf.com:level1", "./level1"),
            ("host:games/level1.git", "./games/level1"),
            ("host:/srv/level1", "./srv/level1"),
            ("host:../level1", "./level1"),
            ("https://example.com:8080/games/level1.git/", "./level1"),
            ("ssh://git@example.com/level1", "./level1"),
            ("/srv/git/level1", "./level1"),
            ("../level1.git", "./level1"),
            ("./odd:name/level1", "./level1"),
        ] {
            assert_eq!(classic_dir(url).unwrap(), Path::new(dir), "{url}");
        }
        for url in ["", "/", "..", "host:", "host:..", ".git"] {
            assert!(classic_dir(url).is_err(), "{url}");
        }
    }
}

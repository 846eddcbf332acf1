//! Private folders for runs, removed when the run ends.
//!
//! Every folder made or taken over here holds a marker file. Only folders with that marker are
//! ever emptied, so that `--root ~` cannot cost anybody their files. The marker of a folder in use
//! is locked: a folder belongs to one run at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    error::{Doing, Error},
    process::{
        evict,
        watcher::{self, Notice},
    },
};

/// The file that says "this folder was made here, it may be emptied".
pub const MARKER: &str = ".ctf3-harness";

/// Folders to remove if the process has to leave without unwinding.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder for one run. Dropping it removes it, unless it was [kept](Self::keep).
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    keep: bool,
    /// The marker, locked.
    _marker: File,
}

impl WorkDir {
    /// Makes a fresh folder under the system's temporary folder.
    ///
    /// Its path is short on purpose: a unix socket's path holds at most 107 bytes.
    pub fn temporary() -> Result<Self, Error> {
        let path = tempfile::Builder::new()
            .prefix("ctf3-")
            .tempdir()
            .doing(|| "cannot make a temporary folder".to_owned())?
            .keep();
        live().push(path.clone());
        watcher::tell(&Notice::FolderMade(&path));
        Ok(Self {
            keep: false,
            _marker: marked(&path)?,
            path,
        })
    }

    /// Takes over `root`: creates it, or empties it if it was made here. The folder stays.
    ///
    /// # Errors
    /// A folder that has content but no [`MARKER`] is refused, and so is one that another run uses.
    pub fn at(root: &Path) -> Result<Self, Error> {
        let shown = root.display();
        fs::create_dir_all(root).doing(|| format!("cannot create {shown}"))?;
        let entries = fs::read_dir(root).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.doing(|| format!("cannot read {shown}"))?;
        if !entries.is_empty() && !root.join(MARKER).exists() {
            return Err(Error::ForeignFolder(root.to_owned()));
        }
        // Emptied only once it is ours alone.
        let marker = marked(root)?;
        for entry in entries {
            let path = entry.path();
            if entry.file_name() == MARKER {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.doing(|| format!("cannot remove {}", path.display()))?;
        }
        let path = fs::canonicalize(root).doing(|| format!("cannot resolve {shown}"))?;
        watcher::tell(&Notice::FolderTaken(&path));
        Ok(Self {
            path,
            keep: true,
            _marker: marker,
        })
    }

    /// `root` if one was named, else a temporary folder.
    pub fn new(root: Option<&Path>) -> Result<Self, Error> {
        root.map_or_else(Self::temporary, Self::at)
    }

    /// The folder's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder behind when this value goes, and returns its path to name it.
    pub fn keep(&mut self) -> &Path {
        self.keep = true;
        self.unregister();
        watcher::tell(&Notice::FolderTaken(&self.path));
        &self.path
    }

    fn unregister(&self) {
        live().retain(|path| *path != self.path);
        watcher::tell(&Notice::FolderGone(&self.path));
        watcher::tell(&Notice::FolderLeft(&self.path));
    }
}

/// Makes the marker in a folder, or opens it, and locks it.
fn marked(folder: &Path) -> Result<File, Error> {
    let path = folder.join(MARKER);
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let marker = options
        .open(&path)
        .doing(|| format!("cannot write {shown}"))?;
    match marker.try_lock() {
        Ok(()) => Ok(marker),
        Err(TryLockError::WouldBlock) => Err(Error::FolderInUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(source).doing(|| format!("cannot lock {shown}")),
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        evict(&self.path);
        if !self.keep {
            // Nothing useful can be done about a file that cannot be removed while unwinding.
            let _ = fs::remove_dir_all(&self.path);
        }
        // Only now: who is killed in between leaves the folder to the watcher.
        self.unregister();
    }
}

/// Removes every folder that would have been removed by unwinding; for an immediate exit.
pub fn remove_all() {
    for path in live().drain(..) {
        evict(&path);
        let _ = fs::remove_dir_all(path);
    }
}

fn live() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_its_guard_and_stays_when_kept() {
        let gone = WorkDir::temporary().unwrap();
        let path = gone.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(gone);
        assert!(!path.exists());

        let mut kept = WorkDir::temporary().unwrap();
        let path = kept.keep().to_owned();
        drop(kept);
        assert!(path.join(MARKER).exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_foreign_folder_is_never_emptied() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
        let refused = WorkDir::at(home.path()).unwrap_err().to_string();
        assert!(refused.contains("was not made here"), "{refused}");
        assert!(home.path().join("thesis.txt").exists());
    }

    #[test]
    fn our_own_folder_is_emptied_and_left_behind() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        let first = WorkDir::at(&root).unwrap();
        fs::create_dir(first.path().join("node0")).unwrap();
        drop(first);
        assert!(root.join(MARKER).exists());
        let second = WorkDir::at(&root).unwrap();
        assert!(!second.path().join("node0").exists());
        let third = WorkDir::at(&root).unwrap_err();
        assert!(matches!(third, Error::FolderInUse(_)), "{third}");
        drop(second);
        WorkDir::at(&root).unwrap();
    }
}

//! Private folders for solutions, removed when the run ends.
//!
//! Every folder made or taken over here holds a marker file. Only folders with that marker are
//! ever emptied, so that `--root ~` cannot cost anybody their files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

/// The file that says "this folder is the harness's, it may be emptied".
pub const MARKER: &str = ".ctf3-harness";

/// Folders to remove if the process has to leave without unwinding.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder for one solution's run. Dropping it removes it, unless it was [kept](Self::keep).
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    keep: bool,
}

impl WorkDir {
    /// Makes a fresh folder under the system's temporary folder.
    ///
    /// Its path is short on purpose: a unix socket's path holds at most 107 bytes.
    pub fn temporary() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("ctf3-")
            .tempdir()
            .context("cannot make a temporary folder")?
            .keep();
        let dir = Self { path, keep: false };
        dir.register()?;
        Ok(dir)
    }

    /// Takes over `root`: creates it, or empties it if it is the harness's own. The folder stays.
    ///
    /// # Errors
    /// A folder that has content but no [`MARKER`] is refused.
    pub fn at(root: &Path) -> Result<Self> {
        let shown = root.display();
        fs::create_dir_all(root).with_context(|| format!("cannot create {shown}"))?;
        let entries = fs::read_dir(root).with_context(|| format!("cannot read {shown}"))?;
        let entries: Vec<_> = entries.collect::<io::Result<_>>()?;
        if !entries.is_empty() && !root.join(MARKER).exists() {
            bail!("{shown} is not empty and was not made by the harness: name another --root");
        }
        for entry in entries {
            let path = entry.path();
            let removed = if entry.file_type()?.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let path = fs::canonicalize(root).with_context(|| format!("cannot resolve {shown}"))?;
        let dir = Self { path, keep: true };
        fs::write(dir.path.join(MARKER), "")?;
        Ok(dir)
    }

    /// `root` if one was named, else a temporary folder.
    pub fn new(root: Option<&Path>) -> Result<Self> {
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
        &self.path
    }

    fn register(&self) -> Result<()> {
        fs::write(self.path.join(MARKER), "").context("cannot write to the temporary folder")?;
        live().push(self.path.clone());
        Ok(())
    }

    fn unregister(&self) {
        live().retain(|path| *path != self.path);
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        self.unregister();
        if !self.keep {
            // Nothing useful can be done about a file that cannot be removed while unwinding.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes every folder that would have been removed by unwinding; for an immediate exit.
pub fn remove_all() {
    for path in live().drain(..) {
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
        assert!(refused.contains("not made by the harness"), "{refused}");
        assert!(home.path().join("thesis.txt").exists());
    }

    #[test]
    fn our_own_folder_is_emptied_and_left_behind() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        let first = WorkDir::at(&root).unwrap();
        fs::create_dir(first.path().join("node0")).unwrap();
        drop(first);
        let second = WorkDir::at(&root).unwrap();
        assert!(!second.path().join("node0").exists());
        assert!(root.join(MARKER).exists());
    }
}

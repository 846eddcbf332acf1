//! Backups in a folder of this machine.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{BackupError, Ready};

/// A folder, and the name of the file in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    dir: PathBuf,
    #[serde(default = "usual_name")]
    name: String,
}

fn usual_name() -> String {
    "backup.sqlite".to_owned()
}

impl fmt::Display for Folder {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.dir.join(&self.name).display().fmt(formatter)
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.to_owned();
    move |cause| BackupError::File {
        path: path.clone(),
        cause,
    }
}

impl Folder {
    /// The digest of the last one, beside it.
    fn mark(&self) -> PathBuf {
        self.dir.join(format!("{}.sha256", self.name))
    }

    /// Whatever folder the process works in later, this one is meant.
    pub(super) fn fix(&mut self) -> Result<(), String> {
        let fixed = std::path::absolute(&self.dir);
        self.dir = fixed.map_err(|error| format!("{}: {error}", self.dir.display()))?;
        Ok(())
    }

    /// Whether the last one was the same, and is still there.
    pub(super) fn has(&self, file: &Ready) -> bool {
        let there = fs::metadata(self.dir.join(&self.name));
        there.is_ok_and(|there| there.len() == file.length)
            && fs::read_to_string(self.mark()).is_ok_and(|mark| mark.trim() == file.digest())
    }

    /// Copies the file there: it is whole, or not there.
    pub(super) fn put(&self, file: &Ready, prefix: &str) -> Result<(), BackupError> {
        fs::create_dir_all(&self.dir).map_err(failed(&self.dir))?;
        let path = self.dir.join(format!("{prefix}{}", self.name));
        let partial = self.dir.join(format!(".{}.partial", self.name));
        let copy = || {
            fs::copy(&file.path, &partial)?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        copy().map_err(failed(&path))?;
        if !prefix.is_empty() {
            return Ok(());
        }
        let mark = self.mark();
        fs::write(&mark, file.digest() + "\n").map_err(failed(&mark))
    }

    /// Writes the file into `out`.
    pub(super) fn get(&self, out: &mut dyn Write) -> Result<(), BackupError> {
        let path = self.dir.join(&self.name);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::Missing(self.to_string()));
            }
            file => file.map_err(failed(&path))?,
        };
        io::copy(&mut file, out).map(|_| ()).map_err(failed(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_any_more_is_put_there_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("made");
        fs::write(&path, "content").unwrap();
        let file = Ready {
            path,
            length: 7,
            digest: [9; 32],
        };
        let folder = Folder {
            dir: home.path().join("backups"),
            name: "db".to_owned(),
        };
        // One with the time in its name is not the one that is asked for.
        folder.put(&file, "20260131235959_").unwrap();
        assert!(!folder.has(&file));
        folder.put(&file, "").unwrap();
        assert!(folder.has(&file));
        fs::remove_file(folder.dir.join("db")).unwrap();
        assert!(!folder.has(&file));
    }
}

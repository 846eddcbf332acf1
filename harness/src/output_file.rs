//! Files that are written after a run, tried before it: a run of a minute must not end with "no such
//! folder".

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use anyhow::{Context, Result};

/// Fails if a file cannot be written. Changes nothing: what is there stays as it is, and what is not
/// there is not there afterwards. `what` names its content, as in "the events".
pub fn check(what: &str, path: &Path) -> Result<()> {
    // Opening a pipe tells its reader something, and a device may do anything.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        return Ok(());
    }
    let existed = path.exists();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("cannot write {what} to {}", path.display()))?;
    if !existed {
        let _gone_already = fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_left_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let (new, old) = (home.path().join("new"), home.path().join("old"));
        fs::write(&old, "before").unwrap();
        check("the result", &new).unwrap();
        check("the result", &old).unwrap();
        assert!(!new.exists());
        assert_eq!(fs::read_to_string(old).unwrap(), "before");
        check("the result", Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn what_cannot_is_named() {
        let home = tempfile::tempdir().unwrap();
        for path in [home.path().to_owned(), home.path().join("no/folder/x")] {
            let refused = check("the events", &path).unwrap_err().to_string();
            let expected = format!("cannot write the events to {}", path.display());
            assert_eq!(refused, expected);
        }
    }
}

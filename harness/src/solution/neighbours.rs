//! The files beside a solution, for one that calls a helper by a relative path.
//!
//! In 2014 a solution ran in its own folder, so `./helper.py`, and `../helper.py` from a clone made
//! there, were found. Here it runs in a folder of ours, into which what lies beside it is linked.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A folder with more than this holds no solution and its helpers, but a collection of programs.
const MOST: usize = 200;

/// Links what lies beside a program into a folder: all but hidden entries, clones of repositories
/// (the run's own would collide with one left from before), and names that are there already. The
/// number of links; none are made where there is too much.
pub(super) fn link(program: &Path, folder: &Path) -> io::Result<usize> {
    let Some(home) = program.parent() else {
        return Ok(0);
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        if entries.len() == MOST {
            return Ok(0);
        }
        if is_wanted(&path, folder) {
            entries.push(path);
        }
    }
    let mut links = 0;
    for path in entries {
        let Some(name) = path.file_name() else {
            continue;
        };
        match symlink(&path, folder.join(name)) {
            Ok(()) => links += 1,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(links)
}

fn is_wanted(path: &PathBuf, folder: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    let is_clone = path.join(".git").exists() || path.join("objects").is_dir();
    !is_hidden && !is_clone && !folder.starts_with(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_found_by_relative_paths() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["lib", "level1/.git", "run/solution"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [
            "miner",
            "helper.py",
            "lib/more.py",
            ".secret",
            "run/solution/there",
        ] {
            fs::write(at(file), file).unwrap();
        }
        fs::write(at("there"), "beside").unwrap();
        let folder = at("run/solution");
        assert_eq!(link(&at("miner"), &folder).unwrap(), 3);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("helper.py"), "helper.py");
        assert_eq!(read("lib/more.py"), "lib/more.py");
        assert_eq!(read("there"), "run/solution/there");
        for absent in [".secret", "level1", "run"] {
            assert!(!folder.join(absent).exists(), "{absent}");
        }
    }

    #[test]
    fn a_folder_full_of_programs_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        for number in 0..=MOST {
            fs::write(home.path().join(number.to_string()), "").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(link(&home.path().join("0"), folder.path()).unwrap(), 0);
    }
}

//! What git ignores: `.gitignore` files and `.git/info/exclude`, each for what is below it.
//!
//! The rules of a folder go before those above it, and the last line that matches goes before the
//! others of its file. Patterns are understood by the library that ripgrep uses. The user's own
//! excludes (`core.excludesFile`) are left alone: an index is the same whoever runs the server. So
//! are files that are tracked in spite of a rule: telling them takes git's index.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::GitFolder;

/// The most that is read of one file of rules, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// The most rules of one file.
const MAX_RULES: usize = 10_000;

/// The rules that hold in a folder.
#[derive(Debug)]
pub(super) struct GitIgnore {
    rules: Gitignore,
    above: Option<Arc<Self>>,
}

impl GitIgnore {
    /// What holds in the folder above `root`, which is in the work tree of `git`.
    pub(super) fn above(git: &GitFolder, root: &Path) -> Arc<Self> {
        let mut rules = Arc::new(Self::of_work_tree(git));
        let mut folders: Vec<&Path> = root.ancestors().skip(1).collect();
        folders.retain(|folder| folder.starts_with(git.top()));
        for folder in folders.into_iter().rev() {
            rules = Self::add(rules, folder);
        }
        rules
    }

    /// What holds in a folder, by what holds above it. A repository within another has only its own
    /// rules.
    pub(super) fn within(above: Arc<Self>, folder: &Path, is_root: bool) -> Arc<Self> {
        let own = (!is_root && folder.join(".git").exists()).then(|| GitFolder::of(folder));
        let above = match own.flatten() {
            Some(git) => Arc::new(Self::of_work_tree(&git)),
            None => above,
        };
        Self::add(above, folder)
    }

    /// Whether a file or folder is ignored, unless the folder that it is in is.
    pub(super) fn ignores(&self, path: &Path, is_folder: bool) -> bool {
        match self.rules.matched(path, is_folder) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => match &self.above {
                Some(above) => above.ignores(path, is_folder),
                None => false,
            },
        }
    }

    fn of_work_tree(git: &GitFolder) -> Self {
        Self {
            rules: read(git.top(), &git.excludes()).unwrap_or_else(Gitignore::empty),
            above: None,
        }
    }

    fn add(above: Arc<Self>, folder: &Path) -> Arc<Self> {
        match read(folder, &folder.join(".gitignore")) {
            Some(rules) => Arc::new(Self {
                rules,
                above: Some(above),
            }),
            None => above,
        }
    }
}

/// The rules of a file for what is below `folder`. A line that is none is left out, as git does.
fn read(folder: &Path, path: &Path) -> Option<Gitignore> {
    // Git follows no links here either.
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut builder = GitignoreBuilder::new(folder);
    let file = BufReader::new(File::open(path).ok()?.take(MAX_BYTES));
    for line in file.split(b'\n').map_while(Result::ok).take(MAX_RULES) {
        if let Ok(line) = std::str::from_utf8(&line) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            // An error is about this line only.
            let _ = builder.add_line(None, line);
        }
    }
    builder.build().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::corpus::{Rules, walk_with};
    use crate::root::Ignore;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn paths(root: &Path) -> Vec<String> {
        let rules = Rules {
            ignore: Ignore::Git,
            ..Rules::default()
        };
        let entries = walk_with(root, &rules).unwrap().entries;
        entries.into_iter().map(|entry| entry.path).collect()
    }

    #[test]
    fn rules_hold_below_their_folder_and_the_nearest_wins() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                (".git/HEAD", "ref: refs/heads/main\n"),
                (".git/info/exclude", "private\n"),
                (".gitignore", "*.tmp\n/build/\n!keep.tmp\n[bad\n\\#odd\n"),
                ("sub/.gitignore", "!*.tmp\nonly-here\r\n"),
                ("a.tmp", ""),
                ("keep.tmp", ""),
                ("#odd", ""),
                ("private", ""),
                ("build/out", ""),
                ("only-here", ""),
                ("sub/a.tmp", ""),
                ("sub/build/out", ""),
                ("sub/only-here", ""),
                ("sub/deep/private", ""),
                // A repository of its own.
                ("inner/.git/HEAD", ""),
                ("inner/.git/info/exclude", "own"),
                ("inner/a.tmp", ""),
                ("inner/own", ""),
            ],
        );
        assert_eq!(
            paths(dir.path()),
            [
                "inner/a.tmp",
                "keep.tmp",
                "only-here",
                "sub/a.tmp",
                "sub/build/out"
            ]
        );
        // The rules above an indexed folder hold in it.
        assert_eq!(paths(&dir.path().join("sub")), ["a.tmp", "build/out"]);
        fs::remove_dir_all(dir.path().join(".git")).unwrap();
        // Outside a work tree they mean nothing.
        assert_eq!(paths(&dir.path().join("sub")).len(), 4);
    }

    #[test]
    fn a_link_and_a_pipe_are_no_rules() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[(".git/HEAD", ""), ("rules", "*.c\n"), ("a.c", "")],
        );
        std::os::unix::fs::symlink("rules", dir.path().join(".gitignore")).unwrap();
        assert_eq!(paths(dir.path()), ["a.c", "rules"]);
    }
}

//! Listing a tree: names, sizes and change times of what may be indexed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gitignore::GitIgnore;
use super::{Entry, FolderId, GitFolder, Reject, Stamp};
use crate::root::{Ignore, Revision};

/// What is below a root.
#[derive(Debug, Default)]
pub struct Listing {
    /// Regular files that are not hidden, sorted by path.
    pub entries: Vec<Entry>,
    /// The folders that were read, the root included.
    pub folders: Vec<Folder>,
    /// Folders that could not be read and names that cannot be answered.
    pub rejected: Vec<(String, Reject)>,
    /// What git has checked out, if the root is in a work tree.
    pub revision: Option<Revision>,
}

/// A folder that a walk has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Which one it is.
    pub id: FolderId,
}

/// What a walk leaves out, beside what is never indexed.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Folders, with what is below them, whatever they are called.
    pub excluded: HashSet<FolderId>,
    /// What is left out on request.
    pub ignore: Ignore,
}

/// Lists the regular files below `root`, without hidden names and without following links.
///
/// A folder that cannot be read is listed as rejected; only an unreadable root is an error.
pub fn walk(root: &Path) -> io::Result<Listing> {
    walk_with(root, &Rules::default())
}

/// [`walk`] that leaves out some things more.
pub fn walk_with(root: &Path, rules: &Rules) -> io::Result<Listing> {
    let git = GitFolder::of(root);
    let mut walk = Walk {
        rules,
        listing: Listing::default(),
        rest: Vec::new(),
    };
    // Outside a work tree its files mean nothing, as for git itself.
    let gitignore = match (rules.ignore, &git) {
        (Ignore::Git, Some(git)) => Some(GitIgnore::above(git, root)),
        _ => None,
    };
    walk.folder(root, "", gitignore)?;
    while let Some((folder, name, gitignore)) = walk.rest.pop() {
        if walk.folder(&folder, &name, gitignore).is_err() {
            walk.listing.rejected.push((name, Reject::Unreadable));
        }
    }
    let mut listing = walk.listing;
    listing.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    listing.revision = git.and_then(|git| git.revision());
    Ok(listing)
}

/// A walk under way.
struct Walk<'a> {
    rules: &'a Rules,
    listing: Listing,
    /// Folders still to be read, their paths below the root, and what git ignores in them.
    rest: Vec<(PathBuf, String, Option<Arc<GitIgnore>>)>,
}

impl Walk<'_> {
    /// Lists the files of one folder and remembers its sub-folders.
    fn folder(
        &mut self,
        folder: &Path,
        below: &str,
        gitignore: Option<Arc<GitIgnore>>,
    ) -> io::Result<()> {
        let is_root = below.is_empty();
        let meta = if is_root {
            fs::metadata(folder)?
        } else {
            fs::symlink_metadata(folder)?
        };
        let id = FolderId::of(&meta);
        // A link may have been put in the folder's place since it was listed.
        if self.rules.excluded.contains(&id) || (!is_root && !meta.is_dir()) {
            return Ok(());
        }
        let gitignore = gitignore.map(|above| GitIgnore::within(above, folder, is_root));
        for item in fs::read_dir(folder)? {
            let item = item?;
            let name = item.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let slash = if is_root { "" } else { "/" };
            let Some(utf8) = name.to_str() else {
                let shown = format!("{below}{slash}{}", name.to_string_lossy());
                self.listing.rejected.push((shown, Reject::NameNotUtf8));
                continue;
            };
            let path = format!("{below}{slash}{utf8}");
            // A file that vanishes while the tree is walked is simply not there any more.
            let Ok(kind) = item.file_type() else { continue };
            if gitignore
                .as_ref()
                .is_some_and(|rules| rules.ignores(&item.path(), kind.is_dir()))
            {
                continue;
            }
            if kind.is_dir() {
                self.rest.push((item.path(), path, gitignore.clone()));
            } else if kind.is_file() {
                let Ok(meta) = item.metadata() else { continue };
                let stamp = Stamp::of(&meta);
                self.listing.entries.push(Entry { path, stamp });
            }
        }
        self.listing.folders.push(Folder {
            path: folder.to_owned(),
            id,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_links_and_pipes_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        for path in ["a/b/two", "a/.hidden", ".git/config", "one", "zero.c"] {
            fs::write(root.join(path), path).unwrap();
        }
        std::os::unix::fs::symlink("one", root.join("link")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("loop")).unwrap();
        let listing = walk(root).unwrap();
        let paths: Vec<_> = listing.entries.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["a/b/two", "one", "zero.c"]);
        assert_eq!(listing.entries[1].stamp.bytes, 3);
    }

    #[test]
    fn names_outside_utf8_are_reported_and_do_not_stop_the_walk() {
        let dir = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"bad\xff");
        fs::write(dir.path().join(name), "x").unwrap();
        fs::write(dir.path().join("good"), "x").unwrap();
        let listing = walk(dir.path()).unwrap();
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(
            listing.rejected,
            [("bad\u{fffd}".to_owned(), Reject::NameNotUtf8)]
        );
    }

    #[test]
    fn folders_can_be_left_out_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a/data/deep", "b"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("file"), "x").unwrap();
        }
        let data = fs::metadata(dir.path().join("a/data")).unwrap();
        let rules = Rules {
            excluded: [FolderId::of(&data)].into(),
            ..Rules::default()
        };
        let listing = walk_with(dir.path(), &rules).unwrap();
        let paths: Vec<_> = listing.entries.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(paths, ["b/file"]);
        assert_eq!(listing.folders.len(), 3);
    }

    #[test]
    fn an_unknown_root_is_an_error() {
        assert!(walk(Path::new("/no/such/folder")).is_err());
    }
}

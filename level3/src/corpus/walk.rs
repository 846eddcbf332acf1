//! Listing a tree: names, sizes and change times of what may be indexed.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{Entry, Reject, Stamp};

/// The files below a root.
#[derive(Debug, Default)]
pub struct Listing {
    /// Regular files that are not hidden, sorted by path.
    pub entries: Vec<Entry>,
    /// Folders that could not be read and names that cannot be answered.
    pub rejected: Vec<(String, Reject)>,
}

/// Lists the regular files below `root`, without hidden names and without following links.
///
/// A folder that cannot be read is listed as rejected; only an unreadable root is an error.
pub fn walk(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut folders: Vec<(PathBuf, String)> = Vec::new();
    list_folder(root, "", &mut listing, &mut folders)?;
    while let Some((folder, name)) = folders.pop() {
        if list_folder(&folder, &name, &mut listing, &mut folders).is_err() {
            listing.rejected.push((name, Reject::Unreadable));
        }
    }
    listing.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// Adds the files of one folder to `listing` and its sub-folders to `folders`.
fn list_folder(
    folder: &Path,
    below: &str,
    listing: &mut Listing,
    folders: &mut Vec<(PathBuf, String)>,
) -> io::Result<()> {
    for item in fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name();
        if name.as_bytes().starts_with(b".") {
            continue;
        }
        let slash = if below.is_empty() { "" } else { "/" };
        let Some(utf8) = name.to_str() else {
            let shown = format!("{below}{slash}{}", name.to_string_lossy());
            listing.rejected.push((shown, Reject::NameNotUtf8));
            continue;
        };
        let path = format!("{below}{slash}{utf8}");
        // A file that vanishes while the tree is walked is simply not there any more.
        let Ok(kind) = item.file_type() else { continue };
        if kind.is_dir() {
            folders.push((item.path(), path));
        } else if kind.is_file() {
            let Ok(meta) = item.metadata() else { continue };
            listing.entries.push(Entry {
                path,
                stamp: Stamp::of(&meta),
            });
        }
    }
    Ok(())
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
    fn an_unknown_root_is_an_error() {
        assert!(walk(Path::new("/no/such/folder")).is_err());
    }
}

//! What git says of a folder: which branch and commit is checked out.
//!
//! The files of git are read as `gitrepository-layout(5)` describes them, so that no program has to
//! be there and none is run in a folder of someone else's. What is not as expected is nothing known:
//! a revision is told for information only.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use crate::root::Revision;

/// The most that is read of a file which should have one line, in bytes.
const MAX_LINE_BYTES: u64 = 4 << 10;

/// The most that is read of `packed-refs`, in bytes: some hundred thousand branches and tags.
const MAX_PACKED_BYTES: u64 = 32 << 20;

/// Where git keeps what belongs to a work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitFolder {
    /// The folder of the work tree.
    top: PathBuf,
    /// What belongs to this work tree: `HEAD`, the index.
    own: PathBuf,
    /// What it shares with others of the same repository: branches.
    common: PathBuf,
}

impl GitFolder {
    /// That of the work tree that a folder is in, if it is in one.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let mut above = folder.ancestors();
        let (top, own) = above.find_map(|folder| {
            let git = folder.join(".git");
            let meta = std::fs::metadata(&git).ok()?;
            if meta.is_dir() {
                return Some((folder, git));
            }
            // A linked work tree or a submodule: the file says where its folder is.
            let line = line(&git)?;
            let path = line.strip_prefix("gitdir:")?.trim();
            Some((folder, folder.join(path)))
        })?;
        let common = match line(&own.join("commondir")) {
            Some(path) => own.join(path),
            None => own.clone(),
        };
        let top = top.to_owned();
        Some(Self { top, own, common })
    }

    /// The folder in which something changes when a commit is made or checked out.
    pub(crate) fn path(&self) -> &Path {
        &self.own
    }

    /// The folder of the work tree.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// The file that names what is ignored beside `.gitignore` files.
    pub(crate) fn excludes(&self) -> PathBuf {
        self.common.join("info/exclude")
    }

    /// What is checked out, if that can be read.
    pub(crate) fn revision(&self) -> Option<Revision> {
        let head = line(&self.own.join("HEAD"))?;
        let Some(name) = head.strip_prefix("ref:").map(str::trim) else {
            let is_commit = is_hash(&head);
            return is_commit.then_some(Revision {
                branch: None,
                commit: Some(head),
            });
        };
        let is_name = name.starts_with("refs/")
            && name
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.'));
        if !is_name {
            return None;
        }
        let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
        Some(Revision {
            branch: Some(branch.to_owned()),
            commit: self.commit(name),
        })
    }

    /// The commit that a branch is at.
    fn commit(&self, name: &str) -> Option<String> {
        let loose = line(&self.common.join(name)).filter(|hash| is_hash(hash));
        loose.or_else(|| {
            let packed = File::open(self.common.join("packed-refs")).ok()?;
            let lines = BufReader::new(packed.take(MAX_PACKED_BYTES)).lines();
            let mut entries = lines.map_while(Result::ok);
            entries.find_map(|entry| {
                let (hash, of) = entry.split_once(' ')?;
                (of == name && is_hash(hash)).then(|| hash.to_owned())
            })
        })
    }
}

/// The first line of a small file.
fn line(path: &Path) -> Option<String> {
    // A pipe would be waited for.
    let is_file = std::fs::metadata(path).ok()?.is_file();
    let file = is_file.then(|| File::open(path).ok()).flatten()?;
    let mut text = String::new();
    file.take(MAX_LINE_BYTES).read_to_string(&mut text).ok()?;
    Some(text.lines().next()?.trim_end().to_owned())
}

/// Whether it is the name of an object: SHA-1 or SHA-256 in hexadecimal.
fn is_hash(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn revision(folder: &Path) -> (Option<String>, Option<String>) {
        let found = GitFolder::of(folder).unwrap().revision().unwrap();
        (found.branch, found.commit)
    }

    #[test]
    fn branches_are_loose_or_packed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let packed = format!("# pack-refs with: peeled\n{TWO} refs/heads/main\n^{ONE}\n");
        write(
            root,
            &[
                (".git/HEAD", "ref: refs/heads/main\n"),
                (".git/packed-refs", &packed),
                ("deep/down/file", ""),
            ],
        );
        let inside = root.join("deep/down");
        assert_eq!(
            revision(&inside),
            (Some("main".to_owned()), Some(TWO.to_owned()))
        );
        write(root, &[(".git/refs/heads/main", ONE)]);
        assert_eq!(
            revision(root),
            (Some("main".to_owned()), Some(ONE.to_owned()))
        );
        write(root, &[(".git/HEAD", "ref: refs/heads/topic/new\n")]);
        assert_eq!(revision(root), (Some("topic/new".to_owned()), None));
        write(root, &[(".git/HEAD", TWO)]);
        assert_eq!(revision(root), (None, Some(TWO.to_owned())));
    }

    #[test]
    fn a_linked_work_tree_has_a_head_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("linked/.git", "gitdir: ../main/.git/worktrees/linked\n"),
                ("main/.git/worktrees/linked/HEAD", "ref: refs/heads/topic\n"),
                ("main/.git/worktrees/linked/commondir", "../..\n"),
                ("main/.git/HEAD", "ref: refs/heads/main\n"),
                ("main/.git/refs/heads/topic", ONE),
            ],
        );
        let linked = dir.path().join("linked");
        assert_eq!(
            revision(&linked),
            (Some("topic".to_owned()), Some(ONE.to_owned()))
        );
    }

    #[test]
    fn what_is_not_as_expected_is_nothing_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        write(dir.path(), &[("outside", ONE)]);
        for head in [
            "",
            "nonsense",
            "ref: refs/heads/../../../outside",
            "ref: /etc/passwd",
            "ref: ",
            "11111111",
        ] {
            write(&root, &[(".git/HEAD", head)]);
            let found = GitFolder::of(&root).unwrap().revision();
            assert_eq!(found, None, "{head:?}");
        }
    }
}

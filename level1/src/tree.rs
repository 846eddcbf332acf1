//! Tree objects, as far as a miner needs them: find an entry, replace its id.

use crate::object_id::ObjectId;
use thiserror::Error;

/// A tree object's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    content: Vec<u8>,
}

/// The content is not that of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the tree object is damaged")]
pub struct TreeError;

/// Where a file's id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The file's blob.
    pub id: ObjectId,
    offset: usize,
}

/// Bytes of an id in a tree.
const ID_BYTES: usize = 20;

impl Tree {
    /// Takes the content of a tree object, as `git cat-file tree` prints it.
    pub fn new(content: Vec<u8>) -> Self {
        Self { content }
    }

    /// The content.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Looks for a regular file at the root.
    pub fn file(&self, wanted: &str) -> Result<Option<FileEntry>, TreeError> {
        let mut at = 0;
        while at < self.content.len() {
            let entry = &self.content[at..];
            let space = position(entry, b' ')?;
            let nul = space + position(&entry[space..], 0)?;
            let (mode, name) = (&entry[..space], &entry[space + 1..nul]);
            let id = entry
                .get(nul + 1..)
                .and_then(|rest| rest.first_chunk::<ID_BYTES>());
            let id = id.ok_or(TreeError)?;
            // Modes of files are 100644 and 100755; a link or a folder is no file to read.
            if name == wanted.as_bytes() && mode.starts_with(b"100") {
                let (id, offset) = (ObjectId::from_sha1(id), at + nul + 1);
                return Ok(Some(FileEntry { id, offset }));
            }
            at += nul + 1 + ID_BYTES;
        }
        Ok(None)
    }

    /// The same tree with another blob in an entry that [`Tree::file`] returned.
    #[must_use]
    pub fn with_file(&self, entry: FileEntry, id: ObjectId) -> Self {
        let mut content = self.content.clone();
        content[entry.offset..entry.offset + ID_BYTES].copy_from_slice(&id.to_sha1());
        Self { content }
    }
}

fn position(bytes: &[u8], wanted: u8) -> Result<usize, TreeError> {
    bytes
        .iter()
        .position(|&byte| byte == wanted)
        .ok_or(TreeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut content = Vec::new();
        for (entry, byte) in [
            ("100644 LEDGER.txt", 1),
            ("40000 dir", 2),
            ("120000 link", 3),
        ] {
            content.extend_from_slice(entry.as_bytes());
            content.push(0);
            // Ids may contain the very bytes that separate fields.
            content.extend_from_slice(&[byte, 0, b' ', 0].repeat(5));
        }
        Tree::new(content)
    }

    #[test]
    fn an_entry_is_replaced_and_nothing_else() {
        let tree = tree();
        let entry = tree.file("LEDGER.txt").unwrap().unwrap();
        assert_eq!(
            entry.id.to_sha1(),
            *[1, 0, b' ', 0].repeat(5).first_chunk().unwrap()
        );
        let id = ObjectId::from_sha1(&[7; 20]);
        let changed = tree.with_file(entry, id);
        assert_eq!(changed.file("LEDGER.txt").unwrap().unwrap().id, id);
        let differing = tree
            .content
            .iter()
            .zip(&changed.content)
            .filter(|(x, y)| x != y)
            .count();
        assert_eq!(differing, ID_BYTES);
    }

    #[test]
    fn only_regular_files_count() {
        for name in ["dir", "link", "absent", ""] {
            assert_eq!(tree().file(name), Ok(None), "{name}");
        }
    }

    #[test]
    fn damage_is_noticed() {
        for cut in [3, 10, 30] {
            let content = tree().content[..cut].to_vec();
            assert_eq!(Tree::new(content).file("absent"), Err(TreeError), "{cut}");
        }
    }
}

//! Git objects as values: ids, commits and trees, parsed strictly and without I/O.
//!
//! The judge reads exactly what the rules need and refuses everything that two readers could
//! understand differently (a second `parent` line further down, an entry without a mode), so that
//! no cheat can hide in a gap between git's reading and ours. Formats: gitformat-commit(5) and
//! the tree format of git's user manual, "Object storage".

use std::{fmt, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use sha1::{Digest, Sha1};

/// The id of a git object: the SHA-1 of its header and content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 20]);

impl ObjectId {
    /// The id that stands for "no object" in ref updates.
    pub const ZERO: Self = Self([0; 20]);

    /// Wraps the 20 bytes of an id.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The id that git gives to an object of this kind (`blob`, `tree`, `commit`) and content.
    pub fn of(kind: &str, content: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update(format!("{kind} {}\0", content.len()));
        hash.update(content);
        Self(hash.finalize().into())
    }

    /// The id's 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes)
            .with_context(|| format!("`{text}` is not an object id of 40 hex digits"))?;
        Ok(Self(bytes))
    }
}

/// What the rules look at in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The tree that the commit records.
    pub tree: ObjectId,
    /// Its parents, in order.
    pub parents: Vec<ObjectId>,
}

impl Commit {
    /// Parses a commit's content (without the `commit SIZE\0` header).
    ///
    /// # Errors
    /// No `tree` line first, a bad id, or a `tree` or `parent` line where git ignores it.
    pub fn parse(content: &[u8]) -> Result<Self> {
        let mut lines = content.split(|byte| *byte == b'\n');
        let tree = lines.next().and_then(|line| line.strip_prefix(b"tree "));
        let tree = parse_id(tree.context("it does not begin with a tree line")?)?;
        let mut parents = Vec::new();
        let mut links_ended = false;
        // Continuation lines of signatures begin with a space and so cannot look like a header.
        for line in lines.take_while(|line| !line.is_empty()) {
            match line.strip_prefix(b"parent ") {
                Some(parent) if !links_ended => parents.push(parse_id(parent)?),
                Some(_) => bail!("it has a parent line after its author"),
                None => links_ended = true,
            }
            ensure!(!line.starts_with(b"tree "), "it has two tree lines");
        }
        Ok(Self { tree, parents })
    }
}

fn parse_id(hex: &[u8]) -> Result<ObjectId> {
    std::str::from_utf8(hex)
        .context("an id is not text")?
        .parse()
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The mode in octal as git writes it, `100644` for a plain file.
    pub mode: Vec<u8>,
    /// The name, without any folder.
    pub name: Vec<u8>,
    /// The blob or tree behind the name.
    pub id: ObjectId,
}

/// Parses a tree's content.
pub fn parse_tree(mut content: &[u8]) -> Result<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    while !content.is_empty() {
        let (mode, rest) = split_at_byte(content, b' ').context("a tree entry has no mode")?;
        let (name, rest) = split_at_byte(rest, 0).context("a tree entry has no name")?;
        let (id, rest) = rest
            .split_first_chunk::<20>()
            .context("a tree entry has no id")?;
        entries.push(TreeEntry {
            mode: mode.to_vec(),
            name: name.to_vec(),
            id: ObjectId(*id),
        });
        content = rest;
    }
    Ok(entries)
}

/// Writes entries, in the order given, as a tree's content.
pub fn write_tree(entries: &[TreeEntry]) -> Vec<u8> {
    let mut content = Vec::new();
    for entry in entries {
        content.extend_from_slice(&entry.mode);
        content.push(b' ');
        content.extend_from_slice(&entry.name);
        content.push(0);
        content.extend_from_slice(entry.id.as_bytes());
    }
    content
}

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|found| *found == byte)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    const PARENT: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(ObjectId::of("blob", b"").to_string(), PARENT);
        assert_eq!(ObjectId::of("tree", b"").to_string(), TREE);
        assert_eq!(TREE.parse::<ObjectId>().unwrap().to_string(), TREE);
        assert!(TREE[1..].parse::<ObjectId>().is_err());
    }

    #[test]
    fn parents_are_read_in_order_and_messages_are_not_headers() {
        let text = format!(
            "tree {TREE}\nparent {PARENT}\nparent {TREE}\nauthor A <a> 1 +0000\n\
             committer A <a> 1 +0000\ngpgsig -----\n parent {PARENT}\n\nparent {PARENT}\n"
        );
        let commit = Commit::parse(text.as_bytes()).unwrap();
        assert_eq!(commit.tree.to_string(), TREE);
        let parents: Vec<_> = commit.parents.iter().map(ToString::to_string).collect();
        assert_eq!(parents, [PARENT, TREE]);
    }

    #[test]
    fn hidden_links_are_refused() {
        let head = format!("tree {TREE}\nparent {PARENT}\nauthor A <a> 1 +0000\n");
        for hidden in [format!("parent {PARENT}\n"), format!("tree {TREE}\n")] {
            assert!(Commit::parse(format!("{head}{hidden}\nm").as_bytes()).is_err());
        }
        assert!(Commit::parse(format!("parent {PARENT}\n\n").as_bytes()).is_err());
        assert!(Commit::parse(b"").is_err());
    }

    #[test]
    fn trees_survive_a_round_trip() {
        let id = ObjectId::of("blob", b"x");
        let entry = |mode: &[u8], name: &[u8]| TreeEntry {
            mode: mode.to_vec(),
            name: name.to_vec(),
            id,
        };
        let entries = vec![entry(b"100644", b"LEDGER.txt"), entry(b"40000", b"sub dir")];
        let content = write_tree(&entries);
        assert_eq!(parse_tree(&content).unwrap(), entries);
        assert!(parse_tree(&content[..content.len() - 1]).is_err());
        assert!(parse_tree(b"100644").is_err());
    }
}

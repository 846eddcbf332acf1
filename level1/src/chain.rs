//! The state of a gitcoin chain and the next commit on top of it.
//!
//! Everything here is computed in the process, from objects already read: the changed ledger's
//! blob, the tree and their ids. Git writes nothing until a commit has been found.

use crate::commit::{Commit, NewCommit};
use crate::ledger::{self, Player};
use crate::object_id::ObjectId;
use crate::target::{Target, TargetError};
use crate::tree::{Tree, TreeError};
use thiserror::Error;

/// The file that holds the balances.
pub const LEDGER: &str = "LEDGER.txt";

/// The file that holds the difficulty.
pub const DIFFICULTY: &str = "difficulty.txt";

/// A head of the chain with what mining on it needs.
#[derive(Clone, Debug)]
pub struct Head {
    /// The commit.
    pub id: ObjectId,
    /// Its root tree.
    pub tree: Tree,
    /// Content of `LEDGER.txt`.
    pub ledger: Vec<u8>,
    /// Which ids the next commit may have.
    pub target: Target,
    /// The difficulty as text.
    pub difficulty: String,
}

/// Why a head cannot be mined on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// A file is missing at the root.
    #[error("the repository has no file {0}: is it a gitcoin chain?")]
    NoFile(&'static str),
    /// The difficulty cannot be used.
    #[error("unusable {DIFFICULTY}")]
    Difficulty(#[from] TargetError),
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The next commit but for its nonce, and the objects it needs.
#[derive(Clone, Debug)]
pub struct NextCommit {
    /// The commit, ready for a template.
    pub commit: Commit,
    /// The new ledger.
    pub ledger: Vec<u8>,
    /// The new root tree.
    pub tree: Tree,
}

/// Reads a difficulty: the content of [`DIFFICULTY`] without one line ending.
pub fn difficulty(content: &[u8]) -> Result<(String, Target), HeadError> {
    let text = String::from_utf8_lossy(content);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // A whole book in place of a number need not be repeated in the error.
    let shown: String = line.chars().take(SHOWN_DIFFICULTY).collect();
    let target = Target::below(line).map_err(|error| match error {
        TargetError::NotHex(_) => TargetError::NotHex(shown),
        other => other,
    })?;
    Ok((line.to_owned(), target))
}

/// How many characters of an unreadable difficulty are shown.
const SHOWN_DIFFICULTY: usize = 60;

impl Head {
    /// The commit that gives `player` a coin on top of this head, dated `seconds` after 1970.
    pub fn next_commit(
        &self,
        player: &Player,
        author: &str,
        seconds: u64,
    ) -> Result<NextCommit, HeadError> {
        let entry = self.tree.file(LEDGER)?.ok_or(HeadError::NoFile(LEDGER))?;
        let ledger = ledger::with_coin(&self.ledger, player);
        let tree = self.tree.with_file(entry, ObjectId::of("blob", &ledger));
        let commit = Commit::new(&NewCommit {
            tree: ObjectId::of("tree", tree.content()),
            parent: self.id,
            author,
            seconds,
            message: &format!("Mine a gitcoin for {}", player.name()),
        });
        Ok(NextCommit {
            commit,
            ledger,
            tree,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_ending_is_removed_from_a_difficulty() {
        for content in ["000001", "000001\n", "000001\r\n"] {
            assert_eq!(difficulty(content.as_bytes()).unwrap().0, "000001");
        }
        for content in ["000001\n\n", " 000001", "0x1", "\u{fffd}"] {
            let error = difficulty(content.as_bytes()).unwrap_err();
            assert!(
                matches!(error, HeadError::Difficulty(TargetError::NotHex(_))),
                "{content:?}"
            );
        }
        for content in ["", "\n", "0000\n"] {
            let error = difficulty(content.as_bytes()).unwrap_err();
            let HeadError::Difficulty(error) = error else {
                panic!("{error}")
            };
            assert!(error.to_string().contains("no hash can be less"), "{error}");
        }
    }
}

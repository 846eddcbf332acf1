//! What belongs to the indexed text: the rules of the contract, in one place.
//!
//! [`walk`] lists a tree by name and size; [`load`] reads one file and judges its contents. The
//! two run on different machines and at different times (the master walks, nodes load), so each
//! checks everything that it can see.

mod git;
mod gitignore;
mod load;
mod stamp;
mod walk;

use serde::{Deserialize, Serialize};

pub(crate) use git::GitFolder;
pub use load::load;
pub use stamp::{FolderId, Stamp};
pub use walk::{Folder, Listing, Rules, walk, walk_with};

/// The largest file that is indexed, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// A file as a walk of the tree sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path below the indexed root, `/` between its parts.
    pub path: String,
    /// What to compare to learn whether the file has changed.
    pub stamp: Stamp,
}

/// Why a file is left out of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reject {
    /// Above `MAX_FILE_BYTES`.
    TooLarge,
    /// Contains a NUL byte, so it is not text.
    Binary,
    /// Not valid UTF-8.
    NotUtf8,
    /// Opening or reading it failed.
    Unreadable,
    /// Its name is not valid UTF-8, and so cannot be named in a JSON answer.
    NameNotUtf8,
}

impl Reject {
    /// All reasons; the position is the code stored in segments, less one.
    pub(crate) const ALL: [Self; 5] = [
        Self::TooLarge,
        Self::Binary,
        Self::NotUtf8,
        Self::Unreadable,
        Self::NameNotUtf8,
    ];
}

//! Roots: what is known of an indexed folder beside its files.
//!
//! One root may have no name: the one that the contract's `/index` and `/?q=` are about. Others have
//! a [`RootName`], which is also a folder on the nodes' disks and so is checked wherever it comes
//! from. [`Ignore`] says which files of a folder are left out on request, and [`Revision`] what git
//! had checked out in it when it was indexed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name of a root, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The name of a root; empty for the unnamed one, which is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RootName(String);

/// Why a text is no name of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a root's name is 1 to {MAX_NAME_BYTES} letters, digits, `.`, `_` and `-`, and begins with a letter or a digit"
)]
pub struct BadName;

impl RootName {
    /// Whether it is that of the root without a name.
    pub fn is_unnamed(&self) -> bool {
        self.0.is_empty()
    }

    /// The name; empty for the unnamed root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RootName {
    type Err = BadName;

    /// A name; not the empty one, which nobody would type by intention.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if starts_well && text.len() <= MAX_NAME_BYTES && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName)
        }
    }
}

impl TryFrom<String> for RootName {
    type Error = BadName;

    /// Likewise, with the empty name for the unnamed root.
    fn try_from(text: String) -> Result<Self, BadName> {
        if text.is_empty() {
            Ok(Self::default())
        } else {
            text.parse()
        }
    }
}

impl From<RootName> for String {
    fn from(name: RootName) -> Self {
        name.0
    }
}

/// As it stands in messages: `the unnamed root`, `root linux`.
impl fmt::Display for RootName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            "" => to.write_str("the unnamed root"),
            name => write!(to, "root {name}"),
        }
    }
}

/// Which files of a folder are left out beside those that always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ignore {
    /// None.
    #[default]
    Nothing,
    /// Those that `.gitignore` files and `.git/info/exclude` name, in a git work tree.
    Git,
}

impl Ignore {
    /// Whether it is the usual.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// What git had checked out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// The branch, unless a commit was checked out by itself.
    pub branch: Option<String>,
    /// The commit, in hexadecimal; none on a branch without commits.
    pub commit: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_folders() {
        for good in ["linux", "linux-6.1", "A_b", "7", &"x".repeat(64)] {
            assert_eq!(good.parse::<RootName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        for bad in [
            "", ".", "..", ".git", "-a", "a/b", "a b", "\u{e9}", "a\0", "*", &long,
        ] {
            assert!(bad.parse::<RootName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_from_outside_are_checked() {
        let read = |json: &str| serde_json::from_str::<RootName>(json);
        assert!(read(r#""""#).unwrap().is_unnamed());
        assert_eq!(read(r#""bsd""#).unwrap().as_str(), "bsd");
        assert!(read(r#""../bsd""#).is_err());
    }
}

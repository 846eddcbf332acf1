//! Commit objects as text: checked on the way in, composed on the way to the miner.
//!
//! What `git cat-file commit` prints is kept byte for byte, but for the nonce that an earlier
//! search left. [`Commit::place`] says where a new one goes.

mod place;
mod trailers;

use crate::hash::HashFunction;
use crate::object_id::ObjectId;
use std::ops::Range;
use thiserror::Error;

/// The content of a commit object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commit {
    hash: HashFunction,
    /// Headers, each with its newline.
    headers: Vec<u8>,
    message: Vec<u8>,
    /// Where among the headers the signature is.
    signature: Option<Range<usize>>,
}

/// Why some bytes are not a commit that can be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Not the headers that `git cat-file commit` prints.
    #[error("not a commit object: {0}")]
    Malformed(&'static str),
    /// The commit carries a signature in which there is no room.
    #[error("the commit is signed by {0}; any nonce would make its signature invalid")]
    Signed(&'static str),
    /// The commit is signed, and the style would change what is signed.
    #[error(
        "the commit is signed; only white space behind the signature leaves it valid (--style space)"
    )]
    SignedStyle,
    /// There is no message that a line could be added to.
    #[error(
        "the message is empty, and a nonce line would be its subject; try --style space or --style header"
    )]
    EmptyMessage,
}

/// What goes into a new commit apart from its nonce.
#[derive(Clone, Copy, Debug)]
pub struct NewCommit<'a> {
    /// The new commit's tree.
    pub tree: ObjectId,
    /// Its only parent.
    pub parent: ObjectId,
    /// Author and committer, as `Name <mail>`.
    pub author: &'a str,
    /// Author's and committer's time, in seconds since 1970; the time zone is UTC.
    pub seconds: u64,
    /// The message without its last newline.
    pub message: &'a str,
}

impl Commit {
    /// Composes a new commit.
    pub fn new(parts: &NewCommit<'_>) -> Self {
        let NewCommit {
            tree,
            parent,
            author,
            seconds,
            message,
        } = parts;
        let headers = format!(
            "tree {tree}\nparent {parent}\nauthor {author} {seconds} +0000\n\
             committer {author} {seconds} +0000\n"
        );
        Self {
            hash: tree.hash(),
            headers: headers.into_bytes(),
            message: format!("{message}\n").into_bytes(),
            signature: None,
        }
    }

    /// Reads what `git cat-file commit` prints.
    pub fn parse(text: &[u8]) -> Result<Self, CommitError> {
        let headers_end = text.windows(2).position(|pair| pair == b"\n\n");
        let (headers, message) = match headers_end {
            Some(end) => (&text[..=end], &text[end + 2..]),
            None => (text, &[][..]),
        };
        let mut headers = headers.to_vec();
        if !headers.ends_with(b"\n") {
            headers.push(b'\n');
        }
        let hash = check_headers(&headers)?;
        let signature = find_signature(&headers, hash)?;
        Ok(Self {
            hash,
            headers,
            message: message.to_vec(),
            signature,
        })
    }

    /// Which function names the commit.
    pub fn hash(&self) -> HashFunction {
        self.hash
    }

    /// Whether the commit carries a signature.
    pub fn is_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// The ids of the commit's parents, as text.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        let lines = self.headers.split(|&byte| byte == b'\n');
        lines.filter_map(|line| str::from_utf8(line.strip_prefix(b"parent ")?).ok())
    }
}

/// Checks the headers that a search depends on; the function that names the commit.
fn check_headers(headers: &[u8]) -> Result<HashFunction, CommitError> {
    let mut lines = headers.split(|&byte| byte == b'\n');
    let tree = lines.next().and_then(|line| line.strip_prefix(b"tree "));
    let tree = tree.ok_or(CommitError::Malformed("it does not begin with a tree line"))?;
    let hash = check_id(tree)?;
    let (mut authors, mut committers) = (0, 0);
    for line in lines {
        if let Some(parent) = line.strip_prefix(b"parent ")
            && check_id(parent)? != hash
        {
            let mixed = "its tree and parent lines have ids of different lengths";
            return Err(CommitError::Malformed(mixed));
        }
        authors += usize::from(line.starts_with(b"author "));
        committers += usize::from(line.starts_with(b"committer "));
    }
    if (authors, committers) != (1, 1) {
        return Err(CommitError::Malformed(
            "it needs one author line and one committer line",
        ));
    }
    Ok(hash)
}

fn check_id(id: &[u8]) -> Result<HashFunction, CommitError> {
    let malformed = CommitError::Malformed("a tree or parent line has no object id");
    let id = str::from_utf8(id).map_err(|_| malformed)?;
    let id = ObjectId::from_hex(id).map_err(|_| malformed)?;
    Ok(id.hash())
}

/// The header with the signature, from its name to the end of its last line.
fn find_signature(headers: &[u8], hash: HashFunction) -> Result<Option<Range<usize>>, CommitError> {
    let (ours, other) = match hash {
        HashFunction::Sha1 => (&b"gpgsig "[..], &b"gpgsig-sha256 "[..]),
        HashFunction::Sha256 => (&b"gpgsig-sha256 "[..], &b"gpgsig "[..]),
    };
    let mut found = None;
    let mut at = 0;
    while at < headers.len() {
        let end = header_end(headers, at);
        let header = &headers[at..end];
        if header.starts_with(other) || (header.starts_with(ours) && found.is_some()) {
            return Err(CommitError::Signed("more than one signature"));
        }
        if let Some(armour) = header.strip_prefix(ours) {
            let kinds = [
                "-----BEGIN PGP SIGNATURE-----\n",
                "-----BEGIN SSH SIGNATURE-----\n",
            ];
            if armour.starts_with(b"-----BEGIN SIGNED MESSAGE-----") {
                return Err(CommitError::Signed("an X.509 certificate"));
            }
            if !kinds.iter().any(|kind| armour.starts_with(kind.as_bytes())) {
                return Err(CommitError::Signed(
                    "a signature of a kind that is not known",
                ));
            }
            found = Some(at..end);
        }
        at = end;
    }
    Ok(found)
}

/// Where the header that begins at `at` ends: lines that begin with a space continue it.
fn header_end(headers: &[u8], at: usize) -> usize {
    let mut end = at;
    loop {
        let newline = headers[end..].iter().position(|&byte| byte == b'\n');
        end = newline.map_or(headers.len(), |newline| end + newline + 1);
        if headers.get(end) != Some(&b' ') {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    pub(super) fn headers(extra: &str) -> String {
        format!("tree {TREE}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n{extra}")
    }

    #[test]
    fn foreign_and_broken_commits_are_refused() {
        let refused = |text: String| Commit::parse(text.as_bytes()).unwrap_err();
        for text in [
            "",
            "hello",
            "tree abc\n\nx",
            &format!("tree {TREE}\n\nx"),
            &headers("parent abc\n\nx"),
            &headers(&format!("parent {}\n\nx", "a".repeat(64))),
        ] {
            assert!(
                matches!(refused(text.to_owned()), CommitError::Malformed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn signatures_are_told_apart() {
        let signed = |kind: &str| {
            let text = headers(&format!(
                "gpgsig -----BEGIN {kind}-----\n \n abc\n\nTitle\n"
            ));
            Commit::parse(text.as_bytes())
        };
        for kind in ["PGP SIGNATURE", "SSH SIGNATURE"] {
            assert!(signed(kind).unwrap().is_signed(), "{kind}");
        }
        for kind in ["SIGNED MESSAGE", "RUNES"] {
            let error = signed(kind).unwrap_err();
            assert!(matches!(error, CommitError::Signed(_)), "{kind}");
        }
        let text = headers("gpgsig-sha256 -----BEGIN PGP SIGNATURE-----\n\nTitle\n");
        assert!(matches!(
            Commit::parse(text.as_bytes()),
            Err(CommitError::Signed(_))
        ));
        assert!(
            !Commit::parse(headers("\nTitle\n").as_bytes())
                .unwrap()
                .is_signed()
        );
    }

    #[test]
    fn the_hash_function_is_that_of_the_ids() {
        let text = headers("\nTitle\n");
        let sha256 = text.replace(TREE, &"a".repeat(64));
        assert_eq!(
            Commit::parse(text.as_bytes()).unwrap().hash(),
            HashFunction::Sha1
        );
        assert_eq!(
            Commit::parse(sha256.as_bytes()).unwrap().hash(),
            HashFunction::Sha256
        );
    }
}

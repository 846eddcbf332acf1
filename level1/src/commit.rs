//! Commit objects as text: checked on the way in, composed on the way to the miner.
//!
//! What `git cat-file commit` prints is kept byte for byte, but for the nonce line that an earlier
//! search left at the end of the message. Commits whose headers a new nonce would falsify
//! (signatures) or that SHA-1 does not name (SHA-256 repositories) are refused.

use crate::nonce::{NONCE_LABEL, is_nonce_line};
use crate::object_id::ObjectId;
use thiserror::Error;

/// The content of a commit object, ready to have a nonce line added.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commit {
    /// Headers, blank line and message; ends where the nonce line's label is to begin.
    text: Vec<u8>,
}

/// Why some bytes are not a commit that can be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Not the headers that `git cat-file commit` prints.
    #[error("not a commit object: {0}")]
    Malformed(&'static str),
    /// The commit carries a signature.
    #[error("the commit is signed; a nonce would make its signature invalid")]
    Signed,
    /// The commit belongs to a SHA-256 repository.
    #[error("the commit is from a SHA-256 repository; only SHA-1 can be searched")]
    Sha256,
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
        let text = format!(
            "tree {tree}\nparent {parent}\nauthor {author} {seconds} +0000\n\
             committer {author} {seconds} +0000\n\n{message}\n"
        );
        Self {
            text: ready_for_nonce(text.into_bytes()),
        }
    }

    /// Reads what `git cat-file commit` prints.
    pub fn parse(text: &[u8]) -> Result<Self, CommitError> {
        let headers_end = text.windows(2).position(|pair| pair == b"\n\n");
        let (headers, message) = match headers_end {
            Some(end) => (&text[..end], &text[end + 2..]),
            None => (text.strip_suffix(b"\n").unwrap_or(text), &[][..]),
        };
        check_headers(headers)?;
        let mut kept = headers.to_vec();
        kept.extend_from_slice(b"\n\n");
        kept.extend_from_slice(without_nonce_line(message));
        Ok(Self {
            text: ready_for_nonce(kept),
        })
    }

    /// Headers and message up to where the nonce line's label begins.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

fn check_headers(headers: &[u8]) -> Result<(), CommitError> {
    let mut lines = headers.split(|&byte| byte == b'\n');
    let tree = lines.next().and_then(|line| line.strip_prefix(b"tree "));
    let tree = tree.ok_or(CommitError::Malformed("it does not begin with a tree line"))?;
    check_id(tree)?;
    let (mut authors, mut committers) = (0, 0);
    for line in lines {
        if let Some(parent) = line.strip_prefix(b"parent ") {
            check_id(parent)?;
        } else if line.starts_with(b"gpgsig ") || line.starts_with(b"gpgsig-sha256 ") {
            return Err(CommitError::Signed);
        }
        authors += usize::from(line.starts_with(b"author "));
        committers += usize::from(line.starts_with(b"committer "));
    }
    if (authors, committers) != (1, 1) {
        return Err(CommitError::Malformed(
            "it needs one author line and one committer line",
        ));
    }
    Ok(())
}

fn check_id(id: &[u8]) -> Result<(), CommitError> {
    let malformed = CommitError::Malformed("a tree or parent line has no object id");
    let id = str::from_utf8(id).map_err(|_| malformed)?;
    if id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(CommitError::Sha256);
    }
    ObjectId::from_hex(id).map(drop).map_err(|_| malformed)
}

/// The message without the nonce line of an earlier search, so that searching again and again does
/// not make it grow.
fn without_nonce_line(message: &[u8]) -> &[u8] {
    let body = message.strip_suffix(b"\n").unwrap_or(message);
    let start = body
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    if !is_nonce_line(&body[start..]) {
        return message;
    }
    let before = &message[..start];
    // The blank line in front of it came with it, unless other trailers precede it.
    if before.ends_with(b"\n\n") {
        &before[..before.len() - 1]
    } else {
        before
    }
}

/// Ends the message's last line, and begins a new paragraph unless the last one is made of
/// trailers (`Signed-off-by: …`), which the nonce line then joins.
fn ready_for_nonce(mut text: Vec<u8>) -> Vec<u8> {
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    if !text.ends_with(b"\n\n") && !ends_in_trailers(&text) {
        text.push(b'\n');
    }
    text
}

/// Whether the last paragraph of a commit consists of trailers only. A paragraph that begins the
/// message is its title, whatever it looks like.
fn ends_in_trailers(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let blank_lines: Vec<usize> = (1..text.len())
        .filter(|&at| text[at - 1] == b'\n' && text[at] == b'\n')
        .collect();
    // The first blank line ends the headers, so a paragraph after the title has two before it.
    let [_, .., last] = blank_lines[..] else {
        return false;
    };
    text[last + 1..]
        .split(|&byte| byte == b'\n')
        .all(is_trailer)
}

fn is_trailer(line: &[u8]) -> bool {
    let token = line
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-');
    let token = token.count();
    token > 0 && line[token..].starts_with(NONCE_LABEL_SEPARATOR)
}

/// What stands between a trailer's token and its value, in [`NONCE_LABEL`] too.
const NONCE_LABEL_SEPARATOR: &[u8] = {
    let label = NONCE_LABEL.as_bytes();
    label.split_at(label.len() - 2).1
};

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn headers(extra: &str) -> String {
        format!("tree {TREE}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n{extra}")
    }

    fn parsed(text: &str) -> String {
        String::from_utf8(Commit::parse(text.as_bytes()).unwrap().text).unwrap()
    }

    #[test]
    fn the_nonce_gets_its_own_paragraph() {
        for end in ["", "\n", "\n\n"] {
            let text = parsed(&headers(&format!("\nTitle{end}")));
            assert_eq!(text, headers("\nTitle\n\n"));
        }
    }

    #[test]
    fn the_nonce_joins_trailers() {
        let message = "\nTitle\n\nBody.\n\nSigned-off-by: A <a@b>\nFixes: x\n";
        assert_eq!(parsed(&headers(message)), headers(message));
        // A title that looks like a trailer is still a title.
        assert_eq!(
            parsed(&headers("\nlevel1: x\n")),
            headers("\nlevel1: x\n\n")
        );
    }

    #[test]
    fn an_earlier_nonce_line_is_replaced() {
        let nonce = format!("Nonce: {}", "a".repeat(70));
        assert_eq!(
            parsed(&headers(&format!("\nTitle\n\n{nonce}"))),
            headers("\nTitle\n\n")
        );
        let trailers = "\nTitle\n\nFixes: x\n";
        assert_eq!(
            parsed(&headers(&format!("{trailers}{nonce}\n"))),
            headers(trailers)
        );
        let short = "\nTitle\n\nNonce: abc\n";
        assert_eq!(parsed(&headers(short)), headers(short));
    }

    #[test]
    fn empty_messages_and_missing_blank_lines_are_taken() {
        assert_eq!(parsed(&headers("")), headers("\n"));
        assert_eq!(parsed(&headers("\n")), headers("\n"));
    }

    #[test]
    fn signed_foreign_and_broken_commits_are_refused() {
        let refused = |text: String| Commit::parse(text.as_bytes()).unwrap_err();
        let signed = headers("gpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END\n\nTitle\n");
        assert_eq!(refused(signed), CommitError::Signed);
        let sha256 = headers("\nTitle\n").replace(TREE, &"a".repeat(64));
        assert_eq!(refused(sha256), CommitError::Sha256);
        for text in ["", "hello", "tree abc\n\nx", &format!("tree {TREE}\n\nx")] {
            assert!(
                matches!(refused(text.to_owned()), CommitError::Malformed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_new_commit_is_what_git_would_write() {
        let id = ObjectId::from_hex(TREE).unwrap();
        let commit = Commit::new(&NewCommit {
            tree: id,
            parent: id,
            author: "A <a@b>",
            seconds: 7,
            message: "Title",
        });
        let text = format!(
            "tree {TREE}\nparent {TREE}\nauthor A <a@b> 7 +0000\ncommitter A <a@b> 7 +0000\n\n\
             Title\n\n"
        );
        assert_eq!(commit.text(), text.as_bytes());
    }
}

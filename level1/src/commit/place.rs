//! Where in a commit a nonce goes, in each style, and which earlier nonce makes room for it.

use super::trailers::{self, is_blank};
use super::{Commit, CommitError, header_end};
use crate::nonce::{Alphabet, NONCE_HEADER, NONCE_LABEL, is_nonce_line};
use crate::placement::{Placement, Style};

impl Commit {
    /// The commit in two pieces, with room for a nonce in `style`; without one, white space in a
    /// signed commit's signature, a line in a message that has a subject, and else white space.
    ///
    /// # Errors
    /// The style would falsify the signature, or give an empty message a subject.
    pub fn place(&self, style: Option<Style>) -> Result<Placement, CommitError> {
        if let Some(signature) = &self.signature {
            return match style {
                None | Some(Style::Space) => Ok(self.in_signature(signature.end)),
                Some(Style::Line | Style::Header) => Err(CommitError::SignedStyle),
            };
        }
        let headers = without_nonce_header(&self.headers);
        let message = without_nonce(&self.message);
        // Behind blank lines a subject could be taken for trailers.
        let has_subject = !is_blank(&message) && !message.starts_with(b"\n");
        match style {
            None if has_subject => Ok(self.in_line(&headers, &message)),
            None | Some(Style::Space) => Ok(self.behind_message(&headers, &message)),
            Some(Style::Line) if is_blank(&message) => Err(CommitError::EmptyMessage),
            Some(Style::Line) => Ok(self.in_line(&headers, &message)),
            Some(Style::Header) => Ok(self.in_header(&headers, &message)),
        }
    }

    /// The commit with room for a nonce line, as the miner writes them.
    pub(crate) fn in_a_line(&self) -> Placement {
        self.in_line(&self.headers, &self.message)
    }

    fn placement(&self, before: &[&[u8]], alphabet: Alphabet, after: &[&[u8]]) -> Placement {
        Placement {
            hash: self.hash,
            before: before.concat(),
            alphabet,
            after: after.concat(),
        }
    }

    /// White space in a line of its own behind the signature's last, which no program that checks
    /// signatures looks at.
    fn in_signature(&self, end: usize) -> Placement {
        let (before, after) = self.headers.split_at(end);
        let mut kept = before;
        if let Some(line) = last_line(kept)
            && let Some(blank) = line.strip_prefix(b" ")
            && Alphabet::Blank.is_nonce(blank.strip_suffix(b"\n").unwrap_or(blank))
        {
            kept = &kept[..kept.len() - line.len()];
        }
        let after = [b"\n", after, b"\n", &self.message];
        self.placement(&[kept, b" "], Alphabet::Blank, &after)
    }

    /// A line that joins the trailers, or begins a paragraph where there are none.
    fn in_line(&self, headers: &[u8], message: &[u8]) -> Placement {
        let label = NONCE_LABEL.as_bytes();
        let block = trailers::block(message).filter(|block| !is_blank(&message[..block.start]));
        if let Some(block) = block {
            let (before, after) = message.split_at(block.end);
            let newline: &[u8] = if before.ends_with(b"\n") { b"" } else { b"\n" };
            // Blank lines at the end would part the nonce from the rest; anything else is kept.
            let after: &[&[u8]] = if is_blank(after) {
                &[]
            } else {
                &[b"\n", after]
            };
            let before = [headers, b"\n", before, newline, label];
            return self.placement(&before, Alphabet::Base32, after);
        }
        let newline: &[u8] = if message.ends_with(b"\n") { b"" } else { b"\n" };
        let has_blank_line = last_line(message).is_none_or(is_blank);
        let blank_line: &[u8] = if has_blank_line { b"" } else { b"\n" };
        let before = [headers, b"\n", message, newline, blank_line, label];
        self.placement(&before, Alphabet::Base32, &[])
    }

    /// White space behind everything else.
    fn behind_message(&self, headers: &[u8], message: &[u8]) -> Placement {
        let newline: &[u8] = if message.is_empty() || message.ends_with(b"\n") {
            b""
        } else {
            b"\n"
        };
        self.placement(&[headers, b"\n", message, newline], Alphabet::Blank, &[])
    }

    /// A header behind all others.
    fn in_header(&self, headers: &[u8], message: &[u8]) -> Placement {
        let before = [headers, NONCE_HEADER.as_bytes()];
        self.placement(&before, Alphabet::Base32, &[b"\n\n", message])
    }
}

/// The last line of a text, its newline included.
fn last_line(text: &[u8]) -> Option<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').next_back()
}

/// The headers without one that an earlier search has added.
fn without_nonce_header(headers: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(headers.len());
    let mut at = 0;
    while at < headers.len() {
        let end = header_end(headers, at);
        let header = &headers[at..end];
        let nonce = header
            .strip_suffix(b"\n")
            .and_then(|line| line.strip_prefix(NONCE_HEADER.as_bytes()));
        if !nonce.is_some_and(|digits| Alphabet::Base32.is_nonce(digits)) {
            kept.extend_from_slice(header);
        }
        at = end;
    }
    kept
}

/// The message without the nonces of earlier searches, so that searching again and again does not
/// make it grow.
fn without_nonce(message: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = message.split_inclusive(|&byte| byte == b'\n').collect();
    if lines
        .last()
        .is_some_and(|line| Alphabet::Blank.is_nonce(line))
    {
        lines.pop();
    }
    let is_nonce = |line: &&[u8]| is_nonce_line(line.strip_suffix(b"\n").unwrap_or(line));
    if let Some(at) = lines.iter().rposition(is_nonce) {
        lines.remove(at);
        // The blank line in front of it came with it, unless other trailers precede it.
        if at == lines.len() && at > 0 && lines[at - 1] == b"\n" {
            lines.pop();
        }
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TREE, headers};
    use super::*;
    use crate::commit::NewCommit;
    use crate::nonce::Nonce;
    use crate::object_id::ObjectId;
    use crate::template::CommitTemplate;

    fn placed(text: &str, style: Option<Style>) -> Placement {
        Commit::parse(text.as_bytes())
            .unwrap()
            .place(style)
            .unwrap()
    }

    /// The commit up to the nonce, in the style for it.
    fn before(extra: &str) -> String {
        String::from_utf8(placed(&headers(extra), None).before).unwrap()
    }

    #[test]
    fn the_nonce_gets_its_own_paragraph() {
        for end in ["", "\n", "\n\n"] {
            assert_eq!(
                before(&format!("\nTitle{end}")),
                headers("\nTitle\n\nNonce: ")
            );
        }
        // A title that looks like a trailer is still a title.
        assert_eq!(before("\nlevel1: x\n"), headers("\nlevel1: x\n\nNonce: "));
    }

    #[test]
    fn the_nonce_joins_trailers() {
        for message in [
            "\nTitle\n\nBody.\n\nSigned-off-by: A <a@b>\nFixes: x\n",
            "\nT\n\nSigned-off-by: A\n(cherry picked from commit abc)\n",
            "\nT\n\nSigned-off-by: A\n[maintainer: x]\nSigned-off-by: B\n",
            "\nT\n\nLong: a\n  folded\n",
            "\nT\n\nSigned-off-by : A\n",
        ] {
            let expected = headers(&format!("{message}Nonce: "));
            assert_eq!(before(message), expected);
            // Blank lines behind the trailers would part them from the nonce.
            assert_eq!(before(&format!("{message}\n\n")), expected);
            assert_eq!(before(message.strip_suffix('\n').unwrap()), expected);
        }
    }

    #[test]
    fn what_stands_behind_the_trailers_stays_there() {
        let placement = placed(&headers("\nT\n\nA: b\n\nConflicts:\n\tx\n"), None);
        assert!(placement.before.ends_with(b"\nT\n\nA: b\nNonce: "));
        assert_eq!(placement.after, b"\n\nConflicts:\n\tx\n");
    }

    #[test]
    fn an_empty_message_gets_no_subject() {
        for message in ["", "\n", "\n\n", "\n \n", "\n\nTitle\n"] {
            let placement = placed(&headers(message), None);
            assert_eq!(placement.alphabet, Alphabet::Blank, "{message:?}");
        }
        let empty = Commit::parse(headers("\n").as_bytes()).unwrap();
        assert_eq!(
            empty.place(Some(Style::Line)),
            Err(CommitError::EmptyMessage)
        );
    }

    #[test]
    fn white_space_goes_behind_a_signature() {
        let signature =
            "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n";
        let text = headers(&format!("{signature}other x\n\nTitle\n"));
        let placement = placed(&text, None);
        assert_eq!(
            placement.before,
            headers(&format!("{signature} ")).into_bytes()
        );
        assert_eq!(placement.after, b"\nother x\n\nTitle\n");
        let signed = Commit::parse(text.as_bytes()).unwrap();
        for style in [Style::Line, Style::Header] {
            assert_eq!(signed.place(Some(style)), Err(CommitError::SignedStyle));
        }
        assert_eq!(signed.place(Some(Style::Space)), signed.place(None));
    }

    #[test]
    fn an_earlier_nonce_is_replaced_whatever_its_style() {
        let styles = [
            None,
            Some(Style::Line),
            Some(Style::Space),
            Some(Style::Header),
        ];
        for message in [
            "\nTitle\n",
            "\nT\n\nA: b\n",
            "\nT\n\nA: b\n\nConflicts:\n\tx\n",
        ] {
            let text = headers(message);
            for first in styles {
                for second in styles {
                    let template = CommitTemplate::new(&placed(&text, first), 1);
                    let found = template.commit(Nonce(12345));
                    let again = Commit::parse(&found).unwrap().place(second).unwrap();
                    assert_eq!(
                        again,
                        placed(&text, second),
                        "{message:?} {first:?} {second:?}"
                    );
                }
            }
        }
        let signature =
            "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n";
        let text = headers(&format!("{signature}\nTitle\n"));
        let template = CommitTemplate::new(&placed(&text, None), 1);
        let found = template.commit(Nonce(12345));
        let again = Commit::parse(&found).unwrap().place(None).unwrap();
        assert_eq!(again, placed(&text, None));
    }

    #[test]
    fn a_short_nonce_line_is_somebody_elses() {
        let short = "\nTitle\n\nNonce: abc\n";
        assert_eq!(before(short), headers(&format!("{short}Nonce: ")));
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
             Title\n\nNonce: "
        );
        assert_eq!(commit.place(None).unwrap().before, text.as_bytes());
    }
}

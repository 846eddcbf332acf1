//! Which part of a message is its trailers, by git's own rules (git-interpret-trailers(1), and
//! `trailer.c` for what the page leaves open).
//!
//! The block is the last paragraph, unless that is the title, if its lines are all trailers; or if
//! git itself has written one of them and at least a quarter are. What follows the message proper,
//! comments and a list of conflicts, is left out.

use std::ops::Range;

/// What git writes itself; one such line makes a block of a paragraph that is mostly trailers.
const GENERATED: [&[u8]; 2] = [b"Signed-off-by: ", b"(cherry picked from commit "];

/// Below this line there is nothing of the message.
const SCISSORS: &[u8] = b"# ------------------------ >8 ------------------------\n";

/// The trailer block of `message`, in bytes: from its first line to behind its last, or to the
/// message's end where that has no newline.
pub(super) fn block(message: &[u8]) -> Option<Range<usize>> {
    let end = end_of_log_message(message);
    let lines = lines(&message[..end]);
    // The first paragraph is the title and cannot be trailers.
    let title = lines
        .iter()
        .position(|line| !is_comment(&message[line.clone()]) && is_blank(&message[line.clone()]))
        .unwrap_or(lines.len());
    let mut count = Count::default();
    let mut last = None;
    for line in lines[title..].iter().rev() {
        let text = &message[line.clone()];
        if is_comment(text) {
            count.end_continuation();
        } else if is_blank(text) {
            let Some(last) = last else { continue };
            count.end_continuation();
            return count.is_block().then_some(line.end..last);
        } else {
            last = last.or(Some(line.end));
            count.add(text);
        }
    }
    None
}

/// The lines of a paragraph, from its end on.
#[derive(Default)]
struct Count {
    trailers: usize,
    others: usize,
    /// Lines that belong to whatever precedes them.
    continuations: usize,
    has_generated: bool,
}

impl Count {
    fn add(&mut self, line: &[u8]) {
        let is_indented = line[0].is_ascii_whitespace();
        if GENERATED.iter().any(|prefix| line.starts_with(prefix)) {
            self.trailers += 1;
            self.continuations = 0;
            self.has_generated = true;
        } else if !is_indented && separator(line).is_some_and(|at| at > 0) {
            self.trailers += 1;
            self.continuations = 0;
        } else if is_indented {
            self.continuations += 1;
        } else {
            self.others += 1;
            self.end_continuation();
        }
    }

    fn end_continuation(&mut self) {
        self.others += self.continuations;
        self.continuations = 0;
    }

    fn is_block(&self) -> bool {
        let mostly = self.has_generated && self.trailers * 3 >= self.others;
        mostly || (self.trailers > 0 && self.others == 0)
    }
}

/// Where a trailer's colon stands: behind letters, digits and hyphens, and perhaps white space.
fn separator(line: &[u8]) -> Option<usize> {
    let token = line
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    let space = line[token..]
        .iter()
        .take_while(|byte| token > 0 && matches!(byte, b' ' | b'\t'))
        .count();
    (line.get(token + space) == Some(&b':')).then_some(token + space)
}

/// Where the message proper ends: before comments, blank lines and a list of conflicts that stand
/// behind everything else, and before a scissors line.
fn end_of_log_message(message: &[u8]) -> usize {
    let cut = if message.starts_with(SCISSORS) {
        0
    } else {
        let mut places = message.windows(SCISSORS.len() + 1);
        let at = places.position(|place| place[0] == b'\n' && &place[1..] == SCISSORS);
        at.map_or(message.len(), |at| at + 1)
    };
    let mut end = None;
    let mut in_conflicts = false;
    for line in lines(&message[..cut]) {
        let text = &message[line.clone()];
        if is_comment(text) || text == b"\n" {
            end = end.or(Some(line.start));
        } else if text == b"Conflicts:\n" {
            in_conflicts = true;
            end = end.or(Some(line.start));
        } else if !(in_conflicts && text.starts_with(b"\t")) {
            end = None;
            in_conflicts = false;
        }
    }
    end.unwrap_or(cut)
}

/// The places of lines, newlines included.
fn lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut at = 0;
    text.split_inclusive(|&byte| byte == b'\n')
        .map(|line| {
            let start = at;
            at += line.len();
            start..at
        })
        .collect()
}

fn is_comment(line: &[u8]) -> bool {
    line.starts_with(b"#")
}

/// Whether a line has nothing but white space.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> Option<&str> {
        block(message.as_bytes()).map(|range| &message[range])
    }

    #[test]
    fn blocks_that_are_not_plain_are_found() {
        for (message, expected) in [
            ("T\n\nA: b\n", Some("A: b\n")),
            ("T\n\nA: b", Some("A: b")),
            ("T\n\nA: b\n\n\n", Some("A: b\n")),
            ("T\n\nA: b\n  folded\n", Some("A: b\n  folded\n")),
            ("T\n\nSigned-off-by : A\n", Some("Signed-off-by : A\n")),
            (
                "T\n\nSigned-off-by: A\n(cherry picked from commit 1)\n",
                Some("Signed-off-by: A\n(cherry picked from commit 1)\n"),
            ),
            (
                "T\n\nSigned-off-by: A\n[b: c]\nSigned-off-by: D\n",
                Some("Signed-off-by: A\n[b: c]\nSigned-off-by: D\n"),
            ),
            ("T\n\nA: b\n# comment\n", Some("A: b\n")),
            ("T\n\nA: b\n\nConflicts:\n\tfile\n", Some("A: b\n")),
            ("T\n\nSome words.\nA: b\n", None),
            ("T\n\nA: b\n\nSome words.\n", None),
            ("feat: x\n", None),
            ("feat: x\nA: b\n", None),
            ("T\n\nhttp://host\n", Some("http://host\n")),
            ("T\n\n : b\n", None),
            ("T\n\n folded\nA: b\n", None),
            ("", None),
        ] {
            assert_eq!(found(message), expected, "{message:?}");
        }
    }
}

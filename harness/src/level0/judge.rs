//! Comparing outputs: the first line that differs, both versions of it, and where.

use crate::report::Failure;

/// The most bytes of a line that are shown, so that a binary mess does not fill the screen.
const SHOWN: usize = 160;

/// The first difference between the expected and the found output, if there is one.
pub(super) fn first_difference(expected: &[u8], found: &[u8]) -> Option<Failure> {
    if expected == found {
        return None;
    }
    let at = expected
        .iter()
        .zip(found)
        .take_while(|(a, b)| a == b)
        .count();
    let line = 1 + expected[..at].split(|byte| *byte == b'\n').count() - 1;
    let start = expected[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let column = at - start + 1;
    let message = format!(
        "the first difference is at line {line}, byte {column} of it (byte {at} of the output)\n\
         expected: {}\nfound:    {}\n\
         ({} bytes expected, {} bytes found)",
        show(expected, start, at),
        show(found, start, at),
        expected.len(),
        found.len(),
    );
    Some(Failure::new("wrong_output", message).at(format!("line {line}, byte {column}")))
}

/// The line around byte `at` that begins at `start`, escaped, and cut to a window where long.
fn show(text: &[u8], start: usize, at: usize) -> String {
    let end = text[start..].iter().position(|byte| *byte == b'\n');
    let end = end.map_or(text.len(), |length| start + length + 1);
    if start == end {
        return "(the output ends here)".to_owned();
    }
    let from = start.max(at.saturating_sub(SHOWN / 2));
    let to = end.min(from + SHOWN);
    let head = if from > start { "…" } else { "" };
    let tail = if to < end { "…" } else { "" };
    format!("{head}{}{tail}", text[from..to].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_outputs_have_no_difference() {
        assert_eq!(first_difference(b"", b""), None);
        assert_eq!(first_difference(b"a <b>\n", b"a <b>\n"), None);
    }

    #[test]
    fn the_differing_line_is_shown_in_both_versions() {
        let failure = first_difference(b"one\ntwo <x>\n", b"one\ntwo x\n").unwrap();
        assert_eq!(failure.place.as_deref(), Some("line 2, byte 5"));
        assert!(
            failure.message.contains(r"expected: two <x>\n"),
            "{}",
            failure.message
        );
        assert!(
            failure.message.contains(r"found:    two x\n"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_missing_tail_is_a_difference() {
        let failure = first_difference(b"one\ntwo\n", b"one\n").unwrap();
        assert_eq!(failure.place.as_deref(), Some("line 2, byte 1"));
        assert!(
            failure.message.contains("the output ends here"),
            "{}",
            failure.message
        );
        assert!(first_difference(b"one", b"one\n").is_some());
    }

    #[test]
    fn a_long_line_is_cut_around_the_difference() {
        let expected = vec![b'a'; 10_000];
        let mut found = expected.clone();
        found[5_000] = b'b';
        let failure = first_difference(&expected, &found).unwrap();
        assert!(failure.message.len() < 600, "{}", failure.message);
        assert!(failure.message.contains("ab"), "{}", failure.message);
    }
}

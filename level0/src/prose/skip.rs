//! What stands in a text and is no word: addresses of the web and of mail, paths, names of files.
//!
//! Rules are few and local, so that one can foresee what is looked at. A stretch that is skipped is
//! skipped whole; what is skipped wrongly is an error that nobody is told of, so where it is not
//! clear (`and/or`) words are looked at.

use super::classes::{AT, COLON, SIGN, SLASH, STOP, Set};
use std::ops::Range;

/// The first stretch of the field `text[start..end]` that is no word; `classes` are those of its bytes.
/// It may reach beyond the field, if the field has a letter.
pub(super) fn find(text: &[u8], start: usize, end: usize, classes: Set) -> Option<Range<usize>> {
    let field = trimmed(text, start, end);
    let bytes = &text[field.clone()];
    if classes & (COLON | STOP) != 0
        && let Some(scheme) = url_start(bytes)
    {
        let start = field.start + scheme;
        return Some(start..url_end(text, start).max(field.end));
    }
    if classes & AT != 0
        && let Some(address) = mail_address(bytes)
    {
        return Some(field.start + address..field.end);
    }
    let is_skipped = (classes & (SLASH | SIGN) != 0 && is_path(bytes))
        || (classes & STOP != 0 && is_file_name(bytes));
    is_skipped.then_some(field)
}

/// The field without the quotation marks, dashes and ends of sentences around it.
fn trimmed(text: &[u8], mut start: usize, mut end: usize) -> Range<usize> {
    loop {
        let field = &text[start..end];
        match field {
            // U+2000 to U+203F: quotation marks, dashes, ellipsis.
            [0xE2, 0x80, _, ..] => start += 3,
            // Angle quotation marks, inverted marks of questions and exclamations.
            [0xC2, 0xA1 | 0xAB | 0xBB | 0xBF, ..] => start += 2,
            [b'\'' | b'-' | b'_' | b':', ..] => start += 1,
            [.., 0xE2, 0x80, _] => end -= 3,
            [.., 0xC2, 0xAB | 0xBB] => end -= 2,
            [.., b'.' | b':' | b'\'' | b'-' | b'_'] => end -= 1,
            _ => return start..end,
        }
    }
}

/// Where a URL begins: at the scheme before `://`, or at `www.` or `mailto:`.
fn url_start(field: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(colon) = memchr::memchr(b':', &field[from..]).map(|at| from + at) {
        if field[colon + 1..].starts_with(b"//") {
            // A scheme begins with a letter (RFC 3986).
            let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            let before = field[..colon].iter().rev();
            let len = before.take_while(|byte| is_scheme(byte)).count();
            let scheme = &field[colon - len..colon];
            if let Some(letter) = scheme.iter().position(u8::is_ascii_alphabetic) {
                return Some(colon - len + letter);
            }
        }
        from = colon + 1;
    }
    let begins = |with: &[u8]| {
        let beginning = field.get(..with.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(with))
    };
    (begins(b"www.") || begins(b"mailto:")).then_some(0)
}

/// Where the URL that begins at `start` ends: before white space, quotes, angle brackets, and a
/// closing bracket that it did not open.
fn url_end(text: &[u8], start: usize) -> usize {
    let mut open = 0_u32;
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        match byte {
            0..=b' ' | 0x7F | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^' => break,
            b'(' | b'[' => open += 1,
            b')' | b']' if open == 0 => break,
            b')' | b']' => open -= 1,
            0xE2 if text.get(end + 1) == Some(&0x80) => break,
            _ => {}
        }
        end += 1;
    }
    end
}

/// Where `name@host` begins: what addresses are made of stands on both sides of an `@`.
fn mail_address(field: &[u8]) -> Option<usize> {
    let belongs =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-%".contains(byte) || *byte >= 0x80;
    let at = memchr::memchr(b'@', field)?;
    let before = field[..at]
        .iter()
        .rev()
        .take_while(|byte| belongs(byte))
        .count();
    let host = field.get(at + 1).is_some_and(belongs);
    (before > 0 && host).then_some(at - before)
}

/// A path: from a root, from here or from home, or of a folder (`src/`). One to a file with an extension
/// is told by the file's name.
fn is_path(field: &[u8]) -> bool {
    match field {
        [b'/' | b'~', ..]
        | [b'.', b'/' | b'\\', ..]
        | [b'.', b'.', b'/' | b'\\', ..]
        | [b'\\', b'\\', ..] => true,
        [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic() => true,
        _ => field.ends_with(b"/"),
    }
}

/// `main.rs`, `src/main.rs`, `example.com`, `.gitignore`: a full stop with small letters or digits
/// behind it, up to the end or the next full stop.
fn is_file_name(field: &[u8]) -> bool {
    let is_plain = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    let len = field.iter().rev().take_while(|byte| is_plain(byte)).count();
    let (before, extension) = field.split_at(field.len() - len);
    let is_joined = before.ends_with(b".") && !matches!(before, [.., b'.' | b':', b'.']);
    is_joined && extension.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Whether a word is a number: it begins with a digit (`3`, `2nd`, `1990s`, `10ms`, `0xFF`), or is a
/// hexadecimal one of at least seven digits, as digests are.
pub(crate) fn is_number(word: &str) -> bool {
    const DIGEST_DIGITS: usize = 7;
    word.starts_with(char::is_numeric)
        || (word.len() >= DIGEST_DIGITS
            && word.bytes().all(|byte| byte.is_ascii_hexdigit())
            && word.bytes().any(|byte| byte.is_ascii_digit()))
}

/// Whether a word is of a script that sets no spaces between words (Han, Kana, Thai, Lao, Khmer,
/// Burmese, Tibetan): its words cannot be told without a dictionary.
pub(crate) fn is_unspaced(word: &str) -> bool {
    word.starts_with(|char| {
        matches!(char,
            '\u{0E00}'..='\u{0FFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
            | '\u{3000}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFF}')
    })
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::words;
    use super::{is_number, is_unspaced};

    #[test]
    fn addresses_and_paths_are_no_words() {
        for skipped in [
            "https://example.org/a_(b)?c=d,e;f#gh",
            "HTTP://EXAMPLE.ORG",
            "git+ssh://host/path",
            "www.example.org/path",
            "mailto:someone@example.org",
            "some.one+tag@mail.example.org",
            "/usr/share/doc",
            "~/notes",
            "./run",
            "../up",
            "C:\\Windows\\notepad",
            "\\\\server\\share",
            "src/",
            "src/prose/mod.rs",
            "main.rs",
            "example.com",
            ".gitignore",
            "archive.tar.gz",
        ] {
            for around in [
                ["", ""],
                ["(", ")."],
                ["\u{201C}", "\u{201D},"],
                ["<", ">"],
                ["'", "'"],
            ] {
                let text = format!("one {}{skipped}{} two", around[0], around[1]);
                assert_eq!(words(&text), ["one", "two"], "{text}");
            }
        }
    }

    #[test]
    fn what_stands_beside_an_address_is_looked_at() {
        assert_eq!(words("[tekst](https://a.b/c) efter"), ["tekst", "efter"]);
        assert_eq!(words("see\u{2014}http://a.b/c"), ["see"]);
        assert_eq!(
            words("and/or client/server @user a:b"),
            ["and", "or", "client", "server", "user", "a", "b"]
        );
        assert_eq!(words("end.Next wait...so"), ["end", "Next", "wait", "so"]);
        assert_eq!(
            words("(+://one),two 1://three +http://a,b"),
            ["one", "two", "1", "three"]
        );
    }

    #[test]
    fn numbers_are_no_words() {
        for number in ["3", "2nd", "1990s", "10ms", "0xFF", "33eb9c3", "\u{663}"] {
            assert!(is_number(number), "{number}");
        }
        for word in ["x86", "deadbeef", "a1", "defaced"] {
            assert!(!is_number(word), "{word}");
        }
        assert!(is_unspaced("\u{6F22}\u{5B57}") && is_unspaced("\u{E01}") && !is_unspaced("a"));
    }
}

//! The lines of git's protocols (gitprotocol-common(5)): four hex digits of length, then content.

/// The longest line that git writes, its four digits included.
const MAX: usize = 65_520;

/// What ends a list of lines.
pub const FLUSH: &[u8] = b"0000";

/// One item of a stream of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A line's content; its final newline, if it has one, is still there.
    Line(&'a [u8]),
    /// The end of a list.
    Flush,
}

/// Takes the first item off a stream; `None` if none stands there.
pub fn take<'a>(stream: &mut &'a [u8]) -> Option<Item<'a>> {
    let digits = std::str::from_utf8(stream.get(..4)?).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let length = usize::from_str_radix(digits, 16).ok()?;
    let (item, size) = match length {
        0 => (Item::Flush, 4),
        4..=MAX => (Item::Line(stream.get(4..length)?), length),
        _ => return None,
    };
    *stream = &stream[size..];
    Some(item)
}

/// Appends one line, cut to what a line can hold.
pub fn put(line: &[u8], out: &mut Vec<u8>) {
    let line = &line[..line.len().min(MAX - 4)];
    out.extend(format!("{:04x}", line.len() + 4).into_bytes());
    out.extend(line);
}

/// Appends content of a side band (1 data, 2 progress), in as many lines as it takes.
pub fn put_band(band: u8, content: &[u8], out: &mut Vec<u8>) {
    for piece in content.chunks(MAX - 5) {
        put(&[&[band], piece].concat(), out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_as_gits_own_documentation_shows_them() {
        let mut out = Vec::new();
        put(b"a\n", &mut out);
        put(b"foobar\n", &mut out);
        put(b"", &mut out);
        out.extend(FLUSH);
        assert_eq!(out, b"0006a\n000bfoobar\n00040000");
        let mut stream = &out[..];
        assert_eq!(take(&mut stream), Some(Item::Line(b"a\n")));
        assert_eq!(take(&mut stream), Some(Item::Line(b"foobar\n")));
        assert_eq!(take(&mut stream), Some(Item::Line(b"")));
        assert_eq!(take(&mut stream), Some(Item::Flush));
        assert_eq!(take(&mut stream), None);
        for bad in ["0001", "0003abc", "000", "0009ab", "fff1", "+004", "zzzz"] {
            assert_eq!(take(&mut bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_band_is_put_together_again(content in prop::collection::vec(any::<u8>(), 0..200_000)) {
            let mut out = Vec::new();
            put_band(2, &content, &mut out);
            let mut stream = &out[..];
            let mut whole: Vec<u8> = Vec::new();
            while let Some(Item::Line(line)) = take(&mut stream) {
                prop_assert_eq!(line[0], 2);
                whole.extend(&line[1..]);
            }
            prop_assert_eq!(whole, content);
        }
    }
}

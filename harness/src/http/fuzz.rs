//! What the fuzz targets in `harness/fuzz` call, and the property tests of plain `cargo test` too:
//! foreign bytes in, and a panic where a promise is broken.

use super::{Answer, AnswerReader, Malformed, Request};

/// Reads the answer on a connection that brings these bytes, in pieces of a size, and then ends.
///
/// # Panics
/// It means something else than when the bytes come at once.
pub fn answer_in_pieces(bytes: &[u8], size: usize) -> Result<Answer, Malformed> {
    let whole = read(bytes, bytes.len().max(1));
    let pieces = read(bytes, size.max(1));
    // Bytes behind the end are only noticed if they come along with it.
    let told = |result: &Result<Answer, Malformed>| {
        let answer = result.as_ref().ok();
        answer.map(|answer| (answer.status, answer.body.clone()))
    };
    assert_eq!(told(&whole), told(&pieces), "in pieces of {size}");
    whole
}

fn read(bytes: &[u8], size: usize) -> Result<Answer, Malformed> {
    let mut reader = AnswerReader::with_limit(1 << 20);
    for piece in bytes.chunks(size) {
        if let Some(answer) = reader.feed(piece)? {
            return Ok(answer);
        }
    }
    reader.end()
}

/// Reads a request from the front of these bytes, as they come.
///
/// # Panics
/// The front of a head is taken for a whole one, or a whole one means something else when more bytes
/// follow it.
pub fn request(bytes: &[u8]) {
    let whole = Request::read(bytes);
    let Ok(Some((request, length))) = whole else {
        return;
    };
    assert!(length <= bytes.len());
    assert_eq!(Request::read(&bytes[..length]), Ok(Some((request, length))));
    if let Some(shorter) = length.checked_sub(1) {
        assert_eq!(Request::read(&bytes[..shorter]), Ok(None));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_end_where_they_say(
            target in "/[a-z?&=0-9]{0,20}",
            body in prop::collection::vec(any::<u8>(), 0..20),
            rest in prop::collection::vec(any::<u8>(), 0..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let head = format!("POST {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut bytes = [head.as_bytes(), &body, &rest].concat();
            super::request(&bytes);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            super::request(&bytes);
        }
    }
}

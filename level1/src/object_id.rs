//! Object ids: the SHA-1 of a git object, header included.
//!
//! Everything here goes through the `sha1` crate. It is the slow, independent path by which each
//! match of a kernel is checked before git hears of it.

use sha1::{Digest, Sha1};
use std::fmt;
use thiserror::Error;

/// Number of hexadecimal digits in a SHA-1 object id.
pub const HEX_DIGITS: usize = 40;

/// A SHA-1 object id as five big-endian words, so that the derived order is the order of its
/// hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u32; 5]);

/// The text was not 40 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an object id of 40 hexadecimal digits")]
pub struct ObjectIdError(String);

impl ObjectId {
    /// The id of the object of type `kind` (`commit`, `tree`, `blob`) whose content is `body`.
    pub fn of(kind: &str, body: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update(format!("{kind} {}\0", body.len()));
        hash.update(body);
        Self::from_bytes(&hash.finalize().into())
    }

    /// The id whose 20 raw bytes (as in a tree object) are `bytes`.
    pub fn from_bytes(bytes: &[u8; 20]) -> Self {
        let mut words = [0; 5];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*chunk);
        }
        Self(words)
    }

    /// The 20 raw bytes, as they stand in a tree object.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *chunk = word.to_be_bytes();
        }
        bytes
    }

    /// Reads 40 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, ObjectIdError> {
        let digits = hex.as_bytes();
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != HEX_DIGITS || !digits.iter().all(is_digit) {
            return Err(ObjectIdError(hex.to_owned()));
        }
        let mut words = [0; 5];
        for (word, chunk) in words.iter_mut().zip(digits.chunks(8)) {
            *word = chunk
                .iter()
                .fold(0, |word, &digit| (word << 4) | hex_value(digit));
        }
        Ok(Self(words))
    }
}

/// The value of a lower-case hexadecimal digit that was checked before.
fn hex_value(digit: u8) -> u32 {
    u32::from(if digit <= b'9' {
        digit - b'0'
    } else {
        digit - b'a' + 10
    })
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:08x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_blob_has_the_id_every_git_user_knows() {
        let id = ObjectId::of("blob", b"");
        assert_eq!(id.to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let id = ObjectId::of("blob", b"x");
        assert_eq!(ObjectId::from_hex(&id.to_string()), Ok(id));
        assert_eq!(ObjectId::from_bytes(&id.to_bytes()), id);
    }

    #[test]
    fn order_is_that_of_the_text() {
        let low = ObjectId::from_hex("00000000ffffffffffffffffffffffffffffffff").unwrap();
        let high = ObjectId::from_hex("0000000100000000000000000000000000000000").unwrap();
        assert!(low < high && low.to_string() < high.to_string());
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "abc", "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391"] {
            assert!(ObjectId::from_hex(text).is_err(), "{text}");
        }
    }
}

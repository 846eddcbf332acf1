//! Object ids: the hash of a git object, header included.
//!
//! Everything here goes through the crates `sha1` and `sha2`. It is the slow, independent path by
//! which each match of a kernel is checked before git hears of it.

use crate::hash::{HashFunction, State};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::fmt;
use thiserror::Error;

/// An object id as big-endian words, so that the derived order is, within one hash function, the
/// order of its hexadecimal text. Words that the function does not have are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    hash: HashFunction,
    words: State,
}

/// The text was not 40 or 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an object id of 40 or 64 hexadecimal digits")]
pub struct ObjectIdError(String);

impl ObjectId {
    /// The SHA-1 id of the object of type `kind` (`commit`, `tree`, `blob`) whose content is
    /// `body`.
    pub fn of(kind: &str, body: &[u8]) -> Self {
        Self::of_with(HashFunction::Sha1, kind, body)
    }

    /// The id that `hash` gives an object.
    pub fn of_with(hash: HashFunction, kind: &str, body: &[u8]) -> Self {
        let header = format!("{kind} {}\0", body.len());
        match hash {
            HashFunction::Sha1 => {
                let digest = Sha1::new().chain_update(header).chain_update(body);
                Self::from_bytes(hash, &digest.finalize())
            }
            HashFunction::Sha256 => {
                let digest = Sha256::new().chain_update(header).chain_update(body);
                Self::from_bytes(hash, &digest.finalize())
            }
        }
    }

    /// The id with these words, of which only as many count as `hash` has.
    pub(crate) fn from_state(hash: HashFunction, mut words: State) -> Self {
        words[hash.words()..].fill(0);
        Self { hash, words }
    }

    /// The SHA-1 id whose raw bytes (as in a tree object) are `bytes`.
    pub fn from_sha1(bytes: &[u8; 20]) -> Self {
        Self::from_bytes(HashFunction::Sha1, bytes)
    }

    fn from_bytes(hash: HashFunction, bytes: &[u8]) -> Self {
        let mut words = [0; 8];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*chunk);
        }
        Self { hash, words }
    }

    /// The raw bytes of a SHA-1 id, as they stand in a tree object.
    pub fn to_sha1(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.words) {
            *chunk = word.to_be_bytes();
        }
        bytes
    }

    /// Reads 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, ObjectIdError> {
        let digits = hex.as_bytes();
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let functions = [HashFunction::Sha1, HashFunction::Sha256];
        let hash = functions
            .into_iter()
            .find(|hash| hash.hex_digits() == digits.len())
            .filter(|_| digits.iter().all(is_digit))
            .ok_or_else(|| ObjectIdError(hex.to_owned()))?;
        let mut words = [0; 8];
        for (word, chunk) in words.iter_mut().zip(digits.chunks(8)) {
            *word = chunk
                .iter()
                .fold(0, |word, &digit| (word << 4) | hex_value(digit));
        }
        Ok(Self { hash, words })
    }

    /// The function that made the id.
    pub fn hash(self) -> HashFunction {
        self.hash
    }

    /// The id's words; those that the function does not have are zero.
    pub fn words(self) -> State {
        self.words
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
        let words = &self.words[..self.hash.words()];
        words.iter().try_for_each(|word| write!(f, "{word:08x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_blob_has_the_id_every_git_user_knows() {
        let id = ObjectId::of("blob", b"");
        assert_eq!(id.to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        let id = ObjectId::of_with(HashFunction::Sha256, "blob", b"");
        let text = "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813";
        assert_eq!(id.to_string(), text);
        assert_eq!(ObjectId::from_hex(text), Ok(id));
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let id = ObjectId::of("blob", b"x");
        assert_eq!(ObjectId::from_hex(&id.to_string()), Ok(id));
        assert_eq!(ObjectId::from_sha1(&id.to_sha1()), id);
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

//! What a match must look like: a closed range of object ids.
//!
//! A difficulty is compared as *text* in the contract ("lexicographically less than the content of
//! `difficulty.txt`"), so it may have any number of digits. As a range of numbers that is
//! everything from zero to one less than the difficulty padded with zeros. A vanity prefix is a
//! range as well. Kernels look at the first word only ([`Filter`]); all bits are compared once
//! for each candidate.

use crate::hash::HashFunction;
use crate::object_id::ObjectId;
use thiserror::Error;

/// The object ids that count as a match: all from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    first: ObjectId,
    last: ObjectId,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// The text has a character that is not a hexadecimal digit (lower case for a difficulty).
    #[error("{0:?} is not made of lower-case hexadecimal digits only")]
    NotHex(String),
    /// A prefix has a character that is not a hexadecimal digit.
    #[error("{0:?} is not made of hexadecimal digits only (0 to 9 and a to f, without 0x)")]
    PrefixNotHex(String),
    /// No object id is less than the text: it is empty or all zeros.
    #[error("no hash can be less than {0:?}")]
    Impossible(String),
    /// A prefix longer than an object id, or empty.
    #[error("a prefix has 1 to {most} hexadecimal digits, {prefix:?} has {len}", len = .prefix.len())]
    PrefixLength {
        /// The prefix.
        prefix: String,
        /// Digits of an object id.
        most: usize,
    },
}

/// The part of a [`Target`] that a kernel checks: the first word of an id, less `base`, is at most
/// `span` (in wrapping 32-bit arithmetic). It lets through every match and, rarely, something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The least first word of a match.
    pub base: u32,
    /// The greatest first word of a match, less `base`.
    pub span: u32,
}

impl Target {
    /// SHA-1 ids whose 40 digits are lexicographically less than `difficulty`, which has any number
    /// of lower-case hexadecimal digits.
    pub fn below(difficulty: &str) -> Result<Self, TargetError> {
        Self::below_with(HashFunction::Sha1, difficulty)
    }

    /// The same among the ids of `hash`.
    pub fn below_with(hash: HashFunction, difficulty: &str) -> Result<Self, TargetError> {
        if !difficulty
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(TargetError::NotHex(difficulty.to_owned()));
        }
        let impossible = || TargetError::Impossible(difficulty.to_owned());
        let bound = padded(hash, difficulty, '0');
        let last = if difficulty.len() > hash.hex_digits() {
            // An id that equals all the digits it has is a proper prefix, hence less.
            Some(bound)
        } else {
            predecessor(bound)
        };
        let first = ObjectId::from_state(hash, [0; 8]);
        Ok(Self {
            first,
            last: last.ok_or_else(impossible)?,
        })
    }

    /// SHA-1 ids that begin with `prefix`, 1 to 40 hexadecimal digits of either case.
    pub fn prefix(prefix: &str) -> Result<Self, TargetError> {
        Self::prefix_with(HashFunction::Sha1, prefix)
    }

    /// The same among the ids of `hash`.
    pub fn prefix_with(hash: HashFunction, prefix: &str) -> Result<Self, TargetError> {
        if !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(TargetError::PrefixNotHex(prefix.to_owned()));
        }
        let most = hash.hex_digits();
        if prefix.is_empty() || prefix.len() > most {
            let prefix = prefix.to_owned();
            return Err(TargetError::PrefixLength { prefix, most });
        }
        let prefix = prefix.to_ascii_lowercase();
        Ok(Self {
            first: padded(hash, &prefix, '0'),
            last: padded(hash, &prefix, 'f'),
        })
    }

    /// Whether `id` is a match.
    pub fn contains(&self, id: ObjectId) -> bool {
        self.first <= id && id <= self.last
    }

    /// The check on the first word that kernels make.
    pub fn filter(&self) -> Filter {
        let (first, last) = (self.first.words()[0], self.last.words()[0]);
        Filter {
            base: first,
            span: last - first,
        }
    }

    /// How many hashes a match takes on average.
    pub fn expected_hashes(&self) -> f64 {
        let fraction = |id: ObjectId| {
            let words = id.words();
            words
                .iter()
                .rev()
                .fold(0.0, |sum, &word| (sum + f64::from(word)) / 2f64.powi(32))
        };
        1.0 / (fraction(self.last) - fraction(self.first) + 2f64.powi(-160))
    }
}

/// As many of `digits` as an id has, filled up with `fill`. The digits are checked and lower-case.
fn padded(hash: HashFunction, digits: &str, fill: char) -> ObjectId {
    let text: String = digits
        .chars()
        .chain(std::iter::repeat(fill))
        .take(hash.hex_digits())
        .collect();
    ObjectId::from_hex(&text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The id that is one less, or `None` below zero.
fn predecessor(id: ObjectId) -> Option<ObjectId> {
    let mut words = id.words();
    for word in words[..id.hash().words()].iter_mut().rev() {
        let borrow = *word == 0;
        *word = word.wrapping_sub(1);
        if !borrow {
            return Some(ObjectId::from_state(id.hash(), words));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn difficulties_of_2014_work() {
        let short = Target::below("000001").unwrap();
        assert_eq!(short.last.to_string(), format!("000000{}", "f".repeat(34)));
        assert_eq!(
            short.filter(),
            Filter {
                base: 0,
                span: 0xff
            }
        );
        assert!((short.expected_hashes() - 16_777_216.0).abs() < 1.0);
        let round = Target::below("0000001fffffffffffffffffffffffffffffffff").unwrap();
        assert_eq!(
            round.filter(),
            Filter {
                base: 0,
                span: 0x1f
            }
        );
    }

    #[test]
    fn impossible_and_malformed_difficulties_are_told_apart() {
        for text in ["", "0", "000000", &"0".repeat(40)] {
            assert_eq!(
                Target::below(text),
                Err(TargetError::Impossible(text.to_owned()))
            );
        }
        for text in ["00000G", "0x1", "00 1", "00001A", "0000é"] {
            assert_eq!(
                Target::below(text),
                Err(TargetError::NotHex(text.to_owned()))
            );
        }
    }

    #[test]
    fn a_prefix_takes_either_case() {
        let target = Target::prefix("DeadBeef1").unwrap();
        assert_eq!(
            target.filter(),
            Filter {
                base: 0xdead_beef,
                span: 0
            }
        );
        let sha1 = |digits, fill| padded(HashFunction::Sha1, digits, fill);
        assert!(target.contains(sha1("deadbeef1", '7')));
        assert!(!target.contains(sha1("deadbeef2", '0')));
        assert!(!target.contains(padded(HashFunction::Sha256, "deadbeef1", '7')));
        assert!(Target::prefix("").is_err());
        assert!(Target::prefix(&"a".repeat(41)).is_err());
        assert!(Target::prefix_with(HashFunction::Sha256, &"a".repeat(64)).is_ok());
        assert!(Target::prefix("xyz").is_err());
    }

    proptest! {
        #[test]
        fn below_is_the_order_of_texts(
            difficulty in "[0-9a-f]{1,44}",
            id in "[0-9a-f]{40}",
            shared in 0usize..=40,
        ) {
            // Half of the digits shared makes ties and near ties common.
            let shared = shared.min(difficulty.len());
            let id = format!("{}{}", &difficulty[..shared], &id[shared..]);
            if let Ok(target) = Target::below(&difficulty) {
                let parsed = ObjectId::from_hex(&id).unwrap();
                prop_assert_eq!(target.contains(parsed), id < difficulty);
            }
        }
    }
}

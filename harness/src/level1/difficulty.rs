//! The difficulty: a text of hex digits that a commit's id must stay below.
//!
//! The comparison is that of 2014, between texts: `000001` lets every id through that begins with
//! six zeros, and a text of 40 digits is a plain bound on the number.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result, ensure};

use super::object::ObjectId;

/// The number of hex digits in an id.
const DIGITS: usize = 40;

/// Hex digits that a float holds exactly: 52 bits.
const SIGNIFICANT: usize = 13;

/// A bound that an object id, written as 40 lower-case hex digits, must be less than.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difficulty(String);

impl Difficulty {
    /// Reads `difficulty.txt`: the text without one line ending.
    pub fn from_file(content: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(content).context("difficulty.txt is not text")?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        text.strip_suffix('\r').unwrap_or(text).parse()
    }

    /// Whether an object of this id is a coin.
    pub fn accepts(&self, id: &ObjectId) -> bool {
        id.to_string() < self.0
    }

    /// An upper bound on the first 32 bits of an accepted id: a cheap filter before
    /// [`accepts`](Self::accepts).
    pub fn first_word_max(&self) -> u32 {
        let digits = self.0.chars().chain(std::iter::repeat('0')).take(8);
        digits.fold(0, |word, digit| word << 4 | digit.to_digit(16).unwrap_or(0))
    }

    /// How many hashes a coin takes on average.
    pub fn expected_hashes(&self) -> f64 {
        let digits = self.0.trim_start_matches('0');
        let zeros = self.0.len() - digits.len();
        // Thirteen digits fill a float; of the rest the half of a unit is a fair guess.
        let shown = &digits[..digits.len().min(SIGNIFICANT)];
        let bound = shown.chars().filter_map(|digit| digit.to_digit(16));
        let bound = bound.fold(0.0, |bound, digit| bound * 16.0 + f64::from(digit));
        let rest = if digits.len() > SIGNIFICANT { 0.5 } else { 0.0 };
        16f64.powi((zeros + shown.len()) as i32) / (bound + rest)
    }

    /// The difficulty, of 40 digits, at which a coin takes about this many hashes.
    pub fn of_expected_hashes(hashes: f64) -> Self {
        let hashes = hashes.clamp(1.001, 16f64.powi(24));
        let mut scaled = 1.0 / hashes;
        let mut zeros = 0;
        while scaled < 1.0 / 16.0 {
            scaled *= 16.0;
            zeros += 1;
        }
        let digits = (scaled * 16f64.powi(SIGNIFICANT as i32)) as u64;
        let text = format!("{}{digits:0SIGNIFICANT$x}", "0".repeat(zeros));
        Self(format!("{text:f<DIGITS$}"))
    }
}

impl FromStr for Difficulty {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        ensure!(
            !text.is_empty(),
            "the difficulty is empty: no id is below it"
        );
        ensure!(
            text.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "the difficulty `{text}` is not made of lower-case hex digits"
        );
        ensure!(
            text.bytes().any(|byte| byte != b'0'),
            "the difficulty `{text}` is zero: no id is below it"
        );
        ensure!(
            text.len() <= DIGITS,
            "the difficulty has {} digits, an id only {DIGITS}",
            text.len()
        );
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difficulty(text: &str) -> Difficulty {
        text.parse().unwrap()
    }

    fn id(text: &str) -> ObjectId {
        format!("{text:0<40}").parse().unwrap()
    }

    #[test]
    fn ids_are_compared_as_text_and_strictly() {
        let short = difficulty("000001");
        assert!(short.accepts(&id("000000ffff")));
        assert!(!short.accepts(&id("000001")));
        let long = difficulty("0000001fffffffffffffffffffffffffffffffff");
        assert!(long.accepts(&id("0000001ffffffffffffffffffffffffffffffff0")));
        assert!(!long.accepts(&id("0000001fffffffffffffffffffffffffffffffff")));
        assert_eq!(short.first_word_max(), 0x100);
        assert_eq!(long.first_word_max(), 0x1f);
    }

    #[test]
    fn one_line_ending_is_removed() {
        for content in ["000001\n", "000001\r\n", "000001"] {
            let read = Difficulty::from_file(content.as_bytes()).unwrap();
            assert_eq!(read, difficulty("000001"));
        }
        for content in [
            "",
            "\n",
            "000001\n\n",
            " 000001",
            "000000\n",
            "00000G\n",
            "0x1\n",
        ] {
            assert!(
                Difficulty::from_file(content.as_bytes()).is_err(),
                "{content:?}"
            );
        }
        assert!("1".repeat(41).parse::<Difficulty>().is_err());
    }

    #[test]
    fn expected_hashes_follow_from_the_bound() {
        let close = |text: &str, expected: f64| {
            let found = difficulty(text).expected_hashes();
            assert!((found / expected - 1.0).abs() < 1e-9, "{text}: {found}");
        };
        close("1", 16.0);
        close("000001", 16f64.powi(6));
        close("000004", 16f64.powi(6) / 4.0);
        close(
            "0000001fffffffffffffffffffffffffffffffff",
            16f64.powi(7) / 2.0,
        );
    }

    #[test]
    fn a_difficulty_can_be_made_for_any_rate() {
        for hashes in [1.5, 16.0, 1e3, 12_345_678.0, 2.5e9, 3e14] {
            let made = Difficulty::of_expected_hashes(hashes);
            assert_eq!(made.to_string().len(), 40);
            assert_eq!(difficulty(&made.to_string()), made);
            let off = made.expected_hashes() / hashes - 1.0;
            assert!(off.abs() < 1e-9, "{hashes}: {made} is off by {off}");
        }
    }
}

//! Nonces and how they are written: a row and a column, in base 32, in a line of their own.
//!
//! [`crate::template`] says where in a commit they stand; [`crate::commit`] knows an earlier line
//! when it sees one.

/// What begins the nonce line: a trailer's token, as `git interpret-trailers` reads it.
pub const NONCE_LABEL: &str = "Nonce: ";

/// Bits of a nonce that choose the column.
pub const COLUMN_BITS: u32 = 15;

/// Number of columns in a row.
pub const COLUMNS: u32 = 1 << COLUMN_BITS;

/// Number of rows, so that rows times columns is 2^64.
pub const ROWS: u64 = 1 << (64 - COLUMN_BITS);

/// RFC 4648 base 32, in the lower case that looks at home beside object ids.
pub(crate) const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// One try: `row << COLUMN_BITS | column`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u64);

impl Nonce {
    /// The nonce at `row` (less than [`ROWS`]) and `column` (less than [`COLUMNS`]).
    pub fn at(row: u64, column: u32) -> Self {
        debug_assert!(row < ROWS && column < COLUMNS);
        Self(row << COLUMN_BITS | u64::from(column))
    }

    /// The upper bits.
    pub fn row(self) -> u64 {
        self.0 >> COLUMN_BITS
    }

    /// The lower bits.
    pub fn column(self) -> u32 {
        self.0 as u32 & (COLUMNS - 1)
    }
}

/// Bytes in a block of SHA-1.
pub(crate) const BLOCK: usize = 64;
/// Bytes of the last block that are not padding.
pub(crate) const LAST_BLOCK_USED: usize = 55;
/// Digits that write a row.
pub(crate) const ROW_DIGITS: usize = 10;
/// Digits that write a column.
pub(crate) const COLUMN_DIGITS: usize = 3;
/// From the first row digit to the end of the message.
pub(crate) const LINE_DIGITS_MIN: usize = ROW_DIGITS + LAST_BLOCK_USED;
/// The least line, lengthened to the next place where the blocks fall right.
pub(crate) const LINE_DIGITS_MAX: usize = LINE_DIGITS_MIN + BLOCK;

/// Whether `line` is a nonce line as a template writes it.
pub fn is_nonce_line(line: &[u8]) -> bool {
    line.strip_prefix(NONCE_LABEL.as_bytes())
        .is_some_and(|digits| {
            (LINE_DIGITS_MIN..=LINE_DIGITS_MAX).contains(&digits.len())
                && digits.iter().all(|digit| DIGITS.contains(digit))
        })
}

/// Writes `value` in base 32, the most significant digit first, over all of `place`.
pub(crate) fn write_digits(place: &mut [u8], value: u64) {
    for (at, digit) in place.iter_mut().rev().enumerate() {
        *digit = DIGITS[(value >> (5 * at)) as usize & 31];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_and_columns_make_up_the_nonce(value: u64) {
            let nonce = Nonce(value);
            prop_assert_eq!(Nonce::at(nonce.row(), nonce.column()), nonce);
        }
    }
}

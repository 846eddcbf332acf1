//! Nonces and how they are written: a row and a column, in one of two alphabets.
//!
//! [`crate::template`] says where in an object their digits stand; [`crate::commit`] knows an
//! earlier nonce when it sees one.

/// Bytes in a block, of SHA-1 and SHA-256 alike.
pub(crate) const BLOCK: usize = 64;

/// Where the column's last digit ends in its block: what is behind it may be padding.
pub(crate) const NONCE_END: usize = 55;

/// What begins the nonce line: a trailer's token, as `git interpret-trailers` reads it.
pub const NONCE_LABEL: &str = "Nonce: ";

/// What begins the nonce header.
pub const NONCE_HEADER: &str = "nonce ";

/// Bits of a nonce that choose the column.
pub const COLUMN_BITS: u32 = 15;

/// Number of columns in a row.
pub const COLUMNS: u32 = 1 << COLUMN_BITS;

/// Number of rows, so that rows times columns is 2^64.
pub const ROWS: u64 = 1 << (64 - COLUMN_BITS);

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

/// The characters that a nonce is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// RFC 4648 base 32, in the lower case that looks at home beside object ids.
    Base32,
    /// Spaces and tabs, a bit each.
    Blank,
}

impl Alphabet {
    fn digits(self) -> &'static [u8] {
        match self {
            Self::Base32 => b"abcdefghijklmnopqrstuvwxyz234567",
            Self::Blank => b" \t",
        }
    }

    fn bits(self) -> usize {
        match self {
            Self::Base32 => 5,
            Self::Blank => 1,
        }
    }

    /// Digits that write a row.
    pub(crate) fn row_digits(self) -> usize {
        (64 - COLUMN_BITS as usize).div_ceil(self.bits())
    }

    /// Digits that write a column.
    pub(crate) fn column_digits(self) -> usize {
        COLUMN_BITS as usize / self.bits()
    }

    /// Digits of a nonce with its filler: from the first digit of a row, at the end of one block,
    /// to the last of a column, in the next. It is lengthened to where the blocks fall right.
    pub(crate) fn length_min(self) -> usize {
        self.row_digits() + NONCE_END
    }

    /// The most digits of a nonce with its filler: a block more than the least, and another where
    /// the one length that would do is that at which the object's size gets a digit more.
    pub(crate) fn length_max(self) -> usize {
        self.length_min() + 2 * BLOCK
    }

    /// Whether `text` is a nonce with its filler as a template writes it.
    pub(crate) fn is_nonce(self, text: &[u8]) -> bool {
        (self.length_min()..=self.length_max()).contains(&text.len())
            && text.iter().all(|digit| self.digits().contains(digit))
    }

    /// Writes `value`, the most significant digit first, over all of `place`.
    pub(crate) fn write(self, place: &mut [u8], value: u64) {
        let (digits, bits) = (self.digits(), self.bits());
        for (at, digit) in place.iter_mut().rev().enumerate() {
            *digit = digits[(value >> (bits * at)) as usize & (digits.len() - 1)];
        }
    }

    /// Endless digits from a seed: the SplitMix64 sequence, its top bits at a time.
    pub(crate) fn filler(self, seed: u64) -> impl Iterator<Item = u8> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let digit = (mixed ^ (mixed >> 31)) >> (64 - self.bits());
            self.digits()[digit as usize]
        })
    }
}

/// Whether `line` is a nonce line as a template writes it.
pub(crate) fn is_nonce_line(line: &[u8]) -> bool {
    line.strip_prefix(NONCE_LABEL.as_bytes())
        .is_some_and(|digits| Alphabet::Base32.is_nonce(digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_those_of_the_layout() {
        let lengths = |alphabet: Alphabet| (alphabet.row_digits(), alphabet.column_digits());
        assert_eq!(lengths(Alphabet::Base32), (10, 3));
        assert_eq!(lengths(Alphabet::Blank), (49, 15));
    }

    proptest! {
        #[test]
        fn rows_and_columns_make_up_the_nonce(value: u64) {
            let nonce = Nonce(value);
            prop_assert_eq!(Nonce::at(nonce.row(), nonce.column()), nonce);
        }
    }
}

//! What each byte of a text is made for: letters, digits, what joins them, what addresses are made of.
//!
//! One table says it of single bytes. [`Classes`] says it of 64 bytes at once, as bits; the tests hold
//! it against the table.

use crate::simd::{BLOCK, mask_of, occurrences};
use crate::sixteen::Sixteen;

/// Classes of bytes, as a set.
pub(super) type Set = u16;

/// What ends a field.
pub(super) const BREAK: Set = 0;
/// An ASCII letter.
pub(super) const LETTER: Set = 1;
pub(super) const DIGIT: Set = 2;
pub(super) const UNDERSCORE: Set = 4;
pub(super) const APOSTROPHE: Set = 8;
pub(super) const HYPHEN: Set = 0x10;
/// A full stop.
pub(super) const STOP: Set = 0x20;
pub(super) const COLON: Set = 0x40;
/// Either slash.
pub(super) const SLASH: Set = 0x80;
pub(super) const AT: Set = 0x100;
/// What else addresses and paths are made of: `~`, `+`, `%`.
pub(super) const SIGN: Set = 0x200;
/// Part of a character beyond ASCII, or of no character at all.
pub(super) const HIGH: Set = 0x400;

/// What stands inside words and at their ends.
const JOINER: Set = UNDERSCORE | APOSTROPHE | HYPHEN;

/// Punctuation that addresses and paths are made of.
pub(super) const MARK: Set = STOP | COLON | SLASH | AT | SIGN;

const TABLE: [Set; 256] = {
    let mut classes = [BREAK; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'_' => UNDERSCORE,
            b'\'' => APOSTROPHE,
            b'-' => HYPHEN,
            b'.' => STOP,
            b':' => COLON,
            b'/' | b'\\' => SLASH,
            b'@' => AT,
            b'~' | b'+' | b'%' => SIGN,
            0x80..=0xFF => HIGH,
            _ => BREAK,
        };
        byte += 1;
    }
    classes
};

/// The class of a byte.
#[inline]
pub(super) fn class(byte: u8) -> Set {
    TABLE[usize::from(byte)]
}

/// The classes of a block's bytes: in each number a bit for each byte, the first one lowest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Classes {
    pub letters: u64,
    pub digits: u64,
    pub stops: u64,
    pub colons: u64,
    /// Underscores, apostrophes and hyphens.
    joiners: u64,
    slashes: u64,
    ats: u64,
    signs: u64,
    high: u64,
}

impl Classes {
    #[inline]
    pub(super) fn of(block: &[u8; BLOCK]) -> Self {
        let case = Sixteen::new([b'a' - b'A'; 16]);
        Self {
            letters: mask_of(block, |bytes| bytes.or(case).within(b'a', b'z')),
            digits: mask_of(block, |bytes| bytes.within(b'0', b'9')),
            stops: occurrences(block, b'.'),
            colons: occurrences(block, b':'),
            joiners: mask_of(block, |bytes| {
                let within = bytes.equal_to(b'\'').or(bytes.equal_to(b'-'));
                within.or(bytes.equal_to(b'_'))
            }),
            slashes: mask_of(block, |bytes| {
                bytes.equal_to(b'/').or(bytes.equal_to(b'\\'))
            }),
            ats: occurrences(block, b'@'),
            signs: mask_of(block, |bytes| {
                let outside = bytes.equal_to(b'~').or(bytes.equal_to(b'%'));
                outside.or(bytes.equal_to(b'+'))
            }),
            high: mask_of(block, |bytes| bytes),
        }
    }

    /// The bytes that end no field.
    #[inline]
    pub(super) fn of_fields(&self) -> u64 {
        let marks = self.stops | self.colons | self.slashes | self.ats | self.signs;
        self.letters | self.digits | self.joiners | marks | self.high
    }

    /// The classes that there are among the bytes of `mask`; any joiner stands for all.
    #[inline]
    pub(super) fn among(&self, mask: u64) -> Set {
        let has = |bits: u64, class: Set| if bits & mask == 0 { 0 } else { class };
        has(self.letters, LETTER)
            | has(self.digits, DIGIT)
            | has(self.joiners, JOINER)
            | has(self.stops, STOP)
            | has(self.colons, COLON)
            | has(self.slashes, SLASH)
            | has(self.ats, AT)
            | has(self.signs, SIGN)
            | has(self.high, HIGH)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AT, BREAK, COLON, Classes, DIGIT, HIGH, JOINER, LETTER, SIGN, SLASH, STOP, Set, class,
    };
    use crate::simd::BLOCK;

    fn by_table(block: &[u8; BLOCK]) -> Classes {
        let mask = |wanted: Set| {
            let bit = |(index, &byte): (usize, &u8)| u64::from(class(byte) & wanted != 0) << index;
            block.iter().enumerate().map(bit).sum()
        };
        Classes {
            letters: mask(LETTER),
            digits: mask(DIGIT),
            stops: mask(STOP),
            colons: mask(COLON),
            joiners: mask(JOINER),
            slashes: mask(SLASH),
            ats: mask(AT),
            signs: mask(SIGN),
            high: mask(HIGH),
        }
    }

    #[test]
    fn blocks_are_told_as_single_bytes_are() {
        // Each byte at each place of a block, among bytes of another class.
        for around in [b' ', b'a', 0xFF] {
            for byte in 0..=255 {
                for place in 0..BLOCK {
                    let mut block = [around; BLOCK];
                    block[place] = byte;
                    let classes = Classes::of(&block);
                    assert_eq!(classes, by_table(&block), "{byte}");
                    let among = classes.among(1 << place);
                    assert_eq!(among & class(byte), class(byte), "{byte}");
                    let is_of_field = classes.of_fields() >> place & 1 == 1;
                    assert_eq!(is_of_field, class(byte) != BREAK, "{byte}");
                }
            }
        }
    }
}

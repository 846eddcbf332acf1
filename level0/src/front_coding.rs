//! The format of a front-coded word list, for look-ups that touch little memory.
//!
//! Front coding stores of each word only what differs from the word before it: the number of
//! leading bytes the two share, and the rest. The rests repeat a lot (`s`, `ness`, `ly`), so they
//! are written with a vocabulary of 256 tokens. The words are cut into blocks whose first words
//! can be searched: `encode.rs` writes the list at build time, `compact.rs` searches it.
//!
//! One entry of the body:
//!
//! ```text
//! shared << 3 | count   1 byte; count 7 means that the count follows in a byte of its own
//! tokens                count bytes, each an index into the vocabulary
//! ```
//!
//! The first entry of a block shares its first eight bytes (or all, if shorter) with the block's
//! *head*, which holds just these bytes. The build script includes this file too, so it depends on
//! nothing but the standard library.

/// Longest word in bytes: what five bits can say of a shared prefix.
pub const LONGEST: usize = 31;

/// The value of an entry's count bits that says that the count follows in the next byte.
pub const COUNT_FOLLOWS: u8 = 7;

/// A word's first eight bytes as a number that sorts as the word does; zeros fill a short word.
pub fn head(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = word.len().min(8);
    bytes[..len].copy_from_slice(&word[..len]);
    u64::from_be_bytes(bytes)
}

/// The place of a head's first two letters in the table of prefixes, or nothing if the word does
/// not begin with one or two letters.
pub fn prefix_index(head: u64) -> Option<usize> {
    let code = |byte: u8| match byte {
        0 => Some(0),
        b'a'..=b'z' => Some(usize::from(byte - b'a') + 1),
        _ => None,
    };
    let [first, second, ..] = head.to_be_bytes();
    Some(code(first)? * 27 + code(second)?)
}

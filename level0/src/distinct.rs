//! Tells distinct unknown words apart in memory that grows with their number only.

use crate::report::Tally;
use rustc_hash::FxHashSet;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Longest word in bytes that is kept to be listed.
///
/// A longer one is known again by its SHA-256 and listed by so many bytes, so that no word, however
/// long, has to fit into memory.
pub const LISTED_BYTES: usize = 64 * 1024;

/// The distinct words seen so far.
#[derive(Default)]
pub(crate) struct Distinct {
    words: FxHashSet<Box<[u8]>>,
    digests: FxHashSet<[u8; 32]>,
}

impl Distinct {
    /// Counts a whole word if it is new; lists it if there is a `list`.
    pub(crate) fn see(
        &mut self,
        word: &[u8],
        list: Option<&mut impl Write>,
        tally: &mut Tally,
    ) -> io::Result<()> {
        if word.len() > LISTED_BYTES {
            let mut long = LongWord::default();
            long.extend(word);
            return self.see_long(long, list, tally);
        }
        if !self.words.contains(word) {
            self.words.insert(word.into());
            new_word(word, list, tally)?;
        }
        Ok(())
    }

    /// The same for a word that came in parts and is longer than `LISTED_BYTES`.
    pub(crate) fn see_long(
        &mut self,
        word: LongWord,
        list: Option<&mut impl Write>,
        tally: &mut Tally,
    ) -> io::Result<()> {
        if self.digests.insert(word.hasher.finalize().into()) {
            new_word(&word.beginning, list, tally)?;
        }
        Ok(())
    }
}

fn new_word(word: &[u8], list: Option<&mut impl Write>, tally: &mut Tally) -> io::Result<()> {
    tally.distinct += 1;
    match list {
        Some(list) => {
            list.write_all(word)?;
            list.write_all(b"\n")
        }
        None => Ok(()),
    }
}

/// A word of which only the beginning and the digest are kept.
#[derive(Default)]
pub(crate) struct LongWord {
    beginning: Vec<u8>,
    hasher: Sha256,
}

impl LongWord {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let room = LISTED_BYTES - self.beginning.len();
        self.beginning
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.hasher.update(bytes);
    }
}

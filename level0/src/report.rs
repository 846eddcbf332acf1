//! What is done with known and unknown words: mark them, count them, or collect them.
//!
//! Each piece of a document is reported into a [`Piece`] of its own, on any thread; the pieces are
//! then put together in order by `highlighter.rs`.

use crate::dictionary::Dictionary;
use crate::scan::{Batch, Sink, scan};
use rustc_hash::FxHashSet;

/// What to tell about a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// The document with its unknown words marked.
    Document(Markers),
    /// Only how many words there are, and how many are unknown.
    Count,
    /// Each distinct unknown word on a line of its own, in the order in which they first appear.
    ///
    /// Spellings count: `Foo` and `foo` are two words. Of a word longer than
    /// [`crate::LISTED_BYTES`] only so many bytes are listed.
    List,
    /// Only how many distinct unknown words there are.
    Distinct,
}

impl Report {
    /// Whether distinct unknown words are told apart.
    pub(crate) fn collects(self) -> bool {
        matches!(self, Self::List | Self::Distinct)
    }
}

/// What is written before and after an unknown word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Markers {
    open: ([u8; MARKER_BYTES], usize),
    close: ([u8; MARKER_BYTES], usize),
}

/// Longest marker in bytes; markers are copied as one machine word.
const MARKER_BYTES: usize = 8;

/// A word of up to so many bytes is copied without asking for its length.
const COPY_BYTES: usize = 32;

impl Markers {
    /// `<` and `>`, as in 2014.
    pub const ANGLE_BRACKETS: Self = Self::new(b"<", b">");

    /// ANSI escape sequences that make the word red.
    pub const RED: Self = Self::new(b"\x1b[31m", b"\x1b[0m");

    /// Markers of at most eight bytes each.
    ///
    /// # Panics
    /// If one is longer.
    pub const fn new(open: &[u8], close: &[u8]) -> Self {
        Self {
            open: Self::pad(open),
            close: Self::pad(close),
        }
    }

    const fn pad(marker: &[u8]) -> ([u8; MARKER_BYTES], usize) {
        assert!(
            marker.len() <= MARKER_BYTES,
            "a marker has at most eight bytes"
        );
        let mut padded = [0; MARKER_BYTES];
        let mut index = 0;
        while index < marker.len() {
            padded[index] = marker[index];
            index += 1;
        }
        (padded, marker.len())
    }

    /// The bytes before an unknown word.
    pub fn open(&self) -> &[u8] {
        &self.open.0[..self.open.1]
    }

    /// The bytes after an unknown word.
    pub fn close(&self) -> &[u8] {
        &self.close.0[..self.close.1]
    }
}

/// How many words a document has.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// All words.
    pub words: u64,
    /// Words that the dictionary does not know.
    pub unknown: u64,
    /// Distinct unknown words; zero unless the report tells them apart.
    pub distinct: u64,
}

/// The report of one piece of a document; its memory is used again for the next piece.
#[derive(Default)]
pub(crate) struct Piece {
    /// The marked text is the first `marked_len` bytes; behind it is room.
    marked: Vec<u8>,
    marked_len: usize,
    pub words: u64,
    pub unknown: u64,
    /// Where in the text the distinct unknown words first appear.
    pub first_seen: Vec<(usize, usize)>,
}

impl Piece {
    /// Fills the piece with the report of `text`, which neither begins nor ends within a word.
    pub(crate) fn fill(&mut self, text: &[u8], dictionary: &Dictionary, report: Report) {
        self.marked_len = 0;
        (self.words, self.unknown) = (0, 0);
        self.first_seen.clear();
        match report {
            Report::Document(markers) => {
                scan(
                    text,
                    &dictionary.lookup,
                    &mut Marking {
                        piece: self,
                        markers,
                    },
                );
            }
            Report::Count => scan(text, &dictionary.lookup, &mut Counting { piece: self }),
            Report::List | Report::Distinct => {
                let mut collecting = Collecting {
                    piece: self,
                    seen: FxHashSet::default(),
                };
                scan(text, &dictionary.lookup, &mut collecting);
            }
        }
    }

    /// The text with its unknown words marked.
    pub(crate) fn marked(&self) -> &[u8] {
        &self.marked[..self.marked_len]
    }

    #[inline]
    fn count(&mut self, batch: &Batch) {
        for field in batch.fields() {
            self.words += u64::from(field.end > field.start);
            self.unknown += u64::from(!field.known);
        }
    }
}

/// Copies the text, with markers around unknown words.
struct Marking<'p> {
    piece: &'p mut Piece,
    markers: Markers,
}

impl Sink<'_> for Marking<'_> {
    fn take(&mut self, text: &[u8], batch: &Batch) {
        self.piece.count(batch);
        let Markers { open, close } = self.markers;
        let room = batch.span() + batch.len() * (open.1 + close.1) + COPY_BYTES + MARKER_BYTES;
        let marked = &mut self.piece.marked;
        if marked.len() < self.piece.marked_len + room {
            marked.resize((self.piece.marked_len + room).max(marked.len() * 2), 0);
        }
        let mut at = self.piece.marked_len;
        for field in batch.fields() {
            let len = field.end - field.start;
            // What is written in vain is written over: a branch on each word would cost more.
            let marked_by = usize::from(!field.known);
            marked[at..at + MARKER_BYTES].copy_from_slice(&open.0);
            at += open.1 * marked_by;
            match text[field.start..].first_chunk::<COPY_BYTES>() {
                Some(word) if len <= COPY_BYTES => {
                    marked[at..at + COPY_BYTES].copy_from_slice(word);
                }
                _ => marked[at..at + len].copy_from_slice(&text[field.start..field.end]),
            }
            at += len;
            marked[at..at + MARKER_BYTES].copy_from_slice(&close.0);
            at += close.1 * marked_by;
            if let Some(&separator) = text.get(field.end) {
                marked[at] = separator;
                at += 1;
            }
        }
        self.piece.marked_len = at;
    }
}

/// Counts words.
struct Counting<'p> {
    piece: &'p mut Piece,
}

impl Sink<'_> for Counting<'_> {
    fn take(&mut self, _text: &[u8], batch: &Batch) {
        self.piece.count(batch);
    }
}

/// Notes where each distinct unknown word of the piece appears first.
struct Collecting<'t, 'p> {
    piece: &'p mut Piece,
    seen: FxHashSet<&'t [u8]>,
}

impl<'t> Sink<'t> for Collecting<'t, '_> {
    fn take(&mut self, text: &'t [u8], batch: &Batch) {
        self.piece.count(batch);
        for field in batch.fields().filter(|field| !field.known) {
            if self.seen.insert(&text[field.start..field.end]) {
                self.piece.first_seen.push((field.start, field.end));
            }
        }
    }
}

//! Takes a document in chunks of any size and writes the report of it.
//!
//! A chunk's whole words are reported piece by piece, in parallel if wanted. The word that a chunk
//! ends in is kept until its end comes, but no longer than it can still be a known one: beyond the
//! longest entry it is unknown, and its bytes are passed on as they come. So memory is bounded
//! whatever the document.

use crate::dictionary::Dictionary;
use crate::distinct::{Distinct, LISTED_BYTES, LongWord};
use crate::report::{Piece, Report, Tally};
use crate::simd::{first_separator, last_separator};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes reported at once. The text, its marked copy and the part of the table in use then share
/// the second-level cache of one core.
const PIECE_BYTES: usize = 128 * 1024;

/// Highlights, counts or lists the unknown words of a document that is pushed into it.
///
/// ```
/// use level0::{Dictionary, Highlighter, Markers, Report};
///
/// let dictionary = Dictionary::built_in();
/// let report = Report::Document(Markers::ANGLE_BRACKETS);
/// let mut highlighter = Highlighter::new(&dictionary, report, Vec::new());
/// highlighter.push(b"The quick br")?;
/// highlighter.push(b"own fxo")?;
/// let (marked, tally) = highlighter.finish()?;
/// assert_eq!(marked, b"The quick brown <fxo>");
/// assert_eq!((tally.words, tally.unknown), (4, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Highlighter<'d, W> {
    dictionary: &'d Dictionary,
    parallel: bool,
    /// The longest word in bytes that is kept while its end has not come.
    kept_bytes: usize,
    word: Word,
    assembly: Assembly<W>,
    spare: Vec<Piece>,
}

/// The word that the document's chunks so far end in.
enum Word {
    /// It may still be known; empty if the chunks end with a separator.
    Kept(Vec<u8>),
    /// It is too long to be known, and has been reported as far as it came.
    Passed(LongWord),
}

/// Puts the reports of pieces together, in order.
struct Assembly<W> {
    report: Report,
    sink: W,
    tally: Tally,
    distinct: Distinct,
}

impl<'d, W: Write + Send> Highlighter<'d, W> {
    /// Writes the report of a document to `sink`, unbuffered and in large parts.
    ///
    /// [`Report::Count`] and [`Report::Distinct`] write nothing: their answer is the tally.
    pub fn new(dictionary: &'d Dictionary, report: Report, sink: W) -> Self {
        let listed_bytes = if report.collects() { LISTED_BYTES } else { 0 };
        Self {
            dictionary,
            parallel: false,
            kept_bytes: dictionary.longest_entry().max(listed_bytes),
            word: Word::Kept(Vec::new()),
            assembly: Assembly {
                report,
                sink,
                tally: Tally::default(),
                distinct: Distinct::default(),
            },
            spare: Vec::new(),
        }
    }

    /// Lets the threads of the current rayon pool share the work of chunks of more than 256 KiB.
    #[must_use]
    pub fn in_parallel(mut self) -> Self {
        self.parallel = true;
        self
    }

    /// Takes the next chunk of the document. Words may be cut anywhere.
    ///
    /// # Errors
    /// What writing to the sink gave; the report is then incomplete.
    pub fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        let mut rest = chunk;
        if self.is_within_word() {
            let Some(end) = first_separator(rest) else {
                return self.extend_word(rest);
            };
            self.extend_word(&rest[..end])?;
            self.end_word()?;
            rest = &rest[end..];
        }
        let (whole, begun) = rest.split_at(last_separator(rest).map_or(0, |last| last + 1));
        self.report_whole(whole)?;
        self.extend_word(begun)
    }

    /// Ends the document; gives the sink back, and how many words there were.
    ///
    /// # Errors
    /// What writing to the sink gave.
    pub fn finish(mut self) -> io::Result<(W, Tally)> {
        if self.is_within_word() {
            self.end_word()?;
        }
        self.assembly.sink.flush()?;
        Ok((self.assembly.sink, self.assembly.tally))
    }

    fn is_within_word(&self) -> bool {
        match &self.word {
            Word::Kept(bytes) => !bytes.is_empty(),
            Word::Passed(_) => true,
        }
    }

    fn extend_word(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.word {
            Word::Kept(kept) if kept.len() + bytes.len() <= self.kept_bytes => {
                kept.extend_from_slice(bytes);
                Ok(())
            }
            Word::Kept(kept) => {
                let mut long = LongWord::default();
                self.assembly.begin_long_word()?;
                self.assembly.extend_long_word(&mut long, kept)?;
                self.assembly.extend_long_word(&mut long, bytes)?;
                self.word = Word::Passed(long);
                Ok(())
            }
            Word::Passed(long) => self.assembly.extend_long_word(long, bytes),
        }
    }

    fn end_word(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.word, Word::Kept(Vec::new())) {
            Word::Kept(word) => {
                self.report_pieces(&[&word])?;
                self.reuse(word);
                Ok(())
            }
            Word::Passed(long) => self.assembly.end_long_word(long),
        }
    }

    /// Keeps the memory of a word that is done with for the next one.
    fn reuse(&mut self, mut word: Vec<u8>) {
        word.clear();
        self.word = Word::Kept(word);
    }

    /// Reports text that ends with a separator.
    fn report_whole(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let pieces = cut_into_pieces(text);
        if self.parallel && pieces.len() > 2 {
            self.report_pieces_in_parallel(&pieces)
        } else {
            self.report_pieces(&pieces)
        }
    }

    fn report_pieces(&mut self, texts: &[&[u8]]) -> io::Result<()> {
        let mut piece = self.spare.pop().unwrap_or_default();
        for text in texts {
            piece.fill(text, self.dictionary, self.assembly.report);
            self.assembly.add(text, &piece)?;
        }
        self.spare.push(piece);
        Ok(())
    }

    /// Each task takes the next piece of text that nobody has; whoever completes the piece whose
    /// turn it is to be written also writes those behind it that are complete. Nobody waits.
    fn report_pieces_in_parallel(&mut self, texts: &[&[u8]]) -> io::Result<()> {
        let (dictionary, report) = (self.dictionary, self.assembly.report);
        let next = AtomicUsize::new(0);
        let queue = Mutex::new(Queue {
            assembly: &mut self.assembly,
            spare: &mut self.spare,
            complete: BTreeMap::new(),
            due: 0,
            result: Ok(()),
        });
        // A panic while the lock is held passes through the scope below: nobody goes on after it.
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        rayon::scope(|scope| {
            for _ in 0..rayon::current_num_threads() {
                scope.spawn(|_| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(text) = texts.get(index) else { break };
                        let mut piece = lock().spare.pop().unwrap_or_default();
                        piece.fill(text, dictionary, report);
                        lock().add(index, piece, texts);
                    }
                });
            }
        });
        queue
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .result
    }
}

/// Pieces that are complete but not yet due, and the assembly that the due one goes to.
struct Queue<'a, W> {
    assembly: &'a mut Assembly<W>,
    spare: &'a mut Vec<Piece>,
    complete: BTreeMap<usize, Piece>,
    due: usize,
    result: io::Result<()>,
}

impl<W: Write> Queue<'_, W> {
    fn add(&mut self, index: usize, piece: Piece, texts: &[&[u8]]) {
        self.complete.insert(index, piece);
        while let Some(piece) = self.complete.remove(&self.due) {
            if self.result.is_ok() {
                self.result = self.assembly.add(texts[self.due], &piece);
            }
            self.spare.push(piece);
            self.due += 1;
        }
    }
}

impl<W: Write> Assembly<W> {
    fn add(&mut self, text: &[u8], piece: &Piece) -> io::Result<()> {
        self.tally.words += piece.words;
        self.tally.unknown += piece.unknown;
        match self.report {
            Report::Document(_) => self.sink.write_all(piece.marked()),
            Report::Count => Ok(()),
            Report::List | Report::Distinct => {
                let listed = piece
                    .first_seen
                    .iter()
                    .map(|&(start, end)| &text[start..end]);
                self.see_distinct(listed)
            }
        }
    }

    fn see_distinct<'t>(&mut self, words: impl Iterator<Item = &'t [u8]>) -> io::Result<()> {
        let mut list = Vec::new();
        for word in words {
            let list = (self.report == Report::List).then_some(&mut list);
            self.distinct.see(word, list, &mut self.tally)?;
        }
        self.sink.write_all(&list)
    }

    fn begin_long_word(&mut self) -> io::Result<()> {
        self.tally.words += 1;
        self.tally.unknown += 1;
        match self.report {
            Report::Document(markers) => self.sink.write_all(markers.open()),
            _ => Ok(()),
        }
    }

    fn extend_long_word(&mut self, word: &mut LongWord, bytes: &[u8]) -> io::Result<()> {
        match self.report {
            Report::Document(_) => self.sink.write_all(bytes),
            Report::Count => Ok(()),
            Report::List | Report::Distinct => {
                word.extend(bytes);
                Ok(())
            }
        }
    }

    fn end_long_word(&mut self, word: LongWord) -> io::Result<()> {
        match self.report {
            Report::Document(markers) => self.sink.write_all(markers.close()),
            Report::Count => Ok(()),
            Report::List | Report::Distinct => {
                let list = (self.report == Report::List).then_some(&mut self.sink);
                self.distinct.see_long(word, list, &mut self.tally)
            }
        }
    }
}

/// Cuts text that ends with a separator into pieces that do, too.
fn cut_into_pieces(text: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::with_capacity(text.len() / PIECE_BYTES + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(PIECE_BYTES));
        let end = last_separator(head)
            .or_else(|| first_separator(tail).map(|end| head.len() + end))
            .map_or(rest.len(), |end| end + 1);
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

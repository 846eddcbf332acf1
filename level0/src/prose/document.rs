//! Judges one document, in chunks, so that it may be of any length.
//!
//! A chunk ends where a line does, or if it has a single line, where a word does. Its pieces are
//! judged in parallel; then what was found is placed (line, column), in order.

use super::directive::{Directives, Ignored};
use super::vocabulary::{Batch, Vocabulary};
use super::words::for_each_word;
use rayon::prelude::*;
use std::io::{self, Read};

/// Bytes of a document that are judged at once: enough pieces for all cores.
pub(crate) const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that one thread judges at a time.
const PIECE_BYTES: usize = 128 * 1024;

/// A document with a zero byte among so many first ones is no text.
const SNIFFED_BYTES: usize = 8 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An unknown word and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding<'t> {
    /// The word.
    pub word: &'t str,
    /// Bytes before it in the document.
    pub offset: u64,
    /// Its line, the first being 1.
    pub line: u64,
    /// Its place in the line in characters (Unicode scalar values), the first being 1.
    pub column: u64,
}

/// How many words documents have.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Count {
    /// Words; what is no word by the rules is not counted.
    pub words: u64,
    /// Words, or parts of words, that are reported as unknown.
    pub unknown: u64,
}

/// Why a document was not judged to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It cannot be read.
    Read(io::Error),
    /// What is found in it cannot be written.
    Write(io::Error),
    /// It is no text.
    Binary,
}

/// Unknown words' places in a piece of text, and how many words it has.
#[derive(Default)]
struct Judged {
    unknown: Vec<(usize, usize)>,
    words: u64,
}

/// Where in the document the reader is.
struct Position {
    offset: u64,
    line: u64,
    column: u64,
}

impl Position {
    fn advance(&mut self, text: &[u8]) {
        let mut behind = text;
        let newlines = memchr::memchr_iter(b'\n', text).count();
        if newlines > 0 {
            self.line += newlines as u64;
            self.column = 1;
            behind = &text[memchr::memrchr(b'\n', text).map_or(0, |newline| newline + 1)..];
        }
        // Bytes that continue a character do not count.
        let starts = behind.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
        self.column += starts as u64;
        self.offset += text.len() as u64;
    }
}

/// The unknown words of a text in memory, in order, but for those that the text itself leaves out.
///
/// A text with a zero byte among its first 8 KiB is taken for no text and has none.
pub fn check<'t>(text: &'t str, vocabulary: &Vocabulary) -> Vec<Finding<'t>> {
    let mut found = Vec::new();
    // Memory can be read, and a vector takes all; what holds zero bytes has no words.
    let _ = judge(text.as_bytes(), vocabulary, |finding| {
        let start = finding.offset as usize;
        found.push(Finding {
            word: &text[start..start + finding.word.len()],
            ..*finding
        });
        Ok(())
    });
    found
}

/// Judges all of `source`; calls `take` with each unknown word in order.
pub(crate) fn judge(
    mut source: impl Read,
    vocabulary: &Vocabulary,
    mut take: impl FnMut(&Finding<'_>) -> io::Result<()>,
) -> Result<Count, Stop> {
    let mut count = Count::default();
    let mut directives = Directives::default();
    let mut position = Position {
        offset: 0,
        line: 1,
        column: 1,
    };
    let mut buffer = Vec::new();
    loop {
        let wanted = CHUNK_BYTES.saturating_sub(buffer.len()) as u64;
        let read = source.by_ref().take(wanted).read_to_end(&mut buffer);
        let ended = (read.map_err(Stop::Read)? as u64) < wanted;
        let mut start = 0;
        if position.offset == 0 {
            if memchr::memchr(0, &buffer[..buffer.len().min(SNIFFED_BYTES)]).is_some() {
                return Err(Stop::Binary);
            }
            if buffer.starts_with(BYTE_ORDER_MARK) {
                start = BYTE_ORDER_MARK.len();
                position.offset = start as u64;
            }
        }
        let end = if ended {
            buffer.len()
        } else {
            chunk_end(&buffer)
        };
        let text = &buffer[start..end];
        let ignored = directives.read(text, position.offset, |word| vocabulary.folded(word));
        let judged = judge_chunk(text, vocabulary);
        let found = report(text, &judged, ignored, &mut position, |finding| {
            let declared = directives.declares()
                && directives.declares_word(&vocabulary.folded(finding.word), finding.offset);
            if declared {
                Ok(false)
            } else {
                take(finding).map(|()| true)
            }
        });
        count.unknown += found.map_err(Stop::Write)?;
        count.words += judged.iter().map(|judged| judged.words).sum::<u64>();
        if ended {
            return Ok(count);
        }
        buffer.drain(..end);
    }
}

/// Where a chunk that is not the last is cut: behind a line, else behind a word, else anywhere
/// between two characters.
fn chunk_end(text: &[u8]) -> usize {
    let behind = |byte: u8| memchr::memrchr(byte, text).map(|at| at + 1);
    let between = || {
        let is_start = |&at: &usize| text[at] & 0xC0 != 0x80;
        (text.len().saturating_sub(3)..text.len())
            .rev()
            .find(is_start)
    };
    behind(b'\n')
        .or_else(|| behind(b' '))
        .or_else(between)
        .filter(|&end| end > 0)
        .unwrap_or(text.len())
}

fn judge_chunk(text: &[u8], vocabulary: &Vocabulary) -> Vec<Judged> {
    let mut pieces = Vec::with_capacity(text.len() / PIECE_BYTES + 1);
    let mut start = 0;
    while start < text.len() {
        let target = start + PIECE_BYTES;
        let end = match text.get(target..) {
            Some(behind) => {
                memchr::memchr2(b'\n', b' ', behind).map_or(text.len(), |at| target + at + 1)
            }
            None => text.len(),
        };
        pieces.push(start..end);
        start = end;
    }
    let judge = |piece: std::ops::Range<usize>| {
        let (base, text) = (piece.start, &text[piece]);
        let (mut judged, mut batch) = (Judged::default(), Batch::default());
        let mut take = |range: std::ops::Range<usize>| {
            judged.unknown.push((base + range.start, base + range.end));
        };
        for_each_word(text, |place| {
            judged.words += 1;
            if batch.push(place) {
                vocabulary.judge(text, &mut batch, &mut take);
            }
        });
        vocabulary.judge(text, &mut batch, &mut take);
        judged
    };
    if pieces.len() == 1 {
        pieces.into_iter().map(judge).collect()
    } else {
        pieces.into_par_iter().map(judge).collect()
    }
}

/// Gives each unknown word of a chunk with its place to `take`, and counts those that it takes.
fn report(
    text: &[u8],
    judged: &[Judged],
    mut ignored: Ignored,
    position: &mut Position,
    mut take: impl FnMut(&Finding<'_>) -> io::Result<bool>,
) -> io::Result<u64> {
    let mut count = 0;
    let mut at = 0;
    for &(start, end) in judged.iter().flat_map(|judged| &judged.unknown) {
        if ignored.holds(start) {
            continue;
        }
        position.advance(&text[at..start]);
        at = start;
        // Words are found in UTF-8 only.
        let Ok(word) = std::str::from_utf8(&text[start..end]) else {
            continue;
        };
        let taken = take(&Finding {
            word,
            offset: position.offset,
            line: position.line,
            column: position.column,
        })?;
        count += u64::from(taken);
    }
    position.advance(&text[at..]);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Count, Stop, judge};
    use crate::prose::{Diacritics, Vocabulary, VocabularyBuilder};
    use proptest::prelude::*;

    fn vocabulary() -> Vocabulary {
        let mut builder = VocabularyBuilder::new(Diacritics::Kept);
        builder.add_lines(b"a\nb\nknown");
        builder.build()
    }

    fn found(text: &[u8]) -> (Vec<(String, u64, u64, u64)>, Count) {
        let mut found = Vec::new();
        let count = judge(text, &vocabulary(), |finding| {
            found.push((
                finding.word.to_owned(),
                finding.offset,
                finding.line,
                finding.column,
            ));
            Ok(())
        });
        (found, count.expect("read"))
    }

    #[test]
    fn findings_say_where_they_are() {
        let (found, count) = found("\u{FEFF}known xx\r\n\u{E9}\u{E9} known\n\n  yy".as_bytes());
        let expected = [
            ("xx", 9, 1, 7),
            ("\u{E9}\u{E9}", 13, 2, 1),
            ("yy", 27, 4, 3),
        ];
        let expected =
            expected.map(|(word, offset, line, column)| (word.to_owned(), offset, line, column));
        assert_eq!(found, expected);
        assert_eq!((count.words, count.unknown), (5, 3));
    }

    #[test]
    fn what_has_zero_bytes_is_no_text() {
        assert!(matches!(
            judge(&b"a\0b"[..], &vocabulary(), |_| Ok(())),
            Err(Stop::Binary)
        ));
    }

    #[test]
    fn places_are_right_beyond_the_first_chunk() {
        for line in ["known a b known\n", "known a b known "] {
            let mut text = line.repeat(CHUNK_BYTES / 16 + 70_000).into_bytes();
            let offset = text.len() as u64;
            text.extend_from_slice(b"xx");
            let lines = memchr::memchr_iter(b'\n', &text).count() as u64;
            let column = if lines > 0 { 1 } else { offset + 1 };
            assert_eq!(
                found(&text).0,
                [("xx".to_owned(), offset, lines + 1, column)]
            );
        }
    }

    #[test]
    fn a_text_without_any_break_is_cut_between_characters() {
        let text = "\u{E9}".repeat(CHUNK_BYTES);
        let (found, _) = found(text.as_bytes());
        assert!(found.len() > 1);
        assert_eq!(
            found.iter().map(|(word, ..)| word.len()).sum::<usize>(),
            text.len()
        );
    }

    proptest! {
        #[test]
        fn places_are_those_of_a_plain_count(text in "[ab\u{E9}\u{10000} \n.]{0,60}") {
            for (word, offset, line, column) in found(text.as_bytes()).0 {
                let before = &text[..offset as usize];
                prop_assert!(text[offset as usize..].starts_with(&word));
                prop_assert_eq!(line as usize, before.matches('\n').count() + 1);
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                prop_assert_eq!(column as usize, before[line_start..].chars().count() + 1);
            }
        }
    }
}

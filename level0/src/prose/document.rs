//! Judges one document, in chunks, so that it may be of any length.
//!
//! A chunk ends where a line does, or if it has a single line, where a word does. Its pieces are
//! judged in parallel, while the next chunk is read; each places what it finds (line, column) as if the
//! document began with it. Then what was found is reported in order.

use super::directive::{Directives, Ignored};
use super::vocabulary::{Batch, Vocabulary};
use super::words::for_each_word;
use rayon::prelude::*;
use std::io::{self, Read};
use std::ops::Range;

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

/// What is to be told of unknown words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wanted {
    /// How many there are.
    Count,
    /// Each of them; as its line and column 1 is given.
    Words,
    /// Each of them with its line and column.
    Places,
}

/// What was found in a piece of text.
#[derive(Default)]
struct Judged {
    /// Bytes of the chunk before the piece.
    start: usize,
    words: u64,
    unknown: u64,
    /// Where the unknown words are, unless nobody wants to know.
    found: Vec<Found>,
    /// Where the piece ends; unless places are wanted, at its beginning.
    end: Position,
}

/// An unknown word of a piece; a piece has less than 4 GiB.
struct Found {
    /// Bytes of the piece before it, and before its end.
    start: u32,
    end: u32,
    position: Position,
}

/// A place in a text: lines before it, and characters of its line before it.
#[derive(Clone, Copy, Default)]
struct Position {
    lines: u64,
    characters: u64,
}

impl Position {
    /// The place behind `text`, which begins here.
    fn after(self, text: &[u8]) -> Self {
        let lines = memchr::memchr_iter(b'\n', text).count() as u64;
        let behind = match memchr::memrchr(b'\n', text) {
            Some(newline) => &text[newline + 1..],
            None => text,
        };
        // Bytes that continue a character do not count.
        let starts = behind.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() as u64;
        self.then(Self {
            lines,
            characters: starts,
        })
    }

    /// The place that lies as far behind this one as `further` lies behind the beginning.
    fn then(self, further: Self) -> Self {
        let characters = if further.lines == 0 {
            self.characters + further.characters
        } else {
            further.characters
        };
        Self {
            lines: self.lines + further.lines,
            characters,
        }
    }
}

/// The unknown words of a text in memory, in order, but for those that the text itself leaves out.
///
/// A text with a zero byte among its first 8 KiB is taken for no text and has none.
pub fn check<'t>(text: &'t str, vocabulary: &Vocabulary) -> Vec<Finding<'t>> {
    let mut found = Vec::new();
    // Memory can be read, and a vector takes all; what holds zero bytes has no words.
    let _ = judge(text.as_bytes(), vocabulary, Wanted::Places, |finding| {
        let start = finding.offset as usize;
        found.push(Finding {
            word: &text[start..start + finding.word.len()],
            ..*finding
        });
        Ok(())
    });
    found
}

/// Judges all of `source`; calls `take` with each unknown word in order, unless only their number is
/// wanted.
pub(crate) fn judge(
    mut source: impl Read + Send,
    vocabulary: &Vocabulary,
    wanted: Wanted,
    mut take: impl FnMut(&Finding<'_>) -> io::Result<()>,
) -> Result<Count, Stop> {
    let mut count = Count::default();
    let mut directives = Directives::default();
    let mut offset = 0;
    let mut position = Position::default();
    let (mut buffer, mut next) = (Vec::new(), Vec::new());
    let mut ended = fill(&mut source, &mut buffer).map_err(Stop::Read)?;
    if memchr::memchr(0, &buffer[..buffer.len().min(SNIFFED_BYTES)]).is_some() {
        return Err(Stop::Binary);
    }
    if buffer.starts_with(BYTE_ORDER_MARK) {
        buffer.drain(..BYTE_ORDER_MARK.len());
        offset = BYTE_ORDER_MARK.len() as u64;
    }
    loop {
        let end = if ended {
            buffer.len()
        } else {
            chunk_end(&buffer)
        };
        let (text, rest) = buffer.split_at(end);
        next.clear();
        next.extend_from_slice(rest);
        let ignored = directives.read(text, offset, |word| vocabulary.folded(word));
        let only_counted = wanted == Wanted::Count && ignored.is_empty() && !directives.declares();
        let found = if only_counted {
            wanted
        } else {
            wanted.max(Wanted::Words)
        };
        let judge = || judge_chunk(text, vocabulary, found);
        let (judged, read) = if ended {
            (judge(), Ok(true))
        } else {
            rayon::join(judge, || fill(&mut source, &mut next))
        };
        count.words += judged.iter().map(|judged| judged.words).sum::<u64>();
        count.unknown += if only_counted {
            judged.iter().map(|judged| judged.unknown).sum::<u64>()
        } else {
            let chunk = Chunk {
                text,
                offset,
                ignored,
            };
            let reported = chunk.report(&judged, &mut position, |finding| {
                let declared = directives.declares()
                    && directives.declares_word(&vocabulary.folded(finding.word), finding.offset);
                if declared {
                    return Ok(false);
                }
                if wanted != Wanted::Count {
                    take(finding)?;
                }
                Ok(true)
            });
            reported.map_err(Stop::Write)?
        };
        if ended {
            return Ok(count);
        }
        ended = read.map_err(Stop::Read)?;
        offset += end as u64;
        std::mem::swap(&mut buffer, &mut next);
    }
}

/// Reads on until the buffer holds a whole chunk; says whether the source ended before.
fn fill(source: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let wanted = CHUNK_BYTES.saturating_sub(buffer.len()) as u64;
    let read = source.take(wanted).read_to_end(buffer)? as u64;
    Ok(read < wanted)
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

fn judge_chunk(text: &[u8], vocabulary: &Vocabulary, wanted: Wanted) -> Vec<Judged> {
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
    let judge = |piece: Range<usize>| Judged {
        start: piece.start,
        ..judge_piece(&text[piece], vocabulary, wanted)
    };
    if pieces.len() == 1 {
        pieces.into_iter().map(judge).collect()
    } else {
        pieces.into_par_iter().map(judge).collect()
    }
}

fn judge_piece(text: &[u8], vocabulary: &Vocabulary, wanted: Wanted) -> Judged {
    let (mut judged, mut batch) = (Judged::default(), Batch::default());
    let mut take = |word: Range<usize>| {
        judged.unknown += 1;
        if wanted != Wanted::Count {
            judged.found.push(Found {
                start: word.start as u32,
                end: word.end as u32,
                position: Position::default(),
            });
        }
    };
    for_each_word(text, |place| {
        judged.words += 1;
        if vocabulary.begin(text, &mut batch, place) {
            vocabulary.judge(text, &mut batch, &mut take);
        }
    });
    vocabulary.judge(text, &mut batch, &mut take);
    if wanted == Wanted::Places {
        let mut at = 0;
        for found in &mut judged.found {
            let start = found.start as usize;
            judged.end = judged.end.after(&text[at..start]);
            found.position = judged.end;
            at = start;
        }
        judged.end = judged.end.after(&text[at..]);
    }
    judged
}

/// A chunk of a document.
struct Chunk<'t> {
    text: &'t [u8],
    offset: u64,
    ignored: Ignored,
}

impl Chunk<'_> {
    /// Gives each unknown word with its place to `take`, and counts those that it takes. The chunk
    /// begins at `position` of the document, which is moved to its end.
    fn report(
        mut self,
        judged: &[Judged],
        position: &mut Position,
        mut take: impl FnMut(&Finding<'_>) -> io::Result<bool>,
    ) -> io::Result<u64> {
        let mut count = 0;
        for piece in judged {
            for found in &piece.found {
                let start = piece.start + found.start as usize;
                let end = piece.start + found.end as usize;
                if self.ignored.holds(start) {
                    continue;
                }
                // Words are found in UTF-8 only.
                let Ok(word) = std::str::from_utf8(&self.text[start..end]) else {
                    continue;
                };
                let position = position.then(found.position);
                let taken = take(&Finding {
                    word,
                    offset: self.offset + start as u64,
                    line: position.lines + 1,
                    column: position.characters + 1,
                })?;
                count += u64::from(taken);
            }
            *position = position.then(piece.end);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Count, Stop, Wanted, judge};
    use crate::prose::{Diacritics, Vocabulary, VocabularyBuilder};
    use proptest::prelude::*;

    fn vocabulary() -> Vocabulary {
        let mut builder = VocabularyBuilder::new(Diacritics::Kept);
        builder.add_lines(b"a\nb\nknown");
        builder.build()
    }

    fn found(text: &[u8]) -> (Vec<(String, u64, u64, u64)>, Count) {
        let mut found = Vec::new();
        let counted = judge(text, &vocabulary(), Wanted::Count, |_| {
            panic!("only counted")
        });
        let count = judge(text, &vocabulary(), Wanted::Places, |finding| {
            found.push((
                finding.word.to_owned(),
                finding.offset,
                finding.line,
                finding.column,
            ));
            Ok(())
        });
        let count = count.expect("read");
        assert_eq!(counted.expect("read"), count);
        (found, count)
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
            judge(&b"a\0b"[..], &vocabulary(), Wanted::Words, |_| Ok(())),
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

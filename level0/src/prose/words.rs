//! Where the words of a text are.
//!
//! A *word* is a word of Unicode's UAX #29 (letters, marks, digits, inner apostrophes), cut at full
//! stops, colons, commas and semicolons, without underscores at its ends; words with a single hyphen
//! between them are one. ASCII, which is nearly all of nearly every text, is split by a table of
//! classes; a stretch with anything else goes to the `unicode-segmentation` crate. The two agree:
//! the tests hold one against the other.
//!
//! Words are found *field* by field: a field is a run of bytes that words, numbers, addresses and
//! paths are made of. Most fields are one plain word. Of the others `skip.rs` says what in them is
//! no word at all.

use super::skip;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const UNDERSCORE: u8 = 4;
const APOSTROPHE: u8 = 8;
const HYPHEN: u8 = 16;
/// Punctuation that addresses and paths are made of.
const MARK: u8 = 32;
/// Part of a character beyond ASCII, or of no character at all.
const HIGH: u8 = 64;
/// What ends a field.
const BREAK: u8 = 0;

const CLASSES: [u8; 256] = {
    let mut classes = [BREAK; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'_' => UNDERSCORE,
            b'\'' => APOSTROPHE,
            b'-' => HYPHEN,
            b'.' | b':' | b'/' | b'\\' | b'@' | b'~' | b'+' | b'%' => MARK,
            0x80..=0xFF => HIGH,
            _ => BREAK,
        };
        byte += 1;
    }
    classes
};

/// A word's place in its text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub start: usize,
    pub end: usize,
    /// The word is ASCII letters only.
    pub plain: bool,
}

#[inline]
fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Calls `take` with the place of each word of `text`, in order; what is no word (an address, a path,
/// a number, a file's name) is passed over, and so are bytes that are no UTF-8.
pub(crate) fn for_each_word(text: &[u8], mut take: impl FnMut(Place)) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let first = class(byte);
        if first == BREAK {
            at += 1;
            continue;
        }
        let start = at;
        if first == LETTER {
            while at < text.len() && class(text[at]) == LETTER {
                at += 1;
            }
            if ends_field(text, at) {
                take(Place {
                    start,
                    end: at,
                    plain: true,
                });
                continue;
            }
        }
        at = take_field(text, start, &mut take);
    }
}

/// Whether the field whose letters end at `at` has nothing behind them but the end of a sentence.
#[inline]
fn ends_field(text: &[u8], at: usize) -> bool {
    let class_at = |at: usize| text.get(at).map_or(BREAK, |&byte| class(byte));
    match class_at(at) {
        BREAK => true,
        MARK => matches!(text[at], b'.' | b':') && class_at(at + 1) == BREAK,
        _ => false,
    }
}

/// Takes the words of the field that begins at `start`; says where to go on.
fn take_field(text: &[u8], start: usize, take: &mut impl FnMut(Place)) -> usize {
    let mut end = start;
    let mut classes = 0;
    while end < text.len() && class(text[end]) != BREAK {
        classes |= class(text[end]);
        end += 1;
    }
    let skipped = if classes & MARK == 0 {
        None
    } else {
        skip::find(text, start, end)
    };
    let words_end = skipped.as_ref().map_or(end, |skipped| skipped.start);
    if classes & HIGH == 0 {
        ascii_words(text, start, words_end, take);
    } else {
        unicode_words(text, start, words_end, take);
    }
    skipped.map_or(end, |skipped| skipped.end)
}

/// The words of ASCII text without a character that ends a field.
fn ascii_words(text: &[u8], start: usize, end: usize, take: &mut impl FnMut(Place)) {
    let field = &text[..end];
    let class_at = |at: usize| field.get(at).map_or(BREAK, |&byte| class(byte));
    let mut at = start;
    while at < end {
        if class_at(at) & (LETTER | DIGIT) == 0 {
            at += 1;
            continue;
        }
        let word_start = at;
        let mut classes = 0;
        // Behind the last letter or digit; underscores may follow it.
        let mut word_end = at;
        while at < end {
            let here = class_at(at);
            let joins = match here {
                LETTER | DIGIT | UNDERSCORE => true,
                APOSTROPHE => {
                    let before = class_at(at - 1);
                    before & (LETTER | DIGIT) != 0 && before == class_at(at + 1)
                }
                HYPHEN => (class_at(at - 1) & class_or(class_at(at + 1))) != 0,
                _ => false,
            };
            if !joins {
                break;
            }
            classes |= here;
            at += 1;
            if here & (LETTER | DIGIT) != 0 {
                word_end = at;
            }
        }
        take(Place {
            start: word_start,
            end: word_end,
            plain: classes == LETTER,
        });
    }
}

/// Letters and digits, as one class, if `class` is one of them.
const fn class_or(class: u8) -> u8 {
    if class & (LETTER | DIGIT) == 0 {
        0
    } else {
        LETTER | DIGIT
    }
}

/// Where UAX #29 would go on, and we do not.
const CUTS: [char; 5] = ['.', ':', ',', ';', '"'];

/// The hyphens that join words: the ASCII one, U+2010, and U+2011 where no line may break.
pub(crate) const HYPHENS: [char; 3] = ['-', '\u{2010}', '\u{2011}'];

/// The words of any text, by the tables of Unicode.
fn unicode_words(text: &[u8], start: usize, end: usize, take: &mut impl FnMut(Place)) {
    let mut base = start;
    for chunk in text[start..end].utf8_chunks() {
        for word in words_of_str(chunk.valid()) {
            take(Place {
                start: base + word.start,
                end: base + word.end,
                plain: false,
            });
        }
        base += chunk.valid().len() + chunk.invalid().len();
    }
}

/// The words of `text` by UAX #29 and our rules for cuts, underscores and hyphens.
fn words_of_str(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, segment) in text.unicode_word_indices() {
        let mut base = at;
        for part in segment.split(CUTS) {
            // A mark binds to whatever is before it, a bracket too.
            let trimmed_start = part.trim_start_matches(|char: char| !char.is_alphanumeric());
            let start = base + part.len() - trimmed_start.len();
            let trimmed = trimmed_start.trim_end_matches('_');
            base += part.len() + 1;
            if trimmed.is_empty() {
                continue;
            }
            match words.last_mut() {
                Some(last) if joined_by_hyphen(text, last.end, start) => {
                    last.end = start + trimmed.len();
                }
                _ => words.push(start..start + trimmed.len()),
            }
        }
    }
    words
}

fn joined_by_hyphen(text: &str, end: usize, start: usize) -> bool {
    let mut between = text[end..start].chars();
    between.next().is_some_and(|char| HYPHENS.contains(&char)) && between.next().is_none()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{ascii_words, for_each_word, words_of_str};
    use proptest::prelude::*;

    pub(in crate::prose) fn words(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for_each_word(text.as_bytes(), |word| {
            words.push(&text[word.start..word.end]);
        });
        words
    }

    #[test]
    fn words_are_those_that_people_see() {
        for (text, expected) in [
            ("", &[][..]),
            ("The quick (brown) fox.", &["The", "quick", "brown", "fox"]),
            (
                "don't 'quote' rock'n'roll",
                &["don't", "quote", "rock'n'roll"],
            ),
            (
                "don\u{2019}t \u{201C}quote\u{201D}",
                &["don\u{2019}t", "quote"],
            ),
            ("well-known -- a-b- -c", &["well-known", "a-b", "c"]),
            (
                "_emphasis_ __init__ snake_case",
                &["emphasis", "init", "snake_case"],
            ),
            (
                "na\u{EF}ve caf\u{E9}s, Stra\u{DF}e",
                &["na\u{EF}ve", "caf\u{E9}s", "Stra\u{DF}e"],
            ),
            ("end.Next one:two", &["end", "Next", "one", "two"]),
            ("wait...what? and/or", &["wait", "what", "and", "or"]),
            ("x86 3D", &["x86", "3D"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_part_words() {
        let mut found = Vec::new();
        for_each_word(b"ab\xFFcd \xC3 e\xC3\xA9f", |word| {
            found.push((word.start, word.end));
        });
        assert_eq!(found, [(0, 2), (3, 5), (8, 12)]);
    }

    proptest! {
        #[test]
        fn ascii_words_are_those_of_unicode(text in "[ab1_'\\-.:/@~+%]{0,24}") {
            let mut found = Vec::new();
            ascii_words(text.as_bytes(), 0, text.len(), &mut |word| found.push(word.start..word.end));
            prop_assert_eq!(found, words_of_str(&text));
        }

        #[test]
        fn fields_part_no_word(text in "([aB1_'\\- ,;(\"\n\u{2019}\u{2013}\u{E9}\u{301}\u{AD}\u{5D0}\u{430}\u{30A2}]|\\PC){0,40}") {
            // Without marks nothing is skipped, so the whole text has the words of its fields.
            let text: String = text.chars().filter(|char| !".:/\\@~+%".contains(*char)).collect();
            let expected: Vec<&str> = words_of_str(&text).into_iter().map(|word| &text[word]).collect();
            prop_assert_eq!(words(&text), expected, "{:?}", text);
        }
    }
}

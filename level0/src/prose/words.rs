//! Where the words of a text are.
//!
//! A *word* is a word of Unicode's UAX #29 (letters, marks, digits, inner apostrophes), cut at full
//! stops, colons, commas and semicolons, without underscores at its ends; words with a single hyphen
//! between them are one. ASCII, which is nearly all of nearly every text, is split by the classes of its
//! bytes; a stretch with anything else goes to the `unicode-segmentation` crate. The two agree:
//! the tests hold one against the other.
//!
//! Words are found *field* by field: a field is a run of bytes that words, numbers, addresses and
//! paths are made of. The fields of 64 bytes are found at once, as bits. Most are one plain word, and
//! not one byte of them is looked at. Of the others `skip.rs` says what in them is no word at all.

use super::classes::{
    APOSTROPHE, BREAK, Classes, DIGIT, HIGH, HYPHEN, LETTER, MARK, Set, UNDERSCORE, class,
};
use super::skip;
use crate::simd::BLOCK;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A word's place in its text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub start: usize,
    pub end: usize,
    /// The word is ASCII letters only.
    pub plain: bool,
    /// It is ASCII.
    pub ascii: bool,
}

/// Calls `take` with the place of each word of `text`, in order; what is no word (an address, a path,
/// a number, a file's name) is passed over, and so are bytes that are no UTF-8.
///
/// The same as [`for_each_word_within`] of the whole text, 64 bytes at a time.
pub(crate) fn for_each_word(text: &[u8], mut take: impl FnMut(Place)) {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    // Zeros behind the text end its last field.
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let mut fields = Fields::default();
    for (index, block) in blocks.iter().chain([&last]).enumerate() {
        let base = index * BLOCK;
        let next_ends = text
            .get(base + BLOCK)
            .is_none_or(|&byte| class(byte) == BREAK);
        fields.take_block(text, base, block, next_ends, &mut take);
    }
}

/// What is carried from block to block.
#[derive(Default)]
struct Fields {
    /// 1 if the blocks so far end in a field, which began at `start` and has the classes `classes`.
    is_open: u64,
    start: usize,
    classes: Set,
    /// 1 if they end in a letter or a digit.
    after_word: u64,
    /// The text before this place has been taken or skipped.
    resume: usize,
}

impl Fields {
    /// Takes the words of the fields that end in the block, which begins at `base`; `next_ends` says
    /// that the byte behind it ends a field.
    #[inline]
    fn take_block(
        &mut self,
        text: &[u8],
        base: usize,
        block: &[u8; BLOCK],
        next_ends: bool,
        take: &mut impl FnMut(Place),
    ) {
        let classes = Classes::of(block);
        let all = classes.of_fields();
        let of_words = classes.letters | classes.digits;
        // What ends a sentence behind a word ends the field as well.
        let before_end = !all >> 1 | u64::from(next_ends) << (BLOCK - 1);
        let after_word = of_words << 1 | self.after_word;
        let fields = all & !((classes.stops | classes.colons) & before_end & after_word);
        let shifted = fields << 1 | self.is_open;
        let (mut starts, mut ends) = (fields & !shifted, shifted & !fields);
        let complex = fields & !classes.letters;

        let mut next_start = || {
            let start = base + starts.trailing_zeros() as usize;
            starts &= starts.wrapping_sub(1);
            start
        };
        if self.is_open == 0 {
            self.start = next_start();
        }
        let mut done = 0;
        while ends != 0 {
            let end = ends.trailing_zeros();
            ends &= ends - 1;
            let before = (1 << end) - 1;
            let field = fields & before & !done;
            done = before;
            let (start, end) = (self.start, base + end as usize);
            if complex & field == 0 && self.classes & !LETTER == 0 {
                if start >= self.resume {
                    take(Place {
                        start,
                        end,
                        plain: true,
                        ascii: true,
                    });
                }
            } else {
                let classes = self.classes | classes.among(field);
                self.take_complex(text, start..end, classes, take);
            }
            self.classes = 0;
            self.start = next_start();
        }
        self.is_open = fields >> (BLOCK - 1);
        self.after_word = of_words >> (BLOCK - 1);
        self.classes |= classes.among(fields & !done);
    }

    /// Takes the words of a field that is not just a plain word.
    #[inline]
    fn take_complex(
        &mut self,
        text: &[u8],
        field: Range<usize>,
        classes: Set,
        take: &mut impl FnMut(Place),
    ) {
        let Range { start, end } = field;
        if start >= self.resume {
            // Without letters there is no address, so that nothing behind the field is skipped.
            if classes == DIGIT {
                take(Place {
                    start,
                    end,
                    plain: false,
                    ascii: true,
                });
            } else if classes & (LETTER | DIGIT | HIGH) != 0 {
                self.resume = take_field(text, start, end, classes, take);
            } else {
                return;
            }
        }
        if self.resume > start && self.resume < end {
            self.resume = for_each_word_within(text, self.resume, end, take);
        }
    }
}

/// Calls `take` with the place of each word from `at` on, where no word begins that has not been taken,
/// up to the first end of a field behind `end`, or of what is skipped there; says where that is.
///
/// This is the definition of words, byte by byte: what [`for_each_word`] is tested against, and what
/// goes on in the middle of a field where something was skipped.
fn for_each_word_within(
    text: &[u8],
    mut at: usize,
    end: usize,
    take: &mut impl FnMut(Place),
) -> usize {
    while at < end {
        if class(text[at]) == BREAK {
            at += 1;
            continue;
        }
        let start = at;
        let mut classes = 0;
        while at < text.len() && class(text[at]) != BREAK {
            classes |= class(text[at]);
            at += 1;
        }
        at = take_field(text, start, at, classes, take);
    }
    at
}

/// Takes the words of the field `start..end`, which has characters of the classes; says where to go on:
/// at its end, before it, or behind it.
fn take_field(
    text: &[u8],
    start: usize,
    end: usize,
    classes: Set,
    take: &mut impl FnMut(Place),
) -> usize {
    let skipped = if classes & MARK == 0 {
        None
    } else {
        skip::find(text, start, end, classes)
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
            ascii: true,
        });
    }
}

/// Letters and digits, as one class, if `class` is one of them.
const fn class_or(class: Set) -> Set {
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
                ascii: false,
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
    use super::{ascii_words, for_each_word, for_each_word_within, words_of_str};
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

    fn assert_blocks_agree(text: &[u8]) {
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for_each_word(text, |place| found.push(place));
        for_each_word_within(text, 0, text.len(), &mut |place| expected.push(place));
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn what_crosses_blocks_is_one() {
        let all = [
            "word",
            "it's",
            "well-known",
            "caf\u{E9}",
            "123.",
            "x.y",
            "see: ",
            "end. ",
            "a@b.c,",
            "--",
            "http://a.b/c,d(e)\u{2014}f,g",
        ];
        for text in all {
            for before in 0..140 {
                for around in [" ", "a", ",", "1", "."] {
                    let text = format!("{}{text} z{text}", around.repeat(before));
                    assert_blocks_agree(text.as_bytes());
                }
            }
        }
    }

    /// Bytes of which fields of all kinds come together often, and cut ones.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => "[a-cA-C]{1,9}[ ,.:]{1,2}",
            3 => "[a-b1_'\\-.:/\\\\@~+%,() ]{1,9}",
            1 => "[0-9]{1,3}[.: ]{0,2}",
            1 => "(http://|www\\.|mailto:|a@b|~/|\\./)[a-b.,()\u{2014}\u{E9}]{0,9}",
            1 => "[\u{2019}\u{2013}\u{E9}\u{301}\u{AD}\u{5D0}\u{430}\u{30A2}a .]{1,4}",
            1 => "\\PC",
        ];
        let piece = prop_oneof![
            12 => piece.prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn words_found_by_blocks_are_those_found_byte_by_byte(text in bytes()) {
            assert_blocks_agree(&text);
        }
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

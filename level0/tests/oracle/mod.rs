//! The slow obvious oracles, and what must hold beside them: for the property tests, and for the fuzz
//! targets in `fuzz/`, which call the same functions. Each check panics where something is wrong.
#![allow(dead_code, reason = "each test binary uses a part")]

use level0::prose::{Diacritics, Vocabulary, VocabularyBuilder, check};
use level0::{Dictionary, Highlighter, Markers, Report, Tally};
use std::collections::HashSet;

/// The rules of the contract, one byte after the other, without regard to speed.
pub struct Oracle {
    entries: HashSet<Vec<u8>>,
}

/// What the oracle says about a document.
#[derive(Default)]
pub struct Expected {
    pub marked: Vec<u8>,
    pub words: u64,
    pub unknown: Vec<Vec<u8>>,
}

impl Expected {
    /// The distinct unknown words in first-seen order.
    pub fn distinct(&self) -> Vec<Vec<u8>> {
        let mut seen = HashSet::new();
        self.unknown
            .iter()
            .filter(|word| seen.insert(word.as_slice()))
            .cloned()
            .collect()
    }
}

impl Oracle {
    pub fn new(dictionary: &[u8]) -> Self {
        let entries = dictionary
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        Self { entries }
    }

    pub fn judge(&self, document: &[u8]) -> Expected {
        let mut expected = Expected::default();
        let mut word = Vec::new();
        for &byte in document {
            if byte == b' ' || byte == b'\n' {
                self.end(&mut word, &mut expected);
                expected.marked.push(byte);
            } else {
                word.push(byte);
            }
        }
        self.end(&mut word, &mut expected);
        expected
    }

    fn end(&self, word: &mut Vec<u8>, expected: &mut Expected) {
        if word.is_empty() {
            return;
        }
        expected.words += 1;
        if self.entries.contains(&word.to_ascii_lowercase()) {
            expected.marked.append(word);
            return;
        }
        expected.marked.push(b'<');
        expected.marked.extend_from_slice(word);
        expected.marked.push(b'>');
        expected.unknown.push(std::mem::take(word));
    }
}

/// The report of a document pushed in chunks that end at the given places, which rise.
pub fn report(
    dictionary: &Dictionary,
    report: Report,
    document: &[u8],
    ends: &[usize],
) -> (Vec<u8>, Tally) {
    let mut highlighter = Highlighter::new(dictionary, report, Vec::new());
    let mut start = 0;
    for &end in ends.iter().chain([&document.len()]) {
        highlighter
            .push(&document[start..end])
            .expect("a vector takes all");
        start = end;
    }
    highlighter.finish().expect("a vector takes all")
}

/// The highlighter says what the oracle says, wherever the document is cut.
pub fn check_highlighter(
    dictionary: &Dictionary,
    expected: &Expected,
    document: &[u8],
    ends: &[usize],
) {
    let markers = Report::Document(Markers::ANGLE_BRACKETS);
    let (marked, tally) = report(dictionary, markers, document, ends);
    assert_eq!(marked, expected.marked);
    let counts = (expected.words, expected.unknown.len() as u64);
    assert_eq!((tally.words, tally.unknown), counts);

    let (nothing, tally) = report(dictionary, Report::Count, document, ends);
    assert!(nothing.is_empty());
    assert_eq!((tally.words, tally.unknown), counts);

    let distinct = expected.distinct();
    let (listed, tally) = report(dictionary, Report::List, document, ends);
    let lines = distinct.iter().flat_map(|word| [word, &b"\n"[..]].concat());
    assert_eq!(listed, lines.collect::<Vec<u8>>());
    assert_eq!(tally.distinct, distinct.len() as u64);
    let (nothing, tally) = report(dictionary, Report::Distinct, document, ends);
    assert!(nothing.is_empty());
    assert_eq!(tally.distinct, distinct.len() as u64);
}

/// What is found in a text stands where it is said to, and is what a slow reader finds.
pub fn check_prose(text: &str, list: &str) {
    let mut builder = VocabularyBuilder::new(Diacritics::Kept);
    builder.add_lines(list.as_bytes());
    let vocabulary = builder.build();
    let mut behind = 0;
    for finding in check(text, &vocabulary) {
        let offset = finding.offset as usize;
        assert!(offset >= behind && text[offset..].starts_with(finding.word));
        behind = offset + finding.word.len();
        let before = &text[..offset];
        let before = before.strip_prefix('\u{FEFF}').unwrap_or(before);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let place = (
            before.matches('\n').count(),
            before[line_start..].chars().count(),
        );
        assert_eq!(
            (finding.line as usize - 1, finding.column as usize - 1),
            place
        );
        assert!(!vocabulary.knows(finding.word));
    }
    // Without marks nothing is an address, a path, a name or a directive; without digits no word is
    // a number; these letters have spaces between words.
    let is_plain = |char: &char| *char < '\u{E00}' && !char.is_numeric() && *char != '\0';
    let plain: String = text
        .chars()
        .filter(is_plain)
        .filter(|char| !".:/\\@~+%".contains(*char))
        .collect();
    let found = check(&plain, &vocabulary);
    let found: Vec<&str> = found.iter().map(|finding| finding.word).collect();
    assert_eq!(found, slow_unknown(&plain, &vocabulary), "{plain:?}");
}

/// The unknown words of a text of letters, by Unicode's own words.
fn slow_unknown<'t>(text: &'t str, vocabulary: &Vocabulary) -> Vec<&'t str> {
    let base = |word: &'t str| {
        let base = word.strip_suffix(['s', 'S']);
        base.and_then(|base| base.strip_suffix(['\'', '\u{2019}']))
            .filter(|base| !base.is_empty())
    };
    let knows = |word: &'t str| {
        vocabulary.knows(word) || base(word).is_some_and(|base| vocabulary.knows(base))
    };
    let mut unknown = Vec::new();
    for word in slow_words(text) {
        if knows(word) {
            continue;
        }
        let without = base(word).unwrap_or(word);
        if without.contains(['-', '\u{2010}', '\u{2011}']) {
            let parts = without
                .split(['-', '\u{2010}', '\u{2011}'])
                .filter(|part| !knows(part));
            unknown.extend(parts.map(|part| base(part).unwrap_or(part)));
        } else {
            unknown.push(without);
        }
    }
    unknown
}

/// Words of UAX #29, without what they hold besides letters, and joined by single hyphens.
fn slow_words(text: &str) -> Vec<&str> {
    use unicode_segmentation::UnicodeSegmentation;
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (start, word) in text.unicode_word_indices() {
        for part in word.split([',', ';', '"']) {
            let start = start + (part.as_ptr() as usize - word.as_ptr() as usize);
            let Some(first) = part.find(char::is_alphanumeric) else {
                continue;
            };
            let place = (start + first, start + part.trim_end_matches('_').len());
            match places.last_mut() {
                Some(last) if matches!(&text[last.1..place.0], "-" | "\u{2010}" | "\u{2011}") => {
                    last.1 = place.1;
                }
                _ => places.push(place),
            }
        }
    }
    places
        .into_iter()
        .map(|(start, end)| &text[start..end])
        .collect()
}

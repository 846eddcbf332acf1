//! The highlighter against the oracle, on arbitrary bytes in arbitrary chunks.

mod support;

use level0::{Dictionary, Highlighter, Report};
use proptest::prelude::*;
use support::Oracle;
use support::oracle::{check_highlighter, check_prose};

/// Bytes of which words, separators, line ends, case and invalid UTF-8 come together often.
fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(&b"aAbB"[..]),
        2 => prop::sample::select(&b" \n"[..]),
        1 => prop::sample::select(&b"\r\t\0\xFF\xC3[`{@"[..]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, len)
}

/// Documents: arbitrary bytes, only separators, long words and short ones.
fn document() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => bytes(0..600),
        1 => prop::collection::vec(prop::sample::select(&b" \n"[..]), 0..300),
        2 => prop::collection::vec((bytes(0..4), 0_usize..90, "[ \n]{0,3}"), 0..12).prop_map(|parts| {
            let part = |(start, len, end): (Vec<u8>, usize, String)| {
                [&start[..], &vec![b'a'; len], end.as_bytes()].concat()
            };
            parts.into_iter().flat_map(part).collect()
        }),
    ]
}

/// Dictionaries of short entries over the same bytes, and some long ones.
fn dictionary() -> impl Strategy<Value = Vec<u8>> {
    let entry = prop_oneof![4 => bytes(0..4), 1 => bytes(10..20), 1 => "a{1,80}".prop_map(String::into_bytes)];
    prop::collection::vec(entry, 0..60).prop_map(|entries| entries.join(&b'\n'))
}

/// Where a document is cut: the places, rising.
fn ends(document: &[u8], cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts
        .iter()
        .map(|cut| cut.index(document.len() + 1))
        .collect();
    ends.sort_unstable();
    ends
}

proptest! {
    #[test]
    fn any_document_and_dictionary_are_judged_as_by_the_oracle(
        document in document(),
        entries in dictionary(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let expected = Oracle::new(&entries).judge(&document);
        check_highlighter(&Dictionary::from_lines(&entries), &expected, &document, &ends(&document, &cuts));
    }
}

proptest! {
    #[test]
    fn any_prose_is_judged_as_by_a_slow_reader(
        text in "([abAB]|a|b| |[\\-'\u{2019}_,.\n(\"]|[\u{E9}\u{301}\u{AD}\u{5D0}\u{430}\u{FEFF}\u{2010}]|'s |\\PC){0,60}",
        list in "(a|b|ab|ba|a-b|\u{E9}|[ab]{1,3}'[ab]|\n){0,20}",
    ) {
        check_prose(&text, &list);
    }
}

#[test]
fn the_built_in_dictionary_is_judged_as_by_the_oracle() {
    let oracle = Oracle::new(level0::WORDS);
    let (compact, table) = (
        Dictionary::built_in(),
        Dictionary::built_in().for_long_documents(),
    );
    let word = prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(|index| {
            let start = index.index(level0::WORDS.len());
            let word = level0::WORDS[start..].split(|&byte| byte == b'\n').next();
            word.unwrap_or_default().to_vec()
        }),
        1 => bytes(0..20),
    ];
    let document = prop::collection::vec((word, bytes(0..2)), 0..40).prop_map(|words| {
        words
            .into_iter()
            .flat_map(|(word, end)| [word, end].concat())
            .collect()
    });
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&(document, cuts), |(document, cuts): (Vec<u8>, _)| {
            let expected = oracle.judge(&document);
            let ends = ends(&document, &cuts);
            check_highlighter(&compact, &expected, &document, &ends);
            check_highlighter(&table, &expected, &document, &ends);
            Ok(())
        })
        .expect("all cases hold");
}

#[test]
fn long_words_are_distinct_by_all_their_bytes() {
    let dictionary = Dictionary::built_in();
    let mut one = vec![b'w'; 3 * level0::LISTED_BYTES];
    let mut other = one.clone();
    *other.last_mut().expect("not empty") = b'v';
    one.push(b' ');
    other.push(b'\n');
    let document = [&one[..], &other, &one, &other].concat();
    let mut whole = Highlighter::new(&dictionary, Report::Distinct, Vec::new());
    whole.push(&document).expect("a vector takes all");
    assert_eq!(whole.finish().expect("a vector takes all").1.distinct, 2);
    // The same word is the same whether it comes whole or in parts.
    let mut parts = Highlighter::new(&dictionary, Report::Distinct, Vec::new());
    parts.push(&document).expect("a vector takes all");
    document
        .chunks(50_000)
        .for_each(|chunk| parts.push(chunk).expect("a vector takes all"));
    assert_eq!(parts.finish().expect("a vector takes all").1.distinct, 2);
}

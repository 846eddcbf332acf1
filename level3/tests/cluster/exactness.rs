//! Property tests: random trees and needles, our answer against reading every line.

use std::fs;
use std::sync::LazyLock;

use crate::common::{Cluster, oracle, write_tree};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

/// One cluster for all cases; each case indexes a tree of its own.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(3, |_| {}));

/// Text of few characters, so that needles often match, with and without a final newline.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab \n]{0,60}",
        "[a\u{e9}\u{20ac}\u{1f600}\n\r\t]{0,40}",
        prop::collection::vec("[a-d]{1,9}( [a-d]{1,4}){0,3}", 0..30)
            .prop_map(|lines| lines.join("\n")),
        // Beyond a chunk, so that lines are counted across chunks.
        ("[abc]{1,5}", 2000..6000_usize)
            .prop_map(|(word, times)| format!("{word} {word}\n").repeat(times) + "last"),
    ]
}

fn needle() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab ]{1,4}",
        "[a\u{e9}\u{20ac}\u{1f600}\r\t]{1,5}",
        "[a-d ]{1,40}",
        "[abcdt]{1,2}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn answers_equal_the_oracle(
        texts in prop::collection::vec(text(), 1..9),
        needles in prop::collection::vec(needle(), 1..12),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..40_usize), 12),
    ) {
        let tree = tempfile::tempdir().unwrap();
        let files: Vec<_> = texts.iter().enumerate()
            .map(|(at, text)| (format!("folder-{}/file-{at}", at % 3), text.as_bytes()))
            .collect();
        write_tree(tree.path(), files.iter().map(|(path, text)| (path, text)));
        CLUSTER.master.index(tree.path());
        // Pieces of the text, so that long needles match too; any bytes, so not always UTF-8.
        let pieces = cuts.iter().map(|(file, start, length)| {
            let text = texts[file.index(texts.len())].as_bytes();
            let start = if text.is_empty() { 0 } else { start.index(text.len()) };
            text[start..(start + length).min(text.len())].to_vec()
        });
        let needles = needles.iter().map(|needle| needle.clone().into_bytes()).chain(pieces);
        for needle in needles.filter(|needle| !needle.is_empty()) {
            let expected = oracle(tree.path(), &needle);
            prop_assert_eq!(CLUSTER.master.find(&needle), expected, "{:?}", needle);
        }
    }
}

/// Indexing again reads what has changed and keeps the rest, and nobody can tell the difference.
#[test]
fn indexing_again_after_random_changes_equals_the_oracle() {
    let cluster = Cluster::start(2, |_| {});
    let tree = tempfile::tempdir().unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let change = (0..12_usize, prop::option::of(text()));
    let changes = prop::collection::vec(change, 1..5);
    for _ in 0..24 {
        let changes = changes.new_tree(&mut runner).unwrap().current();
        for (file, text) in changes {
            let path = tree.path().join(format!("file-{file}"));
            match text {
                Some(text) => fs::write(path, text).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
        cluster.master.index(tree.path());
        for needle in [
            &b"a"[..],
            b"ab",
            b"abc",
            b"last",
            b"a a",
            "\u{20ac}".as_bytes(),
        ] {
            assert_eq!(
                cluster.master.find(needle),
                oracle(tree.path(), needle),
                "{needle:?}"
            );
        }
    }
}

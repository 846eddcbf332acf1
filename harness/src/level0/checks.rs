//! The documents that belong to every judgement, whatever else is asked: a generated document is
//! too tame to tell a right program from one that loses a tab now and then.
//!
//! - *nothing*: an empty document, whose output is empty;
//! - *edges*: every separator and every kind of word that the contract names, in valid UTF-8 (the
//!   contract of 2014 had no other text);
//! - *words*: so many words that are in no dictionary that a program which is right about nearly
//!   all words (a Bloom filter, a table of short hashes) is wrong about some of them.

use std::time::Duration;

use anyhow::Result;

use super::{Arena, Paper, attempt, document};
use crate::report::Failure;

/// Spaces, newlines and blank lines in every place; tabs, carriage returns, form feeds and the
/// spaces of Unicode, which are parts of words; upper case; entries that begin with a capital and
/// so never match; words in brackets; letters beyond ASCII; and no newline at the end.
///
/// No character is among them whose lower case in Unicode is an ASCII letter (the Kelvin sign):
/// programs of 2014 fold it to `k`, and no document of the time could tell.
const EDGES: &str = concat!(
    "\n\n  the  cat   sat \n",
    " \n",
    "THE Cat sAT tHe\n",
    "the\tcat\tsat\t the \t cat\n",
    "\tthe cat\t\n",
    "the cat\r\nsat\r\n\r\nthe \r\n",
    "the\rcat \r \r\n",
    "the\u{b}cat the\u{c}cat \u{c}\n",
    "the\u{a0}cat the\u{2003}cat the\u{3000}cat the\u{2028}cat the\u{85}cat\n",
    "naïve café Ünder straße İstanbul ſat élan ÉLAN 猫 😀 e\u{301}lan a\u{200d}b\n",
    "Aaron aaron AARON Zyrian zyrian\n",
    "<the> <thx> << >> <> <the\n",
    "the. the, (the) \"the\" the's 'the' the-cat the/cat the_cat the1 1 0 -\n",
    "a A b B z Z aa q\n",
    "&amp; %20 \\n \\ $the `the` ~ # * ? [a-z] {the}\n",
    "antidisestablishmentarianism thecatsatthecatsatthecatsatthecatsatthecatsatthecatsatthecatsat\
     thecatsatthecatsatthecatsatthecatsatthecatsatthecatsatthecatsatthecatsatthecatsatthecatsatt\n",
    "cat     dog\n\n\n\n   \n   cat\n",
    "the cat  \n",
    "  the thx",
);

/// Words that every program is tried with: one that is wrong about one word in ten thousand is
/// found out nearly always (1 − e⁻²).
const WORDS: usize = 20_000;

/// Words that a fast program is tried with besides: this finds one that is wrong about one in a
/// hundred thousand. The reference of 2014 would take four minutes for them.
const MANY_WORDS: usize = 200_000;

/// A program that took less than this for [`WORDS`] is fast.
const FAST: Duration = Duration::from_secs(1);

/// Nearly all words are changed, and so are in no dictionary.
const MUTATE: f64 = 0.95;

/// A document of [`WORDS`] may take so many times the time limit of a run, which is made for a
/// thousand words.
const PATIENCE: u32 = 20;

/// What the checks gave.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// How many words of the third document were tried.
    pub words: usize,
    /// Why the program does not pass.
    pub failure: Option<Failure>,
}

/// Runs a program on all of these documents, up to the first that it gets wrong. The words follow
/// from `seed`.
pub(super) fn run(arena: &Arena, seed: u64, limit: Duration) -> Result<Checked> {
    let mut checked = Checked::default();
    let small = [
        ("the empty document", String::new()),
        ("the document of edges", EDGES.to_owned()),
    ];
    for (name, text) in small {
        let paper = Paper::new(text.into_bytes());
        if let Err(failure) = attempt(arena, &paper, limit)? {
            checked.failure = Some(within(name, failure));
            return Ok(checked);
        }
    }
    for words in [WORDS, MANY_WORDS] {
        // Another stream than that of the document that is timed.
        let seed = seed.wrapping_add(words as u64);
        let paper = Paper::new(document::generate(seed, words, MUTATE));
        match attempt(arena, &paper, limit.saturating_mul(PATIENCE))? {
            Ok(wall) => {
                checked.words += words;
                if wall >= FAST {
                    break;
                }
            }
            Err(failure) => {
                checked.failure = Some(within(&format!("{words} unknown words"), failure));
                break;
            }
        }
    }
    Ok(checked)
}

fn within(name: &str, failure: Failure) -> Failure {
    let place = failure.place.as_deref().unwrap_or("the run");
    let place = format!("{name}, {place}");
    failure.at(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program takes the document for.
    type Slip = fn(&str) -> String;

    #[test]
    fn every_common_slip_changes_the_output_of_the_edges() {
        let right = Paper::new(EDGES.into()).expected;
        let slips: [(&str, Slip); 9] = [
            ("runs of spaces", |text| text.replace("  ", " ")),
            ("tabs", |text| text.replace('\t', " ")),
            ("carriage returns", |text| text.replace('\r', "")),
            ("line ends", |text| text.replace("\r\n", "\n")),
            ("a last newline", |text| format!("{text}\n")),
            ("blank lines", |text| text.replace("\n\n", "\n")),
            ("beginning", |text| text.trim_start().to_owned()),
            ("spaces at line ends", |text| text.replace(" \n", "\n")),
            ("non-ASCII", |text| {
                text.replace(|c: char| !c.is_ascii(), "?")
            }),
        ];
        for (name, slip) in slips {
            let marked = Paper::new(slip(EDGES).into()).expected;
            assert_ne!(marked, right, "{name}");
        }
    }

    #[test]
    fn words_split_at_other_white_space_are_marked_otherwise() {
        // "the" and "cat" are entries, so a program that splits at a tab marks neither of them.
        let right = String::from_utf8(Paper::new(EDGES.into()).expected).unwrap();
        for space in [
            "\t", "\r", "\u{b}", "\u{c}", "\u{a0}", "\u{2003}", "\u{2028}", "\u{85}",
        ] {
            let marked = format!("<the{space}cat");
            assert!(right.contains(&marked), "{space:?}");
        }
        assert!(right.ends_with("the <thx>"));
        assert!(right.contains("THE Cat sAT tHe\n"));
        assert!(right.contains("<Aaron> <aaron> <AARON>"));
    }

    #[test]
    fn nearly_all_of_the_many_words_are_unknown_and_different() {
        let expected = Paper::new(document::generate(3, WORDS, MUTATE)).expected;
        let text = String::from_utf8(expected).unwrap();
        let unknown: std::collections::HashSet<&str> = text
            .split_ascii_whitespace()
            .filter(|word| word.starts_with('<'))
            .collect();
        assert!(unknown.len() > WORDS * 9 / 10, "{}", unknown.len());
    }
}

//! Spellings that count as one word: Unicode's canonical caseless matching, and without diacritics.
//!
//! A folded word is decomposed (NFD), case-folded (Unicode's default case folding: `STRASSE` and
//! `Straße` are one) and composed again (NFC), as section 3.13 of the standard has it. Typographic
//! apostrophes and hyphens become the plain ones, soft hyphens go.

use std::borrow::Cow;
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// Whether diacritics tell words apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Diacritics {
    /// `resume` and `résumé` are two words.
    #[default]
    Kept,
    /// They are one.
    Ignored,
}

/// The form that all spellings of a word share.
pub(crate) fn folded(word: &str, diacritics: Diacritics) -> Cow<'_, str> {
    if word.is_ascii() {
        return if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(word.to_ascii_lowercase())
        } else {
            Cow::Borrowed(word)
        };
    }
    let decomposed: String = word.chars().filter_map(plain).nfd().collect();
    let folded = UniCase::unicode(decomposed).to_folded_case();
    Cow::Owned(match diacritics {
        Diacritics::Kept => folded.nfc().collect(),
        Diacritics::Ignored => without_diacritics(&folded),
    })
}

/// The word in composed form with plain apostrophes, as dictionaries have it; its case is kept.
pub(crate) fn composed(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.chars().filter_map(plain).nfc().collect())
    }
}

/// The word without its diacritics; its case is kept.
pub(crate) fn without_diacritics(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    for char in word.nfd().filter(|&char| !is_diacritic(char)) {
        match char {
            'ø' => plain.push('o'),
            'Ø' => plain.push('O'),
            'ł' => plain.push('l'),
            'Ł' => plain.push('L'),
            'đ' | 'ð' => plain.push('d'),
            'Đ' | 'Ð' => plain.push('D'),
            'ħ' => plain.push('h'),
            'Ħ' => plain.push('H'),
            'ı' => plain.push('i'),
            'æ' => plain.push_str("ae"),
            'Æ' => plain.push_str("AE"),
            'œ' => plain.push_str("oe"),
            'Œ' => plain.push_str("OE"),
            'ß' => plain.push_str("ss"),
            _ => plain.push(char),
        }
    }
    plain.nfc().collect()
}

/// A mark that changes a letter, but not a virama (class 9), which makes letters of India's scripts.
fn is_diacritic(char: char) -> bool {
    const VIRAMA: u8 = 9;
    !matches!(canonical_combining_class(char), 0 | VIRAMA)
}

fn plain(char: char) -> Option<char> {
    match char {
        '\u{AD}' => None,
        '\u{2019}' | '\u{2018}' | '\u{FF07}' => Some('\''),
        '\u{2010}' | '\u{2011}' => Some('-'),
        _ => Some(char),
    }
}

#[cfg(test)]
mod tests {
    use super::{Diacritics, composed, folded};
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_word_are_one() {
        for (one, other) in [
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("na\u{EF}ve", "NAI\u{308}VE"),
            ("don\u{2019}t", "Don't"),
            ("soft\u{AD}ware", "software"),
            ("e\u{2011}mail", "E-mail"),
        ] {
            assert_eq!(
                folded(one, Diacritics::Kept),
                folded(other, Diacritics::Kept)
            );
        }
        assert_ne!(folded("naïve", Diacritics::Kept), "naive");
        assert_eq!(folded("Naïve", Diacritics::Ignored), "naive");
        assert_eq!(folded("Łódź", Diacritics::Ignored), "lodz");
        assert_eq!(folded("Ærøskøbing", Diacritics::Ignored), "aeroskobing");
        assert_eq!(composed("E\u{301}t\u{E9}"), "\u{C9}t\u{E9}");
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing_more(word in "\\PC{0,12}") {
            for diacritics in [Diacritics::Kept, Diacritics::Ignored] {
                let once = folded(&word, diacritics).into_owned();
                prop_assert_eq!(folded(&once, diacritics), once.clone());
            }
        }
    }
}

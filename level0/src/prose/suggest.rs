//! Suggestions from a word list: entries one typing error away, or two if there are none.

use std::collections::BTreeSet;
use std::slice::from_ref;

/// A longer word in characters is not searched two errors deep: that is half a million look-ups.
const LONGEST_FOR_TWO: usize = 12;

/// A longer word in characters gets no suggestions.
const LONGEST: usize = 48;

/// Entries near `word`, which is folded, at most `limit`: nearest first, then by the alphabet.
///
/// An error is a letter left out, added or changed, or two neighbours exchanged (Damerau, 1964).
pub(crate) fn suggestions(word: &str, limit: usize, knows: impl Fn(&str) -> bool) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    if limit == 0 || letters.len() > LONGEST {
        return Vec::new();
    }
    let mut alphabet: Vec<char> = ('a'..='z').collect();
    alphabet.extend(
        letters
            .iter()
            .filter(|letter| letter.is_alphabetic() && !letter.is_ascii()),
    );
    let mut near = BTreeSet::new();
    for_each_edit(&letters, &alphabet, |edit| {
        near.insert(edit.to_owned());
    });
    near.remove(word);
    let found: Vec<String> = near
        .iter()
        .filter(|edit| knows(edit))
        .take(limit)
        .cloned()
        .collect();
    if !found.is_empty() || letters.len() > LONGEST_FOR_TWO {
        return found;
    }
    let mut found = BTreeSet::new();
    for edit in &near {
        let letters: Vec<char> = edit.chars().collect();
        for_each_edit(&letters, &alphabet, |edit| {
            if edit != word && knows(edit) {
                found.insert(edit.to_owned());
            }
        });
        // All that are found first are as near as those that would be found later.
        if found.len() >= limit {
            break;
        }
    }
    found.into_iter().take(limit).collect()
}

/// Calls `take` with the words one error away, some of them more than once; the word itself, a letter
/// of it changed into the same, is among them.
fn for_each_edit(letters: &[char], alphabet: &[char], mut take: impl FnMut(&str)) {
    let mut edit = String::new();
    let mut give = |parts: [&[char]; 3]| {
        edit.clear();
        edit.extend(parts.into_iter().flatten());
        take(&edit);
    };
    for at in 0..=letters.len() {
        let (before, behind) = letters.split_at(at);
        for letter in alphabet {
            give([before, from_ref(letter), behind]);
        }
        let Some((&first, rest)) = behind.split_first() else {
            continue;
        };
        give([before, &[], rest]);
        for letter in alphabet {
            give([before, from_ref(letter), rest]);
        }
        if let Some((&second, rest)) = rest.split_first() {
            give([before, &[second, first], rest]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::suggestions;

    #[test]
    fn one_error_is_mended_before_two() {
        let list = ["word", "world", "sword", "ward", "quay"];
        let knows = |word: &str| list.contains(&word);
        assert_eq!(suggestions("wrod", 3, knows), ["word"]);
        assert_eq!(suggestions("worl", 3, knows), ["word", "world"]);
        assert_eq!(suggestions("worl", 1, knows), ["word"]);
        assert_eq!(suggestions("wrdo", 3, knows), ["ward", "word"]);
        assert!(suggestions("zzzz", 3, knows).is_empty());
        assert!(suggestions(&"word".repeat(100), 3, knows).is_empty());
    }
}

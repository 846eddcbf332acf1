//! Suggestions from a word list: entries one typing error away, or two if there are none.

use std::collections::BTreeSet;

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
    let near = edits(&letters, &alphabet);
    let known = |words: &BTreeSet<Vec<char>>| -> Vec<String> {
        let words = words
            .iter()
            .map(|letters| letters.iter().collect::<String>());
        words.filter(|word| knows(word)).take(limit).collect()
    };
    let found = known(&near);
    if !found.is_empty() || letters.len() > LONGEST_FOR_TWO {
        return found;
    }
    let mut found = BTreeSet::new();
    for letters in &near {
        found.extend(known(&edits(letters, &alphabet)));
        // All that are found first are as near as those that would be found later.
        if found.len() >= limit {
            break;
        }
    }
    found.into_iter().take(limit).collect()
}

/// All words one error away.
fn edits(letters: &[char], alphabet: &[char]) -> BTreeSet<Vec<char>> {
    let mut edits = BTreeSet::new();
    for at in 0..=letters.len() {
        let (before, behind) = letters.split_at(at);
        for &letter in alphabet {
            edits.insert([before, &[letter], behind].concat());
        }
        let Some((&first, rest)) = behind.split_first() else {
            continue;
        };
        edits.insert([before, rest].concat());
        for &letter in alphabet {
            edits.insert([before, &[letter], rest].concat());
        }
        if let Some((&second, rest)) = rest.split_first() {
            edits.insert([before, &[second, first], rest].concat());
        }
    }
    edits.remove(letters);
    edits.remove(&Vec::new());
    edits
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

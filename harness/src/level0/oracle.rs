//! What must come out, computed slowly and obviously, and without any of level 0's code.

use std::collections::HashSet;

/// The document with every unknown word between `<` and `>` (level 0's contract).
pub(super) fn highlight(dictionary: &[u8], document: &[u8]) -> Vec<u8> {
    let entries: HashSet<&[u8]> = dictionary.split(|byte| *byte == b'\n').collect();
    let mut output = Vec::new();
    let mut word = Vec::new();
    for &byte in document {
        if byte == b' ' || byte == b'\n' {
            finish(&entries, &mut word, &mut output);
            output.push(byte);
        } else {
            word.push(byte);
        }
    }
    finish(&entries, &mut word, &mut output);
    output
}

fn finish(entries: &HashSet<&[u8]>, word: &mut Vec<u8>, output: &mut Vec<u8>) {
    if word.is_empty() {
        return;
    }
    if entries.contains(word.to_ascii_lowercase().as_slice()) {
        output.extend_from_slice(word);
    } else {
        output.push(b'<');
        output.extend_from_slice(word);
        output.push(b'>');
    }
    word.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_by_example() {
        let dictionary = b"the\ncat\nParis\ncr\r\n\n";
        let check = |document: &str, expected: &str| {
            let output = highlight(dictionary, document.as_bytes());
            assert_eq!(String::from_utf8(output).unwrap(), expected);
        };
        check("The CAT sat.\n", "The CAT <sat.>\n");
        // An entry with an upper-case letter never matches.
        check("Paris paris", "<Paris> <paris>");
        // A carriage return belongs to the entry, a tab to the word.
        check("cr\r cr the\tcat", "cr\r <cr> <the\tcat>");
        check("", "");
        check("  \n\n ", "  \n\n ");
    }
}

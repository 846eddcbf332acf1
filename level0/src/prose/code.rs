//! Takes names of programs apart: `camelCase`, `HTTPServer`, `snake_case`, `utf8Text`.

use std::ops::Range;

/// Parts of fewer letters are not looked up: `fn`, `ptr` and `idx` are code's own words.
pub(crate) const SHORTEST_PART: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lower,
    Upper,
    /// A digit, an underscore: what belongs to no part.
    Other,
}

/// The parts of a name, in order: runs of letters, cut before a capital that a small letter
/// precedes or follows.
pub(crate) fn parts(name: &str) -> Vec<Range<usize>> {
    let kinds: Vec<(usize, Kind)> = name
        .char_indices()
        .map(|(at, char)| (at, kind(char)))
        .collect();
    let mut parts = Vec::new();
    let mut start = None;
    for (index, &(at, here)) in kinds.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| kinds[before].1);
        let behind = kinds.get(index + 1).map(|&(_, behind)| behind);
        let begins = match (before, here, behind) {
            (_, Kind::Other, _) => {
                parts.extend(start.take().map(|start| start..at));
                continue;
            }
            (Some(Kind::Lower), Kind::Upper, _)
            | (Some(Kind::Upper), Kind::Upper, Some(Kind::Lower)) => true,
            _ => start.is_none(),
        };
        if begins {
            parts.extend(start.replace(at).map(|start| start..at));
        }
    }
    parts.extend(start.map(|start| start..name.len()));
    parts
}

fn kind(char: char) -> Kind {
    if char.is_uppercase() {
        Kind::Upper
    } else if char.is_numeric() || matches!(char, '_' | '\'' | '\u{2019}' | '-') {
        Kind::Other
    } else {
        Kind::Lower
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn names_fall_apart_where_a_reader_sees_it() {
        for (name, expected) in [
            ("plain", &["plain"][..]),
            ("camelCase", &["camel", "Case"]),
            ("PascalCase", &["Pascal", "Case"]),
            ("HTTPServer", &["HTTP", "Server"]),
            ("parseHTTP", &["parse", "HTTP"]),
            ("snake_case_name", &["snake", "case", "name"]),
            ("SCREAMING_CASE", &["SCREAMING", "CASE"]),
            ("utf8Text", &["utf", "Text"]),
            ("x1__y", &["x", "y"]),
            ("\u{E9}t\u{E9}\u{C9}cole", &["\u{E9}t\u{E9}", "\u{C9}cole"]),
            ("_", &[]),
        ] {
            let found: Vec<&str> = parts(name).into_iter().map(|part| &name[part]).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}

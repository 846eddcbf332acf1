//! Queries of `/search?query=…`: what is written, and what it means, drawn together.
//!
//! The language is level3's own (its `docs/api.md` describes it). A query is made of parts whose
//! meaning is known, and then written down; nothing here reads queries, so that no mistake of
//! understanding can be made twice.

use anyhow::{Context as _, Result};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use regex::{Regex, RegexBuilder};

/// What a search means: the lines that have all of some expressions and none of others, in some of
/// the files.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    /// A line must match all of them.
    pub all: Vec<Regex>,
    /// And none of these.
    pub none: Vec<Regex>,
    files: Vec<FileRule>,
}

/// A condition on the paths of files: they have one of some parts, or none of them.
#[derive(Clone, Debug)]
struct FileRule {
    any: Vec<FilePart>,
    negated: bool,
}

#[derive(Clone, Debug)]
struct FilePart {
    /// A part of the path; where `is_end`, the end of the file's name.
    text: String,
    is_end: bool,
    ignore_case: bool,
}

impl Meaning {
    /// Lines that match one expression, in all files.
    pub fn of(expression: Regex) -> Self {
        Self {
            all: vec![expression],
            ..Self::default()
        }
    }

    /// Whether a file is to be searched.
    pub fn admits(&self, path: &str) -> bool {
        let fits = |rule: &FileRule| rule.any.iter().any(|part| part.fits(path));
        self.files.iter().all(|rule| fits(rule) != rule.negated)
    }

    /// Where the first match starts in a line, in bytes, if it is one to be found.
    pub fn find(&self, line: &str) -> Option<usize> {
        if self.none.iter().any(|expression| expression.is_match(line)) {
            return None;
        }
        let mut first = usize::MAX;
        for expression in &self.all {
            first = first.min(expression.find(line)?.start());
        }
        Some(first)
    }
}

impl FilePart {
    fn fits(&self, path: &str) -> bool {
        let folded = |text: &str| {
            if self.ignore_case {
                text.to_lowercase()
            } else {
                text.to_owned()
            }
        };
        let (path, text) = (folded(path), folded(&self.text));
        if self.is_end {
            path.ends_with(&text)
        } else {
            path.contains(&text)
        }
    }
}

/// Whether upper and lower case differ, as a query says it.
#[derive(Clone, Copy)]
enum Case {
    Auto,
    Yes,
    No,
}

impl Case {
    fn ignores(self, text: &str) -> bool {
        match self {
            Self::Yes => false,
            Self::No => true,
            Self::Auto => !text.chars().any(char::is_uppercase),
        }
    }
}

/// Draws a query around pieces of text and paths: as it is written, and what it means.
pub fn draw(
    pieces: &[String],
    paths: &[String],
    random: &mut ChaCha8Rng,
) -> Result<(String, Meaning)> {
    let case = [Case::Auto, Case::Yes, Case::No][random.random_range(0..3)];
    let mut meaning = Meaning::default();
    let mut written = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let negated = at > 0 && random.random_range(0..3) == 0;
        // Upper and lower case of an expression are a matter of their own where they are automatic.
        let can_be_expression = !negated && !matches!(case, Case::Auto);
        let is_expression = can_be_expression && random.random_range(0..3) == 0;
        let (text, source) = if is_expression {
            let source = match random.random_range(0..3) {
                0 => format!(r"(?:{})\w*", regex::escape(piece)),
                1 => format!("({}|{})", regex::escape(piece), regex::escape(&pieces[0])),
                _ => format!(".{}", regex::escape(piece)),
            };
            (format!("/{}/", source.replace('/', r"\/")), source)
        } else {
            (written_word(piece, negated, random), regex::escape(piece))
        };
        let expression = RegexBuilder::new(&source)
            .case_insensitive(case.ignores(piece))
            .build()
            .with_context(|| format!("the drawn expression {source:?}"))?;
        let terms = if negated {
            &mut meaning.none
        } else {
            &mut meaning.all
        };
        terms.push(expression);
        written.push(format!("{}{text}", if negated { "-" } else { "" }));
    }
    if !paths.is_empty() && random.random_range(0..2) == 0 {
        let (text, rule) = file_filter(paths, case, random);
        written.push(text);
        meaning.files.push(rule);
    }
    match case {
        Case::Auto => {}
        Case::Yes => written.push("case:yes".to_owned()),
        Case::No => written.push("case:no".to_owned()),
    }
    // What stands where means the same.
    let turn = random.random_range(0..written.len());
    written.rotate_left(turn);
    Ok((written.join(" "), meaning))
}

/// A literal as a word, or in quotes where that would be something else.
fn written_word(text: &str, negated: bool, random: &mut ChaCha8Rng) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // In front of a digit, a minus is one.
    let can_be_word = !negated || text.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_plain && can_be_word && random.random_range(0..4) > 0 {
        return text.to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// One or two conditions on paths, of which one must hold.
fn file_filter(paths: &[String], case: Case, random: &mut ChaCha8Rng) -> (String, FileRule) {
    let negated = random.random_range(0..3) == 0;
    let parts = (0..random.random_range(1..=2)).map(|_| {
        let path: Vec<char> = paths[random.random_range(0..paths.len())].chars().collect();
        let length = random.random_range(1..=4.min(path.len()));
        let is_end = random.random_range(0..3) == 0;
        let start = if is_end {
            path.len() - length
        } else {
            random.random_range(0..=path.len() - length)
        };
        // What has a meaning of its own in a pattern, or a slash in the end of a name, is left out.
        let chosen = path[start..start + length].iter();
        let text: String = chosen.filter(|c| c.is_ascii_alphanumeric()).collect();
        let is_empty = text.is_empty();
        FilePart {
            ignore_case: case.ignores(&text),
            text: if is_empty { ".".to_owned() } else { text },
            is_end: is_end && !is_empty && path[start..].iter().all(char::is_ascii_alphanumeric),
        }
    });
    let any: Vec<FilePart> = parts.collect();
    let texts: Vec<String> = any
        .iter()
        .map(|part| format!("{}{}", if part.is_end { "*" } else { "" }, part.text))
        .collect();
    let sign = if negated { "-" } else { "" };
    let written = format!("{sign}file:{}", texts.join(","));
    (written, FileRule { any, negated })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn drawn(seed: u64) -> (String, Meaning) {
        let pieces = ["One", "a \"b\\", "three"].map(str::to_owned);
        let paths = ["src/Main.c".to_owned(), "x".to_owned()];
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        draw(&pieces, &paths, &mut random).unwrap()
    }

    #[test]
    fn queries_of_every_kind_are_drawn() {
        let queries: Vec<String> = (0..500).map(|seed| drawn(seed).0).collect();
        for part in [
            "One",
            "\"One\"",
            r#""a \"b\\""#,
            "-three",
            "-\"three\"",
            "/(?:three)\\w*/",
            "file:",
            "-file:",
            ",",
            "*",
            "case:no",
            "case:yes",
        ] {
            assert!(queries.iter().any(|query| query.contains(part)), "{part}");
        }
    }

    #[test]
    fn a_line_must_match_all_and_none() {
        let expression = |text: &str| Regex::new(text).unwrap();
        let meaning = Meaning {
            all: vec![expression("b"), expression("a")],
            none: vec![expression("c")],
            files: Vec::new(),
        };
        assert_eq!(meaning.find("xab"), Some(1));
        assert_eq!((meaning.find("a"), meaning.find("abc")), (None, None));
    }

    #[test]
    fn files_fit_one_of_the_parts() {
        let part = |text: &str, is_end, ignore_case| FilePart {
            text: text.to_owned(),
            is_end,
            ignore_case,
        };
        let rule = |any, negated| Meaning {
            files: vec![FileRule { any, negated }],
            ..Meaning::default()
        };
        let either = rule(
            vec![part("src", false, false), part(".h", true, true)],
            false,
        );
        assert!(either.admits("a/src/b") && either.admits("x.H"));
        assert!(!either.admits("SRC/x.hh"));
        let neither = rule(vec![part("a", false, false)], true);
        assert!(neither.admits("b") && !neither.admits("b/a"));
    }
}

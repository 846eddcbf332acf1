//! The order of `sort=best`: definitions and file names that match first.
//!
//! A hit's rank is one of four, 0 first: a definition of a word in a file whose name has a word, a
//! definition, another line of such a file, any other line. Within a rank hits are in the order of
//! paths, so that the order is the same each time.

use std::ops::Range;

use super::budget::Budget;
use super::hits::{Room, SearchError};
use super::pattern::Pattern;
use super::query::{FilePattern, Query};
use super::request::{Answer, Request};
use super::scan::{Candidate, Line, LineCounter, Scan};
use super::show::Shower;
use crate::index::{IndexError, Snapshot};
use crate::parallel;

/// Words that stand in front of what they define.
const KEYWORDS: [&str; 28] = [
    "#define",
    "alias",
    "class",
    "const",
    "def",
    "defmacro",
    "defn",
    "defun",
    "define",
    "enum",
    "fn",
    "fun",
    "func",
    "function",
    "interface",
    "let",
    "macro",
    "macro_rules!",
    "mod",
    "module",
    "namespace",
    "package",
    "protocol",
    "struct",
    "trait",
    "type",
    "union",
    "val",
];

/// Those that also stand in front of a type's name where it is used.
const TYPE_KEYWORDS: [&str; 4] = ["class", "enum", "struct", "union"];

/// A line and its rank.
struct Ranked {
    rank: u64,
    /// The file's place in the order of paths.
    file: usize,
    line: Line,
}

/// The best hits of a shard.
pub(super) fn search(
    snapshot: &Snapshot,
    scan: &Scan<'_>,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Answer, SearchError> {
    let files = scan.files()?;
    let rank = |text: &mut Vec<u8>, &file: &usize| {
        ranked(scan, request, (file, files[file]), text, budget)
    };
    let places: Vec<usize> = (0..files.len()).collect();
    let (found, _) = parallel::map(&places, threads, Vec::new, rank)?;
    let mut answer = Answer {
        pruned: scan.matcher.plan().prunes(),
        ..Answer::default()
    };
    let mut lines = Vec::new();
    for (in_file, complete) in found {
        answer.more |= !complete;
        lines.extend(in_file);
    }
    lines.sort_by_key(|found| (found.rank, found.file));
    let wanted = request.skip.saturating_add(request.limit);
    answer.more |= lines.len() > wanted;
    let mut shower = Shower::new(snapshot, &scan.matcher, request.context, budget);
    let mut room = Room::new(request, budget);
    let mut open = None;
    for found in lines.into_iter().take(wanted).skip(request.skip) {
        if open.replace(found.file) != Some(found.file) {
            let Candidate { segment, file } = files[found.file];
            shower.open(segment, file)?;
        }
        let (mut hit, cost) = shower.show(found.line)?;
        if !room.take(cost) {
            (answer.more, answer.cut) = (true, true);
            break;
        }
        hit.rank = found.rank;
        answer.hits.push(hit);
    }
    Ok(answer)
}

/// The lines of one file with their ranks, and whether that is all of it.
fn ranked(
    scan: &Scan<'_>,
    request: &Request,
    (file, candidate): (usize, Candidate),
    text: &mut Vec<u8>,
    budget: &Budget<'_>,
) -> Result<(Vec<Ranked>, bool), IndexError> {
    let named = has_name(&request.query, scan.path(&candidate));
    let (mut lines, mut is_out) = (Vec::new(), false);
    let mut counter = LineCounter::default();
    let complete = scan.visit(candidate, text, |place| {
        if !budget.take(size_of::<Ranked>()) {
            is_out = true;
            return false;
        }
        let defines = |pattern: &Pattern| {
            let found = pattern.find(&place.text[..place.line.end], place.line.start, budget);
            let line = &place.text[place.line.clone()];
            found.is_ok_and(|found| {
                found.is_some_and(|at| {
                    let start = place.line.start;
                    is_definition(line, at.start - start..at.end - start)
                })
            })
        };
        let rank = rank(scan.matcher.marks().iter().any(defines), named);
        let line = counter.line(&place);
        lines.push(Ranked { rank, file, line });
        true
    })?;
    Ok((lines, complete && !is_out))
}

const fn rank(is_definition: bool, is_named: bool) -> u64 {
    match (is_definition, is_named) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

/// Whether the name of the file has a word of the query.
fn has_name(query: &Query, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut words = query.all.iter().filter(|term| !term.regex);
    words.any(|term| has(name, &term.text, term.ignore_case))
}

fn has(name: &str, text: &str, ignore_case: bool) -> bool {
    if ignore_case {
        name.to_lowercase().contains(&text.to_lowercase())
    } else {
        name.contains(text)
    }
}

/// The rank of a file that was found by its name: first those that have a part in the name itself.
pub(super) fn rank_of_name(query: &Query, path: &str) -> u64 {
    let name = path.rsplit('/').next().unwrap_or(path);
    let rules = query.files.iter().filter(|rule| !rule.negated);
    let in_name = |pattern: &FilePattern| match pattern {
        FilePattern::Part { text, ignore_case } => has(name, text, *ignore_case),
        FilePattern::Glob { .. } | FilePattern::Language(_) => false,
    };
    let mut patterns = rules.flat_map(|rule| &rule.any);
    u64::from(!patterns.any(in_name))
}

/// Whether a line defines the word at `at`: a keyword is in front of it, or it is in front of a
/// parenthesis in a line that starts in the first column and does not end in a semicolon.
fn is_definition(line: &[u8], at: Range<usize>) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let (before, after) = (&line[..at.start], &line[at.end..]);
    if at.is_empty() || before.last().is_some_and(is_word) || after.first().is_some_and(is_word) {
        return false;
    }
    let after = after.trim_ascii_start();
    let before = before.trim_ascii_end();
    let last = before
        .rsplit(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    // `# define` is written too.
    if KEYWORDS.iter().any(|keyword| keyword.as_bytes() == last) {
        let is_type = TYPE_KEYWORDS
            .iter()
            .any(|keyword| keyword.as_bytes() == last);
        return !is_type || after.first().is_none_or(|byte| b"{:(<;".contains(byte));
    }
    let starts = line.first().is_some_and(is_word);
    starts && after.starts_with(b"(") && !line.trim_ascii_end().ends_with(b";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_told_from_uses() {
        for (line, expected) in [
            ("struct word {", true),
            ("struct word;", true),
            ("class word(Base):", true),
            ("  struct word *next;", false),
            ("#define word(x) x", true),
            ("# define word 1", true),
            ("pub(crate) fn word() {", true),
            ("    def word(self):", true),
            ("int word(int x)", true),
            ("int word(int x);", false),
            ("\tword(1)", false),
            ("return word;", false),
            ("struct word_list {", false),
            ("fn my_word() {", false),
        ] {
            let at = line.find("word").unwrap();
            assert_eq!(
                is_definition(line.as_bytes(), at..at + 4),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn names_are_ranked_by_their_last_part() {
        let query = super::super::query::parse("file:sched", false)
            .unwrap()
            .query;
        assert_eq!(rank_of_name(&query, "kernel/sched.c"), 0);
        assert_eq!(rank_of_name(&query, "kernel/sched/core.c"), 1);
    }
}

//! The order of `sort=best`: definitions and file names that match first.
//!
//! A hit's rank is one of four, 0 first: a definition of a word in a file whose name has a word, a
//! definition, another line of such a file, any other line. Within a rank hits are in the order of
//! paths, so that the order is the same each time. Every line is ranked, and only as many are kept as
//! are asked for: a common word is in millions.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ranked {
    rank: u64,
    /// The file's place in the order of paths.
    file: usize,
    line: Line,
}

/// The place of a line among all others.
type Key = (u64, usize, u32);

impl Ranked {
    fn key(&self) -> Key {
        (self.rank, self.file, self.line.number)
    }
}

/// The best lines of many.
struct Best {
    /// How many there are to be.
    most: usize,
    /// They, and at most as many more.
    lines: Vec<Ranked>,
    /// What is behind this one is none of them.
    last: Option<Key>,
    /// How many lines were offered.
    offered: usize,
}

impl Best {
    fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            lines: Vec::new(),
            last: None,
            offered: 0,
        }
    }

    fn offer(&mut self, line: Ranked) {
        self.offered += 1;
        if self.last.is_none_or(|last| line.key() < last) {
            self.lines.push(line);
            if self.lines.len() >= 2 * self.most {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        let by_key = self
            .lines
            .select_nth_unstable_by_key(self.most - 1, Ranked::key);
        self.last = Some(by_key.1.key());
        self.lines.truncate(self.most);
    }

    /// Those of several, in their order, and how many lines were offered to all of them.
    fn of(parts: impl IntoIterator<Item = Self>) -> (Vec<Ranked>, usize) {
        let (mut lines, mut offered) = (Vec::new(), 0);
        for part in parts {
            lines.extend(part.lines);
            offered += part.offered;
        }
        lines.sort_unstable_by_key(Ranked::key);
        (lines, offered)
    }
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
    let wanted = request.skip.saturating_add(request.limit);
    let rank = |(text, best): &mut (Vec<u8>, Best), &file: &usize| {
        rank_lines(scan, request, (file, files[file]), (text, best), budget)
    };
    let places: Vec<usize> = (0..files.len()).collect();
    let state = || (Vec::new(), Best::new(wanted));
    let (complete, states) = parallel::map(&places, threads, state, rank)?;
    let (lines, offered) = Best::of(states.into_iter().map(|(_, best)| best));
    let mut answer = Answer {
        pruned: scan.matcher.plan().prunes(),
        more: offered > wanted || complete.contains(&false),
        ..Answer::default()
    };
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

/// Ranks the lines of one file, and says whether it came to the file's end.
fn rank_lines(
    scan: &Scan<'_>,
    request: &Request,
    (file, candidate): (usize, Candidate),
    (text, best): (&mut Vec<u8>, &mut Best),
    budget: &Budget<'_>,
) -> Result<bool, IndexError> {
    let named = has_name(&request.query, scan.path(&candidate));
    let mut counter = LineCounter::default();
    scan.visit(candidate, text, |place| {
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
        best.offer(Ranked { rank, file, line });
        true
    })
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever part of the lines each thread sees.
        #[test]
        fn the_best_are_kept_and_little_else(
            lines in prop::collection::btree_map((0..5_usize, 0..40_u32), (0..4_u64, 0..3_usize), 0..120),
            most in 0..50_usize,
        ) {
            let mut all = Vec::new();
            let mut parts = [0; 3].map(|_| Best::new(most));
            for (&(file, number), &(rank, part)) in &lines {
                let line = Line { number, start: 0, end: 0 };
                all.push(Ranked { rank, file, line });
                parts[part].offer(Ranked { rank, file, line });
                prop_assert!(parts[part].lines.len() <= 2 * most.max(1));
            }
            all.sort_by_key(Ranked::key);
            let (mut kept, offered) = Best::of(parts);
            kept.truncate(most);
            prop_assert_eq!(offered, all.len());
            all.truncate(most);
            prop_assert_eq!(kept, all);
        }
    }

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

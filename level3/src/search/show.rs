//! Hits for people: the text of a line with its matches marked, its column, lines around it.

use super::budget::{Budget, Spent};
use super::hits::SearchError;
use super::lines::LineMatcher;
use super::pattern::Pattern;
use super::request::Hit;
use super::scan::{Line, bom};
use crate::index::{IndexError, Snapshot};

/// A longer line is cut around its first match, in bytes.
const MAX_LINE_BYTES: usize = 1000;

/// Matches of one line that are marked.
const MAX_SPANS: usize = 100;

/// What a hit takes beside its texts, in bytes.
pub(super) const HIT_BYTES: usize = size_of::<Hit>() + 200;

/// Makes hits of the lines of one file after the other.
pub(super) struct Shower<'a> {
    snapshot: &'a Snapshot,
    matcher: &'a LineMatcher,
    context: usize,
    budget: &'a Budget<'a>,
    path: &'a str,
    text: Vec<u8>,
}

impl<'a> Shower<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        matcher: &'a LineMatcher,
        context: usize,
        budget: &'a Budget<'a>,
    ) -> Self {
        Self {
            snapshot,
            matcher,
            context,
            budget,
            path: "",
            text: Vec::new(),
        }
    }

    /// Goes on to another file.
    pub(super) fn open(&mut self, segment: usize, file: usize) -> Result<(), IndexError> {
        let segment = &self.snapshot.segments[segment].segment;
        self.path = &segment.files()[file].path;
        segment.read_file(file, &mut self.text)
    }

    /// The hit in a line of the open file, and about how many bytes it takes.
    pub(super) fn show(&self, line: Line) -> Result<(Hit, usize), SearchError> {
        // The mark at the start of a file is no part of its first line.
        let mark = bom(&self.text);
        let text = &self.text[mark..];
        let (start, end) = (line.start as usize - mark, line.end as usize - mark);
        let shown = match show(self.matcher.marks(), text, start, end, self.budget) {
            Ok(hit) => hit,
            Err(Spent::Asker) => return Err(SearchError::Abandoned),
            // Found in time, and then its matches were not: without marks it is still a hit.
            Err(Spent::Time) => plain(&text[start..end]),
        };
        let hit = Hit {
            file: self.path.to_owned(),
            line: line.number.into(),
            before: lines_before(text, start, self.context),
            after: lines_after(text, end, self.context),
            ..shown
        };
        let around = hit.before.iter().chain(&hit.after);
        let texts =
            hit.file.len() + hit.text.len() + around.map(|line| line.len() + 30).sum::<usize>();
        let bytes = HIT_BYTES + texts + hit.spans.len() * 16;
        Ok((hit, bytes))
    }
}

/// A line without marks.
fn plain(line: &[u8]) -> Hit {
    let to = boundary(line, line.len().min(MAX_LINE_BYTES));
    Hit {
        column: 1,
        text: String::from_utf8_lossy(&line[..to]).into_owned(),
        cut: to < line.len(),
        ..Hit::default()
    }
}

/// A matching line for people: text, column, marks.
fn show(
    patterns: &[Pattern],
    text: &[u8],
    start: usize,
    end: usize,
    budget: &Budget<'_>,
) -> Result<Hit, Spent> {
    // Matching goes on in the whole text up to the end of the line, so that an assertion at the
    // start of the line sees what is in front of it.
    let upto = &text[..end];
    let line = &text[start..end];
    let mut first = None;
    for pattern in patterns {
        let found = pattern.find(upto, start, budget)?;
        let found = found.map(|found| found.start - start);
        first = [first, found].into_iter().flatten().min();
    }
    let first = first.unwrap_or(0);
    let (from, to) = if line.len() <= MAX_LINE_BYTES {
        (0, line.len())
    } else {
        let from = boundary(line, first.saturating_sub(MAX_LINE_BYTES / 4));
        (
            from,
            boundary(line, (from + MAX_LINE_BYTES).min(line.len())),
        )
    };
    let mut marks: Vec<(usize, usize)> = Vec::new();
    for pattern in patterns {
        marks.extend(matches(pattern, upto, start, (from, to), budget));
    }
    let chars = |from: usize, to: usize| String::from_utf8_lossy(&line[from..to]).chars().count();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    let (mut at, mut counted) = (from, 0);
    for (open, close) in joined(marks) {
        let before = counted + chars(at, open) as u64;
        (at, counted) = (close, before + chars(open, close) as u64);
        spans.push((before, counted));
    }
    Ok(Hit {
        column: chars(0, first) as u64 + 1,
        text: String::from_utf8_lossy(&line[from..to]).into_owned(),
        spans,
        offset: chars(0, from) as u64,
        cut: to - from < line.len(),
        ..Hit::default()
    })
}

/// Where one pattern matches in the part of the line that is shown, in bytes of the line. The marks
/// of a line that takes too long are those found so far.
fn matches(
    pattern: &Pattern,
    upto: &[u8],
    start: usize,
    (from, to): (usize, usize),
    budget: &Budget<'_>,
) -> Vec<(usize, usize)> {
    let line = &upto[start..];
    let mut marks = Vec::new();
    let mut at = start + from;
    while let Ok(Some(found)) = pattern.find(upto, at, budget) {
        let (open, close) = (found.start - start, (found.end - start).min(to));
        if open >= to || marks.len() == MAX_SPANS {
            break;
        }
        if close > open {
            marks.push((open, close));
        }
        // An empty match would be found again for ever.
        at = if found.is_empty() {
            start + boundary_behind(line, found.end - start)
        } else {
            found.end
        };
        if at > upto.len() {
            break;
        }
    }
    marks
}

/// The marks in their order, those of them as one that overlap.
fn joined(mut marks: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    marks.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (open, close) in marks {
        match joined.last_mut() {
            Some(last) if open < last.1 => last.1 = last.1.max(close),
            _ => joined.push((open, close)),
        }
    }
    joined.truncate(MAX_SPANS);
    joined
}

/// The start of the character that `at` lies in.
fn boundary(line: &[u8], mut at: usize) -> usize {
    while at > 0 && line.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}

/// The start of the character behind the one at `at`.
fn boundary_behind(line: &[u8], at: usize) -> usize {
    (at + 1..line.len())
        .find(|&next| boundary(line, next) == next)
        .unwrap_or(line.len().max(at + 1))
}

/// Up to `count` lines that end in front of `start`, in their order.
fn lines_before(text: &[u8], start: usize, count: usize) -> Vec<String> {
    let mut lines: Vec<String> = text[..start]
        .strip_suffix(b"\n")
        .into_iter()
        .flat_map(|front| front.rsplit(|&byte| byte == b'\n'))
        .take(count)
        .map(shown)
        .collect();
    lines.reverse();
    lines
}

/// Up to `count` lines behind the line that ends at `end`.
fn lines_after(text: &[u8], end: usize, count: usize) -> Vec<String> {
    let behind = text.get(end + 1..).unwrap_or_default();
    behind
        .split_inclusive(|&byte| byte == b'\n')
        .take(count)
        .map(shown)
        .collect()
}

/// A context line for people.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    String::from_utf8_lossy(&line[..boundary(line, line.len().min(MAX_LINE_BYTES))]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_pool::BytePool;

    fn shown_hit(query: &str, text: &str) -> Hit {
        let pattern = Pattern::new(query, true, false).unwrap();
        let pool = BytePool::new(0);
        let budget = Budget::new(None, &|| false, &pool);
        let mut first = None;
        let each = |line| {
            first = Some(line);
            false
        };
        pattern.lines(text.as_bytes(), &budget, each).unwrap();
        let line = first.unwrap();
        show(&[pattern], text.as_bytes(), line.start, line.end, &budget).unwrap()
    }

    #[test]
    fn columns_and_marks_count_characters() {
        let hit = shown_hit("a+", "b\n\u{e9}\u{e9}aa b a\n");
        assert_eq!((hit.text.as_str(), hit.column), ("\u{e9}\u{e9}aa b a", 3));
        assert_eq!(hit.spans, [(2, 4), (7, 8)]);
    }

    #[test]
    fn long_lines_are_cut_around_the_match_between_characters() {
        let text = format!("{}needle{}", "\u{e9}".repeat(3001), "\u{20ac}".repeat(3000));
        let hit = shown_hit("needle", &text);
        assert_eq!(hit.column - hit.offset, hit.spans[0].0 + 1);
        assert!(hit.cut && hit.text.len() <= MAX_LINE_BYTES && hit.column == 3002);
        let (start, end) = hit.spans[0];
        let marked: String = hit
            .text
            .chars()
            .skip(start as usize)
            .take((end - start) as usize)
            .collect();
        assert_eq!(marked, "needle");
    }

    #[test]
    fn marks_that_overlap_are_one() {
        assert_eq!(
            joined(vec![(5, 7), (0, 3), (2, 4), (7, 8)]),
            [(0, 4), (5, 7), (7, 8)]
        );
    }

    #[test]
    fn empty_matches_end() {
        assert_eq!(shown_hit("x*", "a\u{e9}b").spans, []);
        assert_eq!(shown_hit("$", "\n").spans, []);
    }

    #[test]
    fn context_stops_at_the_ends_of_the_file() {
        let text = b"one\ntwo\nthree\nfour";
        assert_eq!(lines_before(text, 8, 5), ["one", "two"]);
        assert_eq!(lines_before(text, 8, 1), ["two"]);
        assert_eq!(lines_before(text, 0, 3), Vec::<String>::new());
        assert_eq!(lines_after(text, 7, 5), ["three", "four"]);
        assert_eq!(lines_after(text, 18, 5), Vec::<String>::new());
    }
}

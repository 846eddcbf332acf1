//! The richer queries of `/search`: files in the order of their paths, a limit, context.
//!
//! Candidate files are searched in waves that grow, each spread over threads, until the limit is
//! reached: a common needle costs a few files, a rare one is searched everywhere at full width.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::filter::PathFilter;
use super::pattern::{Pattern, PatternError};
use super::request::{Answer, Hit, Request};
use crate::index::{IndexError, Snapshot};
use crate::parallel;

/// Files in the first wave, and by how much the next is larger.
const FIRST_WAVE: usize = 16;
const WAVE_GROWTH: usize = 4;

/// A longer line is cut around its first match, in bytes.
const MAX_LINE_BYTES: usize = 1000;

/// Matches of one line that are marked.
const MAX_SPANS: usize = 100;

/// Why a search was refused or failed.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The query is no good.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The path pattern is no good.
    #[error("bad path pattern: {0}")]
    Glob(#[from] globset::Error),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Checks a request without running it, as the master does before it asks the nodes.
pub fn check(request: &Request) -> Result<(), SearchError> {
    Pattern::new(&request.query, request.regex, request.ignore_case)?;
    request.path.as_deref().map(PathFilter::new).transpose()?;
    Ok(())
}

/// Answers a request on up to `threads` threads.
pub fn search(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
) -> Result<Answer, SearchError> {
    let pattern = Pattern::new(&request.query, request.regex, request.ignore_case)?;
    let filter = request.path.as_deref().map(PathFilter::new).transpose()?;
    let files = candidates(snapshot, &pattern, filter.as_ref())?;
    let deadline = Instant::now() + Duration::from_millis(request.time_limit_ms);
    let wave = Wave {
        snapshot,
        request,
        pattern: &pattern,
        deadline,
    };
    let mut answer = Answer {
        pruned: pattern.plan().prunes(),
        ..Answer::default()
    };
    let (mut rest, mut size) = (files.as_slice(), FIRST_WAVE);
    while !rest.is_empty() && answer.hits.len() <= request.limit && !answer.timed_out {
        let (now, later) = rest.split_at(size.min(rest.len()));
        let (hits, complete) = wave.run(now, threads)?;
        answer.hits.extend(hits);
        answer.timed_out = !complete;
        (rest, size) = (later, size * WAVE_GROWTH);
    }
    answer.more = answer.hits.len() > request.limit || answer.timed_out;
    answer.hits.truncate(request.limit);
    Ok(answer)
}

/// A file that may match: positions of its segment and of itself there.
type Candidate = (usize, usize);

/// The files that may match, in the order of their paths.
fn candidates(
    snapshot: &Snapshot,
    pattern: &Pattern,
    filter: Option<&PathFilter>,
) -> Result<Vec<Candidate>, IndexError> {
    let mut files: Vec<Candidate> = Vec::new();
    for (at, live) in snapshot.segments.iter().enumerate() {
        let mut chunks = pattern.plan().candidates(&live.segment)?;
        chunks.subtract(&live.dead_chunks);
        let mut last = None;
        for chunk in chunks.iter() {
            let file = live.segment.file_of(chunk);
            if last != Some(file) {
                last = Some(file);
                files.push((at, file));
            }
        }
    }
    let path =
        |&(segment, file): &Candidate| &*snapshot.segments[segment].segment.files()[file].path;
    if let Some(filter) = filter {
        files.retain(|file| filter.admits(path(file)));
    }
    files.sort_unstable_by(|a, b| path(a).cmp(path(b)));
    Ok(files)
}

/// What all waves of a search share.
struct Wave<'a> {
    snapshot: &'a Snapshot,
    request: &'a Request,
    pattern: &'a Pattern,
    deadline: Instant,
}

impl Wave<'_> {
    /// Hits of `files` in their order, and whether all were searched in time.
    fn run(&self, files: &[Candidate], threads: usize) -> Result<(Vec<Hit>, bool), IndexError> {
        // A wave of a few files is done sooner than a thread starts.
        let threads = if files.len() <= FIRST_WAVE {
            1
        } else {
            threads
        };
        let (found, _) = parallel::map(files, threads, Vec::new, |text, &(segment, file)| {
            if Instant::now() > self.deadline {
                return Ok(None);
            }
            let segment = &self.snapshot.segments[segment].segment;
            segment.read_file(file, text)?;
            Ok(Some(self.file(&segment.files()[file].path, text)))
        })?;
        let complete = found.iter().all(Option::is_some);
        Ok((found.into_iter().flatten().flatten().collect(), complete))
    }

    /// Hits of one file, at most one more than the limit.
    fn file(&self, path: &str, text: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        let (mut line, mut counted) = (1, 0);
        for range in self.pattern.lines(text).take(self.request.limit + 1) {
            line += memchr::memchr_iter(b'\n', &text[counted..range.start]).count() as u64;
            counted = range.start;
            let shown = show(self.pattern, text, range.start, range.end);
            let context = self.request.context;
            hits.push(Hit {
                file: path.to_owned(),
                line,
                before: lines_before(text, range.start, context),
                after: lines_after(text, range.end, context),
                ..shown
            });
        }
        hits
    }
}

/// A matching line for people: text, column, marks.
fn show(pattern: &Pattern, text: &[u8], start: usize, end: usize) -> Hit {
    // Matching goes on in the whole text up to the end of the line, so that an assertion at the
    // start of the line sees what is in front of it.
    let upto = &text[..end];
    let line = &text[start..end];
    let first = pattern.find(upto, start).map_or(start, |found| found.start) - start;
    let chars = |from: usize, to: usize| String::from_utf8_lossy(&line[from..to]).chars().count();
    let (from, to) = if line.len() <= MAX_LINE_BYTES {
        (0, line.len())
    } else {
        let from = boundary(line, first.saturating_sub(MAX_LINE_BYTES / 4));
        (
            from,
            boundary(line, (from + MAX_LINE_BYTES).min(line.len())),
        )
    };
    let mut spans = Vec::new();
    let mut at = start + from;
    while let Some(found) = pattern.find(upto, at) {
        let (open, close) = (found.start - start, (found.end - start).min(to));
        if open >= to || spans.len() == MAX_SPANS {
            break;
        }
        if close > open {
            let open_chars = chars(from, open) as u64;
            spans.push((open_chars, open_chars + chars(open, close) as u64));
        }
        // An empty match would be found again for ever.
        at = if found.is_empty() {
            start + boundary_behind(line, found.end - start)
        } else {
            found.end
        };
        if at > end {
            break;
        }
    }
    Hit {
        file: String::new(),
        line: 0,
        column: chars(0, first) as u64 + 1,
        text: String::from_utf8_lossy(&line[from..to]).into_owned(),
        spans,
        cut: to - from < line.len(),
        before: Vec::new(),
        after: Vec::new(),
    }
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

    fn shown_hit(query: &str, text: &str) -> Hit {
        let pattern = Pattern::new(query, true, false).unwrap();
        let line = pattern.lines(text.as_bytes()).next().unwrap();
        show(&pattern, text.as_bytes(), line.start, line.end)
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

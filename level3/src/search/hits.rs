//! The richer queries of `/search`: files in the order of their paths, a limit, context.
//!
//! A search has two steps. The first finds matching lines: candidate files are searched in waves
//! that grow, each spread over threads, until the limit is reached, so that a common needle costs
//! a few files and a rare one is searched everywhere at full width. A line found costs a few bytes.
//! The second makes hits for people, with text, marks and context, of those lines that are to be
//! returned, one after the other within a budget of bytes. [`count`] is the first step alone.

use std::time::Duration;

use thiserror::Error;

use super::budget::{Budget, BytePool, REQUEST_BYTES, Spent};
use super::filter::{FilterError, PathFilter};
use super::pattern::{Pattern, PatternError};
use super::request::{Answer, Counts, Request};
use super::show::Shower;
use crate::index::{ChunkSet, IndexError, Snapshot};
use crate::parallel;

/// Files in the first wave, by how much the next is larger, and in the largest. What a wave finds
/// beyond the limit is for nothing.
const FIRST_WAVE: usize = 16;
const WAVE_GROWTH: usize = 4;
const MAX_WAVE: usize = 4096;

/// Why a search was refused or failed.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The query is no good.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The path pattern is no good.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Whoever asked has gone.
    #[error("whoever asked has gone")]
    Abandoned,
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
    let pool = BytePool::new(REQUEST_BYTES * 4);
    let limit = Duration::from_millis(request.time_limit_ms);
    let budget = Budget::new(Some(limit), &|| false, &pool);
    search_within(snapshot, request, threads, &budget)
}

/// Answers a request on up to `threads` threads and within a budget.
pub(crate) fn search_within(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Answer, SearchError> {
    let scan = Scan::new(snapshot, request, budget)?;
    let wanted = request.skip.saturating_add(request.limit);
    let found = scan.run(wanted, threads)?;
    let mut answer = Answer {
        more: found.more,
        timed_out: found.timed_out,
        cut: found.cut,
        pruned: scan.pattern.plan().prunes(),
        ..Answer::default()
    };
    let mut skip = request.skip;
    let mut shower = Shower::new(snapshot, &scan.pattern, request.context, budget);
    let mut bytes = 0;
    for (candidate, lines) in &found.files {
        let skipped = skip.min(lines.len());
        skip -= skipped;
        if skipped == lines.len() {
            continue;
        }
        shower.open(candidate.segment, candidate.file)?;
        for line in &lines[skipped..] {
            if answer.hits.len() == request.limit {
                answer.more = true;
                return Ok(answer);
            }
            let (hit, cost) = shower.show(*line)?;
            bytes += cost;
            if !answer.hits.is_empty() && (bytes > REQUEST_BYTES || !budget.take(cost)) {
                (answer.more, answer.cut) = (true, true);
                return Ok(answer);
            }
            answer.hits.push(hit);
        }
    }
    Ok(answer)
}

/// How many lines of each file match: the files in the order of their paths, and up to
/// `request.skip + request.limit` lines in all.
pub(crate) fn count(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Counts, SearchError> {
    let scan = Scan::new(snapshot, request, budget)?;
    let wanted = request.skip.saturating_add(request.limit);
    let found = scan.run(wanted, threads)?;
    let mut counts = Counts {
        files: Vec::new(),
        more: found.more,
        timed_out: found.timed_out,
    };
    let mut left = wanted;
    for (candidate, lines) in &found.files {
        let count = lines.len().min(left);
        left -= count;
        counts.more |= count < lines.len();
        if count > 0 {
            counts.files.push((scan.path(candidate).to_owned(), count));
        }
    }
    Ok(counts)
}

/// A file that may match: positions of its segment and of itself there.
#[derive(Clone, Copy)]
struct Candidate {
    segment: usize,
    file: usize,
}

/// A matching line: its number, and where it is in the text of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counting from 1.
    pub number: u32,
    pub start: u32,
    pub end: u32,
}

/// The first step: what to look for, and where.
struct Scan<'a> {
    snapshot: &'a Snapshot,
    pattern: Pattern,
    /// The chunks of each segment that may match.
    chunks: Vec<ChunkSet>,
    /// Their files in the order of their paths.
    files: Vec<Candidate>,
    budget: &'a Budget<'a>,
}

/// What the first step found.
#[derive(Default)]
struct Found {
    files: Vec<(Candidate, Vec<Line>)>,
    /// Whether there may be more.
    more: bool,
    timed_out: bool,
    /// Whether it ends where memory did.
    cut: bool,
}

/// The lines found in one file, and whether that is all of it.
type Searched = (Vec<Line>, bool);

impl<'a> Scan<'a> {
    fn new(
        snapshot: &'a Snapshot,
        request: &Request,
        budget: &'a Budget<'a>,
    ) -> Result<Self, SearchError> {
        let pattern = Pattern::new(&request.query, request.regex, request.ignore_case)?;
        let filter = request.path.as_deref().map(PathFilter::new).transpose()?;
        let (mut chunks, mut files) = (Vec::new(), Vec::new());
        for (segment, live) in snapshot.segments.iter().enumerate() {
            let mut candidates = pattern.plan().candidates(&live.segment)?;
            candidates.subtract(&live.dead_chunks);
            let mut last = None;
            for chunk in candidates.iter() {
                let file = live.segment.file_of(chunk);
                if last.replace(file) != Some(file) {
                    files.push(Candidate { segment, file });
                }
            }
            chunks.push(candidates);
        }
        let mut scan = Self {
            snapshot,
            pattern,
            chunks,
            files,
            budget,
        };
        let mut files = std::mem::take(&mut scan.files);
        if let Some(filter) = filter {
            files.retain(|file| filter.admits(scan.path(file)));
        }
        files.sort_unstable_by(|a, b| scan.path(a).cmp(scan.path(b)));
        scan.files = files;
        Ok(scan)
    }

    fn path(&self, candidate: &Candidate) -> &str {
        let segment = &self.snapshot.segments[candidate.segment].segment;
        &segment.files()[candidate.file].path
    }

    /// Finds at least `wanted` lines and whether there is one more, or all that there are.
    fn run(&self, wanted: usize, threads: usize) -> Result<Found, SearchError> {
        let mut found = Found::default();
        let (mut rest, mut size, mut lines) = (self.files.as_slice(), FIRST_WAVE, 0);
        while !rest.is_empty() && lines <= wanted && !found.more {
            let (now, later) = rest.split_at(size.min(rest.len()));
            // A wave of a few files is done sooner than a thread starts.
            let threads = if now.len() <= FIRST_WAVE { 1 } else { threads };
            let room = wanted + 1 - lines;
            let search = |text: &mut Vec<u8>, file: &Candidate| self.file(*file, room, text);
            let (searched, _) = parallel::map(now, threads, Vec::new, search)?;
            let is_late = self.budget.check().is_err();
            for (file, (in_file, complete)) in now.iter().zip(searched) {
                lines += in_file.len();
                if !in_file.is_empty() {
                    found.files.push((*file, in_file));
                }
                found.more |= !complete;
                if !complete && !is_late {
                    // What is behind would not be what comes next.
                    found.cut = true;
                    break;
                }
            }
            (rest, size) = (later, (size * WAVE_GROWTH).min(MAX_WAVE));
        }
        match self.budget.check() {
            Err(Spent::Asker) => return Err(SearchError::Abandoned),
            Err(Spent::Time) => found.timed_out = true,
            Ok(()) => {}
        }
        found.more |= found.timed_out || lines > wanted;
        Ok(found)
    }

    /// The first matching lines of a file, up to `room`.
    fn file(
        &self,
        Candidate { segment: at, file }: Candidate,
        room: usize,
        text: &mut Vec<u8>,
    ) -> Result<Searched, SearchError> {
        let segment = &self.snapshot.segments[at].segment;
        let row = &segment.files()[file];
        let chunks = row.first_chunk as usize..(row.first_chunk + row.chunks) as usize;
        let (mut lines, mut complete) = (Vec::new(), true);
        let mut offset = 0;
        let mut chunk = chunks.start;
        while chunk < chunks.end && lines.len() < room && complete {
            // Neighbours are read and searched in one go.
            let is_candidate = |chunk: &usize| self.chunks[at].contains(*chunk);
            let run = (chunk..chunks.end).take_while(is_candidate).count();
            if run == 0 {
                offset += segment.chunk_bytes(chunk);
                chunk += 1;
                continue;
            }
            if self.budget.check().is_err() {
                return Ok((lines, false));
            }
            segment.read(chunk, run, text)?;
            let skipped = if offset == 0 { bom(text) } else { 0 };
            let mut number = segment.lines_before(chunk) + 1;
            let searched = &text[skipped..];
            let mut counted = 0;
            let each = |line: std::ops::Range<usize>| {
                let newlines = memchr::memchr_iter(b'\n', &searched[counted..line.start]).count();
                number += newlines as u32;
                counted = line.start;
                if !self.budget.take(size_of::<Line>()) {
                    complete = false;
                    return false;
                }
                lines.push(Line {
                    number,
                    start: (offset + skipped + line.start) as u32,
                    end: (offset + skipped + line.end) as u32,
                });
                lines.len() < room
            };
            let outcome = self.pattern.lines(searched, self.budget, each);
            if outcome.is_err() {
                return Ok((lines, false));
            }
            offset += text.len();
            chunk += run;
        }
        Ok((lines, complete))
    }
}

/// Bytes of the mark that some editors put at the start of a file. It is no part of the first line.
pub(super) fn bom(text: &[u8]) -> usize {
    const BOM: &[u8] = "\u{feff}".as_bytes();
    if text.starts_with(BOM) { BOM.len() } else { 0 }
}

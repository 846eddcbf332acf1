//! The first step of a search: which lines match.
//!
//! Candidate files are searched in the order of their paths, in waves that grow, each spread over
//! threads, until the limit is reached; so a common needle costs a few files, and a rare one is
//! searched everywhere at full width. A line found costs a few bytes.

use std::ops::Range;

use super::budget::{Budget, Spent};
use super::filter::FileFilter;
use super::hits::SearchError;
use super::lines::LineMatcher;
use super::query::Query;
use crate::index::{ChunkSet, FileRow, IndexError, Snapshot};
use crate::parallel;

/// Files in the first wave, by how much the next is larger, and in the largest. What a wave finds
/// beyond the limit is for nothing.
const FIRST_WAVE: usize = 16;
const WAVE_GROWTH: usize = 4;
const MAX_WAVE: usize = 4096;

/// A file that may match: positions of its segment and of itself there.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub segment: usize,
    pub file: usize,
}

/// A matching line: its number, and where it is in the text of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counting from 1.
    pub number: u32,
    pub start: u32,
    pub end: u32,
}

/// What to look for, and where.
pub(super) struct Scan<'a> {
    snapshot: &'a Snapshot,
    pub matcher: LineMatcher,
    /// The chunks of each segment that may match.
    chunks: Vec<ChunkSet>,
    /// Their files in the order of their paths.
    pub files: Vec<Candidate>,
    budget: &'a Budget<'a>,
}

/// What the first step found.
#[derive(Default)]
pub(super) struct Found {
    pub files: Vec<(Candidate, Vec<Line>)>,
    /// Whether there may be more.
    pub more: bool,
    pub timed_out: bool,
    /// Whether it ends where memory did.
    pub cut: bool,
}

/// The lines found in one file, and whether that is all of it.
type Searched = (Vec<Line>, bool);

/// A matching line as it is found.
pub(super) struct Place<'a> {
    /// Whole lines that were searched in one go.
    pub text: &'a [u8],
    /// Where the line is in it.
    pub line: Range<usize>,
    /// Where `text` starts in the text of the file.
    pub offset: usize,
    /// Lines of the file in front of `text`.
    pub lines_before: u32,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        query: &Query,
        budget: &'a Budget<'a>,
    ) -> Result<Self, SearchError> {
        let matcher = LineMatcher::new(query)?;
        let (mut chunks, mut files) = (Vec::new(), Vec::new());
        for (segment, live) in snapshot.segments.iter().enumerate() {
            let mut candidates = matcher.plan().candidates(&live.segment)?;
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
        let files = in_order(snapshot, files, &FileFilter::new(&query.files)?);
        Ok(Self {
            snapshot,
            matcher,
            chunks,
            files,
            budget,
        })
    }

    pub(super) fn path(&self, candidate: &Candidate) -> &'a str {
        &row(self.snapshot, candidate).path
    }

    /// Finds at least `wanted` lines and whether there is one more, or all that there are.
    pub(super) fn run(&self, wanted: usize, threads: usize) -> Result<Found, SearchError> {
        let mut found = Found::default();
        let (mut rest, mut size, mut lines) = (self.files.as_slice(), FIRST_WAVE, 0);
        while !rest.is_empty() && lines <= wanted && !found.more {
            let (now, later) = rest.split_at(size.min(rest.len()));
            // A wave of a few files is done sooner than a thread starts.
            let threads = if now.len() <= FIRST_WAVE { 1 } else { threads };
            let room = wanted + 1 - lines;
            let search = |text: &mut Vec<u8>, file: &Candidate| self.lines(*file, room, text);
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
        found.timed_out = self.is_late()?;
        found.more |= found.timed_out || lines > wanted;
        Ok(found)
    }

    /// Whether the time is up; an error if nobody waits for the answer any more.
    pub(super) fn is_late(&self) -> Result<bool, SearchError> {
        match self.budget.check() {
            Err(Spent::Asker) => Err(SearchError::Abandoned),
            Err(Spent::Time) => Ok(true),
            Ok(()) => Ok(false),
        }
    }

    /// The first matching lines of a file, up to `room`.
    fn lines(
        &self,
        file: Candidate,
        room: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Searched, IndexError> {
        let (mut lines, mut is_out) = (Vec::new(), false);
        let mut counter = LineCounter::default();
        let complete = self.visit(file, buffer, |place| {
            if !self.budget.take(size_of::<Line>()) {
                is_out = true;
                return false;
            }
            lines.push(counter.line(&place));
            lines.len() < room
        })?;
        Ok((lines, complete && !is_out))
    }

    /// Calls `each` for the matching lines of a file until it says `false`. Returns `false` if the
    /// budget was spent before the end.
    pub(super) fn visit(
        &self,
        Candidate { segment: at, file }: Candidate,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(Place<'_>) -> bool,
    ) -> Result<bool, IndexError> {
        let segment = &self.snapshot.segments[at].segment;
        let row = &segment.files()[file];
        let chunks = row.first_chunk as usize..(row.first_chunk + row.chunks) as usize;
        let mut offset = 0;
        let mut chunk = chunks.start;
        while chunk < chunks.end {
            // Neighbours are read and searched in one go.
            let is_candidate = |chunk: &usize| self.chunks[at].contains(*chunk);
            let run = (chunk..chunks.end).take_while(is_candidate).count();
            if run == 0 {
                offset += segment.chunk_bytes(chunk);
                chunk += 1;
                continue;
            }
            if self.budget.check().is_err() {
                return Ok(false);
            }
            let text = segment.read(chunk, run, buffer)?;
            let skipped = if offset == 0 { bom(text) } else { 0 };
            let searched = &text[skipped..];
            let mut goes_on = true;
            let outcome = self.matcher.lines(searched, self.budget, |line| {
                goes_on = each(Place {
                    text: searched,
                    line,
                    offset: offset + skipped,
                    lines_before: segment.lines_before(chunk),
                });
                goes_on
            });
            if outcome.is_err() {
                return Ok(false);
            }
            if !goes_on {
                return Ok(true);
            }
            offset += text.len();
            chunk += run;
        }
        Ok(true)
    }
}

/// Numbers the lines of a file as they are found.
#[derive(Default)]
pub(super) struct LineCounter {
    /// Where the text begins that is counted in.
    offset: Option<usize>,
    counted: usize,
    number: u32,
}

impl LineCounter {
    /// The line at this place. Places come in their order.
    pub(super) fn line(&mut self, place: &Place<'_>) -> Line {
        if self.offset.replace(place.offset) != Some(place.offset) {
            (self.counted, self.number) = (0, place.lines_before + 1);
        }
        let Range { start, end } = place.line;
        let newlines = memchr::memchr_iter(b'\n', &place.text[self.counted..start]).count();
        self.number += newlines as u32;
        self.counted = start;
        Line {
            number: self.number,
            start: (place.offset + start) as u32,
            end: (place.offset + end) as u32,
        }
    }
}

/// The files that can be found by their names, in the order of their paths.
pub(super) fn named_files(
    snapshot: &Snapshot,
    query: &Query,
) -> Result<Vec<Candidate>, SearchError> {
    let filter = FileFilter::new(&query.files)?;
    let mut files = Vec::new();
    for (segment, live) in snapshot.segments.iter().enumerate() {
        let with_text = live.files().filter(|(_, row)| row.reject.is_none());
        files.extend(with_text.map(|(file, _)| Candidate { segment, file }));
    }
    Ok(in_order(snapshot, files, &filter))
}

pub(super) fn row<'a>(snapshot: &'a Snapshot, candidate: &Candidate) -> &'a FileRow {
    let segment = &snapshot.segments[candidate.segment].segment;
    &segment.files()[candidate.file]
}

/// The files that the filter admits, by path. They come in a run for each segment that is in order
/// already, which a stable sort makes use of.
fn in_order(snapshot: &Snapshot, mut files: Vec<Candidate>, filter: &FileFilter) -> Vec<Candidate> {
    let path = |file: &Candidate| &*row(snapshot, file).path;
    if !filter.is_empty() {
        files.retain(|file| filter.admits(path(file)));
    }
    files.sort_by(|a, b| path(a).cmp(path(b)));
    files
}

/// Bytes of the mark that some editors put at the start of a file. It is no part of the first line.
pub(super) fn bom(text: &[u8]) -> usize {
    const BOM: &[u8] = "\u{feff}".as_bytes();
    if text.starts_with(BOM) { BOM.len() } else { 0 }
}

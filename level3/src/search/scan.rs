//! The first step of a search: which lines match.
//!
//! A [`Scan`] knows which chunks of which files can have a match, and finds the lines in one file. A
//! line found costs a few bytes. [`first`](super::first) finds the first ones of all files.

use std::ops::Range;
use std::sync::OnceLock;

use super::budget::{Budget, Spent};
use super::filter::FileFilter;
use super::hits::SearchError;
use super::lines::LineMatcher;
use super::query::Query;
use crate::index::{ChunkSet, FileRow, IndexError, Snapshot};

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
    filter: FileFilter,
    /// The chunks of each segment that may match, once they were asked for.
    chunks: Vec<OnceLock<ChunkSet>>,
    budget: &'a Budget<'a>,
}

/// The lines found in one file, and whether that is all of it.
pub(super) type Searched = (Vec<Line>, bool);

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
        Ok(Self {
            snapshot,
            matcher: LineMatcher::new(query)?,
            filter: FileFilter::new(&query.files)?,
            chunks: snapshot.segments.iter().map(|_| OnceLock::new()).collect(),
            budget,
        })
    }

    pub(super) fn path(&self, candidate: &Candidate) -> &'a str {
        &row(self.snapshot, candidate).path
    }

    /// The segments in the order of their first paths.
    pub(super) fn segments_by_path(&self) -> Vec<usize> {
        let mut segments: Vec<usize> = (0..self.snapshot.segments.len()).collect();
        segments.sort_by_key(|segment| self.first_path(*segment));
        segments
    }

    /// The path in front of all others of a segment.
    pub(super) fn first_path(&self, segment: usize) -> &'a str {
        let first = self.snapshot.segments[segment].segment.files().first();
        first.map_or("", |row| &row.path)
    }

    /// The files of a segment that may match, in the order of their paths.
    pub(super) fn candidates(&self, segment: usize) -> Result<Vec<Candidate>, IndexError> {
        let live = &self.snapshot.segments[segment];
        let mut chunks = self.matcher.plan().candidates(&live.segment)?;
        chunks.subtract(&live.dead_chunks);
        let mut files: Vec<Candidate> = Vec::new();
        for chunk in chunks.iter() {
            let file = live.segment.file_of(chunk);
            if files.last().is_none_or(|last| last.file != file) {
                files.push(Candidate { segment, file });
            }
        }
        // The same, if it is there already.
        self.chunks[segment].get_or_init(|| chunks);
        if !self.filter.is_empty() {
            files.retain(|file| self.filter.admits(self.path(file)));
        }
        Ok(files)
    }

    /// All files that may match, in the order of their paths.
    pub(super) fn files(&self) -> Result<Vec<Candidate>, IndexError> {
        let mut files = Vec::new();
        for segment in 0..self.snapshot.segments.len() {
            files.extend(self.candidates(segment)?);
        }
        self.sort(&mut files);
        Ok(files)
    }

    /// Brings files into the order of their paths. Those of a segment are in order already, which a
    /// stable sort makes use of.
    pub(super) fn sort(&self, files: &mut [Candidate]) {
        files.sort_by(|a, b| self.path(a).cmp(self.path(b)));
    }

    /// Whether the time is up; an error if nobody waits for the answer any more.
    pub(super) fn is_late(&self) -> Result<bool, SearchError> {
        match self.budget.check() {
            Err(Spent::Asker) => Err(SearchError::Abandoned),
            Err(Spent::Time) => Ok(true),
            Ok(()) => Ok(false),
        }
    }

    /// Whether the budget is spent.
    pub(super) fn is_spent(&self) -> bool {
        self.budget.check().is_err()
    }

    /// The first matching lines of a file, up to `room`.
    pub(super) fn lines(
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
            let is_candidate = |chunk: &usize| {
                let candidates = self.chunks[at].get();
                candidates.is_some_and(|candidates| candidates.contains(*chunk))
            };
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
        let admitted = with_text.filter(|(_, row)| filter.admits(&row.path));
        files.extend(admitted.map(|(file, _)| Candidate { segment, file }));
    }
    let path = |file: &Candidate| &*row(snapshot, file).path;
    files.sort_by(|a, b| path(a).cmp(path(b)));
    Ok(files)
}

pub(super) fn row<'a>(snapshot: &'a Snapshot, candidate: &Candidate) -> &'a FileRow {
    let segment = &snapshot.segments[candidate.segment].segment;
    &segment.files()[candidate.file]
}

/// Bytes of the mark that some editors put at the start of a file. It is no part of the first line.
pub(super) fn bom(text: &[u8]) -> usize {
    const BOM: &[u8] = "\u{feff}".as_bytes();
    if text.starts_with(BOM) { BOM.len() } else { 0 }
}

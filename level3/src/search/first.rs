//! The first lines of a shard that match, in the order of paths.
//!
//! Segments are looked at one after the other, by the first of their paths: which chunks of a segment
//! can match is asked of its index only when its turn comes. The files of those chunks are searched in
//! waves that grow, each spread over threads, until there are enough lines, which ends a wave early as
//! well. So a common needle costs a few files, and a rare one is searched everywhere at full width.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::hits::SearchError;
use super::scan::{Candidate, Line, Scan, Searched};
use crate::index::IndexError;
use crate::parallel;

/// Files in the first wave, by how much the next is larger, and in the largest.
const FIRST_WAVE: usize = 16;
const WAVE_GROWTH: usize = 4;
const MAX_WAVE: usize = 4096;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub files: Vec<(Candidate, Vec<Line>)>,
    /// Whether there may be more.
    pub more: bool,
    pub timed_out: bool,
    /// Whether it ends where memory did.
    pub cut: bool,
}

/// Finds at least `wanted` lines and whether there is one more, or all that there are.
pub(super) fn lines(scan: &Scan<'_>, wanted: usize, threads: usize) -> Result<Found, SearchError> {
    let mut first = First {
        scan,
        wanted,
        threads,
        wave: FIRST_WAVE,
        lines: 0,
        found: Found::default(),
    };
    let segments = scan.segments_by_path();
    let mut files = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        if first.is_done() {
            break;
        }
        files.extend(scan.candidates(*segment)?);
        scan.sort(&mut files);
        // The next segment may have files between those that are left.
        let next = segments.get(at + 1).map(|next| scan.first_path(*next));
        let is_ready = |file: &Candidate| next.is_none_or(|next| scan.path(file) < next);
        let ready = files.partition_point(is_ready);
        first.search(&files[..ready])?;
        files.drain(..ready);
    }
    let mut found = first.found;
    found.timed_out = scan.is_late()?;
    found.more |= found.timed_out || first.lines > wanted;
    Ok(found)
}

/// The search at work.
struct First<'s, 'a> {
    scan: &'s Scan<'a>,
    wanted: usize,
    threads: usize,
    /// Files in the next wave.
    wave: usize,
    /// Lines found so far.
    lines: usize,
    found: Found,
}

impl First<'_, '_> {
    fn is_done(&self) -> bool {
        self.lines > self.wanted || self.found.more
    }

    /// Searches further files.
    fn search(&mut self, mut files: &[Candidate]) -> Result<(), IndexError> {
        while !files.is_empty() && !self.is_done() {
            let now = self.wave.min(files.len());
            let done = self.search_wave(&files[..now])?;
            files = &files[done..];
            self.wave = (self.wave * WAVE_GROWTH).min(MAX_WAVE);
        }
        Ok(())
    }

    /// Searches the files of a wave, and says how many of them, one at least, were done with.
    fn search_wave(&mut self, wave: &[Candidate]) -> Result<usize, IndexError> {
        // A wave of a few files is done sooner than a thread starts.
        let threads = if wave.len() <= FIRST_WAVE {
            1
        } else {
            self.threads
        };
        let (scan, wanted) = (self.scan, self.wanted);
        let room = wanted + 1 - self.lines;
        let so_far = AtomicUsize::new(self.lines);
        let search = |text: &mut Vec<u8>, at: &usize| -> Result<Option<Searched>, IndexError> {
            // Relaxed: a thread that learns of it later only wastes work. The first file is searched
            // in any case, so that a wave always leads on.
            if *at > 0 && so_far.load(Ordering::Relaxed) > wanted {
                return Ok(None);
            }
            let searched = scan.lines(wave[*at], room, text)?;
            so_far.fetch_add(searched.0.len(), Ordering::Relaxed);
            Ok(Some(searched))
        };
        let places: Vec<usize> = (0..wave.len()).collect();
        let (searched, _) = parallel::map(&places, threads, Vec::new, search)?;
        let is_late = scan.is_spent();
        for ((at, file), searched) in wave.iter().enumerate().zip(searched) {
            let Some((lines, complete)) = searched else {
                // Lines behind this file may have been the reason, and do not count before its own.
                return Ok(at);
            };
            self.lines += lines.len();
            if !lines.is_empty() {
                self.found.files.push((*file, lines));
            }
            self.found.more |= !complete;
            if !complete && !is_late {
                // What is behind would not be what comes next.
                self.found.cut = true;
                break;
            }
        }
        Ok(wave.len())
    }
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::byte_pool::BytePool;
    use crate::corpus::Stamp;
    use crate::index::builder::SegmentBuilder;
    use crate::index::{Identity, Live, Segment, Snapshot};
    use crate::search::budget::Budget;
    use crate::search::query::{Query, Term};

    const SEGMENTS: usize = 4;

    fn query() -> Query {
        let term = Term {
            text: "needle".to_owned(),
            regex: false,
            ignore_case: false,
        };
        Query {
            all: vec![term],
            ..Query::default()
        }
    }

    /// A file: how many of its lines match, the segment that it is in, and one that has it as it was
    /// before, if that is another.
    type File = (u32, usize, usize);

    /// Segments with these files, each by its number.
    fn snapshot(dir: &Path, files: &BTreeMap<u8, File>) -> Snapshot {
        let segment = |at: usize| {
            let number = at as u64 + 1;
            let mut builder = SegmentBuilder::new(dir, number).unwrap();
            let mut dead = Vec::new();
            let inside = files
                .iter()
                .filter(|(_, (_, now, before))| [*now, *before].contains(&at));
            for (row, (name, (lines, now, _))) in inside.enumerate() {
                // As it was before, it matched more often.
                let lines = if *now == at { *lines } else { lines + 3 };
                let text = "needle\nother\n".repeat(lines as usize);
                let path = format!("file-{name:03}");
                builder
                    .add(&path, Stamp::default(), text.as_bytes())
                    .unwrap();
                if *now != at {
                    dead.push(row as u32);
                }
            }
            builder.finish().unwrap();
            Live::new(Arc::new(Segment::open(dir, number).unwrap()), dead)
        };
        Snapshot {
            identity: Identity::default(),
            segments: (0..SEGMENTS).map(segment).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// However files are spread over segments and threads, the first lines are found.
        #[test]
        fn what_is_found_are_the_first_lines(
            files in prop::collection::btree_map(any::<u8>(), (0..4_u32, 0..SEGMENTS, 0..SEGMENTS), 0..80),
            wanted in 0..60_usize,
            threads in 1..4_usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let snapshot = snapshot(dir.path(), &files);
            let all: Vec<(String, u32)> = files
                .iter()
                .flat_map(|(name, (lines, ..))| {
                    (0..*lines).map(move |line| (format!("file-{name:03}"), line * 2 + 1))
                })
                .collect();
            let pool = BytePool::new(1 << 20);
            let budget = Budget::new(None, &|| false, &pool);
            let scan = Scan::new(&snapshot, &query(), &budget).unwrap();
            let found = lines(&scan, wanted, threads).unwrap();
            let first: Vec<(String, u32)> = found
                .files
                .iter()
                .flat_map(|(file, lines)| {
                    let path = scan.path(file);
                    lines.iter().map(|line| (path.to_owned(), line.number))
                })
                .collect();
            prop_assert_eq!(&first[..], &all[..first.len()]);
            prop_assert!(first.len() == all.len() || first.len() > wanted);
            prop_assert_eq!(found.more, first.len() > wanted);
        }
    }
}

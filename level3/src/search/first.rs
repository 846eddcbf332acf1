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
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::corpus;
    use crate::index::{Identity, Progress, Shard};
    use crate::search::budget::{Budget, BytePool};
    use crate::search::query::{Query, Term};

    /// A place in a tree: the file's path and the number of the line.
    type At = (String, u32);

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

    /// Indexes the tree in `rounds`, each of which writes some files and so makes a segment of its
    /// own, and says which lines match.
    fn index(shard: &Shard, tree: &std::path::Path, rounds: &[Vec<(u8, u8)>]) -> Vec<At> {
        for (job, files) in (1..).zip(rounds) {
            for &(name, lines) in files {
                let path = tree.join(format!("file-{name:03}"));
                fs::write(path, "needle\nother\n".repeat(lines.into())).unwrap();
            }
            let identity = Identity {
                root: tree.to_str().unwrap().to_owned(),
                job,
                shard: 1,
                of: 1,
                ..Identity::default()
            };
            let entries = corpus::walk(tree).unwrap().entries;
            let progress = Progress::default();
            assert!(shard.update(identity, entries, 1, &progress).unwrap());
        }
        let mut paths: Vec<_> = fs::read_dir(tree)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        paths.sort();
        let lines = |path: std::path::PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let needles = fs::read_to_string(path).unwrap().matches("needle").count();
            (0..needles as u32).map(move |line| (name.clone(), line * 2 + 1))
        };
        paths.into_iter().flat_map(lines).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// However files are spread over segments and threads, the first lines are found.
        #[test]
        fn what_is_found_are_the_first_lines(
            rounds in prop::collection::vec(prop::collection::vec((0..120_u8, 0..4_u8), 1..40), 1..5),
            wanted in 0..60_usize,
            threads in 1..4_usize,
        ) {
            let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let shard = Shard::open(dir.path()).unwrap();
            let all = index(&shard, tree.path(), &rounds);
            let snapshot = shard.snapshot().unwrap();
            let pool = BytePool::new(1 << 20);
            let budget = Budget::new(None, &|| false, &pool);
            let scan = Scan::new(&snapshot, &query(), &budget).unwrap();
            let found = lines(&scan, wanted, threads).unwrap();
            let files = found.files.iter();
            let first: Vec<At> = files
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

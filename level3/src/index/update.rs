//! Bringing a shard up to date: keep what is unchanged, index the rest, commit.
//!
//! Unchanged files stay in their segments. Changed and vanished ones are marked dead there, and
//! what is new goes to new segments. Segments that became mostly dead, or too many small ones, are
//! rewritten on the way from their packed text, so that years of `--watch` do not wear a shard out.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use super::builder::SegmentBuilder;
use super::format::IndexError;
use super::manifest::Identity;
use super::segment::Segment;
use super::shard::{Live, Shard, Snapshot};
use crate::corpus::{self, Entry, Stamp};
use crate::parallel;

/// A segment below this size is worth merging with others, in bytes of text.
const SMALL_BYTES: u64 = 8 << 20;

/// How many small segments may gather before they are merged. Each costs a query some reads.
const MAX_SMALL: usize = 8;

/// Text below which splitting the work among threads is not worth another segment, in bytes.
const MIN_BATCH_BYTES: u64 = 4 << 20;

/// How far an update has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files to index.
    pub files_total: AtomicU64,
    /// Files indexed so far.
    pub files_done: AtomicU64,
    /// Bytes indexed so far.
    pub bytes_done: AtomicU64,
    /// Set to make the update stop at the next file.
    pub cancelled: AtomicBool,
}

/// Where the text of a file comes from.
enum Source {
    /// The tree.
    Disk(Entry),
    /// The packed text of a segment that is being rewritten.
    Packed { segment: Arc<Segment>, file: usize },
}

impl Source {
    fn path(&self) -> &str {
        match self {
            Self::Disk(entry) => &entry.path,
            Self::Packed { segment, file } => &segment.files()[*file].path,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Disk(entry) => entry.stamp.bytes.min(corpus::MAX_FILE_BYTES),
            Self::Packed { segment, file } => segment.files()[*file].stamp.bytes,
        }
    }
}

impl Shard {
    /// Makes the shard hold exactly the files `wanted` of the tree at `identity.root`, on up to
    /// `threads` threads, and returns the new state, or `None` if `progress` was cancelled.
    ///
    /// Files that cannot be indexed are recorded with their reason and stop nothing. Until the
    /// update is done, queries see the state before it; a kill leaves that state on disk.
    pub fn update(
        &self,
        identity: Identity,
        wanted: Vec<Entry>,
        threads: usize,
        progress: &Progress,
    ) -> Result<Option<Arc<Snapshot>>, IndexError> {
        let _only_one = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self
            .snapshot()
            .filter(|snapshot| snapshot.identity.root == identity.root);
        let old = before
            .as_ref()
            .map_or(&[][..], |snapshot| &snapshot.segments);
        let (mut segments, mut sources) = divide(old, wanted);
        sources.extend(take_worn_out(&mut segments));
        sources.sort_unstable_by(|a, b| a.path().cmp(b.path()));
        progress
            .files_total
            .store(sources.len() as u64, Ordering::Relaxed);
        let job = Job {
            dir: self.dir(),
            root: PathBuf::from(&identity.root),
            next_number: AtomicU64::new(last_number(self.dir())? + 1),
            progress,
        };
        let Some(numbers) = job.run(&batches(sources, threads), threads)? else {
            return Ok(None);
        };
        for number in numbers {
            segments.push(Live::new(
                Arc::new(Segment::open(self.dir(), number)?),
                Vec::new(),
            ));
        }
        self.commit(Snapshot { identity, segments }).map(Some)
    }
}

/// The greatest number of any segment file in `dir`. Files of a damaged shard count as well: a
/// query may still be reading them.
fn last_number(dir: &Path) -> Result<u64, IndexError> {
    let mut last = 0;
    for item in fs::read_dir(dir).map_err(IndexError::io(dir))? {
        let path = item.map_err(IndexError::io(dir))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        last = last.max(stem.and_then(|stem| stem.parse().ok()).unwrap_or(0));
    }
    Ok(last)
}

/// Splits what is wanted into files that the old segments have unchanged, and the others.
fn divide(old: &[Live], wanted: Vec<Entry>) -> (Vec<Live>, Vec<Source>) {
    let mut stamps: HashMap<String, Stamp> = wanted
        .into_iter()
        .map(|entry| (entry.path, entry.stamp))
        .collect();
    let mut kept = Vec::with_capacity(old.len());
    for live in old {
        let mut dead = live.dead.clone();
        for (file, row) in live.files() {
            if stamps.get(&*row.path) == Some(&row.stamp) {
                stamps.remove(&*row.path);
            } else {
                dead.push(file as u32);
            }
        }
        dead.sort_unstable();
        if dead.len() < live.segment.files().len() {
            kept.push(Live::new(Arc::clone(&live.segment), dead));
        }
    }
    let changed = stamps
        .into_iter()
        .map(|(path, stamp)| Source::Disk(Entry { path, stamp }));
    (kept, changed.collect())
}

/// Removes segments that should be rewritten and returns their live files.
fn take_worn_out(segments: &mut Vec<Live>) -> Vec<Source> {
    let small = segments
        .iter()
        .filter(|live| live.text_bytes() < SMALL_BYTES)
        .count();
    let worn_out = |live: &mut Live| {
        let bytes = live.text_bytes();
        let merge = small > MAX_SMALL && bytes < SMALL_BYTES;
        merge || bytes < live.segment.text_bytes() / 2
    };
    let mut sources = Vec::new();
    for live in segments.extract_if(.., worn_out) {
        let source = |(file, _)| Source::Packed {
            segment: Arc::clone(&live.segment),
            file,
        };
        sources.extend(live.files().map(source));
    }
    sources
}

/// Cuts the work into pieces of about a segment each, smaller if there are threads to spare.
fn batches(sources: Vec<Source>, threads: usize) -> Vec<Vec<Source>> {
    let total: u64 = sources.iter().map(Source::bytes).sum();
    let share = total.div_ceil(threads.max(1) as u64);
    let target = share.clamp(MIN_BATCH_BYTES, SegmentBuilder::TEXT_BYTES);
    let mut batches: Vec<Vec<Source>> = Vec::new();
    let mut room = 0;
    for source in sources {
        let bytes = source.bytes();
        match batches.last_mut() {
            Some(batch) if bytes <= room => batch.push(source),
            _ => {
                room = target;
                batches.push(vec![source]);
            }
        }
        room = room.saturating_sub(bytes);
    }
    batches
}

/// An update at work.
struct Job<'a> {
    dir: &'a Path,
    root: PathBuf,
    next_number: AtomicU64,
    progress: &'a Progress,
}

impl Job<'_> {
    /// Indexes the batches and returns the numbers of the new segments, or `None` if cancelled.
    fn run(&self, batches: &[Vec<Source>], threads: usize) -> Result<Option<Vec<u64>>, IndexError> {
        let (numbers, _) = parallel::map(batches, threads, || (), |(), batch| self.index(batch))?;
        let mut numbers: Vec<u64> = numbers.into_iter().flatten().collect();
        numbers.sort_unstable();
        Ok((!self.progress.cancelled.load(Ordering::Relaxed)).then_some(numbers))
    }

    /// Indexes one batch, which makes one segment unless files grew since they were listed.
    fn index(&self, batch: &[Source]) -> Result<Vec<u64>, IndexError> {
        let mut numbers = Vec::new();
        let mut builder: Option<SegmentBuilder> = None;
        let mut text = Vec::new();
        for source in batch {
            if self.progress.cancelled.load(Ordering::Relaxed) {
                break;
            }
            let outcome = match source {
                Source::Disk(entry) => corpus::load(&self.root.join(&entry.path), &mut text)
                    .map_err(|(stamp, reason)| (stamp.unwrap_or(entry.stamp), reason)),
                Source::Packed { segment, file } => {
                    let row = &segment.files()[*file];
                    segment.read_file(*file, &mut text)?;
                    row.reject
                        .map_or(Ok(row.stamp), |reason| Err((row.stamp, reason)))
                }
            };
            let full = builder
                .as_ref()
                .is_some_and(|open| !open.fits(text.len() as u64));
            if full && let Some(open) = builder.take() {
                open.finish()?;
            }
            let open = match &mut builder {
                Some(open) => open,
                none => {
                    let number = self.next_number.fetch_add(1, Ordering::Relaxed);
                    numbers.push(number);
                    none.insert(SegmentBuilder::new(self.dir, number)?)
                }
            };
            match outcome {
                Ok(stamp) => {
                    open.add(source.path(), stamp, &text)?;
                    self.progress
                        .bytes_done
                        .fetch_add(text.len() as u64, Ordering::Relaxed);
                }
                Err((stamp, reason)) => open.add_rejected(source.path(), stamp, reason),
            }
            self.progress.files_done.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(open) = builder {
            open.finish()?;
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fixture {
        tree: tempfile::TempDir,
        dir: tempfile::TempDir,
        shard: Shard,
        job: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let (tree, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let shard = Shard::open(dir.path()).unwrap();
            Self {
                tree,
                dir,
                shard,
                job: 0,
            }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.tree.path().join(name), text).unwrap();
        }

        /// Indexes the tree and says how many files were read.
        fn update(&mut self) -> u64 {
            self.job += 1;
            let root = self.tree.path().to_str().unwrap().to_owned();
            let identity = Identity {
                root,
                job: self.job,
                shard: 1,
                of: 1,
            };
            let entries = corpus::walk(self.tree.path()).unwrap().entries;
            let progress = Progress::default();
            self.shard
                .update(identity, entries, 2, &progress)
                .unwrap()
                .unwrap();
            progress.files_done.load(Ordering::Relaxed)
        }

        /// Waits until changes are old enough to be trusted.
        fn settle() {
            let deadline = std::time::Instant::now() + std::time::Duration::from_millis(150);
            while std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
        }

        fn live(&self) -> Vec<String> {
            let snapshot = self.shard.snapshot().unwrap();
            let files = snapshot.segments.iter().flat_map(Live::files);
            let mut paths: Vec<_> = files.map(|(_, row)| row.path.to_string()).collect();
            paths.sort();
            paths
        }
    }

    #[test]
    fn only_what_changed_is_read_again() {
        let mut fixture = Fixture::new();
        for name in ["a", "b", "c", "d", "e"] {
            fixture.write(name, "text");
        }
        Fixture::settle();
        assert_eq!(fixture.update(), 5);
        assert_eq!(fixture.update(), 0);
        fixture.write("b", "another text");
        fs::remove_file(fixture.tree.path().join("c")).unwrap();
        Fixture::settle();
        assert_eq!(fixture.update(), 1);
        assert_eq!(fixture.live(), ["a", "b", "d", "e"]);
        // Another process that opens the folder sees the same.
        let reopened = Shard::open(fixture.dir.path()).unwrap();
        assert_eq!(reopened.snapshot().unwrap().segments.len(), 2);
        assert_eq!(fixture.update(), 0);
    }

    #[test]
    fn a_file_changed_while_it_was_read_is_read_again() {
        let mut fixture = Fixture::new();
        fixture.write("fresh", "text");
        assert_eq!(fixture.update(), 1);
        // Unless the machine stood still in between, the change was too fresh to be trusted.
        assert!(fixture.update() <= 1);
        Fixture::settle();
        fixture.update();
        assert_eq!(fixture.update(), 0);
    }

    #[test]
    fn many_small_updates_do_not_pile_up() {
        let mut fixture = Fixture::new();
        for at in 0..40 {
            fixture.write(&format!("file-{at}"), "text");
            fixture.update();
            assert!(fixture.shard.snapshot().unwrap().segments.len() <= MAX_SMALL + 1);
        }
        assert_eq!(fixture.live().len(), 40);
        let files = fs::read_dir(fixture.dir.path()).unwrap().count();
        assert!(files <= 2 * (MAX_SMALL + 1) + 1, "{files} files are left");
    }

    #[test]
    fn a_cancelled_update_changes_nothing() {
        let mut fixture = Fixture::new();
        fixture.write("a", "text");
        fixture.update();
        fixture.write("b", "text");
        let identity = fixture.shard.snapshot().unwrap().identity.clone();
        let entries = corpus::walk(fixture.tree.path()).unwrap().entries;
        let progress = Progress {
            cancelled: true.into(),
            ..Progress::default()
        };
        assert!(
            fixture
                .shard
                .update(identity, entries, 1, &progress)
                .unwrap()
                .is_none()
        );
        assert_eq!(fixture.live(), ["a"]);
    }

    #[test]
    fn large_work_is_cut_into_segments() {
        let bytes = 1 << 20;
        let entry = |at: u32| Entry {
            path: format!("{at:04}"),
            stamp: Stamp {
                bytes,
                changed_ns: 0,
            },
        };
        let cut = |files: u32, threads: usize| -> Vec<usize> {
            let sources = (0..files).map(|at| Source::Disk(entry(at))).collect();
            batches(sources, threads).iter().map(Vec::len).collect()
        };
        assert_eq!(cut(3, 4), [3]);
        assert_eq!(cut(16, 2), [8, 8]);
        assert_eq!(cut(200, 2), [64, 64, 64, 8]);
        assert!(cut(0, 2).is_empty());
    }
}

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
    /// `threads` threads, and returns whether it does now: not if `progress` was cancelled.
    ///
    /// This is [`prepare`](Self::prepare) and [`commit`](Self::commit), for a shard by itself.
    pub fn update(
        &self,
        identity: Identity,
        wanted: Vec<Entry>,
        threads: usize,
        progress: &Progress,
    ) -> Result<bool, IndexError> {
        let job = identity.job;
        Ok(self.prepare(identity, wanted, threads, progress)? && self.commit(job)?)
    }

    /// Prepares the state in which the shard holds exactly the files `wanted`, and returns whether
    /// it is there now: not if `progress` was cancelled.
    ///
    /// Files that cannot be indexed are recorded with their reason and stop nothing. Until the
    /// state is committed, queries see the one before it unless they ask for this one; a kill
    /// leaves that state on disk, and so does a failure, which leaves nothing else behind.
    pub fn prepare(
        &self,
        identity: Identity,
        wanted: Vec<Entry>,
        threads: usize,
        progress: &Progress,
    ) -> Result<bool, IndexError> {
        let _only_one = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        // The folder of a shard that was given up is not ours any more.
        if progress.cancelled.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let outcome = self.build(identity, wanted, threads, progress);
        if matches!(outcome, Ok(true)) {
            return outcome;
        }
        // The first error is the one to tell; a failed sweep is repeated by the next.
        let swept = self.sweep();
        outcome.and_then(|done| swept.map(|()| done))
    }

    fn build(
        &self,
        identity: Identity,
        wanted: Vec<Entry>,
        threads: usize,
        progress: &Progress,
    ) -> Result<bool, IndexError> {
        let before = self
            .newest()
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
            return Ok(false);
        };
        for number in numbers {
            segments.push(Live::new(
                Arc::new(Segment::open(self.dir(), number)?),
                Vec::new(),
            ));
        }
        self.hold(Snapshot { identity, segments })?;
        Ok(true)
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

    /// Reads a file. Its stamp is the one that the walk of the tree saw, so that the next walk can
    /// compare; unless what was read is not that file in that state, or may have changed within
    /// the clock's grain: then it is one that never compares equal.
    fn load(&self, entry: &Entry, text: &mut Vec<u8>) -> Result<Stamp, (Stamp, corpus::Reject)> {
        let loaded = corpus::load(&self.root.join(&entry.path), text);
        let stamp = |seen: Option<Stamp>| match seen {
            Some(seen) if seen.agrees(&entry.stamp) => entry.stamp,
            _ => entry.stamp.never(),
        };
        match loaded {
            Ok(seen) => Ok(stamp(Some(seen))),
            Err((seen, reason)) => Err((stamp(seen), reason)),
        }
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
                Source::Disk(entry) => self.load(entry, &mut text),
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
                ..Identity::default()
            };
            let entries = corpus::walk(self.tree.path()).unwrap().entries;
            let progress = Progress::default();
            assert!(self.shard.update(identity, entries, 2, &progress).unwrap());
            progress.files_done.load(Ordering::Relaxed)
        }

        /// Waits until changes are old enough to be relied on: until a file made now is.
        fn settle(&self) {
            let probe = self.dir.path().join("probe");
            fs::write(&probe, "").unwrap();
            let stamp = Stamp::of(&fs::metadata(&probe).unwrap());
            while stamp.is_fresh() {
                std::thread::sleep(std::time::Duration::from_millis(5));
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
        fixture.settle();
        assert_eq!(fixture.update(), 5);
        assert_eq!(fixture.update(), 0);
        fixture.write("b", "another text");
        fs::remove_file(fixture.tree.path().join("c")).unwrap();
        fixture.settle();
        assert_eq!(fixture.update(), 1);
        assert_eq!(fixture.live(), ["a", "b", "d", "e"]);
        // Another process that opens the folder sees the same.
        let reopened = Shard::open(fixture.dir.path()).unwrap();
        assert_eq!(reopened.snapshot().unwrap().segments.len(), 2);
        assert_eq!(fixture.update(), 0);
    }

    /// Its stamp may be that of its next state as well, so it cannot be relied on.
    #[test]
    fn a_file_that_has_just_changed_is_read_again() {
        let mut fixture = Fixture::new();
        fixture.write("fresh", "text");
        let path = fixture.tree.path().join("fresh");
        // A change time in the future is as fresh as can be, however slow the machine is.
        let entry = |stamp| Entry {
            path: "fresh".to_owned(),
            stamp,
        };
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let job = Job {
            dir: fixture.dir.path(),
            root: fixture.tree.path().to_owned(),
            next_number: AtomicU64::new(1),
            progress: &Progress::default(),
        };
        let mut text = Vec::new();
        let loaded = job.load(&entry(stamp), &mut text).unwrap();
        assert!(loaded == stamp.never() || !stamp.is_fresh());
        fixture.settle();
        assert_eq!(fixture.update(), 1);
        assert_eq!(fixture.update(), 0);
    }

    /// The walk saw one file and the node read another, in its place: should the first come back,
    /// the index must not be taken to have it.
    #[test]
    fn a_file_swapped_between_walk_and_reading_is_read_again() {
        let mut fixture = Fixture::new();
        fixture.write("one", "text");
        fixture.settle();
        let path = fixture.tree.path().join("one");
        let walked = Stamp::of(&fs::metadata(&path).unwrap());
        let aside = fixture.dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        fixture.write("one", "next");
        let wanted = vec![Entry {
            path: "one".to_owned(),
            stamp: walked,
        }];
        let root = fixture.tree.path().to_str().unwrap().to_owned();
        fixture.job += 1;
        let identity = Identity {
            root,
            job: fixture.job,
            shard: 1,
            of: 1,
            ..Identity::default()
        };
        let progress = Progress::default();
        fixture
            .shard
            .update(identity, wanted, 1, &progress)
            .unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(fixture.update(), 1);
    }

    /// A full disk looks like this: some files are written, and then one cannot be.
    #[test]
    fn a_failed_update_leaves_nothing_behind_and_the_old_state_in_place() {
        let mut fixture = Fixture::new();
        fixture.write("a", "text");
        fixture.update();
        let files = |fixture: &Fixture| {
            let items = fs::read_dir(fixture.dir.path()).unwrap();
            let mut names: Vec<_> = items.map(|item| item.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = files(&fixture);
        fs::create_dir(fixture.dir.path().join("manifest.new")).unwrap();
        fixture.write("b", "text");
        let identity = Identity {
            job: 99,
            ..fixture.shard.snapshot().unwrap().identity.clone()
        };
        let entries = corpus::walk(fixture.tree.path()).unwrap().entries;
        let outcome = fixture
            .shard
            .update(identity, entries, 1, &Progress::default());
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains(fixture.dir.path().to_str().unwrap()),
            "{error}"
        );
        assert_eq!(fixture.live(), ["a"]);
        fs::remove_dir(fixture.dir.path().join("manifest.new")).unwrap();
        assert_eq!(files(&fixture), before);
        fixture.update();
        assert_eq!(fixture.live(), ["a", "b"]);
    }

    #[test]
    fn a_first_update_that_was_killed_leaves_nothing_for_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("00000001.text"), "half a segment").unwrap();
        let shard = Shard::open(dir.path()).unwrap();
        assert!(shard.snapshot().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_prepared_state_is_there_for_those_who_ask_for_it_until_it_is_committed() {
        let mut fixture = Fixture::new();
        fixture.write("a", "text");
        fixture.update();
        fixture.write("b", "text");
        let identity = Identity {
            job: 99,
            ..fixture.shard.snapshot().unwrap().identity.clone()
        };
        let entries = corpus::walk(fixture.tree.path()).unwrap().entries;
        let prepared = fixture
            .shard
            .prepare(identity, entries, 1, &Progress::default());
        assert!(prepared.unwrap());
        assert_eq!(fixture.live(), ["a"]);
        let files = |shard: &Shard, job| {
            let snapshot = shard.snapshot_of(job)?;
            Some(snapshot.segments.iter().flat_map(Live::files).count())
        };
        // A restart in between keeps both.
        let reopened = Shard::open(fixture.dir.path()).unwrap();
        for shard in [&fixture.shard, &reopened] {
            assert_eq!((files(shard, 1), files(shard, 99)), (Some(1), Some(2)));
        }
        assert!(!reopened.commit(98).unwrap());
        assert!(reopened.commit(99).unwrap() && reopened.commit(99).unwrap());
        assert_eq!((files(&reopened, 1), files(&reopened, 99)), (None, Some(2)));
        let reopened = Shard::open(fixture.dir.path()).unwrap();
        assert_eq!((files(&reopened, 1), files(&reopened, 99)), (None, Some(2)));
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
        let outcome = fixture.shard.update(identity, entries, 1, &progress);
        assert!(!outcome.unwrap());
        assert_eq!(fixture.live(), ["a"]);
    }

    #[test]
    fn large_work_is_cut_into_segments() {
        let bytes = 1 << 20;
        let entry = |at: u32| Entry {
            path: format!("{at:04}"),
            stamp: Stamp {
                bytes,
                ..Stamp::default()
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

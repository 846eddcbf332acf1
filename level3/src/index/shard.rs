//! A shard: the folder that holds one part of the corpus, and the snapshot that queries run on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::chunk::ChunkSet;
use super::format::IndexError;
use super::manifest::{Identity, Manifest, SegmentEntry};
use super::segment::Segment;

/// A segment in use, less the files that are no longer as it has them.
#[derive(Clone)]
pub struct Live {
    /// The segment.
    pub segment: Arc<Segment>,
    /// Positions of files that changed or vanished since the segment was written, ascending.
    pub dead: Vec<u32>,
    /// The chunks of those files.
    pub dead_chunks: ChunkSet,
}

impl Live {
    pub(crate) fn new(segment: Arc<Segment>, dead: Vec<u32>) -> Self {
        let mut dead_chunks = ChunkSet::none(segment.chunks());
        for &file in &dead {
            let row = &segment.files()[file as usize];
            (row.first_chunk..row.first_chunk + row.chunks)
                .for_each(|chunk| dead_chunks.insert(chunk as usize));
        }
        Self {
            segment,
            dead,
            dead_chunks,
        }
    }

    /// The files that count, with their positions.
    pub fn files(&self) -> impl Iterator<Item = (usize, &super::FileRow)> {
        let files = self.segment.files().iter().enumerate();
        files.filter(|(at, _)| self.dead.binary_search(&(*at as u32)).is_err())
    }

    /// Bytes of text that count.
    pub fn text_bytes(&self) -> u64 {
        let dead: u64 = self
            .dead_chunks
            .iter()
            .map(|at| self.segment.chunk_bytes(at) as u64)
            .sum();
        self.segment.text_bytes() - dead
    }
}

/// An immutable state of a shard. A query keeps the one it started with to its end.
pub struct Snapshot {
    /// What the shard is a part of.
    pub identity: Identity,
    /// The segments. A path is live in at most one of them.
    pub segments: Vec<Live>,
}

/// What a shard can answer with.
#[derive(Clone)]
enum Committed {
    Empty,
    Ready(Arc<Snapshot>),
    Damaged(String),
}

/// The states of a shard: the committed one, and the one that waits for the other shards to be
/// as far. Queries say which of the two they want.
struct States {
    committed: Committed,
    prepared: Option<Arc<Snapshot>>,
}

impl States {
    /// Both states, the newer one first.
    fn snapshots(&self) -> impl Iterator<Item = &Arc<Snapshot>> {
        let committed = match &self.committed {
            Committed::Ready(snapshot) => Some(snapshot),
            Committed::Empty | Committed::Damaged(_) => None,
        };
        self.prepared.iter().chain(committed)
    }
}

/// The folder of one shard.
pub struct Shard {
    dir: PathBuf,
    states: RwLock<States>,
    /// Held by the one update that may run.
    pub(super) updating: Mutex<()>,
}

impl Shard {
    /// Opens the shard in `dir`, which is created if need be.
    ///
    /// A damaged index is no error here: the shard then has no snapshot, says why in
    /// [`Shard::damage`], and the next update starts afresh. What neither state uses, such as the
    /// segments of an update that failed or was killed, is removed.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        fs::create_dir_all(dir).map_err(IndexError::io(dir))?;
        let committed = match Manifest::load(dir).and_then(|found| load(dir, found, &[])) {
            Ok(Some(snapshot)) => Committed::Ready(Arc::new(snapshot)),
            Ok(None) => Committed::Empty,
            Err(error) => Committed::Damaged(error.to_string()),
        };
        let mut states = States {
            committed,
            prepared: None,
        };
        let shared: Vec<Live> = states
            .snapshots()
            .flat_map(|snapshot| snapshot.segments.clone())
            .collect();
        match Manifest::load_prepared(dir).and_then(|found| load(dir, found, &shared)) {
            Ok(prepared) => states.prepared = prepared.map(Arc::new),
            // The job that prepared it will be done again.
            Err(_) => Manifest::drop_prepared(dir)?,
        }
        let shard = Self {
            dir: dir.to_owned(),
            states: RwLock::new(states),
            updating: Mutex::new(()),
        };
        shard.sweep()?;
        Ok(shard)
    }

    fn states(&self) -> RwLockReadGuard<'_, States> {
        self.states.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn states_mut(&self) -> RwLockWriteGuard<'_, States> {
        self.states.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The committed state, unless nothing was indexed yet or the index is damaged.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        match &self.states().committed {
            Committed::Ready(snapshot) => Some(Arc::clone(snapshot)),
            Committed::Empty | Committed::Damaged(_) => None,
        }
    }

    /// The state that is complete and not committed yet, if there is one.
    pub fn prepared(&self) -> Option<Arc<Snapshot>> {
        self.states().prepared.clone()
    }

    /// The state that a job made, committed or not.
    pub fn snapshot_of(&self, job: u64) -> Option<Arc<Snapshot>> {
        let states = self.states();
        let mut snapshots = states.snapshots();
        snapshots
            .find(|snapshot| snapshot.identity.job == job)
            .cloned()
    }

    /// The newest state, committed or not.
    pub fn newest(&self) -> Option<Arc<Snapshot>> {
        self.states().snapshots().next().cloned()
    }

    /// What is wrong with the index, if anything is.
    pub fn damage(&self) -> Option<String> {
        match &self.states().committed {
            Committed::Damaged(what) => Some(what.clone()),
            Committed::Empty | Committed::Ready(_) => None,
        }
    }

    /// Gives up `snapshot`, in which a query found damage, unless it was replaced since.
    pub fn give_up(&self, snapshot: &Arc<Snapshot>, error: &IndexError) {
        let mut states = self.states_mut();
        let is_it = |held: &Arc<Snapshot>| Arc::ptr_eq(held, snapshot);
        if matches!(&states.committed, Committed::Ready(held) if is_it(held)) {
            states.committed = Committed::Damaged(error.to_string());
        }
        if states.prepared.as_ref().is_some_and(is_it) {
            states.prepared = None;
        }
    }

    /// Waits for the update at work, and keeps others from starting while the guard is held.
    pub(crate) fn rest(&self) -> MutexGuard<'_, ()> {
        self.updating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `snapshot` the prepared state, on disk and then for queries that ask for it.
    pub(super) fn hold(&self, snapshot: Snapshot) -> Result<(), IndexError> {
        let entry = |live: &Live| SegmentEntry {
            number: live.segment.number(),
            dead: live.dead.clone(),
        };
        let segments = snapshot.segments.iter().map(entry).collect();
        Manifest {
            identity: snapshot.identity.clone(),
            segments,
        }
        .prepare(&self.dir)?;
        self.states_mut().prepared = Some(Arc::new(snapshot));
        self.sweep()
    }

    /// Makes the state that a job prepared the committed one, and removes what only the one before
    /// it used. Doing so again changes nothing. `false` if the shard has no such state.
    pub fn commit(&self, job: u64) -> Result<bool, IndexError> {
        let _no_update = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |held: &Arc<Snapshot>| held.identity.job == job;
        let prepared = self.prepared().filter(is_it);
        let Some(prepared) = prepared else {
            return Ok(self.snapshot().is_some_and(|held| is_it(&held)));
        };
        Manifest::commit(&self.dir)?;
        {
            let mut states = self.states_mut();
            states.committed = Committed::Ready(prepared);
            states.prepared = None;
        }
        self.sweep()?;
        Ok(true)
    }

    /// Removes segment files that no state uses: replaced ones, and those that a failed or killed
    /// update left behind. Queries that still read one keep it alive through their open file.
    pub(super) fn sweep(&self) -> Result<(), IndexError> {
        let dir = &self.dir;
        let used: HashSet<String> = self
            .states()
            .snapshots()
            .flat_map(|snapshot| &snapshot.segments)
            .map(|live| format!("{:08}", live.segment.number()))
            .collect();
        for item in fs::read_dir(dir).map_err(IndexError::io(dir))? {
            let path = item.map_err(IndexError::io(dir))?.path();
            let ours = path
                .extension()
                .is_some_and(|kind| kind == "text" || kind == "index");
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if ours && !used.contains(stem) {
                fs::remove_file(&path).map_err(IndexError::io(&path))?;
            }
        }
        Ok(())
    }
}

/// Opens what a manifest names, but for the segments that are open already.
fn load(
    dir: &Path,
    manifest: Option<Manifest>,
    open: &[Live],
) -> Result<Option<Snapshot>, IndexError> {
    let Some(manifest) = manifest else {
        return Ok(None);
    };
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in manifest.segments {
        let mut known = open.iter().map(|live| &live.segment);
        let segment = match known.find(|segment| segment.number() == entry.number) {
            Some(segment) => Arc::clone(segment),
            None => Arc::new(Segment::open(dir, entry.number)?),
        };
        let files = segment.files().len();
        if entry.dead.iter().any(|&file| file as usize >= files) || !entry.dead.is_sorted() {
            return Err(IndexError::damaged(dir, "manifest and segment disagree"));
        }
        segments.push(Live::new(segment, entry.dead));
    }
    Ok(Some(Snapshot {
        identity: manifest.identity,
        segments,
    }))
}

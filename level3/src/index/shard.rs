//! A shard: the folder that holds one part of the corpus, and the snapshot that queries run on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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
enum State {
    Empty,
    Ready(Arc<Snapshot>),
    Damaged(String),
}

/// The folder of one shard.
pub struct Shard {
    dir: PathBuf,
    state: RwLock<State>,
    /// Held by the one update that may run.
    pub(super) updating: Mutex<()>,
}

impl Shard {
    /// Opens the shard in `dir`, which is created if need be.
    ///
    /// A damaged index is no error here: the shard then has no snapshot, says why in
    /// [`Shard::damage`], and the next update starts afresh.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        fs::create_dir_all(dir).map_err(IndexError::io(dir))?;
        let state = match load(dir) {
            Ok(Some(snapshot)) => State::Ready(Arc::new(snapshot)),
            Ok(None) => State::Empty,
            Err(error) => State::Damaged(error.to_string()),
        };
        if let State::Ready(snapshot) = &state {
            sweep(dir, snapshot)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            state: RwLock::new(state),
            updating: Mutex::new(()),
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The current state, unless nothing was indexed yet or the index is damaged.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(snapshot) => Some(Arc::clone(snapshot)),
            State::Empty | State::Damaged(_) => None,
        }
    }

    /// What is wrong with the index, if anything is.
    pub fn damage(&self) -> Option<String> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Damaged(what) => Some(what.clone()),
            State::Empty | State::Ready(_) => None,
        }
    }

    /// Gives up `snapshot`, in which a query found damage, unless it was replaced since.
    pub fn condemn(&self, snapshot: &Arc<Snapshot>, error: &IndexError) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Ready(current) if Arc::ptr_eq(current, snapshot)) {
            *state = State::Damaged(error.to_string());
        }
    }

    /// Makes `snapshot` the state, on disk and then for queries, and removes what it left behind.
    pub(super) fn commit(&self, snapshot: Snapshot) -> Result<Arc<Snapshot>, IndexError> {
        let entry = |live: &Live| SegmentEntry {
            number: live.segment.number(),
            dead: live.dead.clone(),
        };
        let segments = snapshot.segments.iter().map(entry).collect();
        Manifest {
            identity: snapshot.identity.clone(),
            segments,
        }
        .store(&self.dir)?;
        let snapshot = Arc::new(snapshot);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) =
            State::Ready(Arc::clone(&snapshot));
        sweep(&self.dir, &snapshot)?;
        Ok(snapshot)
    }
}

/// Opens what the manifest names.
fn load(dir: &Path) -> Result<Option<Snapshot>, IndexError> {
    let Some(manifest) = Manifest::load(dir)? else {
        return Ok(None);
    };
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in manifest.segments {
        let segment = Segment::open(dir, entry.number)?;
        let known = segment.files().len();
        if entry.dead.iter().any(|&file| file as usize >= known) || !entry.dead.is_sorted() {
            return Err(IndexError::damaged(dir, "manifest and segment disagree"));
        }
        segments.push(Live::new(Arc::new(segment), entry.dead));
    }
    Ok(Some(Snapshot {
        identity: manifest.identity,
        segments,
    }))
}

/// Removes segment files that `snapshot` does not use: those it replaced, and those that a killed
/// update left behind. Queries that still read one keep it alive through their open file.
fn sweep(dir: &Path, snapshot: &Snapshot) -> Result<(), IndexError> {
    let used: HashSet<String> = snapshot
        .segments
        .iter()
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

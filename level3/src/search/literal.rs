//! The contract's query: every line that contains a needle, as `"path:line"` items.
//!
//! For a needle that is everywhere this is the hottest code of the crate, and its cost must be
//! that of producing the answer. So: items are written as JSON text right away (the master only
//! copies them), line numbers come from counting newlines between one match and the next while
//! the chunk is in the cache, and large searches are spread over threads, each with its own
//! bounded buffers. A file is always answered by one thread, in order.

use std::io;

use memchr::memmem::Finder;
use thiserror::Error;

use super::budget::{Budget, Spent};
use super::plan::Plan;
use crate::index::{IndexError, Segment, Snapshot};
use crate::parallel;

/// Items are handed on when they exceed this many bytes.
const PART_BYTES: usize = 128 << 10;

/// Candidate text that one thread takes at a time, in bytes.
const TASK_BYTES: usize = 1 << 20;

/// Chunks that lie side by side are read together, up to this many bytes.
const READ_BYTES: usize = 128 << 10;

/// Why an answer ended early.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Whoever asked has gone.
    #[error("the answer could not be delivered: {0}")]
    Delivery(io::Error),
    /// Its budget is spent.
    #[error("the query was ended early")]
    Spent(Spent),
}

/// Where the items go. Called from several threads, one call at a time for each of them.
pub trait Sink: Sync {
    /// Takes JSON strings, each behind a comma; at least one.
    fn items(&self, items: &[u8]) -> io::Result<()>;
}

/// Finds every line that contains `needle` and passes the items to `sink`, all but the last part:
/// that is returned, so that a small answer needs one message only. Uses up to `threads` threads.
pub fn answer(
    snapshot: &Snapshot,
    needle: &[u8],
    threads: usize,
    budget: &Budget<'_>,
    sink: &impl Sink,
) -> Result<Vec<u8>, AnswerError> {
    let (candidates, ends) = candidates(snapshot, needle)?;
    let tasks: Vec<&[Candidate]> = [0]
        .iter()
        .chain(&ends)
        .zip(&ends)
        .map(|(&start, &end)| &candidates[start..end])
        .collect();
    let finder = Finder::new(needle);
    let worker = || Worker {
        snapshot,
        finder: &finder,
        budget,
        sink,
        buffer: Vec::new(),
        items: Vec::new(),
        prefix: Vec::new(),
        file: None,
    };
    let (_, workers) = parallel::map(&tasks, threads, worker, |worker, task| worker.run(task))?;
    let rest: Vec<Vec<u8>> = workers.into_iter().map(|worker| worker.items).collect();
    Ok(rest.concat())
}

/// A chunk that may contain the needle.
#[derive(Clone, Copy)]
struct Candidate {
    /// Position of its segment in the snapshot.
    segment: u32,
    chunk: u32,
}

/// The candidates, and where the tasks end among them. No file is split between tasks.
fn candidates(
    snapshot: &Snapshot,
    needle: &[u8],
) -> Result<(Vec<Candidate>, Vec<usize>), IndexError> {
    let plan = Plan::literal(needle);
    let (mut candidates, mut tasks) = (Vec::new(), Vec::new());
    let mut task_bytes = 0;
    for (at, live) in snapshot.segments.iter().enumerate() {
        let segment = &*live.segment;
        let mut chunks = plan.candidates(segment)?;
        chunks.subtract(&live.dead_chunks);
        let mut file = None;
        for chunk in chunks.iter() {
            let of = Some(segment.file_of(chunk));
            if of != file && task_bytes >= TASK_BYTES {
                tasks.push(candidates.len());
                task_bytes = 0;
            }
            file = of;
            task_bytes += segment.chunk_bytes(chunk);
            candidates.push(Candidate {
                segment: at as u32,
                chunk: chunk as u32,
            });
        }
    }
    tasks.push(candidates.len());
    Ok((candidates, tasks))
}

/// One thread's buffers.
struct Worker<'a, S> {
    snapshot: &'a Snapshot,
    finder: &'a Finder<'a>,
    budget: &'a Budget<'a>,
    sink: &'a S,
    buffer: Vec<u8>,
    /// Items not yet handed on.
    items: Vec<u8>,
    /// What the items of the current file start with: comma, quote, escaped path, colon.
    prefix: Vec<u8>,
    /// The file that `prefix` is for: segment and file position.
    file: Option<(u32, usize)>,
}

impl<S: Sink> Worker<'_, S> {
    fn run(&mut self, mut candidates: &[Candidate]) -> Result<(), AnswerError> {
        while let Some(&first) = candidates.first() {
            let segment = &*self.snapshot.segments[first.segment as usize].segment;
            let run = neighbours(segment, candidates);
            self.budget.check().map_err(AnswerError::Spent)?;
            let mut buffer = std::mem::take(&mut self.buffer);
            let mut rest = segment.read(first.chunk as usize, run, &mut buffer)?;
            for candidate in &candidates[..run] {
                let (chunk, after) = rest.split_at(segment.chunk_bytes(candidate.chunk as usize));
                self.chunk(segment, *candidate, chunk)?;
                rest = after;
            }
            self.buffer = buffer;
            candidates = &candidates[run..];
        }
        Ok(())
    }

    /// Adds an item for every line of a chunk that contains the needle.
    fn chunk(
        &mut self,
        segment: &Segment,
        candidate: Candidate,
        text: &[u8],
    ) -> Result<(), AnswerError> {
        let finder = self.finder;
        let Some(mut at) = finder.find(text) else {
            return Ok(());
        };
        self.name(segment, candidate);
        let mut line = u64::from(segment.lines_before(candidate.chunk as usize)) + 1;
        let mut counted = 0;
        loop {
            line += memchr::memchr_iter(b'\n', &text[counted..at]).count() as u64;
            if self.items.len() >= PART_BYTES {
                let sent = self.sink.items(&self.items);
                sent.map_err(AnswerError::Delivery)?;
                self.items.clear();
            }
            self.items.extend_from_slice(&self.prefix);
            self.items
                .extend_from_slice(itoa::Buffer::new().format(line).as_bytes());
            self.items.push(b'"');
            // The line is listed once however often it matches.
            let Some(newline) = memchr::memchr(b'\n', &text[at..]) else {
                return Ok(());
            };
            counted = at + newline + 1;
            line += 1;
            let Some(next) = finder.find(&text[counted..]) else {
                return Ok(());
            };
            at = counted + next;
        }
    }

    /// Prepares the prefix for the items of a file.
    fn name(&mut self, segment: &Segment, candidate: Candidate) {
        let file = (candidate.segment, segment.file_of(candidate.chunk as usize));
        if self.file != Some(file) {
            self.file = Some(file);
            let path = serde_json::Value::from(&*segment.files()[file.1].path).to_string();
            let unclosed = path.strip_suffix('"').unwrap_or(&path);
            self.prefix.clear();
            self.prefix.push(b',');
            self.prefix.extend_from_slice(unclosed.as_bytes());
            self.prefix.push(b':');
        }
    }
}

/// How many of the candidates lie side by side at the front and are worth one read.
fn neighbours(segment: &Segment, candidates: &[Candidate]) -> usize {
    let first = candidates[0];
    let mut bytes = 0;
    candidates
        .iter()
        .zip(first.chunk..)
        .take_while(|(candidate, chunk)| {
            let neighbour = candidate.segment == first.segment && candidate.chunk == *chunk;
            if neighbour {
                bytes += segment.chunk_bytes(candidate.chunk as usize);
            }
            neighbour && (*chunk == first.chunk || bytes <= READ_BYTES)
        })
        .count()
}

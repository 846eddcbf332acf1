//! The richer queries of `/search`: hits for people, in the order that was asked for.
//!
//! The first step finds matching lines ([`scan`](super::scan)). The second makes hits, with text,
//! marks and context, of those lines that are to be returned, one after the other within a budget
//! of bytes. [`count`] is the first step alone.

use std::time::Duration;

use thiserror::Error;

use super::best;
use super::budget::{Budget, REQUEST_BYTES};
use super::filter::{FileFilter, FilterError};
use super::first;
use super::lines::LineMatcher;
use super::pattern::PatternError;
use super::request::{Answer, Counts, Hit, Order, Request};
use super::scan::{Scan, named_files, row};
use super::show::{HIT_BYTES, Shower};
use crate::byte_pool::BytePool;
use crate::index::{IndexError, Snapshot};

/// Why a search was refused or failed.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The query is no good.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The path pattern is no good.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Whoever asked has gone.
    #[error("whoever asked has gone")]
    Abandoned,
}

/// Checks a request without running it, as the master does before it asks the nodes.
pub fn check(request: &Request) -> Result<(), SearchError> {
    LineMatcher::new(&request.query)?;
    FileFilter::new(&request.query.files)?;
    Ok(())
}

/// Answers a request on up to `threads` threads.
pub fn search(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
) -> Result<Answer, SearchError> {
    let pool = BytePool::new(REQUEST_BYTES * 4);
    let limit = Duration::from_millis(request.time_limit_ms);
    let budget = Budget::new(Some(limit), &|| false, &pool);
    search_within(snapshot, request, threads, &budget)
}

/// Answers a request on up to `threads` threads and within a budget.
pub(crate) fn search_within(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Answer, SearchError> {
    if request.query.is_about_names() {
        return names(snapshot, request, budget);
    }
    let scan = Scan::new(snapshot, &request.query, budget)?;
    let mut answer = match request.order {
        Order::Best => best::search(snapshot, &scan, request, threads, budget)?,
        Order::Path => in_order_of_paths(snapshot, &scan, request, threads, budget)?,
    };
    // Maybe only while the hits were shown, some of which then lack their marks.
    answer.timed_out = scan.is_late()?;
    answer.more |= answer.timed_out;
    Ok(answer)
}

/// The first hits of a shard.
fn in_order_of_paths(
    snapshot: &Snapshot,
    scan: &Scan<'_>,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Answer, SearchError> {
    let wanted = request.skip.saturating_add(request.limit);
    let found = first::lines(scan, wanted, threads)?;
    let mut answer = Answer {
        more: found.more,
        cut: found.cut,
        pruned: scan.matcher.plan().prunes(),
        ..Answer::default()
    };
    let mut skip = request.skip;
    let mut shower = Shower::new(snapshot, &scan.matcher, request.context, budget);
    let mut room = Room::new(request, budget);
    for (candidate, lines) in &found.files {
        let skipped = skip.min(lines.len());
        skip -= skipped;
        if skipped == lines.len() {
            continue;
        }
        shower.open(candidate.segment, candidate.file)?;
        for line in &lines[skipped..] {
            if answer.hits.len() == request.limit {
                answer.more = true;
                return Ok(answer);
            }
            let (hit, cost) = shower.show(*line)?;
            if !room.take(cost) {
                (answer.more, answer.cut) = (true, true);
                return Ok(answer);
            }
            answer.hits.push(hit);
        }
    }
    Ok(answer)
}

/// The bytes of one answer.
pub(super) struct Room<'a> {
    budget: &'a Budget<'a>,
    bytes: usize,
    most: usize,
}

impl<'a> Room<'a> {
    /// Room for the hits of a request.
    pub(super) fn new(request: &Request, budget: &'a Budget<'a>) -> Self {
        Self {
            budget,
            bytes: 0,
            most: request.bytes.min(REQUEST_BYTES),
        }
    }

    /// Takes the bytes of a hit, if there are as many; the first hit always fits.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let is_first = self.bytes == 0;
        self.bytes += bytes;
        is_first || (self.bytes <= self.most && self.budget.take(bytes))
    }
}

/// Files by their names.
fn names(
    snapshot: &Snapshot,
    request: &Request,
    budget: &Budget<'_>,
) -> Result<Answer, SearchError> {
    let files = named_files(snapshot, &request.query)?;
    let paths = files.iter().map(|file| &*row(snapshot, file).path);
    let mut paths: Vec<(u64, &str)> = match request.order {
        Order::Path => paths.map(|path| (0, path)).collect(),
        Order::Best => paths
            .map(|path| (best::rank_of_name(&request.query, path), path))
            .collect(),
    };
    // By path already.
    paths.sort_by_key(|(rank, _)| *rank);
    let mut answer = Answer::default();
    let mut room = Room::new(request, budget);
    for (rank, path) in paths.into_iter().skip(request.skip) {
        answer.more = answer.hits.len() == request.limit;
        answer.cut = !answer.more && !room.take(HIT_BYTES + path.len());
        if answer.more || answer.cut {
            answer.more = true;
            break;
        }
        answer.hits.push(Hit {
            file: path.to_owned(),
            rank,
            ..Hit::default()
        });
    }
    Ok(answer)
}

/// How many lines of each file match: the files in the order of their paths, and up to
/// `request.skip + request.limit` lines in all.
pub(crate) fn count(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Counts, SearchError> {
    let wanted = request.skip.saturating_add(request.limit);
    if request.query.is_about_names() {
        let files = named_files(snapshot, &request.query)?;
        let counted = files.iter().take(wanted);
        return Ok(Counts {
            files: counted
                .map(|file| (row(snapshot, file).path.to_string(), 1))
                .collect(),
            more: files.len() > wanted,
            timed_out: false,
        });
    }
    let scan = Scan::new(snapshot, &request.query, budget)?;
    let found = first::lines(&scan, wanted, threads)?;
    let mut counts = Counts {
        files: Vec::new(),
        more: found.more,
        timed_out: found.timed_out,
    };
    let mut left = wanted;
    for (candidate, lines) in &found.files {
        let count = lines.len().min(left);
        left -= count;
        counts.more |= count < lines.len();
        if count > 0 {
            counts.files.push((scan.path(candidate).to_owned(), count));
        }
    }
    Ok(counts)
}

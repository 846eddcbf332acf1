//! One connection of a node: requests in, frames out, in turn.

use std::io::{self, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Node, NodeError};
use crate::corpus::Entry;
use crate::index::{Shard, Snapshot};
use crate::root::RootName;
use crate::search::literal::{self, AnswerError, Sink};
use crate::search::{self, Budget, Request, SearchError};
use crate::wire::{
    self, BrowseRequest, CommitRequest, ForgetRequest, Kind, ShardState, Stream, UpdateRequest,
};

/// A reader that takes nothing for this long has its connection closed, so that a stopped master
/// cannot hold a search's threads for ever.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// Files in one `Entries` frame.
const ENTRIES: usize = 1000;

/// Serves the connection until the peer closes it.
pub(super) fn run(node: &Node, stream: Stream) -> io::Result<()> {
    stream.set_write_timeout(WRITE_TIMEOUT)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = Mutex::new(stream);
    while let Some((kind, payload)) = wire::read_frame(&mut reader)? {
        let entries = if kind == Kind::Update {
            read_entries(&mut reader)?
        } else {
            Vec::new()
        };
        let peer = reader.get_ref();
        let reply = guarded(|| answer(node, kind, &payload, entries, peer, &writer))?;
        let stream = writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        match reply {
            Ok(payload) => wire::write_frame(stream, kind.last(), &payload)?,
            Err(error) => {
                let error = wire::encode_error(error.refusal(), &error.to_string());
                wire::write_frame(stream, Kind::Error, &error)?;
            }
        }
    }
    Ok(())
}

/// Payload of the last frame, or why there is none.
type Reply = Result<Vec<u8>, NodeError>;

/// Turns a panic into an error of the request: a bug that shows in one of them must not take the
/// shard away from all others.
fn guarded(work: impl FnOnce() -> io::Result<Reply>) -> io::Result<Reply> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or(Ok(Err(NodeError::Panicked)))
}

/// Answers a request, all but the last frame.
fn answer(
    node: &Node,
    kind: Kind,
    payload: &[u8],
    entries: Vec<Entry>,
    peer: &Stream,
    writer: &Mutex<Stream>,
) -> io::Result<Reply> {
    let asker_has_gone = || peer.has_hung_up();
    Ok(match kind {
        Kind::Query => return query(node, payload, &asker_has_gone, writer),
        Kind::Status => json(&node.status()),
        Kind::Search => search(node, payload, &asker_has_gone, search::search_within),
        Kind::Count => search(node, payload, &asker_has_gone, search::count),
        Kind::Tally => search(node, payload, &asker_has_gone, search::tally),
        Kind::File => file(node, payload),
        Kind::Folder => folder(node, payload),
        Kind::Update => match serde_json::from_slice::<UpdateRequest>(payload) {
            Ok(request) => node.update(request, entries).map(|()| Vec::new()),
            Err(error) => Err(NodeError::Request(error)),
        },
        Kind::Commit => match serde_json::from_slice::<CommitRequest>(payload) {
            Ok(request) => node.commit(request).map(|()| Vec::new()),
            Err(error) => Err(NodeError::Request(error)),
        },
        Kind::Forget => match serde_json::from_slice::<ForgetRequest>(payload) {
            Ok(request) => node.forget(&request).map(|()| Vec::new()),
            Err(error) => Err(NodeError::Request(error)),
        },
        Kind::List => {
            let mut stream = writer.lock().unwrap_or_else(PoisonError::into_inner);
            list(node, payload, &mut stream)?;
            Ok(Vec::new())
        }
        Kind::Entries | Kind::Items | Kind::Last | Kind::Error => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a reply is no request",
            ));
        }
    })
}

impl Sink for Mutex<Stream> {
    fn items(&self, items: &[u8]) -> io::Result<()> {
        let mut stream = self.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write_frame(&mut *stream, Kind::Items, items)
    }
}

fn json(value: &impl serde::Serialize) -> Reply {
    serde_json::to_vec(value).map_err(NodeError::Answer)
}

/// The state of a shard that a job made, or why it has none.
fn snapshot(
    node: &Node,
    root: &RootName,
    shard: u32,
    job: u64,
) -> Result<(Arc<Shard>, Arc<Snapshot>), NodeError> {
    let number = shard;
    let shard = node
        .shard(root, number)
        .ok_or(NodeError::NotIndexed(number))?;
    let Some(snapshot) = shard.snapshot_of(job) else {
        return Err(match shard.damage() {
            Some(what) => NodeError::Damaged {
                shard: number,
                what,
            },
            None => NodeError::NoState { shard: number, job },
        });
    };
    Ok((shard, snapshot))
}

fn state(node: &Node, of: &ShardState) -> Result<(Arc<Shard>, Arc<Snapshot>), NodeError> {
    snapshot(node, &of.root, of.shard, of.job)
}

fn query(
    node: &Node,
    payload: &[u8],
    asker_has_gone: &(dyn Fn() -> bool + Sync),
    writer: &Mutex<Stream>,
) -> io::Result<Reply> {
    let Some((number, job, needle)) = wire::decode_query(payload) else {
        return Ok(Err(NodeError::Query));
    };
    let (shard, snapshot) = match snapshot(node, &RootName::default(), number, job) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let turn = node.load.query(node.threads);
    let budget = Budget::new(None, asker_has_gone, &node.load.bytes);
    match literal::answer(&snapshot, needle, turn.threads(), &budget, writer) {
        Ok(rest) => Ok(Ok(rest)),
        Err(AnswerError::Delivery(error)) => Err(error),
        Err(AnswerError::Spent(_)) => Ok(Err(NodeError::Search(SearchError::Abandoned))),
        Err(AnswerError::Index(error)) => {
            crate::note!("shard {number}: {error}");
            shard.give_up(&snapshot, &error);
            Ok(Err(error.into()))
        }
    }
}

/// Something that runs a request on a snapshot.
type Run<T> = fn(&Snapshot, &Request, usize, &Budget<'_>) -> Result<T, SearchError>;

fn search<T: serde::Serialize>(
    node: &Node,
    payload: &[u8],
    asker_has_gone: &(dyn Fn() -> bool + Sync),
    run: Run<T>,
) -> Reply {
    let (of, request) = wire::decode_search(payload).map_err(NodeError::Request)?;
    let (shard, snapshot) = state(node, &of)?;
    let limit = Duration::from_millis(request.time_limit_ms);
    let budget = Budget::new(Some(limit), asker_has_gone, &node.load.bytes);
    let is_heavy = request.query.is_heavy();
    // In vain if the time is up before its turn comes; the search will say so.
    let turn = node.load.search(node.threads, is_heavy, &budget);
    let answer = run(&snapshot, &request, turn.threads(), &budget).inspect_err(|error| {
        if let SearchError::Index(error) = error {
            crate::note!("shard {} of {}: {error}", of.shard, of.root);
            shard.give_up(&snapshot, error);
        }
    })?;
    json(&answer)
}

/// A file's text behind a byte 1, or nothing.
fn file(node: &Node, payload: &[u8]) -> Reply {
    let request: BrowseRequest = serde_json::from_slice(payload).map_err(NodeError::Request)?;
    let (shard, snapshot) = state(node, &request.of)?;
    let text = search::file(&snapshot, &request.path).inspect_err(|error| {
        crate::note!("shard {} of {}: {error}", request.of.shard, request.of.root);
        shard.give_up(&snapshot, error);
    })?;
    Ok(text.map_or_else(Vec::new, |text| [&[1], text.as_slice()].concat()))
}

fn folder(node: &Node, payload: &[u8]) -> Reply {
    let request: BrowseRequest = serde_json::from_slice(payload).map_err(NodeError::Request)?;
    let (_, snapshot) = state(node, &request.of)?;
    json(&search::folder(&snapshot, &request.path))
}

/// Reads `Entries` frames up to the empty one.
fn read_entries(reader: &mut BufReader<Stream>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    loop {
        let part = match wire::read_frame(reader)? {
            Some((Kind::Entries, payload)) if payload.is_empty() => return Ok(entries),
            Some((Kind::Entries, payload)) => wire::decode_entries(&payload),
            _ => None,
        };
        let expected = || io::Error::new(io::ErrorKind::InvalidData, "expected a list of files");
        entries.extend(part.ok_or_else(expected)?);
    }
}

/// Writes the files of a shard's newest state, all but the empty frame behind them.
fn list(node: &Node, payload: &[u8], stream: &mut Stream) -> io::Result<()> {
    let shard = wire::decode_list(payload).and_then(|(root, number)| node.shard(&root, number));
    let snapshot = shard.and_then(|shard| shard.newest());
    for live in snapshot.iter().flat_map(|snapshot| &snapshot.segments) {
        let files: Vec<_> = live
            .files()
            .map(|(_, row)| (&*row.path, row.stamp))
            .collect();
        for part in files.chunks(ENTRIES) {
            let payload = wire::encode_entries(part.iter().copied());
            wire::write_frame(stream, Kind::Entries, &payload)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_request() {
        let reply = guarded(|| panic!("on purpose")).unwrap();
        assert!(matches!(reply, Err(NodeError::Panicked)));
        assert!(matches!(guarded(|| Ok(Ok(vec![1]))), Ok(Ok(answer)) if answer == [1]));
    }
}

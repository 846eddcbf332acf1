//! One connection of a node: requests in, frames out, in turn.

use std::io::{self, BufReader};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Node, NodeError};
use crate::corpus::Entry;
use crate::index::{Shard, Snapshot};
use crate::search::literal::{self, AnswerError, Sink};
use crate::search::{self, SearchError};
use crate::wire::{self, Kind, Stream, UpdateRequest};

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
        let reply = match kind {
            Kind::Query => query(node, &payload, &writer)?,
            Kind::Status => json(&node.status()),
            Kind::Search => search(node, &payload),
            Kind::Update => {
                let entries = read_entries(&mut reader)?;
                match serde_json::from_slice::<UpdateRequest>(&payload) {
                    Ok(request) => node.update(request, entries).map(|()| Vec::new()),
                    Err(error) => Err(NodeError::Request(error)),
                }
            }
            Kind::List => {
                let stream = writer.get_mut().unwrap_or_else(PoisonError::into_inner);
                list(node, &payload, stream)?;
                continue;
            }
            Kind::Entries | Kind::Items | Kind::Last | Kind::Error => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a reply is no request",
                ));
            }
        };
        let stream = writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        match reply {
            Ok(payload) => wire::write_frame(stream, Kind::Last, &payload)?,
            Err(error) => wire::write_frame(stream, Kind::Error, error.to_string().as_bytes())?,
        }
    }
    Ok(())
}

impl Sink for Mutex<Stream> {
    fn items(&self, items: &[u8]) -> io::Result<()> {
        let mut stream = self.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write_frame(&mut *stream, Kind::Items, items)
    }
}

/// Payload of the last frame, or why there is none.
type Reply = Result<Vec<u8>, NodeError>;

fn json(value: &impl serde::Serialize) -> Reply {
    serde_json::to_vec(value).map_err(NodeError::Answer)
}

/// The shard's state, or why it has none.
fn snapshot(node: &Node, number: u32) -> Result<(Arc<Shard>, Arc<Snapshot>), NodeError> {
    let shard = node.shard(number).ok_or(NodeError::NotIndexed(number))?;
    let snapshot = shard.snapshot().ok_or_else(|| match shard.damage() {
        Some(what) => NodeError::Damaged {
            shard: number,
            what,
        },
        None => NodeError::NotIndexed(number),
    })?;
    Ok((shard, snapshot))
}

fn query(node: &Node, payload: &[u8], writer: &Mutex<Stream>) -> io::Result<Reply> {
    let Some((number, needle)) = wire::decode_query(payload) else {
        return Ok(Err(NodeError::Query));
    };
    let (shard, snapshot) = match snapshot(node, number) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    match literal::answer(&snapshot, needle, node.threads, writer) {
        Ok(rest) => Ok(Ok(rest)),
        Err(AnswerError::Delivery(error)) => Err(error),
        Err(AnswerError::Index(error)) => {
            crate::note!("shard {number}: {error}");
            shard.condemn(&snapshot, &error);
            Ok(Err(error.into()))
        }
    }
}

fn search(node: &Node, payload: &[u8]) -> Reply {
    let (number, request) = wire::decode_search(payload).map_err(NodeError::Request)?;
    let (shard, snapshot) = snapshot(node, number)?;
    let answer = search::search(&snapshot, &request, node.threads).inspect_err(|error| {
        if let SearchError::Index(error) = error {
            crate::note!("shard {number}: {error}");
            shard.condemn(&snapshot, error);
        }
    })?;
    json(&answer)
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

/// Writes the files of a shard; none if it has no state.
fn list(node: &Node, payload: &[u8], stream: &mut Stream) -> io::Result<()> {
    let number = payload.try_into().map_or(0, u32::from_le_bytes);
    if let Ok((_, snapshot)) = snapshot(node, number) {
        for live in &snapshot.segments {
            let files: Vec<_> = live
                .files()
                .map(|(_, row)| (&*row.path, row.stamp))
                .collect();
            for part in files.chunks(ENTRIES) {
                let payload = wire::encode_entries(part.iter().copied());
                wire::write_frame(stream, Kind::Entries, &payload)?;
            }
        }
    }
    wire::write_frame(stream, Kind::Entries, &[])
}

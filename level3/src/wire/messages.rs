//! Payloads. What is asked often is packed by hand; the rest is JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{Reader, put_bytes};
use crate::corpus::{Entry, Reject, Stamp};
use crate::index::Identity;
use crate::root::RootName;
use crate::search::Request;

/// Packs a query: the shard of the unnamed root to ask, the job whose state is to answer, and the
/// needle.
pub fn encode_query(shard: u32, job: u64, needle: &[u8]) -> Vec<u8> {
    [&shard.to_le_bytes()[..], &job.to_le_bytes(), needle].concat()
}

/// Unpacks a query.
pub fn decode_query(payload: &[u8]) -> Option<(u32, u64, &[u8])> {
    let mut reader = Reader(payload);
    Some((reader.u32()?, reader.u64()?, reader.0))
}

/// What kind of failure an error is, as far as the master acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Any failure.
    Failed = 0,
    /// The shard does not hold the state that was asked for.
    NoState = 1,
    /// The request itself is no good.
    BadRequest = 2,
}

/// Packs an error.
pub fn encode_error(refusal: Refusal, message: &str) -> Vec<u8> {
    [&[refusal as u8], message.as_bytes()].concat()
}

/// Unpacks an error, whatever it is.
pub fn decode_error(payload: &[u8]) -> (Refusal, String) {
    let (code, message) = payload.split_first().unwrap_or((&0, &[]));
    let refusal = match code {
        1 => Refusal::NoState,
        2 => Refusal::BadRequest,
        _ => Refusal::Failed,
    };
    (refusal, String::from_utf8_lossy(message).into_owned())
}

/// Packs part of a list of files.
pub fn encode_entries<'a>(entries: impl IntoIterator<Item = (&'a str, Stamp)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, stamp) in entries {
        put_bytes(&mut out, path.as_bytes());
        stamp.put(&mut out);
    }
    out
}

/// Unpacks part of a list of files.
pub fn decode_entries(payload: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = Reader(payload);
    let mut entries = Vec::new();
    while !reader.is_empty() {
        let path = reader.string()?.to_owned();
        let stamp = Stamp::take(&mut reader)?;
        entries.push(Entry { path, stamp });
    }
    Some(entries)
}

/// Prepares the state in which a shard holds the files that follow in `Entries` frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// What the shard will be a part of.
    pub identity: Identity,
}

/// Makes the state that a job prepared the committed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRequest {
    /// The root that the shard is a part of.
    pub root: RootName,
    /// The shard.
    pub shard: u32,
    /// The job.
    pub job: u64,
    /// The shards of the root that this node is to hold from now on; others are removed.
    pub keep: Vec<u32>,
}

/// Removes a root, whatever the node has of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetRequest {
    /// The root.
    pub root: RootName,
    /// A number for the removal, as if it were a job: what a later job has made stays.
    pub job: u64,
}

/// Packs a request for the files of a shard: the shard and the root's name.
pub fn encode_list(root: &RootName, shard: u32) -> Vec<u8> {
    [&shard.to_le_bytes()[..], root.as_str().as_bytes()].concat()
}

/// Unpacks a request for the files of a shard.
pub fn decode_list(payload: &[u8]) -> Option<(RootName, u32)> {
    let mut reader = Reader(payload);
    let shard = reader.u32()?;
    let name = std::str::from_utf8(reader.0).ok()?.to_owned();
    Some((RootName::try_from(name).ok()?, shard))
}

/// A state of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    /// The root that the shard is a part of.
    pub root: RootName,
    /// The shard.
    pub shard: u32,
    /// The job that made the state.
    pub job: u64,
}

/// What to show of a shard's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowseRequest {
    /// The state to ask.
    pub of: ShardState,
    /// The file; or the folder, with a slash at its end, or empty for the root.
    pub path: String,
}

/// State of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its `--id`.
    pub id: u32,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
    /// Where it keeps its shards.
    pub folder: String,
    /// The roots that it was told to remove, and the numbers of their removals.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<RootName, u64>,
    /// The update at work, if any.
    pub indexing: Option<IndexingStatus>,
    /// Queries and searches at work.
    pub searching: usize,
    /// Peak resident memory in bytes, as the kernel counts it.
    pub peak_memory_bytes: Option<u64>,
}

/// State of a shard on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// The root that it is a part of.
    #[serde(default, skip_serializing_if = "RootName::is_unnamed")]
    pub root: RootName,
    /// Number of the shard.
    pub shard: u32,
    /// The committed state, if it has one that it can answer from.
    pub identity: Option<Identity>,
    /// The state that is prepared and not committed, if any.
    pub prepared: Option<Identity>,
    /// What is wrong with its index, if anything is.
    pub damage: Option<String>,
    /// Files that can be found.
    pub files: u64,
    /// Their text in bytes.
    pub text_bytes: u64,
    /// Packed text on disk in bytes, files that changed since included.
    pub packed_bytes: u64,
    /// Index files in bytes.
    pub index_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// How many files are left out.
    pub rejected: u64,
    /// The first of the files that are left out, and why.
    pub rejected_files: Vec<(String, Reject)>,
}

impl ShardStatus {
    /// The states that the shard can answer from, the newest first.
    pub fn states(&self) -> impl Iterator<Item = &Identity> {
        self.prepared.iter().chain(&self.identity)
    }
}

/// How far an update has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexingStatus {
    /// Files to index.
    pub files_total: u64,
    /// Files indexed so far.
    pub files_done: u64,
    /// Bytes indexed so far.
    pub bytes_done: u64,
}

/// A search of one shard.
#[derive(Serialize, Deserialize)]
struct SearchMessage<S, R> {
    of: S,
    request: R,
}

/// Packs a search: the state to ask, and what to look for.
pub fn encode_search(of: &ShardState, request: &Request) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&SearchMessage { of, request })
}

/// Unpacks a search.
pub fn decode_search(payload: &[u8]) -> Result<(ShardState, Request), serde_json::Error> {
    let message: SearchMessage<ShardState, Request> = serde_json::from_slice(payload)?;
    Ok((message.of, message.request))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_survive(paths in prop::collection::vec("\\PC{1,20}", 0..5), numbers in any::<[u64; 3]>(), times in any::<[i64; 2]>()) {
            let ([device, inode, bytes], [modified_ns, changed_ns]) = (numbers, times);
            let stamp = Stamp { device, inode, bytes, modified_ns, changed_ns };
            let packed = encode_entries(paths.iter().map(|path| (path.as_str(), stamp)));
            let back = decode_entries(&packed).unwrap();
            prop_assert!(back.iter().all(|entry| entry.stamp == stamp));
            prop_assert_eq!(back.into_iter().map(|entry| entry.path).collect::<Vec<_>>(), paths);
        }

        #[test]
        fn foreign_payloads_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = decode_entries(&bytes);
            let _ = decode_query(&bytes);
        }
    }

    #[test]
    fn errors_keep_their_kind_and_message() {
        for refusal in [Refusal::Failed, Refusal::NoState, Refusal::BadRequest] {
            let packed = encode_error(refusal, "why");
            assert_eq!(decode_error(&packed), (refusal, "why".to_owned()));
        }
        assert_eq!(decode_error(b""), (Refusal::Failed, String::new()));
    }

    #[test]
    fn queries_carry_any_bytes() {
        let packed = encode_query(2, 3, b"\xff\0");
        assert_eq!(decode_query(&packed), Some((2, 3, &b"\xff\0"[..])));
        assert_eq!(decode_query(b"abc"), None);
    }

    #[test]
    fn lists_name_a_root_that_can_be_one() {
        for name in ["", "linux"] {
            let name = RootName::try_from(name.to_owned()).unwrap();
            assert_eq!(decode_list(&encode_list(&name, 3)), Some((name, 3)));
        }
        assert_eq!(decode_list(b"\x03\0\0\0../x"), None);
        assert_eq!(decode_list(b"\x03"), None);
    }
}

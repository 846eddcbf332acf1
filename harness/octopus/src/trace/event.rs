//! What a trace consists of: a header and events. `harness/docs/trace.md` tells programs that write
//! them the same in more words.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// The version of the format. It grows when a field changes its meaning or goes; new kinds and new
/// fields may come without.
pub const TRACE_SCHEMA: u64 = 1;

/// The kinds of events that the page knows, and what each means. Others are drawn as marks.
pub const KINDS: &[(&str, &str)] = &[
    ("send", "the node gives a message to the network"),
    ("deliver", "a message reaches the node"),
    ("drop", "a message is lost on its way"),
    ("tick", "the node's clock moves on"),
    ("append", "entries are in the node's log, in memory"),
    (
        "persist",
        "what was written is on the node's disk for certain",
    ),
    ("apply", "the node's state has taken in the log up to here"),
    ("become", "the node has this role, in this term"),
    ("vote", "the node gives its vote"),
    (
        "commit",
        "the node knows the log to be committed up to here",
    ),
    (
        "snapshot",
        "a snapshot of the state was taken, sent or put in place",
    ),
    ("crash", "the node's process ends, and its memory with it"),
    (
        "restart",
        "the node's process begins with what its disk has",
    ),
    ("client", "a client asks the node, or hears from it"),
    ("fault", "something goes wrong in the world, or is mended"),
];

/// The first line of a trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Header {
    /// The program that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What it is of, in a few words: the page's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The command that makes the same run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    /// The nodes, in the order of their lanes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Added to each time of this file, in nanoseconds: its clock is behind the run's by so much.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset_ns: i64,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Something that happened. Which fields an event has depends on its kind; all but the time and the
/// kind may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Event {
    /// When, in nanoseconds from any beginning that all nodes of a run share.
    pub t: u64,
    /// A word: one of [`KINDS`], or another.
    pub kind: String,
    /// Where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Of a message, the same where it is sent, delivered and dropped; or of a fault, the same where it
    /// begins and ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who a message is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who a message is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What type of message it is, in a word.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The term of the node or the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// A place in the log. All up to it are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The highest place in the log that is known to be committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// Who a vote is for.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub vote: Option<String>,
    /// A role in a word: `leader`, `follower`, `candidate`, `precandidate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Which of the things that the kind stands for: `invoke`, `begin`, `taken`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Client requests that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// Entries of the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    /// How much waits in each of the node's queues.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<String, u64>,
    /// The nodes that a fault is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The links that a fault is about, by their two nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(String, String)>,
    /// The event in words, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An entry of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place.
    pub index: u64,
    /// The term that it was made in.
    pub term: u64,
    /// The requests in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
}

impl Event {
    /// An event of a kind, with nothing but its time.
    pub fn new(t: u64, kind: &str) -> Self {
        Self {
            t,
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// Every node that it names.
    pub(super) fn nodes_named(&self) -> impl Iterator<Item = &str> {
        let one = [&self.node, &self.to, &self.from].into_iter().flatten();
        let pairs = self.links.iter().flat_map(|(a, b)| [a, b]);
        one.chain(&self.nodes).chain(pairs).map(String::as_str)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

//! The event log of a simulated run: one list of what happened and when, written as JSON lines.
//!
//! Each line is an object with `t_us` (microseconds since the start of the log, by a clock that
//! never jumps), `time` (the same moment by the wall clock, RFC 3339), `event` (its kind) and the
//! fields of its kind. The kinds of this crate are the variants of [`Event`]; whoever runs a
//! simulation adds kinds of its own. `harness/docs/events.md` describes them all.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{
    error::{Doing, Error},
    monkeys::{Act, Monkey, MonkeySettings},
    network::{Direction, LinkState, NodeId, Pair},
    nodes::NodeState,
};

/// The version of the log's format. It grows when a field changes its meaning or goes; new kinds
/// and new fields may come without.
pub const EVENTS_SCHEMA: u32 = 2;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The simulation is set up; always the first.
    Start(Box<Start>),
    /// The monkeys' time begins.
    MonkeysStart,
    /// A monkey acts.
    Act(ActEvent),
    /// What a link does has changed.
    Link(LinkNow),
    /// What a node does has changed.
    Node(NodeNow),
    /// A node's disk is full, or has room again.
    Disk {
        /// The node.
        node: NodeId,
        /// Whether it is full now.
        full: bool,
    },
    /// A node ended by itself.
    Exit {
        /// The node.
        node: NodeId,
        /// Its exit status, in words.
        text: String,
    },
    /// A node printed a line. The first lines of each node are here, long ones cut.
    Said {
        /// The node.
        node: NodeId,
        /// The line.
        text: String,
    },
    /// A script that an act runs printed a line. The first lines of each run are here, long ones cut.
    Script {
        /// Its name.
        name: String,
        /// The line.
        text: String,
    },
    /// How everything stands, recorded now and then.
    Sample(Sample),
    /// An event of another kind, from whoever runs the simulation.
    #[serde(untagged)]
    Own(Own),
}

/// An event of a kind that this crate does not know.
#[derive(Clone, Debug, Serialize)]
pub struct Own {
    #[serde(rename = "event")]
    kind: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// What a run was set up as.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// [`EVENTS_SCHEMA`].
    pub schema: u32,
    /// The seed. As text, since many readers of JSON have no integers above 2^53.
    #[serde(serialize_with = "as_text")]
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How many places links join: the nodes, and the clients' machine if its links are flaky.
    pub places: usize,
    /// How long the schedule is, in microseconds.
    pub duration_us: u64,
    /// Which monkeys act, and how.
    pub monkeys: MonkeySettings,
    /// Who is where.
    pub addresses: Vec<NodeAddress>,
    /// The links' first states.
    pub links: Vec<LinkNow>,
    /// All acts; an act's number is its place here.
    pub schedule: Vec<Act>,
}

/// Where a node is to be found, to lay the log beside those of the nodes.
#[derive(Clone, Debug, Serialize)]
pub struct NodeAddress {
    /// The node.
    pub node: NodeId,
    /// Where it listens itself.
    pub listen: String,
    /// Where it finds each other node: the network's ends of its links.
    pub peers: Vec<PeerAddress>,
    /// Its folder.
    pub folder: PathBuf,
    /// The file with its output.
    pub log: PathBuf,
    /// Its command line.
    pub command: Vec<String>,
}

/// Where a node finds another.
#[derive(Clone, Debug, Serialize)]
pub struct PeerAddress {
    /// The other node.
    pub node: NodeId,
    /// Where the network listens on its behalf.
    pub address: String,
}

/// A step in an act. Acts have the numbers of their places in the schedule.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum ActEvent {
    /// It begins.
    Begins {
        /// Its number.
        number: usize,
        /// The act itself.
        #[serde(flatten)]
        act: Act,
        /// The act in words.
        text: String,
    },
    /// It is over.
    Ends {
        /// Its number.
        number: usize,
        /// Whose act it was.
        monkey: Monkey,
        /// What is true now: another act may still do the same.
        text: String,
    },
    /// The spof monkey has stopped a node and cut it off.
    Holds {
        /// The act's number.
        number: usize,
        /// Whose act it is.
        monkey: Monkey,
        /// The node.
        node: NodeId,
        /// The same in words.
        text: String,
    },
    /// The spof monkey has let a node go.
    Releases {
        /// The act's number.
        number: usize,
        /// Whose act it is.
        monkey: Monkey,
        /// The node.
        node: NodeId,
        /// The same in words.
        text: String,
    },
}

impl ActEvent {
    /// The event in words.
    pub fn text(&self) -> &str {
        match self {
            Self::Begins { text, .. }
            | Self::Ends { text, .. }
            | Self::Holds { text, .. }
            | Self::Releases { text, .. } => text,
        }
    }
}

/// What a link does to its traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkNow {
    /// Its two nodes, the lower one first.
    pub link: Pair,
    /// Whether connections can be made and kept.
    pub up: bool,
    /// The fixed part of its delay in milliseconds: latency and spikes.
    pub delay_ms: u64,
    /// Mean of the random part, in milliseconds.
    pub jitter_ms: u64,
    /// Whether what comes from the lower and from the higher node is lost.
    pub loses: [bool; 2],
    /// Bytes per second in each direction, if they are limited.
    pub bytes_per_s: Option<u64>,
}

impl LinkNow {
    /// What the link of a pair does in this state.
    pub fn new(link: Pair, state: &LinkState) -> Self {
        Self {
            link,
            up: state.is_up(),
            delay_ms: state.latency_ms + state.spike_ms,
            jitter_ms: state.jitter_ms,
            loses: Direction::BOTH.map(|direction| state.loses(direction)),
            bytes_per_s: state.bandwidth(),
        }
    }
}

/// What a node does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeNow {
    /// The node.
    pub node: NodeId,
    /// Its state.
    pub state: NodeState,
    /// How often it was started.
    pub incarnation: u64,
    /// Its process, if it has one.
    pub pid: Option<u32>,
}

/// How everything stands.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Bytes read from nodes, on all links together.
    pub bytes_read: u64,
    /// Bytes handed to nodes.
    pub bytes_written: u64,
    /// Connects that were not refused.
    pub connections: u64,
    /// What each node does.
    pub nodes: Vec<NodeState>,
    /// What each link does.
    pub links: Vec<LinkNow>,
    /// Bytes handed over so far in each direction, row by row: `[from * nodes + to]`.
    pub delivered: Vec<u64>,
    /// What whoever runs the simulation adds.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An event and its time.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Microseconds since the start of the log.
    pub t_us: u64,
    /// The same moment by the wall clock.
    #[serde(serialize_with = "as_rfc3339")]
    pub time: SystemTime,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A log that any thread adds to.
#[derive(Debug)]
pub struct EventLog {
    start: Instant,
    /// The wall clock at the start; its later jumps do not matter.
    start_time: SystemTime,
    records: Mutex<Vec<Record>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            start_time: SystemTime::now(),
            records: Mutex::default(),
        }
    }
}

impl EventLog {
    /// The time since the start of the log.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Microseconds since the start of the log.
    pub fn now_us(&self) -> u64 {
        self.elapsed().as_micros() as u64
    }

    /// Adds an event that happens now.
    pub fn note(&self, event: Event) {
        self.note_at(self.now_us(), event);
    }

    /// Adds an event of a kind of one's own that happens now. `fields` is a JSON object.
    pub fn record(&self, kind: &str, fields: Value) {
        self.record_at(self.now_us(), kind, fields);
    }

    /// Adds an event of a kind of one's own that happened at a given time. `fields` is a JSON
    /// object.
    pub fn record_at(&self, t_us: u64, kind: &str, fields: Value) {
        let own = Own {
            kind: kind.to_owned(),
            fields: object(fields),
        };
        self.note_at(t_us, Event::Own(own));
    }

    /// Adds an event that happened at a given time.
    pub(crate) fn note_at(&self, t_us: u64, event: Event) {
        let time = self.start_time + Duration::from_micros(t_us);
        self.lock().push(Record { t_us, time, event });
    }

    /// All events, ordered by time.
    pub fn sorted(&self) -> Vec<Record> {
        let mut records = self.lock().clone();
        records.sort_by_key(|record| record.t_us);
        records
    }

    /// All events as JSON objects, ordered by time.
    pub fn to_json(&self) -> Vec<Value> {
        let records = self.sorted();
        records
            .iter()
            .map(|record| serde_json::to_value(record).unwrap_or_default())
            .collect()
    }

    /// The last events that `pick` finds something in, the newest last.
    pub fn last<T>(&self, count: usize, pick: impl Fn(&Record) -> Option<T>) -> Vec<T> {
        let records = self.lock();
        let mut found: Vec<T> = records.iter().rev().filter_map(pick).take(count).collect();
        found.reverse();
        found
    }

    /// How many events there are of those that `picks` says.
    pub fn count(&self, picks: impl Fn(&Event) -> bool) -> usize {
        let records = self.lock();
        records.iter().filter(|record| picks(&record.event)).count()
    }

    /// Writes the log as JSON lines, ordered by time.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text = Vec::new();
        for record in self.sorted() {
            // A log of plain values always has a text.
            let _infallible = serde_json::to_writer(&mut text, &record);
            text.push(b'\n');
        }
        fs::File::create(path)
            .and_then(|mut file| file.write_all(&text))
            .doing(|| format!("cannot write the events to {}", path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

pub(crate) fn object(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn as_text<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(seed)
}

fn as_rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::monkeys::What;

    fn log() -> EventLog {
        EventLog {
            start: Instant::now(),
            start_time: SystemTime::UNIX_EPOCH,
            records: Mutex::default(),
        }
    }

    #[test]
    fn events_are_written_in_the_order_of_time_with_both_clocks() {
        let log = log();
        log.record_at(9, "answer", json!({"number": 7}));
        log.note_at(
            3,
            Event::Disk {
                node: 1,
                full: true,
            },
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        log.write(file.path()).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                json!({"t_us": 3, "time": "1970-01-01T00:00:00.000003Z", "event": "disk",
                       "node": 1, "full": true}),
                json!({"t_us": 9, "time": "1970-01-01T00:00:00.000009Z", "event": "answer",
                       "number": 7}),
            ]
        );
        assert_eq!(lines, log.to_json());
    }

    #[test]
    fn an_act_tells_its_phase_and_its_monkey() {
        let act = Act {
            at_us: 5,
            monkey: Monkey::Link,
            what: What::Down {
                links: vec![Pair::new(0, 2)],
                for_us: 7,
            },
        };
        let log = log();
        log.note(Event::Act(ActEvent::Begins {
            number: 4,
            act,
            text: "down".to_owned(),
        }));
        log.note(Event::Act(ActEvent::Ends {
            number: 4,
            monkey: Monkey::Link,
            text: "up".to_owned(),
        }));
        let mut shown = log.to_json();
        for event in &mut shown {
            let fields = event.as_object_mut().unwrap();
            fields.remove("t_us");
            fields.remove("time");
        }
        assert_eq!(
            shown,
            [
                json!({"event": "act", "phase": "begins", "number": 4, "at_us": 5,
                       "monkey": "link", "what": "down", "links": [[0, 2]], "for_us": 7,
                       "text": "down"}),
                json!({"event": "act", "phase": "ends", "number": 4, "monkey": "link",
                       "text": "up"}),
            ]
        );
        let texts = log.last(1, |record| match &record.event {
            Event::Act(act) => Some(act.text().to_owned()),
            _ => None,
        });
        assert_eq!(texts, ["up"]);
    }

    #[test]
    fn seeds_are_text() {
        let start = Start {
            schema: EVENTS_SCHEMA,
            seed: u64::MAX,
            nodes: 0,
            places: 0,
            duration_us: 0,
            monkeys: MonkeySettings::default(),
            addresses: Vec::new(),
            links: Vec::new(),
            schedule: Vec::new(),
        };
        let json = serde_json::to_value(Event::Start(Box::new(start))).unwrap();
        assert_eq!(json["seed"], "18446744073709551615");
        assert_eq!(json["event"], "start");
        assert_eq!(json["monkeys"]["intensity"], "wave");
    }
}

//! What happened to links and nodes, as faults that begin and end.

use std::collections::BTreeMap;

use super::super::Event;
use crate::{
    events::{Event as Happened, LinkNow, Record},
    network::{NodeId, Pair},
    nodes::NodeState,
};

/// What is wrong with something, and since which fault.
#[derive(Default)]
struct Bands {
    faults: u64,
    nodes: BTreeMap<NodeId, Band>,
    links: BTreeMap<(NodeId, NodeId), Band>,
    found: Vec<Event>,
}

struct Band {
    id: String,
    text: String,
}

/// Faults of links and nodes, and the ends of processes; their beginnings, too, where a node has not `told`
/// of its own.
pub fn events(records: &[Record], start_ns: u64, told: &[bool]) -> Vec<Event> {
    let mut bands = Bands::default();
    let mut usual: BTreeMap<(NodeId, NodeId), LinkNow> = BTreeMap::new();
    let mut lives: BTreeMap<NodeId, u64> = BTreeMap::new();
    for record in records {
        let t = start_ns + record.t_us * 1_000;
        match &record.event {
            Happened::Start(start) => {
                let links = start.links.iter();
                usual.extend(links.map(|link| (ends(link.link), link.clone())));
            }
            Happened::Link(link) => {
                let what = usual.get(&ends(link.link));
                let text = what.and_then(|usual| wrong(usual, link));
                bands.link(t, link.link, text.as_deref());
            }
            Happened::Node(now) => {
                let before = lives.insert(now.node, now.incarnation);
                let is_new = before.is_none_or(|before| before < now.incarnation);
                let has_told = told.get(now.node).copied().unwrap_or_default();
                match now.state {
                    NodeState::Running if is_new && !has_told => {
                        bands.at_node(t, "restart", now.node);
                    }
                    NodeState::Killed | NodeState::Exited => bands.at_node(t, "crash", now.node),
                    NodeState::Running | NodeState::Frozen => {}
                }
                let frozen = now.state == NodeState::Frozen;
                bands.node(t, now.node, frozen.then_some("frozen"));
            }
            Happened::Disk { node, full } => {
                let text = if *full {
                    "its disk is full"
                } else {
                    "its disk has room again"
                };
                bands.moment(t, *node, text);
            }
            _ => {}
        }
    }
    bands.found
}

fn ends(pair: Pair) -> (NodeId, NodeId) {
    (pair.low(), pair.high())
}

/// What is unusual about a link.
fn wrong(usual: &LinkNow, now: &LinkNow) -> Option<String> {
    if !now.up {
        return Some("cut".to_owned());
    }
    match now.loses {
        [true, true] => return Some("loses everything".to_owned()),
        [true, false] => return Some(format!("loses what node {} sends", now.link.low())),
        [false, true] => return Some(format!("loses what node {} sends", now.link.high())),
        [false, false] => {}
    }
    if let Some(limit) = now.bytes_per_s {
        return Some(format!("carries {limit} bytes a second"));
    }
    // Its delay changes now and then, within limits; a spike is far beyond them.
    let slow = now.delay_ms > 2 * usual.delay_ms + 50;
    slow.then(|| format!("takes {} ms", now.delay_ms))
}

impl Bands {
    fn link(&mut self, t: u64, link: Pair, text: Option<&str>) {
        let (low, high) = ends(link);
        let about = Event {
            links: vec![(low.to_string(), high.to_string())],
            ..Event::new(t, "fault")
        };
        let band = self.links.remove(&(low, high));
        if let Some(band) = self.change(band, text, &about) {
            self.links.insert((low, high), band);
        }
    }

    fn node(&mut self, t: u64, node: NodeId, text: Option<&str>) {
        let about = Event {
            nodes: vec![node.to_string()],
            ..Event::new(t, "fault")
        };
        let band = self.nodes.remove(&node);
        if let Some(band) = self.change(band, text, &about) {
            self.nodes.insert(node, band);
        }
    }

    /// Ends what is no more, and begins what is new.
    fn change(&mut self, band: Option<Band>, text: Option<&str>, about: &Event) -> Option<Band> {
        if band.as_ref().map(|band| band.text.as_str()) == text {
            return band;
        }
        if let Some(Band { id, text }) = band {
            self.found.push(Event {
                what: Some("end".to_owned()),
                id: Some(id),
                text: Some(text),
                ..about.clone()
            });
        }
        let text = text?.to_owned();
        self.faults += 1;
        let id = format!("fault {}", self.faults);
        self.found.push(Event {
            what: Some("begin".to_owned()),
            id: Some(id.clone()),
            text: Some(text.clone()),
            ..about.clone()
        });
        Some(Band { id, text })
    }

    fn at_node(&mut self, t: u64, kind: &str, node: NodeId) {
        self.found.push(Event {
            node: Some(node.to_string()),
            ..Event::new(t, kind)
        });
    }

    fn moment(&mut self, t: u64, node: NodeId, text: &str) {
        self.found.push(Event {
            nodes: vec![node.to_string()],
            text: Some(text.to_owned()),
            ..Event::new(t, "fault")
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        events::{EventLog, NodeNow},
        network::{Change, LinkState},
    };

    fn fields(event: &Event) -> Value {
        json!([
            event.t,
            event.kind,
            event.what,
            event.node,
            event.nodes,
            event.links,
            event.text
        ])
    }

    #[test]
    fn links_and_nodes_are_wrong_from_a_time_to_a_time() {
        let pair = Pair::new(0, 1);
        let mut state = LinkState::new(20, 0);
        let log = EventLog::default();
        let start = LinkNow::new(pair, &state);
        let mut link = |t_us, change| {
            state.apply(pair, change);
            log.note_at(t_us, Happened::Link(LinkNow::new(pair, &state)));
        };
        link(2, Change::Down);
        link(3, Change::Up);
        let node = |t_us, state, incarnation| {
            let now = NodeNow {
                node: 1,
                state,
                incarnation,
                pid: None,
            };
            log.note_at(t_us, Happened::Node(now));
        };
        node(4, NodeState::Frozen, 1);
        node(5, NodeState::Killed, 1);
        node(6, NodeState::Running, 2);
        let mut records = log.sorted();
        records.insert(
            0,
            Record {
                t_us: 0,
                event: Happened::Start(Box::new(crate::events::Start {
                    schema: 0,
                    seed: 0,
                    nodes: 2,
                    places: 2,
                    duration_us: 0,
                    monkeys: crate::monkeys::MonkeySettings::default(),
                    addresses: Vec::new(),
                    links: vec![start],
                    schedule: Vec::new(),
                })),
                ..records[0].clone()
            },
        );
        let shown: Vec<Value> = events(&records, 1_000_000, &[true, false])
            .iter()
            .map(fields)
            .collect();
        assert_eq!(
            shown,
            [
                json!([1_002_000, "fault", "begin", null, [], [["0", "1"]], "cut"]),
                json!([1_003_000, "fault", "end", null, [], [["0", "1"]], "cut"]),
                json!([1_004_000, "fault", "begin", null, ["1"], [], "frozen"]),
                json!([1_005_000, "crash", null, "1", [], [], null]),
                json!([1_005_000, "fault", "end", null, ["1"], [], "frozen"]),
                json!([1_006_000, "restart", null, "1", [], [], null]),
            ]
        );
    }
}

//! One run from pieces: what its nodes wrote down, what passed through the network, and what its monkeys
//! did. The network sees bytes and not messages: those that its nodes locate by connection and byte
//! offset are found in what passed, and so is where the lost ones ended. What passed between nodes that
//! tell of no messages is drawn as it is, chunk by chunk.

mod passing;
mod world;

use std::collections::HashMap;

use serde_json::Value;

use super::{EVENTS_MAX, Event, Header, Trace, messages};
use crate::{
    events::Record,
    network::{NodeId, Passage},
};

/// What one node wrote down.
#[derive(Clone, Debug)]
pub struct Share {
    /// The node.
    pub node: NodeId,
    /// As it wrote it, with names of its own for the nodes.
    pub trace: Trace,
}

/// What a run is pieced together from.
#[derive(Debug)]
pub struct Pieces<'a> {
    /// What the run is of.
    pub header: Header,
    /// How many nodes there were.
    pub nodes: usize,
    /// What they wrote down. Not each node has to.
    pub shares: Vec<Share>,
    /// What passed through the network.
    pub passages: Vec<Passage>,
    /// What happened to links and nodes.
    pub records: &'a [Record],
    /// The time of the records' beginning by the clock of all others (`CLOCK_MONOTONIC`), in
    /// nanoseconds.
    pub start_ns: u64,
}

/// Makes one trace of a run. Nodes are called by their numbers.
pub fn piece_together(pieces: Pieces<'_>) -> Trace {
    let mut header = pieces.header;
    header.nodes = (0..pieces.nodes).map(|node| node.to_string()).collect();
    let mut trace = Trace {
        header,
        ..Trace::default()
    };
    let names = names(&pieces.shares);
    let mut told = vec![false; pieces.nodes];
    for Share { node, trace: share } in pieces.shares {
        if let Some(told) = told.get_mut(node) {
            *told = !share.events.is_empty();
        }
        trace.header.program = trace.header.program.take().or(share.header.program);
        trace.remarks.extend(share.remarks);
        trace.events.extend(share.events);
    }
    for event in &mut trace.events {
        rename(event, &names);
    }
    let world = world::events(pieces.records, pieces.start_ns, &told);
    trace.events.extend(world);
    trace.events.sort_by_key(|event| event.t);
    let located = messages::number(&mut trace.events);
    let passed = passing::events(&trace.events, &located, &pieces.passages);
    trace.events.extend(passed);
    trace.events.sort_by_key(|event| event.t);
    // What the run's clock was at does not matter to anybody.
    let first = trace.events.first().map_or(0, |event| event.t);
    for event in &mut trace.events {
        event.t -= first;
    }
    if trace.events.len() > EVENTS_MAX {
        let left_out = trace.events.len() - EVENTS_MAX;
        trace.events.truncate(EVENTS_MAX);
        trace.remarks.push(format!(
            "the last {left_out} events are left out: a run has {EVENTS_MAX} at most"
        ));
    }
    trace
}

/// What the nodes call themselves: whatever they say happened at them.
fn names(shares: &[Share]) -> HashMap<String, String> {
    let mut names = HashMap::new();
    for Share { node, trace } in shares {
        for name in trace.events.iter().filter_map(|event| event.node.as_ref()) {
            if !names.contains_key(name) {
                names.insert(name.clone(), node.to_string());
            }
        }
    }
    names
}

fn rename(event: &mut Event, names: &HashMap<String, String>) {
    let new = |name: &mut String| {
        if let Some(known) = names.get(name) {
            name.clone_from(known);
        }
    };
    let single = [
        &mut event.node,
        &mut event.to,
        &mut event.from,
        &mut event.vote,
    ];
    single.into_iter().flatten().for_each(new);
    event.nodes.iter_mut().for_each(new);
    for (a, b) in &mut event.links {
        new(a);
        new(b);
    }
    for value in event.more.values_mut() {
        if let Value::String(text) = value {
            new(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::network::{Step, Way};

    fn share(node: NodeId, events: &str) -> Share {
        let text = format!("{{\"trace\":1,\"program\":\"p\"}}\n{events}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        let trace = Trace::open_part(Path::new(&path)).unwrap();
        Share { node, trace }
    }

    fn steps(steps: &[(u64, u64)]) -> Vec<Step> {
        let step = |&(t_ns, bytes)| Step { t_ns, bytes };
        steps.iter().map(step).collect()
    }

    /// From node 0 to node 1; 90 bytes get through, and 60 more are read when the link goes down.
    fn passage() -> Passage {
        Passage {
            from: 0,
            to: 1,
            opened_ns: 1_000,
            closed_ns: Some(9_000),
            is_broken_off: true,
            forth: Way {
                read: steps(&[(2_010, 90), (3_010, 150)]),
                written: steps(&[(4_000, 90)]),
            },
            back: Way::default(),
        }
    }

    fn together(shares: Vec<Share>, passages: Vec<Passage>) -> Trace {
        piece_together(Pieces {
            header: Header::default(),
            nodes: 2,
            shares,
            passages,
            records: &[],
            start_ns: 0,
        })
    }

    /// Time, kind, node, peer and what was made known of each event.
    fn shown(trace: &Trace) -> Vec<String> {
        let shown = trace.events.iter().map(|event| {
            let words = [
                &event.node,
                &event.to,
                &event.from,
                &event.message,
                &event.text,
            ];
            let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
            format!("{} {} {}", event.t, event.kind, words.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn nodes_get_their_numbers_and_what_was_lost_ends_where_the_network_lost_it() {
        let zero = share(
            0,
            "{\"t\":2000,\"kind\":\"send\",\"node\":\"aa\",\"to\":\"bb\",\"type\":\"M\",\"connection\":\"c\",\"bytes\":90}\n\
             {\"t\":3000,\"kind\":\"send\",\"node\":\"aa\",\"to\":\"bb\",\"type\":\"N\",\"connection\":\"c\",\"bytes\":150}\n",
        );
        let one = share(
            1,
            "{\"t\":4100,\"kind\":\"deliver\",\"node\":\"bb\",\"from\":\"aa\",\"type\":\"M\",\"connection\":\"c\",\"bytes\":90}\n",
        );
        let trace = together(vec![zero, one], vec![passage()]);
        assert_eq!(
            shown(&trace),
            [
                "0 send 0 1 M",
                "1000 send 0 1 N",
                "2100 deliver 1 0 M",
                "7000 drop 1 0 on its way when the connection was cut",
            ]
        );
        assert_eq!(trace.events[0].id, trace.events[2].id);
        assert_eq!(trace.events[1].id, trace.events[3].id);
        assert_eq!(trace.nodes(), ["0", "1"]);
    }

    #[test]
    fn what_is_sent_before_the_network_takes_the_connection_is_found_all_the_same() {
        let sent = "{\"t\":2000,\"kind\":\"send\",\"node\":\"aa\",\"to\":\"1\",\"type\":\"M\",\"connection\":\"c\",\"bytes\":90}\n";
        let late = |opened_ns, read_ns| Passage {
            opened_ns,
            forth: Way {
                read: steps(&[(read_ns, 90)]),
                written: steps(&[(read_ns + 10, 90)]),
            },
            ..passage()
        };
        let trace = together(vec![share(0, sent)], vec![late(2_005, 2_010)]);
        let found = [
            "0 send 0 1 M",
            "20 drop 1 0 it was handed over, and never looked at",
        ];
        assert_eq!(shown(&trace), found);
        // Nobody waits in a backlog for two seconds: that is another connection.
        let other = late(2_000_002_005, 2_000_002_010);
        let trace = together(vec![share(0, sent)], vec![other]);
        assert!(shown(&trace).iter().any(|event| event.ends_with("bytes")));
    }

    #[test]
    fn between_nodes_that_tell_nothing_the_bytes_are_drawn() {
        let trace = together(Vec::new(), vec![passage()]);
        assert_eq!(
            shown(&trace),
            [
                "0 send 0 1 bytes",
                "1000 send 0 1 bytes",
                "1990 deliver 1 0 bytes",
                "6990 drop 1 0 bytes on its way when the connection was cut",
            ]
        );
        assert_eq!(trace.events[1].more["bytes"], 60);
    }
}

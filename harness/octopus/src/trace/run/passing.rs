//! What passed through the network, laid beside the messages that nodes tell of.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

use super::super::{Event, messages::Located};
use crate::network::{NodeId, Passage, Way};

/// So many of a connection's messages are looked for in what passed.
const LOOKED_AT: usize = 16;

/// So long after its first bytes were sent a connection may be accepted: until then they wait in the
/// listener's backlog. In nanoseconds.
const BACKLOG_NS: u64 = 1_000_000_000;

/// Where messages ended that nobody got; and what passed between nodes that tell of no messages.
pub fn events(told: &[Event], located: &[Located], passages: &[Passage]) -> Vec<Event> {
    let mut connections: BTreeMap<&str, Vec<&Located>> = BTreeMap::new();
    for one in located {
        let list = connections.entry(&one.connection).or_default();
        list.push(one);
    }
    let mut found = Vec::new();
    let mut taken = HashSet::new();
    for messages in connections.values() {
        let candidates = (0..passages.len()).filter(|number| !taken.contains(number));
        let best = candidates.filter_map(|number| {
            let lag = likeness(told, messages, &passages[number])?;
            Some((lag, number))
        });
        let Some((_, number)) = best.min() else {
            continue;
        };
        taken.insert(number);
        let lost = messages.iter().filter(|message| !message.has_arrived);
        found.extend(lost.filter_map(|message| end_of(told, message, &passages[number])));
    }
    for (number, passage) in passages.iter().enumerate() {
        if !taken.contains(&number) {
            found.extend(chunks(number, passage));
        }
    }
    found
}

fn number(name: Option<&String>) -> Option<NodeId> {
    name?.parse().ok()
}

/// Between whom a message was sent.
fn ends(told: &[Event], message: &Located) -> Option<(NodeId, NodeId)> {
    let event = &told[message.event];
    Some((number(event.node.as_ref())?, number(event.to.as_ref())?))
}

/// How long messages of a connection took to get into a passage, in nanoseconds, if they can have gone
/// that way. Their last bytes have to be where the network found ends of what it read, at least once.
fn likeness(told: &[Event], messages: &[&Located], passage: &Passage) -> Option<u64> {
    let mut lag = 0;
    let mut fits = false;
    for message in messages.iter().take(LOOKED_AT) {
        let (from, to) = ends(told, message)?;
        let sent = told[message.event].t;
        let same =
            (from, to) == (passage.from, passage.to) || (to, from) == (passage.from, passage.to);
        if !same || passage.opened_ns > sent.saturating_add(BACKLOG_NS) {
            return None;
        }
        let read = &passage.way_from(from).read;
        let at = read.partition_point(|step| step.bytes < message.bytes);
        let Some(step) = read.get(at) else {
            // It broke off before.
            continue;
        };
        lag += step.t_ns.checked_sub(sent)?;
        fits |= step.bytes == message.bytes;
    }
    fits.then_some(lag)
}

/// What became of a message that its receiver does not tell of.
fn end_of(told: &[Event], message: &Located, passage: &Passage) -> Option<Event> {
    let (from, to) = ends(told, message)?;
    let way = passage.way_from(from);
    let has = |steps: &[crate::network::Step]| {
        let at = steps.partition_point(|step| step.bytes < message.bytes);
        steps.get(at).map(|step| step.t_ns)
    };
    let (t, text) = match (has(&way.read), has(&way.written)) {
        (_, Some(t)) => (t, "it was handed over, and never looked at"),
        (Some(_), None) => (passage.closed_ns?, lost_on_its_way(passage)),
        (None, None) => (
            passage.closed_ns?,
            "it was still at its sender when the connection ended",
        ),
    };
    let sent = &told[message.event];
    Some(Event {
        id: sent.id.clone(),
        node: Some(to.to_string()),
        from: Some(from.to_string()),
        text: Some(text.to_owned()),
        ..Event::new(t.max(sent.t), "drop")
    })
}

fn lost_on_its_way(passage: &Passage) -> &'static str {
    if passage.is_broken_off {
        "on its way when the connection was cut"
    } else {
        "on its way when the connection ended"
    }
}

/// A passage as messages without a meaning: what was read at once is one.
fn chunks(number: usize, passage: &Passage) -> Vec<Event> {
    let mut events = Vec::new();
    for (from, to) in [(passage.from, passage.to), (passage.to, passage.from)] {
        let Way { read, written } = passage.way_from(from);
        let mut before = 0;
        for step in read {
            let event = |t, kind: &str| Event {
                id: Some(format!("{number}:{from}>{to}:{}", step.bytes)),
                message: Some("bytes".to_owned()),
                ..Event::new(t, kind)
            };
            let mut sent = Event {
                node: Some(from.to_string()),
                to: Some(to.to_string()),
                ..event(step.t_ns, "send")
            };
            let length = step.bytes - before;
            sent.more.insert("bytes".to_owned(), json!(length));
            before = step.bytes;
            events.push(sent);
            let at = written.partition_point(|written| written.bytes < step.bytes);
            let arrived = match (written.get(at), passage.closed_ns) {
                (Some(written), _) => event(written.t_ns, "deliver"),
                (None, Some(closed)) => Event {
                    text: Some(lost_on_its_way(passage).to_owned()),
                    ..event(closed.max(step.t_ns), "drop")
                },
                (None, None) => continue,
            };
            events.push(Event {
                node: Some(to.to_string()),
                from: Some(from.to_string()),
                ..arrived
            });
        }
    }
    events
}

//! A run as the page's scripts want it: columns of numbers, and beside them what only some events
//! have. Names, words and requests are numbers into lists.
//!
//! In a column, 0 stands for "none", and all else is one more than what it means; times are distances
//! from the event before.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::thin::Kept;
use crate::trace::{Entry, Event, KINDS, Trace};

/// Texts that are told by their numbers.
#[derive(Default)]
struct Names<'a> {
    list: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn number(&mut self, name: &'a str) -> usize {
        *self.numbers.entry(name).or_insert_with(|| {
            self.list.push(name);
            self.list.len() - 1
        })
    }

    /// One more than its number, or 0.
    fn or_none(&mut self, name: Option<&'a String>) -> usize {
        name.map_or(0, |name| self.number(name) + 1)
    }

    fn all(&mut self, names: &'a [String]) -> Vec<usize> {
        names.iter().map(|name| self.number(name)).collect()
    }
}

/// Which event another belongs to: a delivery to its sending, an end to its beginning.
#[derive(Default)]
struct Pairs<'a> {
    sent: HashMap<&'a str, usize>,
    begun: HashMap<&'a str, usize>,
}

impl<'a> Pairs<'a> {
    /// The distance to it; 0: to none.
    fn back(&mut self, at: usize, event: &'a Event) -> usize {
        let Some(id) = event.id.as_deref() else {
            return 0;
        };
        let first = match (event.kind.as_str(), event.what.as_deref()) {
            ("send", _) => {
                self.sent.insert(id, at);
                None
            }
            ("fault", Some("begin")) => {
                self.begun.insert(id, at);
                None
            }
            ("deliver" | "drop", _) => self.sent.get(id),
            ("fault", Some("end")) => self.begun.get(id),
            _ => None,
        };
        first.map_or(0, |first| at - first)
    }
}

/// The numbers of all events.
#[derive(Default)]
struct Columns<'a> {
    nodes: Names<'a>,
    words: Names<'a>,
    requests: Names<'a>,
    pairs: Pairs<'a>,
    t: Vec<u64>,
    kind: Vec<usize>,
    node: Vec<usize>,
    peer: Vec<usize>,
    message: Vec<usize>,
    pair: Vec<usize>,
    term: Vec<u64>,
    index: Vec<u64>,
    commit: Vec<u64>,
    /// By the place of the event.
    more: Vec<(usize, Map<String, Value>)>,
}

/// A run with its name, as JSON.
pub fn run(name: &str, trace: &Trace, kept: &[Kept]) -> Value {
    let mut columns = Columns::default();
    for node in trace.nodes() {
        columns.nodes.number(node);
    }
    let (start, end) = trace.span_ns();
    let mut before = start;
    for (at, kept) in kept.iter().enumerate() {
        columns.push(at, kept, before);
        before = kept.event.t;
    }
    let Columns {
        nodes,
        words,
        requests,
        t,
        kind,
        node,
        peer,
        message,
        pair,
        term,
        index,
        commit,
        more,
        ..
    } = columns;
    json!({
        "name": name, "header": trace.header, "remarks": trace.remarks,
        "kinds": KINDS.iter().copied().collect::<BTreeMap<_, _>>(),
        "start": start, "length": end - start, "events": trace.events.len(),
        "nodes": nodes.list, "words": words.list, "requests": requests.list,
        "t": t, "kind": kind, "node": node, "peer": peer, "message": message, "pair": pair,
        "term": term, "index": index, "commit": commit, "more": more,
    })
}

fn or_none(number: Option<u64>) -> u64 {
    number.map_or(0, |number| number + 1)
}

impl<'a> Columns<'a> {
    fn push(&mut self, at: usize, kept: &Kept<'a>, before: u64) {
        let event = kept.event;
        self.t.push(event.t - before);
        self.kind.push(self.words.number(&event.kind));
        self.node.push(self.nodes.or_none(event.node.as_ref()));
        let peer = event.to.as_ref().or(event.from.as_ref());
        self.peer.push(self.nodes.or_none(peer));
        self.message
            .push(self.words.or_none(event.message.as_ref()));
        self.pair.push(self.pairs.back(at, event));
        self.term.push(or_none(event.term));
        self.index.push(or_none(event.index));
        self.commit.push(or_none(event.commit));
        let more = self.more_of(event, kept.has_words);
        if !more.is_empty() {
            self.more.push((at, more));
        }
    }

    /// What only some events have.
    fn more_of(&mut self, event: &'a Event, has_words: bool) -> Map<String, Value> {
        let mut more = Map::new();
        let mut put = |field: &str, value: Value| more.insert(field.to_owned(), value);
        if let Some(vote) = &event.vote {
            put("for", json!(self.nodes.number(vote)));
        }
        for (field, word) in [
            ("role", &event.role),
            ("what", &event.what),
            ("client", &event.client),
        ] {
            if let Some(word) = word {
                put(field, json!(word));
            }
        }
        if !event.requests.is_empty() {
            put("requests", json!(self.requests.all(&event.requests)));
        }
        if !event.entries.is_empty() {
            let entry = |entry: &'a Entry| {
                json!([entry.index, entry.term, self.requests.all(&entry.requests)])
            };
            let entries = event.entries.iter().map(entry).collect::<Vec<_>>();
            put("entries", json!(entries));
        }
        if !event.nodes.is_empty() {
            put("nodes", json!(self.nodes.all(&event.nodes)));
        }
        if !event.links.is_empty() {
            let pair = |(a, b): &'a (String, String)| [self.nodes.number(a), self.nodes.number(b)];
            put(
                "links",
                json!(event.links.iter().map(pair).collect::<Vec<_>>()),
            );
        }
        if has_words {
            if let Some(text) = &event.text {
                put("text", json!(text));
            }
            if !event.queues.is_empty() {
                put("queues", json!(event.queues));
            }
            if !event.more.is_empty() {
                put("more", json!(event.more));
            }
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::thin, *};

    #[test]
    fn deliveries_find_what_was_sent_and_numbers_are_one_more() {
        let text = concat!(
            "{\"trace\":1,\"nodes\":[\"b\",\"a\"]}\n",
            "{\"t\":5,\"kind\":\"send\",\"node\":\"a\",\"to\":\"b\",\"id\":\"7\",\"type\":\"Ping\"}\n",
            "{\"t\":9,\"kind\":\"tick\",\"node\":\"b\",\"term\":0}\n",
            "{\"t\":9,\"kind\":\"deliver\",\"node\":\"b\",\"from\":\"a\",\"id\":\"7\",\"requests\":[\"q\"]}\n",
            "{\"t\":9,\"kind\":\"deliver\",\"node\":\"b\",\"id\":\"8\"}\n",
        );
        let trace = Trace::read(text.as_bytes(), Path::new("x")).unwrap();
        let run = run("x", &trace, &thin::keep(&trace.events, 0));
        assert_eq!(run["nodes"], json!(["b", "a"]));
        assert_eq!(run["t"], json!([0, 4, 0, 0]));
        assert_eq!(run["pair"], json!([0, 0, 2, 0]));
        assert_eq!(run["node"], json!([2, 1, 1, 1]));
        assert_eq!(run["peer"], json!([1, 0, 2, 0]));
        assert_eq!(run["term"], json!([0, 1, 0, 0]));
        assert_eq!(run["more"], json!([[2, {"requests": [0]}]]));
    }
}

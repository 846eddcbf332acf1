//! Writes traces, a line an event.

use std::io::{self, Write};

use serde::Serialize;

use super::{Event, Header, TRACE_SCHEMA};

/// A trace that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    target: W,
}

#[derive(Serialize)]
struct First<'a> {
    trace: u64,
    #[serde(flatten)]
    header: &'a Header,
}

impl<W: Write> Writer<W> {
    /// Begins a trace with its header.
    ///
    /// # Errors
    /// The target's.
    pub fn new(target: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { target };
        writer.line(&First {
            trace: TRACE_SCHEMA,
            header,
        })?;
        Ok(writer)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// The target's.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        self.line(event)
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.target, value)?;
        self.target.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::trace::{Entry, Trace};

    fn word() -> impl Strategy<Value = String> {
        "[a-z0-9\"\\\\é\u{1}]{0,6}"
    }

    fn maybe<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
        prop::option::of(of)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let requests = prop::collection::vec(word(), 0..3);
        (0..99_u64, 0..9_u64, requests).prop_map(|(index, term, requests)| Entry {
            index,
            term,
            requests,
        })
    }

    fn event() -> impl Strategy<Value = Event> {
        let node = || prop::sample::select(vec!["0", "1", "zwei"]).prop_map(str::to_owned);
        let names = (maybe(node()), maybe(word()), maybe(node()), maybe(node()));
        let numbers = (maybe(0..9_u64), maybe(0..1_u64 << 53), maybe(0..99_u64));
        let words = (maybe(word()), maybe(word()), maybe(word()), maybe(word()));
        let lists = (
            prop::collection::vec(word(), 0..3),
            prop::collection::vec(entry(), 0..3),
            prop::collection::btree_map(word(), 0..9_u64, 0..3),
            prop::collection::vec((node(), node()), 0..3),
        );
        let own = prop::collection::btree_map("own_[a-z]{1,4}", -9..9_i64, 0..3);
        (0..9_u64, word(), names, numbers, words, lists, own).prop_map(
            |(t, kind, names, numbers, words, lists, own)| Event {
                t,
                kind,
                node: names.0,
                id: names.1,
                to: names.2.clone(),
                from: names.3,
                message: words.0,
                term: numbers.0,
                index: numbers.1,
                commit: numbers.2,
                vote: words.1,
                role: words.2.clone(),
                what: words.2,
                client: words.3.clone(),
                requests: lists.0,
                entries: lists.1,
                queues: lists.2.into_iter().collect::<BTreeMap<_, _>>(),
                nodes: names.2.into_iter().collect(),
                links: lists.3,
                text: words.3,
                more: own
                    .into_iter()
                    .map(|(field, value)| (field, Value::from(value)))
                    .collect::<Map<_, _>>(),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(mut events in prop::collection::vec(event(), 0..8)) {
            let header = Header {
                title: Some("a run".to_owned()),
                nodes: vec!["1".to_owned()],
                ..Header::default()
            };
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes, &header).unwrap();
            for event in &events {
                writer.write(event).unwrap();
            }
            let trace = Trace::read(&bytes[..], Path::new("x")).unwrap();
            prop_assert_eq!(&trace.header, &header);
            events.sort_by_key(|event| event.t);
            prop_assert_eq!(trace.events, events);
        }
    }
}

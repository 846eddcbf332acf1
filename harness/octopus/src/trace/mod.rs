//! Traces of distributed runs: who said what to whom and when, what each node had on disk, who led.
//!
//! A trace is JSON lines (`harness/docs/trace.md`), written by any program. Kinds of events and types
//! of messages are words; [`KINDS`] tells what those that the page knows mean, and one that it does
//! not know is drawn as a mark. [`Trace::read`] and [`Trace::open`] read them, bounded in every
//! respect; [`Writer`] writes them; [`page`] makes one page of one trace or of two.

mod error;
mod event;
mod field;
mod messages;
mod page;
mod reader;
mod run;
mod writer;

use std::{collections::BTreeMap, path::Path};

pub use error::{LineFault, TraceError};
pub use event::{Entry, Event, Header, KINDS, TRACE_SCHEMA};
pub use page::{PAGE_BYTES, Page, page};
pub use reader::{BYTES_MAX, EVENTS_MAX, LINE_BYTES_MAX, NODES_MAX};
pub use run::{Pieces, Share, piece_together};
pub use writer::Writer;

/// A run as it was written down, in the order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Who wrote it, of what.
    pub header: Header,
    /// What happened. Those of one time are in the order in which they were written.
    pub events: Vec<Event>,
    /// What was wrong with it and did not keep it from being read, in words.
    pub remarks: Vec<String>,
}

impl Trace {
    /// Reads a file of JSON lines, or all those of a folder (`*.jsonl`) as one run: a node each, put
    /// on one clock by the offsets in their headers.
    ///
    /// # Errors
    /// The file or a line of it cannot be read, or it is beyond one of the bounds.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        reader::open(path)
    }

    /// Reads one file of a run, of which the others are elsewhere: for [`piece_together`].
    ///
    /// # Errors
    /// As for [`Trace::open`].
    pub fn open_part(path: &Path) -> Result<Self, TraceError> {
        reader::open_part(path)
    }

    /// Reads lines from anywhere; `name` is what errors call it.
    ///
    /// # Errors
    /// As for [`Trace::open`].
    pub fn read(source: impl std::io::BufRead, name: &Path) -> Result<Self, TraceError> {
        reader::read(source, name)
    }

    /// The time of the first and of the last event, in nanoseconds.
    pub fn span_ns(&self) -> (u64, u64) {
        let first = self.events.first().map_or(0, |event| event.t);
        let last = self.events.last().map_or(first, |event| event.t);
        (first, last)
    }

    /// How many events there are of each kind.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for event in &self.events {
            *counts.entry(event.kind.as_str()).or_default() += 1;
        }
        counts
    }

    /// All nodes: those of the header in its order, then the others by when they first appear.
    pub fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = Vec::new();
        let named = self.header.nodes.iter().map(String::as_str);
        let seen = self.events.iter().flat_map(Event::nodes_named);
        for name in named.chain(seen) {
            if !nodes.contains(&name) {
                nodes.push(name);
            }
        }
        nodes
    }
}

/// Reads anything as a trace and, if it is one, draws it: what the fuzz target calls.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    if let Ok(trace) = Trace::read(bytes, Path::new("fuzz")) {
        let mut written = Vec::new();
        let mut writer = Writer::new(&mut written, &trace.header).expect("memory has room");
        for event in &trace.events {
            writer.write(event).expect("memory has room");
        }
        let again =
            Trace::read(&written[..], Path::new("again")).expect("own words are understood");
        assert_eq!(
            again.events, trace.events,
            "what was read and written is the same"
        );
        let _page = page(&[("fuzz", &trace)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: &str = include_str!("../../../docs/trace/small.jsonl");

    proptest! {
        #[test]
        fn anything_is_read_or_refused(
            start in 0..SMALL.len(),
            garbage in prop::collection::vec(any::<u8>(), 0..40),
            keep in any::<bool>(),
        ) {
            let mut bytes = SMALL.as_bytes()[..start].to_vec();
            bytes.extend(&garbage);
            if keep {
                bytes.extend(&SMALL.as_bytes()[start..]);
            }
            fuzz(&bytes);
        }
    }

    #[test]
    fn nodes_are_those_of_the_header_and_then_those_who_appear() {
        let trace = Trace::read(SMALL.as_bytes(), Path::new("small")).unwrap();
        assert_eq!(trace.nodes(), ["0", "1", "2"]);
        assert_eq!(trace.counts()["crash"], 1);
    }
}

//! What happens at nodes, written down for `harness trace`: JSON lines of the format in
//! `harness/docs/trace.md`, by this crate's own writer, as judge and judged share no code.
//!
//! [`Line`] is one event that is being put together; [`message`] knows what is to be told of a message.

mod message;

use std::fmt::{Display, Write as _};

use raft::eraftpb::Entry;

use crate::message::{Batch, Request};
pub use message::fields_of;

/// The version of the format.
const VERSION: u64 = 1;

/// How requests are called in a trace.
pub type NameOf = fn(&Request) -> String;

/// A line that is being put together: an object without its closing brace.
#[derive(Debug, Clone)]
#[must_use = "a line is nothing until it has been put into a trace"]
pub struct Line {
    text: String,
}

impl Line {
    /// The first line of a trace.
    pub fn header(program: &str, title: &str, replay: &str) -> Self {
        let mut line = Self {
            text: format!("{{\"trace\":{VERSION}"),
        };
        line.word("program", program);
        line.word("title", title);
        line.word("replay", replay);
        line
    }

    /// An event of a kind, at a time in nanoseconds.
    pub fn new(t_ns: u64, kind: &str) -> Self {
        let mut line = Self {
            text: format!("{{\"t\":{t_ns}"),
        };
        line.word("kind", kind);
        line
    }

    /// Adds a number.
    pub fn number(&mut self, field: &str, number: u64) -> &mut Self {
        self.value(field, number)
    }

    /// Adds a text.
    pub fn word(&mut self, field: &str, word: &str) -> &mut Self {
        self.value(field, quoted(word))
    }

    /// Adds a list of texts, if it has any.
    pub fn words<T: AsRef<str>>(&mut self, field: &str, words: &[T]) -> &mut Self {
        if words.is_empty() {
            return self;
        }
        self.value(field, list(words.iter().map(|word| quoted(word.as_ref()))))
    }

    /// Adds pairs of texts, if there are any.
    pub fn pairs(&mut self, field: &str, pairs: &[(String, String)]) -> &mut Self {
        if pairs.is_empty() {
            return self;
        }
        let pairs = pairs
            .iter()
            .map(|(a, b)| list([quoted(a), quoted(b)].into_iter()));
        self.value(field, list(pairs))
    }

    /// Adds how much waits in queues.
    pub fn queues(&mut self, queues: &[(&str, usize)]) -> &mut Self {
        let queues = queues
            .iter()
            .map(|(name, count)| format!("{}:{count}", quoted(name)));
        let queues: Vec<_> = queues.collect();
        self.value("queues", format_args!("{{{}}}", queues.join(",")))
    }

    /// Adds entries of the log, if there are any.
    pub fn entries(&mut self, entries: &[Entry], name_of: NameOf) -> &mut Self {
        if entries.is_empty() {
            return self;
        }
        let entries = entries.iter().map(|entry| {
            let names = requests_in(&entry.data, name_of);
            let requests = if names.is_empty() {
                String::new()
            } else {
                let names = names.iter().map(|name| quoted(name));
                format!(",\"requests\":{}", list(names))
            };
            let (index, term) = (entry.index, entry.term);
            format!("{{\"index\":{index},\"term\":{term}{requests}}}")
        });
        self.value("entries", list(entries))
    }

    /// The line, with its end.
    pub fn end(&self) -> String {
        format!("{}}}\n", self.text)
    }

    fn value(&mut self, field: &str, value: impl Display) -> &mut Self {
        let _infallible = write!(self.text, ",{}:{value}", quoted(field));
        self
    }
}

/// The names of the requests in an entry's content. Entries that only change the membership or mark a
/// new term have none.
pub fn requests_in(data: &[u8], name_of: NameOf) -> Vec<String> {
    let batch = Batch::decode(data).unwrap_or_default();
    batch.requests.iter().map(name_of).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_json_whatever_is_in_it() {
        let mut line = Line::new(5, "fault");
        line.word("text", "a \"cut\"\n")
            .number("term", 3)
            .words("nodes", &["0", "1"])
            .words::<&str>("none", &[])
            .pairs("links", &[("0".to_owned(), "1".to_owned())])
            .queues(&[("writes", 2)])
            .entries(
                &[Entry {
                    index: 7,
                    term: 3,
                    ..Entry::default()
                }],
                |_| String::new(),
            );
        let text = line.end();
        assert!(text.ends_with("}\n"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            json!({
                "t": 5, "kind": "fault", "text": "a \"cut\"\n", "term": 3, "nodes": ["0", "1"],
                "links": [["0", "1"]], "queues": {"writes": 2},
                "entries": [{"index": 7, "term": 3}],
            })
        );
    }
}

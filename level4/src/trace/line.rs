//! One event as a line of JSON.
//!
//! Lines are many where a node is busy, so they are put together in one buffer, without trees of values.

use std::fmt::{Display, Write as _};

use raft::eraftpb::Entry;

use crate::message::{Batch, Request};

/// The version of the format.
const VERSION: u64 = 1;

/// Lists go on no further in a line that is this long, bytes: no line may have more than 256 KiB.
const LISTED: usize = 192 * 1024;

/// How a request is called in a trace: adds its name.
pub type NameOf = fn(&Request, &mut String);

/// A line that is being put together: an object without its closing brace.
#[derive(Debug, Clone)]
#[must_use = "a line is nothing until it has been put into a trace"]
pub struct Line {
    text: String,
}

impl Line {
    /// The first line of a trace.
    pub fn header(program: &str, title: &str) -> Self {
        let mut line = Self {
            text: format!("{{\"trace\":{VERSION}"),
        };
        line.word("program", program).word("title", title);
        line
    }

    /// An event of a kind, at a time in nanoseconds.
    pub fn new(t_ns: u64, kind: &str) -> Self {
        let mut text = String::with_capacity(256);
        let _infallible = write!(text, "{{\"t\":{t_ns}");
        let mut line = Self { text };
        line.word("kind", kind);
        line
    }

    /// Adds a number.
    pub fn number(&mut self, field: &str, number: u64) -> &mut Self {
        self.field(field);
        let _infallible = write!(self.text, "{number}");
        self
    }

    /// Adds a text.
    pub fn word(&mut self, field: &str, word: &str) -> &mut Self {
        self.field(field);
        self.quote(word);
        self
    }

    /// Adds what is shown as a text.
    pub fn shown(&mut self, field: &str, value: impl Display) -> &mut Self {
        self.field(field);
        self.quoted(|text| {
            let _infallible = write!(text, "{value}");
        });
        self
    }

    /// Adds a list of texts, if it has any.
    pub fn words<T: AsRef<str>>(&mut self, field: &str, words: &[T]) -> &mut Self {
        self.list(field, words.iter(), |line, word| line.quote(word.as_ref()))
    }

    /// Adds pairs of texts, if there are any.
    #[cfg(feature = "simulation")]
    pub fn pairs(&mut self, field: &str, pairs: &[(String, String)]) -> &mut Self {
        self.list(field, pairs.iter(), |line, (a, b)| {
            line.text.push('[');
            line.quote(a);
            line.text.push(',');
            line.quote(b);
            line.text.push(']');
        })
    }

    /// Adds how much waits in queues.
    pub fn queues(&mut self, queues: &[(&str, usize)]) -> &mut Self {
        self.field("queues");
        for (number, (name, count)) in queues.iter().enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            self.quote(name);
            let _infallible = write!(self.text, ":{count}");
        }
        self.text.push('}');
        self
    }

    /// Adds the names of requests, if there are any.
    pub fn requests<'a>(
        &mut self,
        requests: impl IntoIterator<Item = &'a Request>,
        name_of: NameOf,
    ) -> &mut Self {
        self.list("requests", requests, |line, request| {
            line.quoted(|text| name_of(request, text));
        })
    }

    /// Adds entries of the log, if there are any.
    pub fn entries<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        name_of: NameOf,
    ) -> &mut Self {
        self.list("entries", entries, |line, entry| {
            let (index, term) = (entry.index, entry.term);
            let _infallible = write!(line.text, "{{\"index\":{index},\"term\":{term}");
            line.requests(&requests_in(&entry.data), name_of);
            line.text.push('}');
        })
    }

    /// The line, with its end.
    pub fn end(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }

    /// Adds a list, if it has any. What would make the line too long is counted.
    pub fn list<T>(
        &mut self,
        field: &str,
        items: impl IntoIterator<Item = T>,
        mut add: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return self;
        }
        self.field(field);
        let mut left_out = 0;
        let mut before = '[';
        for item in items {
            if self.text.len() > LISTED {
                left_out += 1;
                continue;
            }
            self.text.push(before);
            before = ',';
            add(self, item);
        }
        self.text.push_str(if before == '[' { "[]" } else { "]" });
        if left_out > 0 {
            self.number("left_out", left_out);
        }
        self
    }

    fn field(&mut self, field: &str) {
        self.text.push(',');
        self.quote(field);
        self.text.push(':');
    }

    fn quote(&mut self, word: &str) {
        self.quoted(|text| text.push_str(word));
    }

    /// Adds what `add` adds, in quotation marks.
    pub fn quoted(&mut self, add: impl FnOnce(&mut String)) {
        let start = self.text.len();
        self.text.push('"');
        add(&mut self.text);
        let added = &self.text[start + 1..];
        if added
            .bytes()
            .all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
        {
            self.text.push('"');
            return;
        }
        let escaped = serde_json::Value::from(added).to_string();
        self.text.truncate(start);
        self.text.push_str(&escaped);
    }
}

/// The requests in an entry's content. Entries that only change the membership or mark a new term have
/// none.
pub fn requests_in(data: &[u8]) -> Vec<Request> {
    Batch::decode(data).unwrap_or_default().requests
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::ids::{Incarnation, NodeId};
    use crate::message::{Command, RequestId};

    fn value(line: &Line) -> serde_json::Value {
        serde_json::from_str(&line.clone().end()).unwrap()
    }

    #[test]
    fn a_line_is_json_whatever_is_in_it() {
        let mut line = Line::new(5, "fault");
        line.word("text", "a \"cut\"\n")
            .number("term", 3)
            .words("nodes", &["0", "é\u{1}"])
            .words::<&str>("none", &[])
            .pairs("links", &[("0".to_owned(), "1".to_owned())])
            .queues(&[("writes", 2)])
            .entries(
                &[Entry {
                    index: 7,
                    term: 3,
                    ..Entry::default()
                }],
                |_, _| {},
            );
        assert!(line.clone().end().ends_with("}\n"));
        assert_eq!(
            value(&line),
            json!({
                "t": 5, "kind": "fault", "text": "a \"cut\"\n", "term": 3, "nodes": ["0", "é\u{1}"],
                "links": [["0", "1"]], "queues": {"writes": 2},
                "entries": [{"index": 7, "term": 3}],
            })
        );
    }

    #[test]
    fn a_line_has_an_end_however_much_there_is_to_tell() {
        let request = |counter| Request {
            id: RequestId {
                node: NodeId::new(1),
                incarnation: Incarnation::new(1),
                counter,
            },
            floor: 0,
            key: None,
            command: Command::Shell(Bytes::new()),
        };
        let requests: Vec<Request> = (0..100_000).map(request).collect();
        let data = Bytes::from(
            Batch {
                time_ms: 0,
                requests,
            }
            .encode(),
        );
        let entries = [7, 8].map(|index| Entry {
            index,
            data: data.clone(),
            ..Entry::default()
        });
        let mut line = Line::new(5, "append");
        line.entries(&entries, |request, name| {
            let _infallible = write!(name, "request-{}", request.id.counter);
        });
        assert!(line.clone().end().len() < 256 * 1024);
        let value = value(&line);
        assert_eq!(value["left_out"], 1, "the second entry");
        let entry = &value["entries"][0];
        let listed = entry["requests"].as_array().unwrap().len();
        assert_eq!(listed as u64 + entry["left_out"].as_u64().unwrap(), 100_000);
    }
}

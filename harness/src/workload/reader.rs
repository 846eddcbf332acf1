//! Reads what a program of the user's writes: lines of a history, or the events of clients in a trace
//! (`harness/docs/trace.md`) that say in `f`, `key` and `value` what was asked.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    operation::{Line, Operation, Type},
    record::{End, Recorder},
};

/// Reads lines as they come, and records what they say.
#[derive(Debug)]
pub struct Reader {
    /// How many nodes there are.
    nodes: usize,
    /// What each process waits for.
    open: HashMap<usize, usize>,
    /// The numbers of clients that have names.
    clients: HashMap<String, usize>,
}

impl Reader {
    /// One of what so many nodes are asked.
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            open: HashMap::new(),
            clients: HashMap::new(),
        }
    }

    /// Takes a line.
    ///
    /// # Errors
    /// It is none of a history; the sentence says why.
    pub fn take(&mut self, text: &str, recorder: &Recorder) -> Result<(), String> {
        let line: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Some(line) = self.in_our_words(line)? else {
            return Ok(());
        };
        let line: Line = serde_json::from_value(line).map_err(|error| error.to_string())?;
        let process = line.process;
        if line.kind == Type::Invoke {
            let operation =
                Operation::of(&line).ok_or_else(|| format!("no operation is called {}", line.f))?;
            if self.open.contains_key(&process) {
                return Err(format!(
                    "process {process} asks while it waits for an answer"
                ));
            }
            let node = line.node.unwrap_or(process % self.nodes.max(1));
            if node >= self.nodes {
                return Err(format!("{node} is none of the {} nodes", self.nodes));
            }
            let number = recorder
                .begin(process, node, operation)
                .ok_or("too many operations")?;
            self.open.insert(process, number);
            return Ok(());
        }
        let number = self.open.remove(&process);
        let number =
            number.ok_or_else(|| format!("process {process} ends what it has not begun"))?;
        let operation = recorder.operation(number);
        let why = line.error.clone().unwrap_or_default();
        let end = match line.kind {
            Type::Ok => End::Ok(
                operation
                    .reply_of(&line)
                    .ok_or_else(|| format!("no answer to {}", operation.told()))?,
            ),
            Type::Fail => End::Fail(why),
            Type::Info | Type::Invoke => End::Info(why),
        };
        recorder.end(number, end);
        Ok(())
    }

    /// A line as it is, or what an event of a client in a trace says; none for other lines of traces.
    fn in_our_words(&mut self, mut line: Value) -> Result<Option<Value>, String> {
        let Some(fields) = line.as_object_mut() else {
            return Err("it is no object".to_owned());
        };
        if fields.contains_key("trace") {
            return Ok(None);
        }
        let Some(kind) = fields.remove("kind") else {
            return Ok(Some(line));
        };
        if kind != "client" {
            return Ok(None);
        }
        let client = fields.remove("client");
        let client = client.as_ref().and_then(Value::as_str);
        let client = client.ok_or("an event of a client without its name")?;
        let next = self.clients.len();
        let number = *self.clients.entry(client.to_owned()).or_insert(next);
        fields.insert("process".to_owned(), number.into());
        let what = fields.remove("what").unwrap_or_default();
        fields.insert("type".to_owned(), what);
        if let Some(name) = fields.get("node").and_then(Value::as_str) {
            let number = name.strip_prefix("node").unwrap_or(name).parse::<usize>();
            let number = number.map_err(|_| format!("{name} is none of the nodes"))?;
            fields.insert("node".to_owned(), number.into());
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::workload::{
        operation::Reply,
        record::{Done, lines},
    };

    #[test]
    fn lines_are_read_back_as_they_were_written() {
        let recorder = Recorder::new(Arc::default());
        let one = recorder.begin(1, 2, Operation::Write(3, 4)).unwrap();
        let two = recorder.begin(2, 0, Operation::Read(3)).unwrap();
        let three = recorder.begin(3, 0, Operation::Swap(3, 4, 5)).unwrap();
        recorder.end(two, End::Ok(Reply::Value(Some(4))));
        recorder.end(one, End::Info("no answer".to_owned()));
        recorder.end(three, End::Fail("refused".to_owned()));
        let done = recorder.take();
        let again = Recorder::new(Arc::default());
        let mut reader = Reader::new(3);
        for line in lines(&done) {
            reader
                .take(&serde_json::to_string(&line).unwrap(), &again)
                .unwrap();
        }
        let ends = |done: &[Done]| {
            done.iter()
                .map(|one| (one.node, one.operation.clone(), one.end.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ends(&again.take()), ends(&done));
    }

    #[test]
    fn what_is_no_history_is_refused() {
        let recorder = Recorder::new(Arc::default());
        let mut reader = Reader::new(3);
        let mut refused = |text: &str| reader.take(text, &recorder).unwrap_err();
        assert!(refused("{").contains("EOF"));
        assert!(refused(r#"{"process":1,"type":"invoke","f":"fly","time":1}"#).contains("fly"));
        let elsewhere = r#"{"process":1,"node":3,"type":"invoke","f":"read","key":1}"#;
        assert!(refused(elsewhere).contains("3 is none of the 3 nodes"));
        assert!(
            refused(r#"{"process":1,"type":"ok","f":"read","time":1}"#).contains("has not begun")
        );
    }

    #[test]
    fn events_of_clients_in_a_trace_are_read() {
        let recorder = Recorder::new(Arc::default());
        let mut reader = Reader::new(3);
        for line in [
            r#"{"trace":1,"program":"mine"}"#,
            r#"{"t":1,"kind":"client","client":"ada","what":"invoke","node":"node2","f":"write","key":1,"value":5}"#,
            r#"{"t":1,"kind":"send","node":"2","to":"1","id":1}"#,
            r#"{"t":2,"kind":"client","client":"bob","what":"invoke","f":"read","key":1}"#,
            r#"{"t":3,"kind":"client","client":"ada","what":"info"}"#,
            r#"{"t":4,"kind":"client","client":"bob","what":"ok","f":"read","key":1,"value":5}"#,
        ] {
            reader.take(line, &recorder).unwrap();
        }
        let done = recorder.take();
        let seen: Vec<_> = done.iter().map(|one| (one.process, one.node)).collect();
        assert_eq!(seen, [(0, 2), (1, 1)]);
        assert_eq!(done[0].operation, Operation::Write(1, 5));
        assert_eq!(done[0].end, End::Info(String::new()));
        assert_eq!(done[1].end, End::Ok(Reply::Value(Some(5))));
        let nobody = reader.take(r#"{"t":1,"kind":"client","what":"invoke"}"#, &recorder);
        assert!(nobody.unwrap_err().contains("without its name"));
    }
}

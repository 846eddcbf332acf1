//! The event log of a simulated run: one list of what happened and when, written as JSON lines and
//! turned into the report.
//!
//! An event is an object with the field `t_us` (microseconds since the start of the nodes), the
//! field `event` (its kind), and the fields of its kind.

use std::{
    io::Write,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// A log that any thread adds to.
#[derive(Debug)]
pub struct EventLog {
    start: Instant,
    events: Mutex<Vec<Value>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            events: Mutex::default(),
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

    /// Adds an event that happens now. `fields` is a JSON object.
    pub fn record(&self, event: &str, fields: Value) {
        self.record_at(self.now_us(), event, fields);
    }

    /// Adds an event that happened at a given time. `fields` is a JSON object.
    pub fn record_at(&self, t_us: u64, event: &str, fields: Value) {
        let mut object = Map::new();
        object.insert("t_us".to_owned(), t_us.into());
        object.insert("event".to_owned(), event.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        self.lock().push(Value::Object(object));
    }

    /// All events, ordered by time.
    pub fn sorted(&self) -> Vec<Value> {
        let mut events = self.lock().clone();
        events.sort_by_key(|event| event["t_us"].as_u64());
        events
    }

    /// The last events of a kind, the newest last.
    pub fn last(&self, kind: &str, count: usize) -> Vec<Value> {
        let events = self.lock();
        let mut found: Vec<Value> = events
            .iter()
            .rev()
            .filter(|event| event["event"] == kind)
            .take(count)
            .cloned()
            .collect();
        found.reverse();
        found
    }

    /// Writes the log as JSON lines, ordered by time.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = Vec::new();
        for event in self.sorted() {
            serde_json::to_writer(&mut text, &event)?;
            text.push(b'\n');
        }
        std::fs::File::create(path)
            .and_then(|mut file| file.write_all(&text))
            .with_context(|| format!("cannot write the events to {}", path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_written_in_the_order_of_time() {
        let log = EventLog::default();
        log.record_at(9, "act", json!({"monkey": "link"}));
        log.record_at(3, "node", json!({"node": 1}));
        let file = tempfile::NamedTempFile::new().unwrap();
        log.write(file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            "{\"t_us\":3,\"event\":\"node\",\"node\":1}\n{\"t_us\":9,\"event\":\"act\",\"monkey\":\"link\"}\n"
        );
        assert_eq!(log.last("act", 5).len(), 1);
    }
}

//! Changes as rqlite's JSON.

use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};

use crate::database::capture::{Change, Group};
use crate::json::Cell;
use crate::statement::Value;

/// What is sent at one time.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// As the operator calls it.
    pub service_id: Option<&'a str>,
    /// The node that sends.
    pub node_id: &'a str,
    /// The changes of some entries.
    pub groups: &'a [Group],
}

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = self.service_id {
            map.serialize_entry("service_id", id)?;
        }
        map.serialize_entry("node_id", self.node_id)?;
        map.serialize_entry("payload", &Payload(self.groups))?;
        map.end()
    }
}

struct Payload<'a>(&'a [Group]);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(One))
    }
}

struct One<'a>(&'a Group);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Group { index, time_ms, .. } = self.0;
        let mut events = Vec::new();
        for changes in &self.0.changes {
            let list = changes.list().map_err(S::Error::custom)?;
            events.extend(list.into_iter().map(Event));
        }
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("index", &index.get())?;
        map.serialize_entry("commit_timestamp", time_ms)?;
        map.serialize_entry("events", &events)?;
        map.end()
    }
}

struct Event(Change);

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let change = &self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", change.operation.name())?;
        map.serialize_entry("table", &change.table)?;
        for (name, id) in [
            ("old_row_id", change.old_row_id),
            ("new_row_id", change.new_row_id),
        ] {
            if id != 0 {
                map.serialize_entry(name, &id)?;
            }
        }
        if change.is_unreadable {
            map.serialize_entry("error", "the row's values cannot be read")?;
        }
        for (name, row) in [("before", &change.before), ("after", &change.after)] {
            if let Some(row) = row {
                map.serialize_entry(name, &Row(&change.columns, row))?;
            }
        }
        map.end()
    }
}

struct Row<'a>(&'a [String], &'a [Value]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = self.1.iter().map(|value| Cell {
            value,
            blob_array: false,
        });
        serializer.collect_map(self.0.iter().zip(cells))
    }
}

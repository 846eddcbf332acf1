//! Fields of a line, taken out one by one: each is of its type, or the error says which is not.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Entry, Event, Header, LineFault, TRACE_SCHEMA};

/// What is wrong is shown up to this length, in characters.
const SHOWN: usize = 40;
/// The largest whole number that every reader of JSON has exactly.
pub const WHOLE_MAX: u64 = 1 << 53;

type Fields = Map<String, Value>;

/// The first line.
pub fn header(mut fields: Fields) -> Result<Header, LineFault> {
    let version = whole(&mut fields, "trace")?.ok_or(LineFault::Missing("trace"))?;
    if version != TRACE_SCHEMA {
        return Err(LineFault::Version(version));
    }
    Ok(Header {
        program: text(&mut fields, "program")?,
        title: text(&mut fields, "title")?,
        replay: text(&mut fields, "replay")?,
        nodes: texts(&mut fields, "nodes")?,
        offset_ns: take(&mut fields, "offset_ns", "a whole number", |value| {
            value.as_i64().filter(|n| n.unsigned_abs() <= WHOLE_MAX)
        })?
        .unwrap_or_default(),
        more: fields,
    })
}

/// Any other line.
pub fn event(mut fields: Fields) -> Result<Event, LineFault> {
    let of = &mut fields;
    Ok(Event {
        t: whole(of, "t")?.ok_or(LineFault::Missing("t"))?,
        kind: text(of, "kind")?.ok_or(LineFault::Missing("kind"))?,
        node: text(of, "node")?,
        id: text(of, "id")?,
        to: text(of, "to")?,
        from: text(of, "from")?,
        message: text(of, "type")?,
        term: whole(of, "term")?,
        index: whole(of, "index")?,
        commit: whole(of, "commit")?,
        vote: text(of, "for")?,
        role: text(of, "role")?,
        what: text(of, "what")?,
        client: text(of, "client")?,
        requests: texts(of, "requests")?,
        entries: entries(of)?,
        queues: queues(of)?,
        nodes: texts(of, "nodes")?,
        links: links(of)?,
        text: text(of, "text")?,
        more: fields,
    })
}

fn take<T>(
    fields: &mut Fields,
    field: &str,
    wanted: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, LineFault> {
    // Not `remove`, which would move all fields behind it up, nor `swap_remove`, which mixes those
    // that are kept.
    let Some(value) = fields.shift_remove(field) else {
        return Ok(None);
    };
    match read(&value) {
        Some(value) => Ok(Some(value)),
        None => Err(LineFault::Field {
            field: field.to_owned(),
            wanted,
            found: shown(&value),
        }),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn as_whole(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number <= WHOLE_MAX)
}

fn as_texts(value: &Value) -> Option<Vec<String>> {
    let values = value.as_array()?;
    let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
    texts.collect()
}

fn whole(fields: &mut Fields, field: &str) -> Result<Option<u64>, LineFault> {
    take(fields, field, "a whole number from 0 to 2^53", as_whole)
}

fn text(fields: &mut Fields, field: &str) -> Result<Option<String>, LineFault> {
    take(fields, field, "a text", |value| {
        value.as_str().map(str::to_owned)
    })
}

fn texts(fields: &mut Fields, field: &str) -> Result<Vec<String>, LineFault> {
    let texts = take(fields, field, "a list of texts", as_texts)?;
    Ok(texts.unwrap_or_default())
}

fn entries(fields: &mut Fields) -> Result<Vec<Entry>, LineFault> {
    let wanted = "a list of objects with `index`, `term` and perhaps `requests`";
    let entry = |value: &Value| {
        let requests = value.get("requests").map(as_texts);
        Some(Entry {
            index: as_whole(value.get("index")?)?,
            term: as_whole(value.get("term")?)?,
            requests: requests.unwrap_or_else(|| Some(Vec::new()))?,
        })
    };
    let entries = take(fields, "entries", wanted, |value| {
        value.as_array()?.iter().map(entry).collect()
    })?;
    Ok(entries.unwrap_or_default())
}

fn queues(fields: &mut Fields) -> Result<BTreeMap<String, u64>, LineFault> {
    let queues = take(fields, "queues", "an object of whole numbers", |value| {
        let queues = value.as_object()?.iter();
        queues
            .map(|(name, count)| Some((name.clone(), as_whole(count)?)))
            .collect()
    })?;
    Ok(queues.unwrap_or_default())
}

fn links(fields: &mut Fields) -> Result<Vec<(String, String)>, LineFault> {
    let pair = |value: &Value| match as_texts(value)?.as_slice() {
        [a, b] => Some((a.clone(), b.clone())),
        _ => None,
    };
    let links = take(fields, "links", "a list of pairs of nodes", |value| {
        value.as_array()?.iter().map(pair).collect()
    })?;
    Ok(links.unwrap_or_default())
}

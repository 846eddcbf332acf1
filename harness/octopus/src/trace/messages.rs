//! Messages that nodes name by where their bytes are: the sender and the receiver tell the same
//! connection and the same byte offset, and here they get a number that makes one arrow of the two.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::Event;

/// The field that names a connection, the same at both ends.
const CONNECTION: &str = "connection";
/// The field that tells where a message's last byte is in what its sender sent on the connection.
const BYTES: &str = "bytes";

/// A message that was named by its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where its sending is among the events.
    pub event: usize,
    /// The connection.
    pub connection: String,
    /// The place of its last byte.
    pub bytes: u64,
    /// Whether a delivery was told.
    pub has_arrived: bool,
}

/// What both ends tell of a message; several of one block have the same bytes, and come in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    connection: String,
    sender: Option<String>,
    bytes: u64,
    message: Option<String>,
    term: Option<u64>,
    index: Option<u64>,
}

/// Gives ids to messages that have none and tell their connection and bytes, which are taken out of
/// the events; tells of those that were sent. `events` are in the order of time.
pub fn number(events: &mut [Event]) -> Vec<Located> {
    let mut under_way: HashMap<Key, VecDeque<usize>> = HashMap::new();
    let mut located: Vec<Located> = Vec::new();
    for (at, event) in events.iter_mut().enumerate() {
        let is_sent = event.kind == "send";
        if event.id.is_some() || !is_sent && event.kind != "deliver" {
            continue;
        }
        let bytes = event.more.get(BYTES).and_then(Value::as_u64);
        let connection = event.more.get(CONNECTION).and_then(Value::as_str);
        let (Some(bytes), Some(connection)) = (bytes, connection) else {
            continue;
        };
        let key = Key {
            connection: connection.to_owned(),
            sender: if is_sent { &event.node } else { &event.from }.clone(),
            bytes,
            message: event.message.clone(),
            term: event.term,
            index: event.index,
        };
        let number = if is_sent {
            located.push(Located {
                event: at,
                connection: key.connection.clone(),
                bytes,
                has_arrived: false,
            });
            let number = located.len() - 1;
            under_way.entry(key).or_default().push_back(number);
            number
        } else {
            let sent = under_way.get_mut(&key).and_then(VecDeque::pop_front);
            let Some(number) = sent else { continue };
            located[number].has_arrived = true;
            number
        };
        event.id = Some(format!("@{number}"));
        event.more.shift_remove(BYTES);
        event.more.shift_remove(CONNECTION);
    }
    located
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(t: u64, kind: &str, (node, peer): (&str, &str), message: &str, bytes: u64) -> Event {
        let is_sent = kind == "send";
        Event {
            node: Some(node.to_owned()),
            to: is_sent.then(|| peer.to_owned()),
            from: (!is_sent).then(|| peer.to_owned()),
            message: Some(message.to_owned()),
            more: [("connection", json!("c")), ("bytes", json!(bytes))]
                .map(|(field, value)| (field.to_owned(), value))
                .into_iter()
                .collect(),
            ..Event::new(t, kind)
        }
    }

    #[test]
    fn what_one_end_sent_and_the_other_got_is_one_message() {
        let mut events = [
            // Two in one block, and one in the other direction at the same place.
            event(1, "send", ("a", "b"), "Append", 90),
            event(1, "send", ("a", "b"), "Append", 90),
            event(2, "send", ("b", "a"), "Append", 90),
            // It never arrives.
            event(3, "send", ("a", "b"), "Vote", 120),
            event(4, "deliver", ("b", "a"), "Append", 90),
            event(5, "deliver", ("b", "a"), "Append", 90),
            event(6, "deliver", ("a", "b"), "Append", 90),
            // Nobody told of its sending.
            event(7, "deliver", ("a", "b"), "Append", 90),
        ];
        let located = number(&mut events);
        let ids = events.each_ref().map(|event| event.id.as_deref());
        assert_eq!(
            ids,
            ["@0", "@1", "@2", "@3", "@0", "@1", "@2"]
                .map(Some)
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
                .as_slice()
        );
        let arrived: Vec<_> = located.iter().map(|one| one.has_arrived).collect();
        assert_eq!(arrived, [true, true, true, false]);
        assert!(events[0].more.is_empty());
        assert_eq!(events[7].more["bytes"], 90);
    }

    #[test]
    fn who_gives_ids_of_its_own_keeps_them() {
        let mut events = [event(1, "send", ("a", "b"), "Append", 90)];
        events[0].id = Some("mine".to_owned());
        let before = events.clone();
        assert_eq!(number(&mut events), []);
        assert_eq!(events, before);
    }
}

//! NATS by its text protocol: a queue that is a stream of JetStream's on several servers. A put is done when the
//! stream has acknowledged it; a take, when the server has confirmed that it knows of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Driver, Manner, Trouble, connect};
use crate::workload::{
    generate::Kind,
    operation::{Operation, Reply},
};

const PORT: u16 = 4222;

/// The longest line and the longest message, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// After how long a message that was given out and not confirmed is given out again, in nanoseconds.
const AGAIN_NS: u64 = 2_000_000_000;

/// The most servers that have a copy, which is JetStream's limit.
const MOST_COPIES: usize = 5;

/// Numbers of connections: servers hand on what is sent to an inbox to all who listen at it.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A client of one server.
pub(super) struct Nats {
    manner: Manner,
    connection: Option<Connection>,
}

/// Something that was sent to us.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    /// Where an answer to it goes.
    reply: Option<String>,
    /// A status in its header, such as 404.
    status: Option<u16>,
    body: Vec<u8>,
}

impl Message {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Nats {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            connection: None,
        }
    }

    /// Publishes, and waits for what comes back. Without an answer nobody knows.
    fn request(&mut self, subject: &str, body: &str) -> Result<Message, Trouble> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::new(&self.manner)?,
        };
        let message = connection.request(subject, body)?;
        self.connection = Some(connection);
        match message.status {
            // Nobody has taken the request.
            Some(503) => Err(Trouble::NotDone(format!("nobody answers for {subject}"))),
            _ => Ok(message),
        }
    }

    /// Asks JetStream's interface.
    fn ask_api(&mut self, what: &str, body: &Value) -> Result<Value, Trouble> {
        let answer = self.request(&format!("$JS.API.{what}"), &body.to_string())?;
        let answer = answer.json();
        match answer["error"]["description"].as_str() {
            Some(why) => Err(Trouble::NotDone(why.to_owned())),
            None => Ok(answer),
        }
    }

    fn put(&mut self, element: i64) -> Result<Reply, Trouble> {
        let answer = self.request("queue.in", &element.to_string())?.json();
        match (
            answer["seq"].as_u64(),
            answer["error"]["description"].as_str(),
        ) {
            (Some(_), None) => Ok(Reply::Done),
            (_, Some(why)) => Err(Trouble::Unknown(why.to_owned())),
            _ => Err(Trouble::Unknown("an odd answer".to_owned())),
        }
    }

    fn take(&mut self) -> Result<Reply, Trouble> {
        let next = "$JS.API.CONSUMER.MSG.NEXT.queue.taker";
        let wanted = json!({ "batch": 1, "no_wait": true }).to_string();
        // What was not confirmed is given out again.
        let message = self.request(next, &wanted).map_err(not_done)?;
        if message.status.is_some() {
            return self.nothing();
        }
        let element = std::str::from_utf8(&message.body).ok();
        let element: Option<i64> = element.and_then(|text| text.parse().ok());
        let (Some(element), Some(reply)) = (element, message.reply) else {
            return Err(Trouble::NotDone("an odd message".to_owned()));
        };
        match self.request(&reply, "+ACK") {
            Ok(_) => Ok(Reply::Value(Some(element))),
            Err(Trouble::Unknown(why) | Trouble::NotDone(why)) => {
                Err(Trouble::Unknown(format!("{element}: {why}")))
            }
        }
    }

    /// Whether there is really nothing, or only nothing just now.
    fn nothing(&mut self) -> Result<Reply, Trouble> {
        let about = self
            .ask_api("CONSUMER.INFO.queue.taker", &json!({}))
            .map_err(not_done)?;
        let left = ["num_pending", "num_ack_pending"].map(|name| about[name].as_u64());
        match left {
            [Some(0), Some(0)] => Ok(Reply::Value(None)),
            _ => Err(Trouble::NotDone("all are given out just now".to_owned())),
        }
    }
}

/// Asking for this changes nothing.
fn not_done(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Unknown(why) | Trouble::NotDone(why) => Trouble::NotDone(why),
    }
}

impl Driver for Nats {
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble> {
        match *operation {
            Operation::Put(element) => self.put(element),
            Operation::Take => self.take(),
            _ => Err(Trouble::NotDone("there is only a queue".to_owned())),
        }
    }

    fn prepare(&mut self, _: Kind) -> Result<(), Trouble> {
        let stream = json!({
            "name": "queue", "subjects": ["queue.in"], "retention": "workqueue", "storage": "file",
            "num_replicas": self.manner.nodes.min(MOST_COPIES),
        });
        self.ask_api("STREAM.CREATE.queue", &stream)?;
        let taker = json!({
            "stream_name": "queue",
            "config": { "durable_name": "taker", "ack_policy": "explicit", "ack_wait": AGAIN_NS,
                        "max_ack_pending": 100_000 },
        });
        self.ask_api("CONSUMER.DURABLE.CREATE.queue.taker", &taker)
            .map(|_| ())
    }
}

/// A connection that has said hello.
struct Connection {
    stream: BufReader<TcpStream>,
    timeout: Duration,
    /// What its inboxes' names begin with; no other connection's do.
    inbox: String,
    /// How many requests were sent: each has an inbox of its own.
    asked: u64,
}

impl Connection {
    fn new(manner: &Manner) -> Result<Self, Trouble> {
        let stream = connect(manner.home_at(PORT), manner.timeout)?;
        let mut connection = Self {
            stream: BufReader::new(stream),
            timeout: manner.timeout,
            inbox: format!("_INBOX.octopus-{}.", NEXT.fetch_add(1, Ordering::Relaxed)),
            asked: 0,
        };
        let hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "octopus", "version": "1",
        });
        connection
            .send(&format!(
                "CONNECT {hello}\r\nSUB {}* 1\r\n",
                connection.inbox
            ))
            .map_err(not_done)?;
        Ok(connection)
    }

    fn send(&mut self, text: &str) -> Result<(), Trouble> {
        let sent = self.stream.get_mut().write_all(text.as_bytes());
        sent.map_err(|error| Trouble::Unknown(format!("sending: {error}")))
    }

    fn request(&mut self, subject: &str, body: &str) -> Result<Message, Trouble> {
        let start = Instant::now();
        self.asked += 1;
        let inbox = format!("{}{}", self.inbox, self.asked);
        let length = body.len();
        self.send(&format!("PUB {subject} {inbox} {length}\r\n{body}\r\n"))?;
        loop {
            let line = self.line(start)?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let (to, message) = match words[..] {
                ["PING"] => {
                    self.send("PONG\r\n")?;
                    continue;
                }
                ["MSG" | "HMSG", ref about @ ..] => {
                    let has_header = words[0] == "HMSG";
                    self.message(about, has_header, &line, start)?
                }
                ["-ERR", ..] => return Err(Trouble::Unknown(line)),
                _ => continue,
            };
            // Answers to what was given up come late.
            if to.is_none_or(|number| number == self.asked) {
                return Ok(message);
            }
        }
    }

    /// What a line announces: a message, and the number of the request that it answers. What a stream gives out has
    /// the stream's subject, and says in what it answers to only by when it comes.
    fn message(
        &mut self,
        about: &[&str],
        has_header: bool,
        line: &str,
        start: Instant,
    ) -> Result<(Option<u64>, Message), Trouble> {
        let odd = || Trouble::Unknown(format!("an odd line: {line}"));
        let sizes = if has_header { 2 } else { 1 };
        let (names, sizes) = about
            .split_at_checked(about.len().wrapping_sub(sizes))
            .ok_or_else(odd)?;
        let sizes: Vec<usize> = sizes.iter().filter_map(|size| size.parse().ok()).collect();
        let &total = sizes
            .last()
            .filter(|&&total| total <= MOST_BYTES)
            .ok_or_else(odd)?;
        let header = if has_header { sizes[0].min(total) } else { 0 };
        let (subject, reply) = match *names {
            [subject, _] => (subject, None),
            [subject, _, reply] => (subject, Some(reply.to_owned())),
            _ => return Err(odd()),
        };
        let mut bytes = vec![0; total + 2];
        self.fill(&mut bytes, start)?;
        bytes.truncate(total);
        let body = bytes.split_off(header);
        // "NATS/1.0 404 No Messages".
        let head = String::from_utf8_lossy(&bytes);
        let status = head.split_whitespace().nth(1);
        let number = subject.strip_prefix(&self.inbox);
        let message = Message {
            reply,
            status: status.and_then(|status| status.parse().ok()),
            body,
        };
        Ok((number.and_then(|number| number.parse().ok()), message))
    }

    fn line(&mut self, start: Instant) -> Result<String, Trouble> {
        let mut line = String::new();
        loop {
            self.await_until(start);
            let mut limited = self.stream.by_ref().take(MOST_BYTES as u64);
            match limited.read_line(&mut line) {
                Ok(0) => return Err(Trouble::Unknown("the server has hung up".to_owned())),
                Ok(_) if line.ends_with('\n') => return Ok(line.trim_end().to_owned()),
                Ok(_) => return Err(Trouble::Unknown("too long a line".to_owned())),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Trouble::Unknown(format!("no answer: {error}"))),
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8], start: Instant) -> Result<(), Trouble> {
        self.await_until(start);
        let filled = self.stream.read_exact(bytes);
        filled.map_err(|error| Trouble::Unknown(format!("half a message: {error}")))
    }

    fn await_until(&self, start: Instant) {
        let left = self.timeout.saturating_sub(start.elapsed());
        let left = left.max(Duration::from_millis(1));
        let _at_least = self.stream.get_ref().set_read_timeout(Some(left));
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// What a request hears of a server that answers in these words.
    fn told(words: &'static str) -> Result<Message, Trouble> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(words.as_bytes()).unwrap();
            // Until the client goes.
            let _all = stream.read_to_end(&mut Vec::new());
        });
        let timeout = Duration::from_secs(20);
        let mut connection = Connection {
            stream: BufReader::new(connect(to, timeout).unwrap()),
            timeout,
            inbox: "_INBOX.octopus.".to_owned(),
            asked: 0,
        };
        let answer = connection.request("queue.in", "5");
        drop(connection);
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_are_found_among_what_comes() {
        let message = |reply: Option<&str>, status, body: &str| Message {
            reply: reply.map(str::to_owned),
            status,
            body: body.into(),
        };
        for (words, expected) in [
            (
                "INFO {}\r\nPING\r\nMSG _INBOX.octopus.7 1 2\r\nno\r\nMSG _INBOX.octopus.1 1 3\r\nyes\r\n",
                message(None, None, "yes"),
            ),
            (
                "MSG queue.in 1 $JS.ACK.1 1\r\n5\r\n",
                message(Some("$JS.ACK.1"), None, "5"),
            ),
            (
                "HMSG _INBOX.octopus.1 1 16 16\r\nNATS/1.0 404\r\n\r\n\r\n",
                message(None, Some(404), ""),
            ),
        ] {
            assert_eq!(told(words).unwrap(), expected, "{words}");
        }
        for words in [
            "-ERR 'no'\r\n",
            "MSG _INBOX.octopus.1 1 99999999\r\n",
            "MSG 1\r\n",
            "HMSG 1\r\n",
            "MSG\r\n",
        ] {
            assert!(matches!(told(words), Err(Trouble::Unknown(_))), "{words}");
        }
    }
}

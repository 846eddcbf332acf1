//! PostgreSQL in its own protocol, version 3, by the simple queries that `psql` sends. A client asks the server at
//! home, and the others after it, which of them takes writes, and stays with that one until something fails.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use history::Step;
use octopus::MachineAddress;
use postgres_protocol::message::{
    backend::{DataRowBody, ErrorResponseBody, Message},
    frontend,
};

use super::{Driver, Manner, Trouble, connect};
use crate::workload::{
    generate::{ACCOUNTS, BALANCE, Kind},
    operation::{Operation, Reply},
};

const PORT: u16 = 5432;

/// The longest message, in bytes, and the most that an answer may have.
const MOST_BYTES: usize = 64 << 20;

/// The name of the user and of the database.
const WHO: &str = "postgres";

const TABLES: &str = "\
    CREATE TABLE IF NOT EXISTS register (key bigint PRIMARY KEY, value bigint);\
    CREATE TABLE IF NOT EXISTS element (value bigint PRIMARY KEY);\
    CREATE TABLE IF NOT EXISTS queue (value bigint PRIMARY KEY);\
    CREATE TABLE IF NOT EXISTS list (key bigint PRIMARY KEY, elements bigint[] NOT NULL);\
    CREATE TABLE IF NOT EXISTS account (id bigint PRIMARY KEY, balance bigint CHECK (balance >= 0));";

/// A client of one cluster.
pub(super) struct Postgres {
    manner: Manner,
    session: Option<Session>,
}

/// What the statements of one query have answered.
#[derive(Debug, Default)]
struct Answer {
    /// For each statement that has rows, the first column of each.
    rows: Vec<Vec<Option<String>>>,
    /// What each statement says that it has done, as in "UPDATE 1".
    tags: Vec<String>,
}

/// An error that the server reports.
#[derive(Debug)]
struct Refusal {
    /// Five letters and digits (SQLSTATE).
    code: String,
    text: String,
}

impl Refusal {
    fn of(body: &ErrorResponseBody) -> Self {
        let mut refusal = Self {
            code: String::new(),
            text: "an error without words".to_owned(),
        };
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => refusal.code = value(),
                b'M' => refusal.text = value(),
                _ => {}
            }
        }
        refusal
    }

    /// What it means for what was asked. A server that ends while a commit waits for its standbys has done it, and
    /// does not know whether it lasts; any other error has undone everything.
    fn trouble(self) -> Trouble {
        let why = format!("{} ({})", self.text, self.code);
        if self.code.starts_with("57P") || self.code.starts_with("XX") {
            Trouble::Unknown(why)
        } else {
            Trouble::NotDone(why)
        }
    }
}

impl Postgres {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            session: None,
        }
    }

    /// A session with the first server that takes writes, beginning at home.
    fn primary(&self) -> Result<Session, Trouble> {
        let Manner { home, nodes, .. } = self.manner;
        let mut last = Trouble::NotDone("there is no server".to_owned());
        for node in (0..nodes).map(|step| (home + step) % nodes) {
            match self.session_with(node) {
                Ok(Some(session)) => return Ok(session),
                Ok(None) => last = Trouble::NotDone(format!("node {node} is a standby")),
                // Nothing was asked yet.
                Err(Trouble::Unknown(why) | Trouble::NotDone(why)) => {
                    last = Trouble::NotDone(why);
                }
            }
        }
        Err(last)
    }

    fn session_with(&self, node: usize) -> Result<Option<Session>, Trouble> {
        let to = (MachineAddress::of_node(node).v4, PORT).into();
        let mut session = Session {
            stream: connect(to, self.manner.timeout)?,
            heard: BytesMut::new(),
            timeout: self.manner.timeout,
            is_ready: false,
        };
        session.begin()?;
        // A standby refuses to be asked anything if transactions are serializable unless they say otherwise.
        session.query("SET default_transaction_isolation = 'read committed'")?;
        let answer = session.query("SELECT pg_is_in_recovery()")?;
        if answer.value() != Some("f") {
            return Ok(None);
        }
        session.query("RESET default_transaction_isolation")?;
        Ok(Some(session))
    }

    fn query(&mut self, statements: &str) -> Result<Answer, Trouble> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.primary()?,
        };
        let answer = session.query(statements);
        // It goes on after an error of what was asked, but not at a server that takes no writes any more.
        let goes_on = match &answer {
            Ok(_) => true,
            Err(Trouble::NotDone(why)) => session.is_ready && !why.ends_with("(25006)"),
            Err(Trouble::Unknown(_)) => false,
        };
        self.session = goes_on.then_some(session);
        answer
    }

    fn values(&mut self, query: &str) -> Result<Reply, Trouble> {
        let answer = self.query(query)?;
        let rows = answer.rows.first().map_or(&[][..], Vec::as_slice);
        let values = rows.iter().map(|value| value.as_ref()?.parse().ok());
        let values: Option<Vec<i64>> = values.collect();
        values
            .map(Reply::Values)
            .ok_or_else(|| Trouble::Unknown("a value that is no number".to_owned()))
    }

    /// Executes several steps as one transaction.
    fn transaction(&mut self, steps: &[Step]) -> Result<Reply, Trouble> {
        let statements = steps.iter().map(|step| match *step {
            Step::Append(key, element) => append(key, element),
            Step::Read(key) => format!("SELECT (SELECT elements FROM list WHERE key = {key})"),
        });
        let statements: Vec<String> = statements.collect();
        let answer = self.query(&format!("BEGIN;{};COMMIT", statements.join(";")))?;
        if answer.tags.last().map(String::as_str) != Some("COMMIT") {
            return Err(Trouble::NotDone("it was rolled back".to_owned()));
        }
        let mut rows = answer.rows.iter();
        let seen = steps.iter().map(|step| match step {
            Step::Append(..) => Some(None),
            Step::Read(_) => list(rows.next()?.first()?.as_deref()).map(Some),
        });
        let seen: Option<Vec<Option<Vec<i64>>>> = seen.collect();
        seen.map(Reply::Transaction)
            .ok_or_else(|| Trouble::Unknown("a list that is none".to_owned()))
    }
}

/// The statement that appends; the row's lock puts appends into one order.
fn append(key: i64, element: i64) -> String {
    format!(
        "INSERT INTO list VALUES ({key}, ARRAY[{element}::bigint]) \
         ON CONFLICT (key) DO UPDATE SET elements = list.elements || excluded.elements"
    )
}

/// An array as it is written: `{1,2}`; what is not there is empty.
fn list(text: Option<&str>) -> Option<Vec<i64>> {
    let Some(text) = text else {
        return Some(Vec::new());
    };
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    let numbers = inside.split(',').filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().ok()).collect()
}

impl Driver for Postgres {
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble> {
        let changed = |answer: &Answer| {
            let is_none = |tag: &String| tag.ends_with(" 0");
            if answer.tags.iter().all(is_none) {
                Reply::Refused
            } else {
                Reply::Done
            }
        };
        let done = |_| Reply::Done;
        match operation {
            Operation::Read(key) => {
                let answer =
                    self.query(&format!("SELECT value FROM register WHERE key = {key}"))?;
                let value = answer.value().map(str::parse).transpose();
                value
                    .map(Reply::Value)
                    .map_err(|_| Trouble::Unknown("a value that is no number".to_owned()))
            }
            Operation::Write(key, value) => self
                .query(&format!(
                    "INSERT INTO register VALUES ({key}, {value}) \
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value"
                ))
                .map(done),
            Operation::Swap(key, from, to) => {
                let statement = format!(
                    "UPDATE register SET value = {to} WHERE key = {key} AND value = {from}"
                );
                self.query(&statement).map(|answer| changed(&answer))
            }
            Operation::Add(value) => self
                .query(&format!("INSERT INTO element VALUES ({value})"))
                .map(done),
            Operation::Members => self.values("SELECT value FROM element"),
            Operation::Append(key, value) => self.query(&append(*key, *value)).map(done),
            Operation::List(key) => self.values(&format!(
                "SELECT unnest(elements) FROM list WHERE key = {key}"
            )),
            Operation::Accounts => self.values("SELECT balance FROM account ORDER BY id"),
            Operation::Move(from, to, amount) => {
                // The one with the lower number is locked first, so that two of them do not wait for each other.
                let statement = format!(
                    "WITH locked AS (SELECT id, balance FROM account WHERE id IN ({from}, {to}) ORDER BY id FOR UPDATE) \
                     UPDATE account SET balance = account.balance + CASE account.id WHEN {from} THEN -{amount} ELSE {amount} END \
                     FROM locked WHERE account.id = locked.id \
                     AND (SELECT balance FROM locked WHERE id = {from}) >= {amount}"
                );
                self.query(&statement).map(|answer| changed(&answer))
            }
            Operation::Put(value) => self
                .query(&format!("INSERT INTO queue VALUES ({value})"))
                .map(done),
            Operation::Take => {
                let answer = self.query(
                    "DELETE FROM queue WHERE value = \
                     (SELECT value FROM queue ORDER BY value LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING value",
                )?;
                let value = answer.value().map(str::parse).transpose();
                value
                    .map(Reply::Value)
                    .map_err(|_| Trouble::Unknown("a value that is no number".to_owned()))
            }
            Operation::Transaction(steps) => self.transaction(steps),
        }
    }

    fn prepare(&mut self, _: Kind) -> Result<(), Trouble> {
        let accounts = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})"));
        let accounts: Vec<String> = accounts.collect();
        self.query(&format!(
            "{TABLES} INSERT INTO account VALUES {} ON CONFLICT DO NOTHING",
            accounts.join(", ")
        ))
        .map(|_| ())
    }
}

impl Answer {
    /// The first column of the first row of the first statement that has any.
    fn value(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }
}

/// A connection to one server.
struct Session {
    stream: TcpStream,
    heard: BytesMut,
    timeout: Duration,
    /// It waits for the next query.
    is_ready: bool,
}

impl Session {
    /// Says who we are, and waits until the server is ready.
    fn begin(&mut self) -> Result<(), Trouble> {
        let mut words = BytesMut::new();
        let who = [("user", WHO), ("database", WHO)];
        frontend::startup_message(who, &mut words).map_err(|error| unknown(&error))?;
        self.exchange(&words).map(|_| ())
    }

    /// Has statements executed, as one transaction unless they say otherwise.
    fn query(&mut self, statements: &str) -> Result<Answer, Trouble> {
        let mut words = BytesMut::new();
        frontend::query(statements, &mut words).map_err(|error| unknown(&error))?;
        self.exchange(&words)
    }

    fn exchange(&mut self, words: &[u8]) -> Result<Answer, Trouble> {
        let start = Instant::now();
        self.is_ready = false;
        self.stream
            .write_all(words)
            .map_err(|error| unknown(&error))?;
        let mut answer = Answer::default();
        let mut refusal = None;
        let mut bytes = 0;
        loop {
            match self.message(start)? {
                Message::ReadyForQuery(_) => break,
                Message::RowDescription(_) => answer.rows.push(Vec::new()),
                Message::DataRow(row) => {
                    bytes += row.buffer().len();
                    if bytes > MOST_BYTES {
                        return Err(Trouble::Unknown("too long an answer".to_owned()));
                    }
                    let value = first_column(&row).map_err(|error| unknown(&error))?;
                    if let Some(rows) = answer.rows.last_mut() {
                        rows.push(value);
                    }
                }
                Message::CommandComplete(body) => {
                    let tag = body.tag().map_err(|error| unknown(&error))?;
                    answer.tags.push(tag.to_owned());
                }
                Message::ErrorResponse(body) => {
                    let found = Refusal::of(&body);
                    // What ends the session is not followed by its readiness.
                    if found.code.starts_with("57P") || found.code.starts_with("28") {
                        return Err(found.trouble());
                    }
                    refusal.get_or_insert(found);
                }
                Message::AuthenticationOk
                | Message::BackendKeyData(_)
                | Message::ParameterStatus(_)
                | Message::NoticeResponse(_)
                | Message::EmptyQueryResponse => {}
                _ => return Err(Trouble::Unknown("an odd message".to_owned())),
            }
        }
        match refusal {
            None => {
                self.is_ready = true;
                Ok(answer)
            }
            Some(refusal) => {
                // A transaction that was begun is over only when it is told so.
                let mut words = BytesMut::new();
                frontend::query("ROLLBACK", &mut words).map_err(|error| unknown(&error))?;
                let _rolled_back = self.stream.write_all(&words);
                while let Ok(message) = self.message(start) {
                    if matches!(message, Message::ReadyForQuery(_)) {
                        self.is_ready = true;
                        break;
                    }
                }
                Err(refusal.trouble())
            }
        }
    }

    /// The next message.
    fn message(&mut self, start: Instant) -> Result<Message, Trouble> {
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(length) = self.heard.get(1..5) {
                let length = length
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                if length > MOST_BYTES {
                    return Err(Trouble::Unknown("too long a message".to_owned()));
                }
            }
            let parsed = Message::parse(&mut self.heard).map_err(|error| unknown(&error))?;
            if let Some(message) = parsed {
                return Ok(message);
            }
            let left = self.timeout.saturating_sub(start.elapsed());
            let _at_least = self
                .stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))));
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Trouble::Unknown("the server has hung up".to_owned())),
                Ok(length) => self.heard.extend_from_slice(&piece[..length]),
                Err(error) => return Err(Trouble::Unknown(format!("no answer: {error}"))),
            }
        }
    }
}

fn unknown(error: &std::io::Error) -> Trouble {
    Trouble::Unknown(error.to_string())
}

fn first_column(row: &DataRowBody) -> std::io::Result<Option<String>> {
    let range = row.ranges().next()?.flatten();
    let bytes = range.and_then(|range| row.buffer().get(range));
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener, thread};

    use super::*;

    /// A message as a server sends it.
    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    fn rows(values: &[&str]) -> Vec<u8> {
        let mut bytes = message(b'T', &[0, 0]);
        for value in values {
            let length = (value.len() as u32).to_be_bytes();
            let body = [&[0, 1][..], &length, value.as_bytes()].concat();
            bytes.extend(message(b'D', &body));
        }
        bytes.extend(message(b'C', b"SELECT\0"));
        bytes
    }

    /// What a session hears of a server that answers in these words.
    fn told(words: &[Vec<u8>]) -> Result<Answer, Trouble> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let words = words.concat();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 64];
            let _asked = stream.read(&mut asked).unwrap();
            stream.write_all(&words).unwrap();
            // What follows an error is the end of its transaction.
            let _asked = stream.read(&mut asked);
        });
        let timeout = Duration::from_secs(20);
        let mut session = Session {
            stream: connect(to, timeout).unwrap(),
            heard: BytesMut::new(),
            timeout,
            is_ready: false,
        };
        let answer = session.query("SELECT 1");
        drop(session);
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_are_read() {
        let ready = || message(b'Z', b"I");
        let notice = message(b'N', b"Mhello\0\0");
        let answer = told(&[notice, rows(&["5", "6"]), rows(&[]), ready()]).unwrap();
        assert_eq!(answer.value(), Some("5"));
        assert_eq!((answer.rows[0].len(), answer.rows[1].len()), (2, 0));
        assert_eq!(answer.tags, ["SELECT", "SELECT"]);
        let error = |code: &str| message(b'E', format!("C{code}\0Mno\0\0").as_bytes());
        for (code, expected) in [
            ("40001", Trouble::NotDone("no (40001)".to_owned())),
            ("57P01", Trouble::Unknown("no (57P01)".to_owned())),
        ] {
            let found = told(&[error(code), ready(), ready()]).unwrap_err();
            assert_eq!(found, expected);
        }
        let long = [vec![b'D', 0xff, 0xff, 0xff, 0xff]];
        let Trouble::Unknown(why) = told(&long).unwrap_err() else {
            panic!("it may have been done");
        };
        assert_eq!(why, "too long a message");
    }

    #[test]
    fn arrays_are_lists() {
        assert_eq!(list(None), Some(Vec::new()));
        assert_eq!(list(Some("{}")), Some(Vec::new()));
        assert_eq!(list(Some("{1,-2}")), Some(vec![1, -2]));
        assert_eq!(list(Some("{1,x}")), None);
        assert_eq!(list(Some("1")), None);
    }
}

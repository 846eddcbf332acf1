//! ZooKeeper's protocol as far as a client of one server needs it: frames with their length in front, big-endian
//! numbers, and strings and lists with theirs. Answers come in the order of the requests.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// The longest answer, in bytes.
const MOST_BYTES: usize = 16 << 20;

/// How long a session outlives its connection, in milliseconds. Nothing of ours hangs on it.
const SESSION_MS: i32 = 4_000;

/// A session that was silent for so long may be over on the server's side.
const SILENT: Duration = Duration::from_millis(SESSION_MS as u64 / 2);

/// Bytes of the secret by which a session would be taken up again.
const SECRET_BYTES: usize = 16;

/// Everybody may do everything: create, delete, read, write and administrate.
const ALL_RIGHTS: i32 = 31;

/// A node whose name the server ends with a number.
const SEQUENTIAL: i32 = 2;

/// Any version of a node.
pub(super) const ANY_VERSION: i32 = -1;

/// Bytes of a node's description (`Stat`) before its version.
const BEFORE_VERSION: usize = 32;

/// What a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// Make a node; with a number at the end of its name, if it is `numbered`.
    Create {
        path: &'a str,
        data: &'a str,
        numbered: bool,
    },
    /// Remove a node.
    Delete(&'a str),
    /// What a node holds.
    Get(&'a str),
    /// Have a node hold something, if it has this version.
    Set {
        path: &'a str,
        data: &'a str,
        version: i32,
    },
    /// The names of a node's children.
    Children(&'a str),
    /// Catch up with the leader.
    Sync(&'a str),
}

/// Why a server has not done what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoNode,
    OtherVersion,
    NodeExists,
    /// Any other, after which nobody knows.
    Other(i32),
}

/// What a server answers.
pub(super) type Answer = Result<Vec<u8>, Refusal>;

impl Request<'_> {
    fn bytes(&self, number: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let head = |bytes: &mut Vec<u8>, kind: i32, path: &str| {
            put_number(bytes, number);
            put_number(bytes, kind);
            put_text(bytes, path);
        };
        match *self {
            Self::Create {
                path,
                data,
                numbered,
            } => {
                head(&mut bytes, 1, path);
                put_text(&mut bytes, data);
                // One entry of the list of rights.
                put_number(&mut bytes, 1);
                put_number(&mut bytes, ALL_RIGHTS);
                put_text(&mut bytes, "world");
                put_text(&mut bytes, "anyone");
                put_number(&mut bytes, if numbered { SEQUENTIAL } else { 0 });
            }
            Self::Delete(path) => {
                head(&mut bytes, 2, path);
                put_number(&mut bytes, ANY_VERSION);
            }
            Self::Get(path) => {
                head(&mut bytes, 4, path);
                bytes.push(0);
            }
            Self::Set {
                path,
                data,
                version,
            } => {
                head(&mut bytes, 5, path);
                put_text(&mut bytes, data);
                put_number(&mut bytes, version);
            }
            Self::Children(path) => {
                head(&mut bytes, 8, path);
                bytes.push(0);
            }
            Self::Sync(path) => head(&mut bytes, 9, path),
        }
        bytes
    }
}

/// A connection that has a session.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    asked: i32,
    last: Instant,
}

impl Session {
    /// Begins one.
    pub fn begin(stream: TcpStream, until: Instant) -> Result<Self, String> {
        let mut session = Self {
            stream,
            asked: 0,
            last: Instant::now(),
        };
        let mut hello = Vec::new();
        // The protocol's version, and the newest transaction that we have seen: none.
        put_number(&mut hello, 0);
        hello.extend([0; 8]);
        put_number(&mut hello, SESSION_MS);
        // No session that was there before, and no secret of one.
        hello.extend([0; 8]);
        put_number(&mut hello, SECRET_BYTES as i32);
        hello.extend([0; SECRET_BYTES]);
        // A server that has no leader is of no use to us.
        hello.push(0);
        session.send(&hello)?;
        let granted = session.frame(until)?;
        let mut granted = Fields(&granted);
        let (_version, lasts_ms) = (granted.number(), granted.number());
        match lasts_ms {
            Some(1..) => Ok(session),
            _ => Err("the server grants no session".to_owned()),
        }
    }

    /// Whether the server may have given it up.
    pub fn is_stale(&self) -> bool {
        self.last.elapsed() > SILENT
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request<'_>, until: Instant) -> Result<Answer, String> {
        self.asked += 1;
        self.send(&request.bytes(self.asked))?;
        loop {
            let frame = self.frame(until)?;
            let mut fields = Fields(&frame);
            let head = (fields.number(), fields.skip(8), fields.number());
            let (Some(number), Some(()), Some(error)) = head else {
                return Err("an answer without a head".to_owned());
            };
            // Events and pings have numbers below zero.
            if number == self.asked {
                self.last = Instant::now();
                return Ok(match error {
                    0 => Ok(fields.0.to_vec()),
                    -101 => Err(Refusal::NoNode),
                    -103 => Err(Refusal::OtherVersion),
                    -110 => Err(Refusal::NodeExists),
                    other => Err(Refusal::Other(other)),
                });
            }
        }
    }

    fn send(&mut self, body: &[u8]) -> Result<(), String> {
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend(body);
        let sent = self.stream.write_all(&bytes);
        sent.map_err(|error| format!("sending: {error}"))
    }

    fn frame(&mut self, until: Instant) -> Result<Vec<u8>, String> {
        let mut length = [0; 4];
        self.fill(&mut length, until)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MOST_BYTES {
            return Err(format!("an answer of {length} bytes"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, until)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8], until: Instant) -> Result<(), String> {
        let left = until.saturating_duration_since(Instant::now());
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server has hung up".to_owned(),
            _ => format!("no answer: {error}"),
        };
        let left = Some(left.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(left).map_err(told)?;
        self.stream.read_exact(bytes).map_err(told)
    }
}

/// What a node holds, and which version of it that is.
pub(super) fn held(answer: &[u8]) -> Option<(String, i32)> {
    let mut fields = Fields(answer);
    let data = fields.text()?;
    fields.skip(BEFORE_VERSION)?;
    Some((data, fields.number()?))
}

/// The names of children.
pub(super) fn names(answer: &[u8]) -> Option<Vec<String>> {
    let mut fields = Fields(answer);
    let count = fields.number()?;
    (0..count).map(|_| fields.text()).collect()
}

/// What is left to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn number(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    /// Nothing at all has a length of -1.
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).unwrap_or(0);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

fn put_number(bytes: &mut Vec<u8>, number: i32) {
    bytes.extend(number.to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_number(bytes, text.len() as i32);
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use proptest::prelude::*;

    use super::*;

    fn framed(numbers: &[i32], rest: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for &number in numbers {
            put_number(&mut body, number);
        }
        body.extend(rest);
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    /// What a request hears of a server that grants a session and then says these bytes.
    fn told(granted: i32, says: Vec<u8>) -> Result<Answer, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 4 + 45];
            stream.read_exact(&mut hello).unwrap();
            assert_eq!(hello[..4], 45_u32.to_be_bytes());
            stream.write_all(&framed(&[0, granted], &[0; 24])).unwrap();
            // The client may have gone already.
            let _gone = stream.write_all(&says);
            let _asked = stream.shutdown(std::net::Shutdown::Write);
            let _all = stream.read_to_end(&mut Vec::new());
        });
        let until = Instant::now() + Duration::from_secs(20);
        let answer = Session::begin(stream, until)
            .and_then(|mut session| session.ask(&Request::Get("/x"), until));
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_are_found_among_what_comes() {
        let answer = |error, rest: &[u8]| {
            // A ping and an event before it.
            let ping = framed(&[-2, 0, 0, 0], &[]);
            let event = framed(&[-1, -1, -1, 0], b"anything");
            [ping, event, framed(&[1, 0, 7, error], rest)].concat()
        };
        assert_eq!(told(4000, answer(0, b"abc")), Ok(Ok(b"abc".to_vec())));
        for (error, refusal) in [
            (-101, Refusal::NoNode),
            (-103, Refusal::OtherVersion),
            (-110, Refusal::NodeExists),
            (-4, Refusal::Other(-4)),
        ] {
            assert_eq!(told(4000, answer(error, b"")), Ok(Err(refusal)));
        }
        for (granted, says, why) in [
            (0, Vec::new(), "grants no session"),
            (4000, Vec::new(), "hung up"),
            (4000, framed(&[1], &[]), "without a head"),
            (4000, vec![0x7f; 4], "an answer of"),
        ] {
            let said = told(granted, says).unwrap_err();
            // A server that has gone may be noticed when it is asked.
            assert!(said.contains(why) || said.contains("sending"), "{said}");
        }
    }

    #[test]
    fn what_a_node_holds_comes_with_its_version() {
        let mut answer = Vec::new();
        put_text(&mut answer, "12");
        answer.extend([9; BEFORE_VERSION]);
        answer.extend([0, 0, 0, 5]);
        assert_eq!(held(&answer), Some(("12".to_owned(), 5)));
        let mut children = vec![0, 0, 0, 2];
        put_text(&mut children, "e-1");
        put_text(&mut children, "e-2");
        assert_eq!(names(&children).unwrap(), ["e-1", "e-2"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _read_or_not = (held(&bytes), names(&bytes));
        }
    }
}

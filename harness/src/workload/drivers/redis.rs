//! Redis in its own protocol, RESP 2. A client asks the sentinel at home who the master is, as redis' clients do,
//! and stays with that until something fails.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::{Driver, Manner, Trouble, address, connect};
use crate::workload::{
    generate::Kind,
    operation::{Operation, Reply},
};

const SENTINEL_PORT: u16 = 26_379;

/// The longest text in an answer, in bytes, and the most parts.
const MOST_BYTES: usize = 16 << 20;
const MOST_PARTS: usize = 4 << 20;

/// Compares and sets in one step.
const SWAP: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0";

/// An answer of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resp {
    Simple(String),
    Error(String),
    Number(i64),
    Text(Option<String>),
    Parts(Option<Vec<Self>>),
}

/// A client of redis with sentinels.
pub(super) struct Redis {
    manner: Manner,
    master: Option<BufReader<TcpStream>>,
}

impl Redis {
    pub fn new(manner: Manner) -> Self {
        Self {
            manner,
            master: None,
        }
    }

    fn master(&self) -> Result<SocketAddr, Trouble> {
        let sentinel = connect(self.manner.home_at(SENTINEL_PORT), self.manner.timeout)?;
        let mut sentinel = BufReader::new(sentinel);
        let not_done = |why: String| Trouble::NotDone(format!("no master is known: {why}"));
        let words = ["SENTINEL", "get-master-addr-by-name", "store"];
        let parts = match exchange(&mut sentinel, &words) {
            Ok(Resp::Parts(Some(parts))) => parts,
            Ok(other) => return Err(not_done(format!("{other:?}"))),
            Err(why) => return Err(not_done(why)),
        };
        match &parts[..] {
            [Resp::Text(Some(ip)), Resp::Text(Some(port))] => address(ip, port),
            _ => None,
        }
        .ok_or_else(|| not_done(format!("{parts:?}")))
    }

    fn command(&mut self, words: &[&str]) -> Result<Resp, Trouble> {
        let mut master = match self.master.take() {
            Some(master) => master,
            None => BufReader::new(connect(self.master()?, self.manner.timeout)?),
        };
        match exchange(&mut master, words).map_err(Trouble::Unknown)? {
            // These say that it was not executed: a replica, one that loads its data, or has no replicas.
            Resp::Error(why) => Err(Trouble::NotDone(why)),
            answer => {
                self.master = Some(master);
                Ok(answer)
            }
        }
    }
}

impl Driver for Redis {
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble> {
        let (_, key, value) = operation.parts();
        let (key, value) = (key.unwrap_or(0), value.to_string());
        let (register, list) = (format!("register:{key}"), format!("list:{key}"));
        let answer = match operation {
            Operation::Read(_) => self.command(&["GET", &register])?,
            Operation::Write(..) => self.command(&["SET", &register, &value])?,
            Operation::Swap(_, from, to) => self.command(&[
                "EVAL",
                SWAP,
                "1",
                &register,
                &from.to_string(),
                &to.to_string(),
            ])?,
            Operation::Add(_) => self.command(&["SADD", "set", &value])?,
            Operation::Members => self.command(&["SMEMBERS", "set"])?,
            Operation::Append(..) => self.command(&["RPUSH", &list, &value])?,
            Operation::List(_) => self.command(&["LRANGE", &list, "0", "-1"])?,
            Operation::Put(_) => self.command(&["LPUSH", "queue", &value])?,
            Operation::Take => self.command(&["RPOP", "queue"])?,
            Operation::Move(..) | Operation::Accounts | Operation::Transaction(_) => {
                return Err(Trouble::NotDone("that cannot be asked here".to_owned()));
            }
        };
        reply(operation, &answer)
            .ok_or_else(|| Trouble::Unknown(format!("an odd answer: {answer:?}")))
    }

    fn prepare(&mut self, _: Kind) -> Result<(), Trouble> {
        self.command(&["SET", "prepared", "1"]).map(|_| ())
    }
}

fn reply(operation: &Operation, answer: &Resp) -> Option<Reply> {
    let number = |part: &Resp| match part {
        Resp::Text(Some(text)) => text.parse::<i64>().ok(),
        _ => None,
    };
    Some(match (operation, answer) {
        (Operation::Read(_) | Operation::Take, Resp::Text(None)) => Reply::Value(None),
        (Operation::Read(_) | Operation::Take, text) => Reply::Value(Some(number(text)?)),
        (Operation::Members | Operation::List(_), Resp::Parts(Some(parts))) => {
            Reply::Values(parts.iter().map(number).collect::<Option<_>>()?)
        }
        (Operation::Swap(..), Resp::Number(0)) => Reply::Refused,
        (_, Resp::Number(_) | Resp::Simple(_)) => Reply::Done,
        _ => return None,
    })
}

/// Sends a command and reads its answer.
fn exchange(stream: &mut BufReader<TcpStream>, words: &[&str]) -> Result<Resp, String> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.extend([format!("${}\r\n{word}\r\n", word.len())]);
    }
    let told = |error: std::io::Error| format!("no answer: {error}");
    stream
        .get_mut()
        .write_all(command.as_bytes())
        .map_err(told)?;
    read(stream, 0)
}

fn read(from: &mut impl BufRead, depth: u32) -> Result<Resp, String> {
    let mut line = String::new();
    let length = from.by_ref().take(MOST_BYTES as u64).read_line(&mut line);
    if length.map_err(|error| format!("no answer: {error}"))? == 0 {
        return Err("the connection was closed".to_owned());
    }
    let garbled = || format!("no answer of this protocol: {line:?}");
    let text = line.strip_suffix("\r\n").ok_or_else(garbled)?;
    let (kind, rest) = text.split_at_checked(1).ok_or_else(garbled)?;
    let number = || rest.parse::<i64>().map_err(|_| garbled());
    Ok(match kind {
        "+" => Resp::Simple(rest.to_owned()),
        "-" => Resp::Error(rest.to_owned()),
        ":" => Resp::Number(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Resp::Text(None),
            Ok(length) if length <= MOST_BYTES => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)
                    .map_err(|error| format!("no answer: {error}"))?;
                bytes.truncate(length);
                Resp::Text(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Ok(_) => return Err(garbled()),
        },
        "*" if depth < 4 => match usize::try_from(number()?) {
            Err(_) => Resp::Parts(None),
            Ok(count) if count <= MOST_PARTS => {
                let parts = (0..count).map(|_| read(from, depth + 1));
                Resp::Parts(Some(parts.collect::<Result<_, _>>()?))
            }
            Ok(_) => return Err(garbled()),
        },
        _ => return Err(garbled()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_read() {
        let mut bytes = &b"+OK\r\n-READONLY no\r\n:7\r\n$-1\r\n*2\r\n$1\r\n5\r\n$2\r\n66\r\n"[..];
        let mut next = || read(&mut bytes, 0).unwrap();
        assert_eq!(next(), Resp::Simple("OK".to_owned()));
        assert_eq!(next(), Resp::Error("READONLY no".to_owned()));
        assert_eq!(next(), Resp::Number(7));
        assert_eq!(
            reply(&Operation::Read(1), &next()),
            Some(Reply::Value(None))
        );
        assert_eq!(
            reply(&Operation::Members, &next()),
            Some(Reply::Values(vec![5, 66]))
        );
    }

    proptest! {
        #[test]
        fn anything_is_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _read_or_not = read(&mut &bytes[..], 0);
        }
    }
}

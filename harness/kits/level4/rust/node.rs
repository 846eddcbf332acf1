//! One node that answers SQL by itself: `node -l ./node0.sock -d DIR [--join ./node0.sock]`.
//! It needs the command `sqlite3`.
//!
//! It does not talk to the other nodes. That is where the work begins.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The number of the next request.
type Database = Arc<Mutex<u64>>;

fn main() -> Result<()> {
    let (mut listen, mut folder) = ("127.0.0.1:4000".to_owned(), ".".to_owned());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-l" => listen = words.next().ok_or("-l: where?")?,
            "-d" => folder = words.next().ok_or("-d: where?")?,
            "-v" => {}
            "--join" => drop(words.next()),
            word if word.starts_with("--join=") => {}
            word => return Err(format!("what is {word}?").into()),
        }
    }
    fs::create_dir_all(&folder)?;
    std::env::set_current_dir(&folder)?;
    let database = Database::default();
    if listen.starts_with(['/', '.']) {
        // A socket that was left behind by a killed process.
        let _ = fs::remove_file(&listen);
        for stream in UnixListener::bind(&listen)?.incoming() {
            let (stream, database) = (stream?, Arc::clone(&database));
            thread::spawn(move || serve(stream.try_clone()?, stream, &database));
        }
    } else {
        for stream in TcpListener::bind(&listen)?.incoming() {
            let (stream, database) = (stream?, Arc::clone(&database));
            thread::spawn(move || serve(stream.try_clone()?, stream, &database));
        }
    }
    Ok(())
}

/// Answers the requests of a connection, one after another, until it ends.
fn serve(reader: impl Read, mut writer: impl Write, database: &Database) -> Result<()> {
    let mut reader = BufReader::new(reader);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut body = vec![0; content_length(&mut reader)?];
        reader.read_exact(&mut body)?;
        let (status, answer) = if first.starts_with("POST /sql ") {
            (200, execute(database, &body)?)
        } else {
            (404, Vec::new())
        };
        let length = answer.len();
        let mut response = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        response.extend(answer);
        writer.write_all(&response)?;
    }
}

/// Reads the headers of a request.
fn content_length(reader: &mut impl BufRead) -> Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            Some(_) => {}
            None => return Ok(length),
        }
    }
}

/// The output of a request, after its sequence number: requests are executed one by one.
fn execute(database: &Database, sql: &[u8]) -> io::Result<Vec<u8>> {
    let mut number = database.lock().unwrap();
    let mut command = Command::new("sqlite3");
    command.arg("data.sqlite").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = command.spawn()?;
    if let Some(mut input) = shell.stdin.take() {
        input.write_all(sql)?;
        input.write_all(b";\n")?;
    }
    let output = shell.wait_with_output()?;
    let mut answer = format!("SequenceNumber: {number}\n").into_bytes();
    // The shell ends with an error if there was one, and its last words are the answer.
    answer.extend(if output.status.success() { output.stdout } else { output.stderr });
    *number += 1;
    Ok(answer)
}

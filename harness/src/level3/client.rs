//! The client: GET requests one after another over one kept connection, timed to the last byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{Answer, AnswerReader, Malformed};

/// Bytes read at a time.
const PIECE: usize = 256 * 1024;

/// A client of one server on loopback.
pub struct Client {
    port: u16,
    connection: Option<TcpStream>,
    patience: Duration,
    piece: Vec<u8>,
}

impl Client {
    /// A client that gives up after so much silence.
    pub fn new(port: u16, patience: Duration) -> Self {
        Self {
            port,
            connection: None,
            patience,
            piece: vec![0; PIECE],
        }
    }

    /// The port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it gives up after so much silence.
    pub fn be_patient_for(&mut self, patience: Duration) {
        if patience == self.patience {
            return;
        }
        self.patience = patience;
        // A connection that does not take its new limit is not kept.
        self.connection = self
            .connection
            .take()
            .filter(|connection| connection.set_read_timeout(Some(patience)).is_ok());
    }

    /// Asks and waits for the whole answer; also how long it took, from before a connection was
    /// made, where one was needed, to the last byte.
    pub fn get(&mut self, target: &str) -> io::Result<(Answer, Duration)> {
        let started = Instant::now();
        let kept = self.connection.take();
        let was_kept = kept.is_some();
        let answer = match self.exchange(kept, target) {
            // A server may close a kept connection at any time; that is no failure of this request.
            Err(error) if was_kept && is_closed(&error) => self.exchange(None, target)?,
            other => other?,
        };
        Ok((answer, started.elapsed()))
    }

    fn exchange(&mut self, kept: Option<TcpStream>, target: &str) -> io::Result<Answer> {
        let mut connection = kept.map_or_else(|| self.connect(), Ok)?;
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
            self.port
        );
        connection.write_all(text.as_bytes())?;
        let mut reader = AnswerReader::new();
        let malformed = |error| io::Error::new(ErrorKind::InvalidData, error);
        loop {
            let count = connection
                .read(&mut self.piece)
                .map_err(|error| self.in_words(error))?;
            if count == 0 {
                let cut = |error| io::Error::new(ErrorKind::UnexpectedEof, error);
                return reader.end().map_err(cut);
            }
            if let Some(answer) = reader.feed(&self.piece[..count]).map_err(malformed)? {
                if answer.surplus {
                    return Err(malformed(Malformed::Trailing));
                }
                if answer.keep_alive {
                    self.connection = Some(connection);
                }
                return Ok(answer);
            }
        }
    }

    /// A socket's time limit shows as an error that says something else.
    fn in_words(&self, error: io::Error) -> io::Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                let seconds = self.patience.as_secs_f64();
                let message = format!("the server was silent for {seconds:.0} s");
                io::Error::new(ErrorKind::TimedOut, message)
            }
            _ => error,
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(self.patience))?;
        connection.set_write_timeout(Some(self.patience))?;
        Ok(connection)
    }
}

fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// A text as the value of a query parameter: letters, digits and `-._~` as they are.
pub fn encoded(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            value.push('%');
            value.push_str(&hex::encode_upper([byte]));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn reserved_bytes_are_escaped() {
        assert_eq!(encoded("aZ-9_"), "aZ-9_");
        assert_eq!(encoded("a b&c=d+é/%"), "a%20b%26c%3Dd%2B%C3%A9%2F%25");
    }

    #[test]
    fn a_kept_connection_that_was_closed_is_opened_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let count = connection.read(&mut request).unwrap();
                assert!(request[..count].starts_with(b"GET /x HTTP/1.1\r\n"));
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
                    .unwrap();
            }
        });
        let mut client = Client::new(port, Duration::from_secs(20));
        for _ in 0..2 {
            assert_eq!(client.get("/x").unwrap().0.body, b"x");
        }
        server.join().unwrap();
    }

    #[test]
    fn silence_is_told_in_words() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = Client::new(port, Duration::from_millis(1));
        let error = client.get("/x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "the server was silent for 0 s");
    }
}

//! One connection of HTTP/1.1, kept open from one request to the next.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{Trouble, connect};
use crate::http::{Answer, AnswerReader};

/// The longest answer, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// A connection to one server.
#[derive(Debug)]
pub(super) struct Http {
    to: SocketAddr,
    timeout: Duration,
    stream: Option<TcpStream>,
}

impl Http {
    pub fn new(to: SocketAddr, timeout: Duration) -> Self {
        Self {
            to,
            timeout,
            stream: None,
        }
    }

    /// Sends a body of JSON and reads the answer.
    pub fn post(&mut self, path: &str, body: &str) -> Result<Answer, Trouble> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.to, self.timeout)?,
        };
        let (to, length) = (self.to, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let unknown = |why: String| Trouble::Unknown(why);
        stream
            .write_all(request.as_bytes())
            .map_err(|error| unknown(format!("sending: {error}")))?;
        let answer = self.read(&mut stream)?;
        if answer.keep_alive && !answer.surplus {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    fn read(&self, stream: &mut TcpStream) -> Result<Answer, Trouble> {
        let mut reader = AnswerReader::with_limit(MOST_BYTES);
        let start = Instant::now();
        let mut piece = [0; 16 * 1024];
        loop {
            let left = self.timeout.saturating_sub(start.elapsed());
            let _at_least = stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            match stream.read(&mut piece) {
                Ok(0) => {
                    return reader
                        .end()
                        .map_err(|error| Trouble::Unknown(error.to_string()));
                }
                Ok(length) => {
                    let fed = reader.feed(&piece[..length]);
                    if let Some(answer) =
                        fed.map_err(|error| Trouble::Unknown(error.to_string()))?
                    {
                        return Ok(answer);
                    }
                }
                Err(error) => return Err(Trouble::Unknown(format!("no answer: {error}"))),
            }
        }
    }
}

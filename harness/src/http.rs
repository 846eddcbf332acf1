//! HTTP/1.1 messages as the judges need them: answers read piece by piece, requests of backends.
//!
//! Both are values that are fed bytes and know no sockets, so the level 2 simulation can drive many
//! connections from one thread and level 3 can read an answer of any size. Everything is bounded.

use std::fmt;

/// Most bytes a message's head may have.
const MAX_HEAD: usize = 16 * 1024;
/// Most headers of a message.
const MAX_HEADERS: usize = 64;
/// Most bytes of an answer's body. The largest honest one (every line of a big tree) is far below.
const MAX_BODY: usize = 1 << 30;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The head is no HTTP/1.x.
    Head,
    /// `Content-Length` or a chunk's size is no number, or they contradict each other.
    Length,
    /// A head or body beyond the bounds.
    TooLarge,
    /// Bytes after the end of the message that nothing asked for.
    Trailing,
    /// The connection ended inside the message.
    Truncated,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the head is not HTTP/1.x",
            Self::Length => "the length of the body is unclear",
            Self::TooLarge => "the message is too large",
            Self::Trailing => "bytes follow the end of the message",
            Self::Truncated => "the connection ended inside the message",
        })
    }
}

impl std::error::Error for Malformed {}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
}

/// How the rest of an answer is delimited.
#[derive(Debug)]
enum Framing {
    Head,
    Sized(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// Reads one answer from the bytes of a connection, in pieces of any size.
#[derive(Debug)]
pub struct AnswerReader {
    /// Whether the request was HEAD: then no body follows, whatever the head says.
    bodiless: bool,
    framing: Framing,
    /// Bytes that came and are not understood yet.
    pending: Vec<u8>,
    answer: Answer,
}

impl AnswerReader {
    /// A reader of the answer to a request with a body in its answer (GET and the like).
    pub fn new() -> Self {
        Self::with(false)
    }

    /// A reader of the answer to a HEAD request.
    pub fn of_head() -> Self {
        Self::with(true)
    }

    fn with(bodiless: bool) -> Self {
        Self {
            bodiless,
            framing: Framing::Head,
            pending: Vec::new(),
            answer: Answer {
                status: 0,
                body: Vec::new(),
                keep_alive: true,
            },
        }
    }

    /// Takes bytes as they came; gives the answer when it is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        if self.pending.is_empty() && matches!(self.framing, Framing::Sized(_)) {
            // The common large case: no second copy of a sized body.
            let used = self.take_body(bytes);
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            self.pending.extend_from_slice(bytes);
        }
        while !matches!(self.framing, Framing::Done) && self.step()? {}
        if !matches!(self.framing, Framing::Done) {
            return Ok(None);
        }
        if self.bodiless && !self.pending.is_empty() {
            // Some servers send the body all the same; it cannot be told from the next answer.
            self.pending.clear();
            self.answer.keep_alive = false;
        }
        if !self.pending.is_empty() {
            return Err(Malformed::Trailing);
        }
        let empty = Answer {
            status: 0,
            body: Vec::new(),
            keep_alive: false,
        };
        Ok(Some(std::mem::replace(&mut self.answer, empty)))
    }

    /// The connection has ended: an answer that is delimited by that is complete now.
    pub fn end(mut self) -> Result<Answer, Malformed> {
        if matches!(self.framing, Framing::UntilClose) {
            self.answer.keep_alive = false;
            return Ok(self.answer);
        }
        Err(Malformed::Truncated)
    }

    /// Advances by one part; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, Malformed> {
        match self.framing {
            Framing::Head => self.read_head(),
            Framing::Sized(_) => {
                let pending = std::mem::take(&mut self.pending);
                let used = self.take_body(&pending);
                self.pending.extend_from_slice(&pending[used..]);
                Ok(matches!(self.framing, Framing::Done))
            }
            Framing::UntilClose => {
                self.grow_check(self.pending.len())?;
                self.answer.body.append(&mut self.pending);
                Ok(false)
            }
            Framing::ChunkSize => match httparse::parse_chunk_size(&self.pending) {
                Ok(httparse::Status::Complete((used, size))) => {
                    self.pending.drain(..used);
                    let size = usize::try_from(size).map_err(|_| Malformed::TooLarge)?;
                    self.grow_check(size)?;
                    self.framing = if size == 0 {
                        Framing::Trailers
                    } else {
                        Framing::Chunk(size)
                    };
                    Ok(true)
                }
                Ok(httparse::Status::Partial) if self.pending.len() < 64 => Ok(false),
                _ => Err(Malformed::Length),
            },
            Framing::Chunk(size) => {
                let take = size.min(self.pending.len());
                self.answer.body.extend(self.pending.drain(..take));
                self.framing = if take == size {
                    Framing::ChunkEnd
                } else {
                    Framing::Chunk(size - take)
                };
                Ok(take == size)
            }
            Framing::ChunkEnd => {
                if self.pending.len() < 2 {
                    return Ok(false);
                }
                if !self.pending.starts_with(b"\r\n") {
                    return Err(Malformed::Length);
                }
                self.pending.drain(..2);
                self.framing = Framing::ChunkSize;
                Ok(true)
            }
            Framing::Trailers => self.skip_trailer(),
            Framing::Done => Ok(false),
        }
    }

    /// Reads the head, passing over interim answers (1xx).
    fn read_head(&mut self) -> Result<bool, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let used = match head.parse(&self.pending) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if self.pending.len() <= MAX_HEAD => return Ok(false),
            Ok(httparse::Status::Partial) => return Err(Malformed::TooLarge),
            Err(_) => return Err(Malformed::Head),
        };
        let status = head.code.ok_or(Malformed::Head)?;
        let version = head.version;
        let fields = Fields::read(head.headers)?;
        self.pending.drain(..used);
        if (100..200).contains(&status) && status != 101 {
            return Ok(true);
        }
        self.answer.status = status;
        self.answer.keep_alive = fields.keep_alive(version);
        self.framing = if self.bodiless || status == 204 || status == 304 {
            Framing::Done
        } else if fields.chunked {
            Framing::ChunkSize
        } else {
            match fields.length {
                Some(0) => Framing::Done,
                Some(length) => {
                    self.grow_check(length)?;
                    Framing::Sized(length)
                }
                None => Framing::UntilClose,
            }
        };
        Ok(true)
    }

    /// Moves bytes of a sized body to the answer; gives how many were the body's.
    fn take_body(&mut self, bytes: &[u8]) -> usize {
        let Framing::Sized(left) = self.framing else {
            return 0;
        };
        let take = left.min(bytes.len());
        self.answer.body.extend_from_slice(&bytes[..take]);
        self.framing = if take == left {
            Framing::Done
        } else {
            Framing::Sized(left - take)
        };
        take
    }

    /// Passes over one line of trailers; an empty one ends the answer.
    fn skip_trailer(&mut self) -> Result<bool, Malformed> {
        let Some(end) = self.pending.windows(2).position(|pair| pair == b"\r\n") else {
            return if self.pending.len() > MAX_HEAD {
                Err(Malformed::TooLarge)
            } else {
                Ok(false)
            };
        };
        self.pending.drain(..end + 2);
        if end == 0 {
            self.framing = Framing::Done;
        }
        Ok(true)
    }

    fn grow_check(&self, more: usize) -> Result<(), Malformed> {
        if self.answer.body.len().saturating_add(more) > MAX_BODY {
            return Err(Malformed::TooLarge);
        }
        Ok(())
    }
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self::new()
    }
}

/// The header fields that frame a message.
#[derive(Default)]
struct Fields {
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        for header in headers {
            let value = std::str::from_utf8(header.value).unwrap_or("").trim();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| Malformed::Length)?;
                if fields.length.is_some_and(|known| known != length) {
                    return Err(Malformed::Length);
                }
                fields.length = Some(length);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                fields.chunked |= has_token(value, "chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                fields.close |= has_token(value, "close");
                fields.keep |= has_token(value, "keep-alive");
            }
        }
        Ok(fields)
    }

    /// Whether the connection lives on after a message of this version (0 for HTTP/1.0).
    fn keep_alive(&self, version: Option<u8>) -> bool {
        !self.close && (version == Some(1) || self.keep)
    }
}

/// Whether a comma-separated header value holds a token.
fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// A complete request, as a backend sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, in the case it was sent in.
    pub method: String,
    /// The target: path and query.
    pub target: String,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
}

impl Request {
    /// Reads a request from the front of `bytes`: with its length when it is complete, body included.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let used = match head.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(Malformed::TooLarge),
            Err(_) => return Err(Malformed::Head),
        };
        let fields = Fields::read(head.headers)?;
        if fields.chunked {
            // No request of the simulation has a body, so one whose length only shows as it comes
            // is refused rather than understood.
            return Err(Malformed::Length);
        }
        let body = fields.length.unwrap_or(0);
        if body > MAX_HEAD {
            return Err(Malformed::TooLarge);
        }
        if bytes.len() < used + body {
            return Ok(None);
        }
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            keep_alive: fields.keep_alive(head.version),
        };
        Ok(Some((request, used + body)))
    }

    /// The value of a parameter of the query, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds an answer in pieces of every size; all must agree.
    fn read(text: &str) -> Result<Option<Answer>, Malformed> {
        let whole = AnswerReader::new().feed(text.as_bytes());
        for size in 1..text.len() {
            let mut reader = AnswerReader::new();
            let mut last = Ok(None);
            for piece in text.as_bytes().chunks(size) {
                last = reader.feed(piece);
                if last != Ok(None) {
                    break;
                }
            }
            if !matches!(whole, Err(Malformed::Trailing)) {
                assert_eq!(last, whole, "in pieces of {size}");
            }
        }
        whole
    }

    fn answer(status: u16, body: &str, keep_alive: bool) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec(),
            keep_alive,
        }
    }

    #[test]
    fn sized_answers() {
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            Ok(Some(answer(200, "hello", true)))
        );
        assert_eq!(
            read("HTTP/1.1 429 No\r\ncontent-length: 0\r\nConnection: close\r\n\r\n"),
            Ok(Some(answer(429, "", false)))
        );
        assert_eq!(
            read("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"),
            Ok(Some(answer(200, "x", false))),
            "HTTP/1.0 closes unless told otherwise"
        );
    }

    #[test]
    fn chunked_answers_with_extensions_and_trailers() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(read(text), Ok(Some(answer(200, "hello!", true))));
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(read(text), Ok(Some(answer(204, "", true))));
    }

    #[test]
    fn an_answer_without_length_ends_with_the_connection() {
        let mut reader = AnswerReader::new();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel"), Ok(None));
        assert_eq!(reader.feed(b"lo"), Ok(None));
        assert_eq!(
            reader.end().map(Some),
            Ok(Some(answer(200, "hello", false)))
        );
    }

    #[test]
    fn a_head_answer_has_no_body_whatever_its_length_says() {
        let mut reader = AnswerReader::of_head();
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(reader.feed(text), Ok(Some(answer(200, "", true))));
        let mut reader = AnswerReader::of_head();
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(
            reader.feed(text),
            Ok(Some(answer(200, "", false))),
            "sent all the same"
        );
    }

    #[test]
    fn malformed_answers() {
        assert_eq!(read("SMTP hello\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
            Err(Malformed::Length)
        );
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy"),
            Err(Malformed::Trailing)
        );
        let mut reader = AnswerReader::new();
        assert_eq!(
            reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nxy"),
            Ok(None)
        );
        assert_eq!(reader.end(), Err(Malformed::Truncated));
    }

    #[test]
    fn requests_with_their_query() {
        let text = b"GET /a?nonce=12&cost=3 HTTP/1.1\r\nHost: x\r\n\r\nGET";
        let (request, used) = Request::read(text).unwrap().unwrap();
        assert_eq!(used, text.len() - 3);
        assert_eq!(request.path(), "/a");
        assert_eq!(request.parameter("nonce"), Some("12"));
        assert_eq!(request.parameter("cost"), Some("3"));
        assert_eq!(request.parameter("non"), None);
        assert!(request.keep_alive);
        assert_eq!(Request::read(&text[..20]), Ok(None));
    }

    #[test]
    fn a_request_takes_its_body_along() {
        let text = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(Request::read(&text[..text.len() - 1]), Ok(None));
        assert_eq!(Request::read(text).unwrap().unwrap().1, text.len());
    }
}

//! One answer, read from the bytes of a connection in pieces of any size.

use super::{
    MAX_HEAD, MAX_HEADERS, Malformed,
    fields::{Encoding, Fields},
};

/// Most bytes of an answer's body, unless a reader is told less. The largest honest one (every line
/// of a big tree) is far below.
const MAX_BODY: usize = 1 << 30;

/// Most interim answers (1xx) before the answer itself.
const MAX_INTERIM: usize = 16;

/// Most bytes of the line with a chunk's size; extensions stand there too.
const MAX_CHUNK_LINE: usize = 1024;

/// A complete answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// Whether bytes came along that are behind the answer's end: the answer is whole, but its
    /// length was wrong, or somebody else's answer follows.
    pub surplus: bool,
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

/// Reads one answer; for the next one a new reader is needed.
#[derive(Debug)]
pub struct AnswerReader {
    /// Whether the request was HEAD: then no body follows, whatever the head says.
    bodiless: bool,
    max_body: usize,
    framing: Framing,
    /// Bytes that came; those before `used` are understood.
    pending: Vec<u8>,
    used: usize,
    interim: usize,
    trailer_bytes: usize,
    answer: Answer,
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self::new()
    }
}

impl AnswerReader {
    /// A reader of the answer to a request with a body in its answer (GET and the like).
    pub fn new() -> Self {
        Self {
            bodiless: false,
            max_body: MAX_BODY,
            framing: Framing::Head,
            pending: Vec::new(),
            used: 0,
            interim: 0,
            trailer_bytes: 0,
            answer: Answer {
                keep_alive: true,
                ..Answer::default()
            },
        }
    }

    /// A reader of the answer to a HEAD request.
    pub fn of_head() -> Self {
        Self {
            bodiless: true,
            ..Self::new()
        }
    }

    /// A reader that refuses a body of more bytes than that.
    pub fn with_limit(max_body: usize) -> Self {
        Self {
            max_body,
            ..Self::new()
        }
    }

    /// The status, as soon as the head of the answer has come.
    pub fn status(&self) -> Option<u16> {
        (self.answer.status != 0).then_some(self.answer.status)
    }

    /// Takes bytes as they came; gives the answer when it is complete.
    ///
    /// # Errors
    /// What came is no answer, or one beyond the bounds; the connection is of no further use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        let mut bytes = bytes;
        if self.pending.is_empty() && matches!(self.framing, Framing::Sized(_)) {
            // The common large case: no second copy of a sized body.
            let taken = self.take_body(bytes);
            bytes = &bytes[taken..];
        }
        self.pending.extend_from_slice(bytes);
        while !matches!(self.framing, Framing::Done) && self.step()? {}
        self.pending.drain(..self.used);
        self.used = 0;
        if !matches!(self.framing, Framing::Done) {
            return Ok(None);
        }
        let mut answer = std::mem::take(&mut self.answer);
        answer.surplus = !self.pending.is_empty();
        answer.keep_alive &= !answer.surplus;
        Ok(Some(answer))
    }

    /// The connection has ended: an answer that is delimited by that is complete now.
    ///
    /// # Errors
    /// The answer is not complete, or nothing of it has come.
    pub fn end(mut self) -> Result<Answer, Malformed> {
        match self.framing {
            Framing::UntilClose => {
                self.answer.keep_alive = false;
                Ok(self.answer)
            }
            Framing::Head if self.pending.is_empty() && self.interim == 0 => {
                Err(Malformed::Nothing)
            }
            _ => Err(Malformed::Truncated),
        }
    }

    /// What came and is not understood yet.
    fn rest(&self) -> &[u8] {
        &self.pending[self.used..]
    }

    /// Advances by one part; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, Malformed> {
        match self.framing {
            Framing::Head => self.read_head(),
            Framing::Sized(_) => {
                let pending = std::mem::take(&mut self.pending);
                self.used += self.take_body(&pending[self.used..]);
                self.pending = pending;
                Ok(matches!(self.framing, Framing::Done))
            }
            Framing::UntilClose => {
                self.check_growth(self.rest().len())?;
                self.answer
                    .body
                    .extend_from_slice(&self.pending[self.used..]);
                self.used = self.pending.len();
                Ok(false)
            }
            Framing::ChunkSize => self.read_chunk_size(),
            Framing::Chunk(left) => {
                let taken = left.min(self.rest().len());
                let piece = self.used..self.used + taken;
                self.answer.body.extend_from_slice(&self.pending[piece]);
                self.used += taken;
                self.framing = if taken == left {
                    Framing::ChunkEnd
                } else {
                    Framing::Chunk(left - taken)
                };
                Ok(taken == left)
            }
            Framing::ChunkEnd => {
                if self.rest().len() < 2 {
                    return Ok(false);
                }
                if !self.rest().starts_with(b"\r\n") {
                    return Err(Malformed::Length);
                }
                self.used += 2;
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
        let length = match head.parse(&self.pending[self.used..])? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if self.rest().len() <= MAX_HEAD => return Ok(false),
            httparse::Status::Partial => return Err(Malformed::TooLarge),
        };
        let status = head
            .code
            .filter(|&code| code >= 100)
            .ok_or(Malformed::Head)?;
        let version = head.version;
        let fields = Fields::read(head.headers)?;
        if length > MAX_HEAD {
            return Err(Malformed::TooLarge);
        }
        self.used += length;
        if (100..200).contains(&status) && status != 101 {
            self.interim += 1;
            return if self.interim > MAX_INTERIM {
                Err(Malformed::TooLarge)
            } else {
                Ok(true)
            };
        }
        self.answer.status = status;
        self.answer.keep_alive = fields.keep_alive(version);
        self.framing = if self.bodiless || status == 204 || status == 304 {
            Framing::Done
        } else {
            match (fields.encoding, fields.length) {
                (Some(Encoding::Chunked), _) => Framing::ChunkSize,
                (Some(Encoding::Other), _) | (None, None) => Framing::UntilClose,
                (None, Some(0)) => Framing::Done,
                (None, Some(length)) => {
                    self.check_growth(length)?;
                    Framing::Sized(length)
                }
            }
        };
        Ok(true)
    }

    fn read_chunk_size(&mut self) -> Result<bool, Malformed> {
        match httparse::parse_chunk_size(self.rest()) {
            Ok(httparse::Status::Complete((length, _))) if length > MAX_CHUNK_LINE => {
                Err(Malformed::Length)
            }
            Ok(httparse::Status::Complete((length, size))) => {
                self.used += length;
                let size = usize::try_from(size).map_err(|_| Malformed::TooLarge)?;
                self.check_growth(size)?;
                self.framing = if size == 0 {
                    Framing::Trailers
                } else {
                    Framing::Chunk(size)
                };
                Ok(true)
            }
            Ok(httparse::Status::Partial) if self.rest().len() <= MAX_CHUNK_LINE => Ok(false),
            _ => Err(Malformed::Length),
        }
    }

    /// Moves bytes of a sized body to the answer; gives how many were the body's.
    fn take_body(&mut self, bytes: &[u8]) -> usize {
        let Framing::Sized(left) = self.framing else {
            return 0;
        };
        let taken = left.min(bytes.len());
        self.answer.body.extend_from_slice(&bytes[..taken]);
        self.framing = if taken == left {
            Framing::Done
        } else {
            Framing::Sized(left - taken)
        };
        taken
    }

    /// Passes over one line of trailers; an empty one ends the answer.
    fn skip_trailer(&mut self) -> Result<bool, Malformed> {
        let end = self.rest().windows(2).position(|pair| pair == b"\r\n");
        let length = end.map_or(self.rest().len(), |end| end + 2);
        if self.trailer_bytes + length > MAX_HEAD {
            return Err(Malformed::TooLarge);
        }
        let Some(end) = end else {
            return Ok(false);
        };
        self.trailer_bytes += length;
        self.used += length;
        if end == 0 {
            self.framing = Framing::Done;
        }
        Ok(true)
    }

    fn check_growth(&self, more: usize) -> Result<(), Malformed> {
        if self.answer.body.len().saturating_add(more) > self.max_body {
            return Err(Malformed::TooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::fuzz;

    /// Feeds an answer in pieces of every size; all must agree.
    fn read(text: &str) -> Result<Option<Answer>, Malformed> {
        for size in 1..text.len() {
            let _ = fuzz::answer_in_pieces(text.as_bytes(), size);
        }
        AnswerReader::new().feed(text.as_bytes())
    }

    fn answer(status: u16, body: &str, keep_alive: bool) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec(),
            keep_alive,
            surplus: false,
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
        let both = text.replace("Transfer", "Content-Length: 3\r\nTransfer");
        assert_eq!(read(&both), Ok(Some(answer(200, "hello!", true))));
    }

    #[test]
    fn interim_answers_are_passed_over_up_to_a_number() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(read(text), Ok(Some(answer(204, "", true))));
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_INTERIM + 1);
        let fed = AnswerReader::new().feed(endless.as_bytes());
        assert_eq!(fed, Err(Malformed::TooLarge));
    }

    #[test]
    fn an_answer_without_length_ends_with_the_connection() {
        let mut reader = AnswerReader::new();
        assert_eq!(reader.status(), None);
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel"), Ok(None));
        assert_eq!(reader.status(), Some(200));
        assert_eq!(reader.feed(b"lo"), Ok(None));
        assert_eq!(reader.end(), Ok(answer(200, "hello", false)));
        assert_eq!(AnswerReader::new().end(), Err(Malformed::Nothing));
    }

    #[test]
    fn a_head_answer_has_no_body_whatever_its_length_says() {
        let mut reader = AnswerReader::of_head();
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(reader.feed(text), Ok(Some(answer(200, "", true))));
        let mut reader = AnswerReader::of_head();
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        let sent_all_the_same = reader.feed(text).unwrap().unwrap();
        assert!(sent_all_the_same.surplus && !sent_all_the_same.keep_alive);
    }

    #[test]
    fn malformed_answers() {
        assert_eq!(read("SMTP hello\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
            Err(Malformed::Length)
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for bad in ["x\r\n", "2\r\nabc\r\n", "fffffffffffffffff\r\n"] {
            assert_eq!(
                read(&format!("{chunked}{bad}")),
                Err(Malformed::Length),
                "{bad}"
            );
        }
        let mut reader = AnswerReader::new();
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nxy";
        assert_eq!(reader.feed(cut), Ok(None));
        assert_eq!(reader.end(), Err(Malformed::Truncated));
    }

    #[test]
    fn bytes_behind_the_end_are_told() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy";
        let answer = AnswerReader::new().feed(text).unwrap().unwrap();
        assert_eq!(answer.body, b"x");
        assert!(answer.surplus && !answer.keep_alive);
    }

    #[test]
    fn everything_has_a_bound() {
        let too_large = |text: String| {
            let fed = AnswerReader::with_limit(10).feed(text.as_bytes());
            assert_eq!(
                fed,
                Err(Malformed::TooLarge),
                "{}",
                &text[..text.len().min(80)]
            );
        };
        let ok = "HTTP/1.1 200 OK\r\n";
        too_large(format!("{ok}Content-Length: 11\r\n\r\n"));
        too_large(format!("{ok}\r\n{}", "x".repeat(11)));
        too_large(format!(
            "{ok}Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n5\r\n"
        ));
        too_large(format!("{ok}X: {}", "x".repeat(MAX_HEAD)));
        too_large(format!("{ok}{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1)));
        let trailers = "X: y\r\n".repeat(MAX_HEAD / 6 + 1);
        too_large(format!(
            "{ok}Transfer-Encoding: chunked\r\n\r\n0\r\n{trailers}"
        ));
    }

    /// An answer as a server may write it, the bytes before its end, and what it means.
    fn written() -> impl Strategy<Value = (Vec<u8>, Answer)> {
        let body = prop::collection::vec(any::<u8>(), 0..300);
        let cuts = prop::collection::vec(1_usize..40, 1..20);
        let framing = 0_usize..3;
        (200_u16..600, body, cuts, framing, any::<bool>(), 0_usize..3).prop_map(
            |(status, body, cuts, framing, close, interim)| {
                let has_body = status != 204 && status != 304;
                let body = if has_body { body } else { Vec::new() };
                let mut text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(interim);
                text.extend([
                    "HTTP/1.1 ",
                    &status.to_string(),
                    " Some Reason\r\nX-A: b\r\n",
                ]);
                if close {
                    text.push_str("connection: Close\r\n");
                }
                let mut bytes = text.into_bytes();
                match framing {
                    0 => {
                        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                        bytes.extend(&body);
                    }
                    1 if has_body => {
                        bytes.extend(b"Transfer-Encoding: gzip, chunked\r\n\r\n");
                        let mut rest = body.as_slice();
                        for cut in cuts.iter().cycle() {
                            let (chunk, after) = rest.split_at(rest.len().min(*cut));
                            bytes.extend(format!("{:X};q=\"1\"\r\n", chunk.len()).bytes());
                            bytes.extend(chunk);
                            if chunk.is_empty() {
                                break;
                            }
                            bytes.extend(b"\r\n");
                            rest = after;
                        }
                        bytes.extend(b"Expires: never\r\n\r\n");
                    }
                    _ => {
                        bytes.extend(b"\r\n");
                        bytes.extend(&body);
                    }
                }
                let until_close = has_body && framing == 2;
                let answer = Answer {
                    status,
                    body,
                    keep_alive: !close && !until_close,
                    surplus: false,
                };
                (bytes, answer)
            },
        )
    }

    proptest! {
        #[test]
        fn what_a_server_writes_is_what_is_read((bytes, expected) in written(), size in 1_usize..50) {
            let read = fuzz::answer_in_pieces(&bytes, size);
            prop_assert_eq!(read, Ok(expected));
        }

        #[test]
        fn a_cut_answer_is_never_whole(
            (bytes, expected) in written(),
            at in any::<prop::sample::Index>(),
        ) {
            let at = at.index(bytes.len());
            // Without a length nobody can tell; that is what this framing means.
            prop_assume!(expected.keep_alive);
            let read = fuzz::answer_in_pieces(&bytes[..at], 7);
            prop_assert!(matches!(read, Err(Malformed::Truncated | Malformed::Nothing)), "{read:?}");
        }

        #[test]
        fn a_damaged_answer_means_the_same_in_any_pieces(
            (mut bytes, _) in written(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            size in 1_usize..50,
        ) {
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = fuzz::answer_in_pieces(&bytes, size);
        }

        #[test]
        fn any_bytes_mean_the_same_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            size in 1_usize..20,
        ) {
            let _ = fuzz::answer_in_pieces(&bytes, size);
        }
    }
}

//! A body in text of HTTP/1.1 as what a stream takes.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::broken;
use super::message::parse_trailers;
use crate::http::body::{Decoder, Framing};

/// A body on its way out. It takes as much as the other side's window allows: that is how its speed is passed on.
#[derive(Debug)]
pub struct Outgoing {
    stream: SendStream<Bytes>,
    decoder: Decoder,
    trailers: Vec<u8>,
    done: bool,
}

impl Outgoing {
    /// The body that is delimited like this in the text.
    pub fn new(stream: SendStream<Bytes>, framing: Framing) -> Self {
        Self {
            stream,
            decoder: Decoder::new(framing),
            trailers: Vec::new(),
            // The head has said so.
            done: framing == Framing::Empty,
        }
    }

    /// Whether all of it was sent.
    pub fn done(&self) -> bool {
        self.done
    }

    /// Sends of the text what can be sent. Returns how much was used.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        let mut used = 0;
        while used < text.len() && !self.done {
            let rest = &text[used..];
            if self.stream.capacity() < rest.len() {
                // What is left of an earlier wish would make a frame of its own.
                self.stream.reserve_capacity(rest.len());
            }
            let room = self.stream.capacity();
            let mut trial = self.decoder;
            let piece = trial
                .next(&rest[..rest.len().min(room.max(1))])
                .map_err(|_| broken("no such body"))?;
            if piece.data > room {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                    Poll::Ready(None) => return Poll::Ready(Err(broken("the stream is closed"))),
                    Poll::Pending if used > 0 => return Poll::Ready(Ok(used)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.decoder = trial;
            let end = piece.skip + piece.data;
            self.trailers
                .extend_from_slice(&rest[piece.skip - piece.trailers..piece.skip]);
            used += end;
            if piece.data > 0 {
                let data = Bytes::copy_from_slice(&rest[piece.skip..end]);
                self.done = self.decoder.done();
                self.stream.send_data(data, self.done).map_err(broken)?;
            } else if self.decoder.done() {
                self.end()?;
            }
        }
        Poll::Ready(Ok(used))
    }

    /// The text is at its end.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.done {
            return Ok(());
        }
        self.decoder
            .end_of_input()
            .map_err(|_| broken("the body is cut short"))?;
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.done = true;
        let trailers = parse_trailers(&self.trailers);
        if trailers.is_empty() {
            self.stream.send_data(Bytes::new(), true).map_err(broken)
        } else {
            self.stream.send_trailers(trailers).map_err(broken)
        }
    }

    /// Whether the other side has given up.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(|_| ())
    }

    /// Gives up.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

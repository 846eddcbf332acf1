//! Carries one body from one connection to another, taking it apart and framing it afresh.

use std::task::{Context, Poll, ready};

use super::budget::Share;
use super::conn::Conn;
use crate::http::body::{Decoder, Encoder, Framing};
use crate::http::buffer::Buffer;
use crate::http::trailers::Passing;

/// Bytes that may wait to be written on any connection, without asking for more.
const BASE: usize = 64 * 1024;

/// Why a body could not be carried over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The sender closed or failed before the body was complete.
    Source,
    /// What the sender sent is no such body.
    Malformed,
    /// The body is larger than allowed.
    TooLarge,
    /// The receiver closed or failed.
    Sink,
}

/// How much may wait to be written before reading stops: a slow receiver slows its sender down only
/// when this is full.
#[derive(Debug)]
pub struct Window {
    share: Option<Share>,
    most: usize,
}

impl Window {
    /// What every connection may have.
    pub const fn fixed() -> Self {
        Self {
            share: None,
            most: BASE,
        }
    }

    /// One that grows up to `most` as it is needed, while the share's budget lasts.
    pub fn growing(share: Share, most: usize) -> Self {
        Self {
            share: Some(share),
            most,
        }
    }

    /// Whether more may be added to so many unsent bytes.
    fn has_room(&mut self, unsent: usize) -> bool {
        loop {
            let size = BASE + self.share.as_ref().map_or(0, Share::bytes);
            if unsent < size {
                return true;
            }
            let more = size.min(self.most.saturating_sub(size));
            if more == 0 || !self.share.as_mut().is_some_and(|share| share.grow(more)) {
                return false;
            }
        }
    }
}

/// A body on its way.
#[derive(Debug)]
pub struct Pump {
    decoder: Decoder,
    encoder: Encoder,
    most: u64,
    finished: bool,
    full: bool,
    /// The section of fields after the body.
    trailers: Vec<u8>,
}

impl Pump {
    /// A request's body, of at most so many bytes.
    pub fn request(framing: Framing, most: u64) -> Self {
        let encoder = match framing {
            Framing::Chunked => Encoder::Chunked,
            _ => Encoder::Plain,
        };
        Self::new(Decoder::new(framing), encoder, most)
    }

    /// An answer's body, of any size.
    pub fn answer(framing: Framing, encoder: Encoder) -> Self {
        Self::new(Decoder::lenient(framing), encoder, u64::MAX)
    }

    fn new(decoder: Decoder, encoder: Encoder, most: u64) -> Self {
        Self {
            decoder,
            encoder,
            most,
            finished: false,
            full: false,
            trailers: Vec::new(),
        }
    }

    /// Has the end written once more, after what was gathered of the body.
    pub fn again(&mut self) {
        self.finished = false;
    }

    /// Whether all of the body has been received.
    pub fn received(&self) -> bool {
        self.decoder.done()
    }

    /// Whether the receiver, and not the sender, was what the last poll waited for.
    pub fn waits_for_sink(&self) -> bool {
        self.full || self.finished
    }

    /// Bytes of content so far.
    pub fn content(&self) -> u64 {
        self.decoder.content()
    }

    /// Moves what can be moved; ready when everything was written, with what was before it.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn,
        to: &mut Conn,
        window: &mut Window,
        passing: Passing<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.full = !window.has_room(to.unsent());
            if !self.full {
                self.take(&mut from.input, &mut to.output)?;
                self.finish(passing, &mut to.output);
            }
            let flushed = to.poll_flush(cx).map_err(|_| Broken::Sink)?;
            if self.finished {
                return flushed.map(Ok);
            }
            if self.full {
                // Room comes with what is written; what was not written wakes this task.
                ready!(flushed);
                continue;
            }
            if !from.input.is_empty() {
                continue;
            }
            ready!(self.poll_source(cx, from))?;
        }
    }

    /// Turns all input there is into output, for a body that is gathered in memory. Ready when it is
    /// complete but for what marks its end, or when there are `most` bytes.
    pub fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.take(&mut from.input, out)?;
            if self.decoder.done() || out.len() >= most {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_source(cx, from))?;
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>, from: &mut Conn) -> Poll<Result<(), Broken>> {
        match ready!(from.poll_fill(cx, 0)) {
            Ok(0) => self.decoder.end_of_input().map_err(|_| Broken::Source)?,
            Ok(_) => {}
            Err(_) => return Poll::Ready(Err(Broken::Source)),
        }
        Poll::Ready(Ok(()))
    }

    /// Turns input into output, as far as there is any.
    fn take(&mut self, input: &mut Buffer, out: &mut Vec<u8>) -> Result<(), Broken> {
        while !self.decoder.done() {
            let unread = input.unread();
            let piece = self.decoder.next(unread).map_err(|_| Broken::Malformed)?;
            if self.decoder.content() > self.most {
                return Err(Broken::TooLarge);
            }
            let used = piece.skip + piece.data;
            self.trailers
                .extend_from_slice(&unread[piece.skip - piece.trailers..piece.skip]);
            self.encoder.push(out, &unread[piece.skip..used]);
            input.consume(used);
            if used == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes what marks the end, once all of the body was taken.
    fn finish(&mut self, passing: Passing<'_>, out: &mut Vec<u8>) {
        if self.decoder.done() && !self.finished {
            self.encoder.finish(&self.trailers, passing, out);
            self.finished = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    #[test]
    fn a_window_grows_as_far_as_it_may_and_there_is_memory() {
        assert!(Window::fixed().has_room(BASE - 1) && !Window::fixed().has_room(BASE));
        let budget = Budget::new(3 * BASE);
        let mut window = Window::growing(budget.share(), 3 * BASE);
        assert!(window.has_room(2 * BASE));
        assert!(!window.has_room(3 * BASE));
        let mut poor = Window::growing(budget.share(), 8 * BASE);
        assert!(poor.has_room(BASE) && !poor.has_room(2 * BASE));
        drop(window);
        assert!(poor.has_room(2 * BASE));
    }
}

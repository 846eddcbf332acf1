//! Carries one body from one connection to another, taking it apart and framing it afresh.

use std::task::{Context, Poll, ready};

use super::conn::Conn;
use crate::http::body::{Decoder, Encoder, Framing};

/// Most bytes that wait to be written before reading stops: a slow reader slows its sender down.
const MOST_UNSENT: usize = 256 * 1024;

/// Why a body could not be carried over.
#[derive(Debug)]
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

/// A body on its way.
#[derive(Debug)]
pub struct Pump {
    decoder: Decoder,
    encoder: Encoder,
    most: u64,
    finished: bool,
}

impl Pump {
    /// A body delimited like this, to be passed on like that, of at most so many bytes.
    pub fn new(framing: Framing, encoder: Encoder, most: u64) -> Self {
        Self {
            decoder: Decoder::new(framing),
            encoder,
            most,
            finished: false,
        }
    }

    /// Whether all of the body has been received.
    pub fn received(&self) -> bool {
        self.decoder.done()
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
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.take(from, to)?;
            ready!(to.poll_flush(cx)).map_err(|_| Broken::Sink)?;
            if self.finished {
                return Poll::Ready(Ok(()));
            }
            if !from.input.is_empty() {
                continue;
            }
            match ready!(from.poll_fill(cx, 0)) {
                Ok(0) => self.decoder.end_of_input().map_err(|_| Broken::Source)?,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(Broken::Source)),
            }
        }
    }

    /// Turns input into output, as far as both allow.
    fn take(&mut self, from: &mut Conn, to: &mut Conn) -> Result<(), Broken> {
        while !self.finished && to.unsent() < MOST_UNSENT {
            if self.decoder.done() {
                self.encoder.finish(&mut to.output);
                self.finished = true;
                return Ok(());
            }
            let input = from.input.unread();
            let piece = self.decoder.next(input).map_err(|_| Broken::Malformed)?;
            if self.decoder.content() > self.most {
                return Err(Broken::TooLarge);
            }
            let used = piece.skip + piece.data;
            self.encoder.push(&mut to.output, &input[piece.skip..used]);
            from.input.consume(used);
            if used == 0 && !self.decoder.done() {
                return Ok(());
            }
        }
        Ok(())
    }
}

//! A connection with its buffers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::buffer::Buffer;
use crate::net::Stream;

/// A connection with its buffers. See [`Conn::moved`] for how progress shows.
#[derive(Debug)]
pub struct Conn {
    /// The connection itself.
    pub stream: Stream,
    /// Read, not yet used.
    pub input: Buffer,
    /// To be written.
    pub output: Vec<u8>,
    written: usize,
    /// Bytes read so far.
    received: u64,
    /// Bytes written so far.
    sent: u64,
}

impl Conn {
    /// Wraps a fresh connection.
    pub fn new(stream: Stream) -> Self {
        Self::with(stream, Buffer::new())
    }

    /// Wraps one on which there will be one message each way.
    pub fn for_one(stream: Stream) -> Self {
        Self::with(stream, Buffer::for_one())
    }

    fn with(stream: Stream, input: Buffer) -> Self {
        Self {
            stream,
            input,
            output: Vec::new(),
            written: 0,
            received: 0,
            sent: 0,
        }
    }

    /// Wraps a connection of which something was read already.
    pub fn begun(stream: Stream, read: &[u8]) -> Self {
        let mut conn = Self::new(stream);
        conn.input.push(read);
        conn
    }

    /// Bytes read and written so far: as long as this grows, the connection is not stalled.
    pub fn moved(&self) -> u64 {
        self.received + self.sent
    }

    /// Reads into the input; 0 is the end. The input must not be full (see [`Buffer::room`]).
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let room = self.input.room(most);
        let size = room.len();
        let mut buf = ReadBuf::new(room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let count = buf.filled().len();
        self.input.filled(count);
        self.received += count as u64;
        if count == size {
            // It did not fit: more is on its way, and larger reads cost less.
            self.input.grow();
        }
        Poll::Ready(Ok(count))
    }

    /// Writes all of the output.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            let written = Pin::new(&mut self.stream).poll_write(cx, rest);
            if written.is_pending() && self.written > self.output.len() / 2 {
                // What was written is moved out of the way, at most once per byte.
                self.output.drain(..self.written);
                self.written = 0;
            }
            let count = ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.sent += count as u64;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Bytes read so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes written so far that have reached the other side. While it reads slowly, the kernel holds
    /// some hundred kilobytes and asks for no more for a long time: only this shows that it reads.
    pub fn delivered(&self) -> u64 {
        // Without an answer from the kernel, what was written counts.
        let queued = self.stream.undelivered().unwrap_or(0);
        self.sent.saturating_sub(queued as u64)
    }

    /// Bytes of output that are still to be written.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.written
    }

    /// Where the next byte of output goes, counted from the connection's first.
    pub fn end_of_output(&self) -> u64 {
        self.sent + self.unsent() as u64
    }

    /// Takes back all output from such a place on. False: some of it has been written.
    pub fn take_back(&mut self, from: u64) -> bool {
        let Some(kept) = from.checked_sub(self.sent) else {
            return false;
        };
        self.output.truncate(self.written + kept as usize);
        true
    }

    /// Gives back memory that only a large body needed.
    pub fn shrink(&mut self) {
        self.input.shrink();
        if self.output.is_empty() && self.output.capacity() > 64 * 1024 {
            self.output = Vec::new();
        }
    }

    /// Tells the other side that nothing more will come.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! A connection's first bytes, where something is to be known of them before it is served.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::conn::Conn;
use super::timer::{Stage, Timer};
use super::worker::Worker;
use crate::http2::PREFACE;
use crate::net::{Prefixed, Stream, proxy_protocol};

/// Bytes read at a time.
const PART: usize = 1024;

/// A connection, and what was read of it.
#[derive(Debug)]
pub struct Beginning {
    stream: Stream,
    read: Vec<u8>,
}

impl Beginning {
    /// A connection of which nothing was read.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Whether HTTP/2 is spoken on it; `None` if it ends before that is known.
    pub async fn is_http2(&mut self, worker: &Rc<Worker>, timer: &Timer) -> Option<bool> {
        loop {
            let length = self.read.len().min(PREFACE.len());
            if self.read[..length] != PREFACE[..length] {
                return Some(false);
            }
            if length == PREFACE.len() {
                return Some(true);
            }
            self.more(worker, timer).await?;
        }
    }

    /// Whom the connection comes from by the PROXY protocol, if that is not the peer itself; `None` if there is
    /// no header.
    pub async fn source(&mut self, worker: &Rc<Worker>, timer: &Timer) -> Option<Option<IpAddr>> {
        loop {
            if !self.read.is_empty()
                && let Some(header) = proxy_protocol::parse(&self.read).ok()?
            {
                self.read.drain(..header.length);
                return Some(header.source);
            }
            self.more(worker, timer).await?;
        }
    }

    /// Reads more, for as long as a head may take; before the first byte, for as long as one may be idle.
    async fn more(&mut self, worker: &Rc<Worker>, timer: &Timer) -> Option<()> {
        let config = worker.config();
        if self.read.is_empty() {
            timer.set(worker.clock(), Stage::Idle, config.idle_timeout);
        }
        let begun = !self.read.is_empty();
        let mut part = [0; PART];
        let count = poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut part);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
            if polled.is_pending() && timer.check(cx).is_err() {
                return Poll::Ready(None);
            }
            Poll::Ready(ready!(polled).ok().map(|()| buf.filled().len()))
        })
        .await
        .filter(|count| *count > 0)?;
        if !begun {
            timer.set(worker.clock(), Stage::Busy, config.header_timeout);
        }
        self.read.extend_from_slice(&part[..count]);
        Some(())
    }

    /// The connection as if nothing had been read.
    pub fn into_io(self) -> Prefixed {
        Prefixed::new(self.read, self.stream)
    }

    /// The connection with what was read in its input.
    pub fn into_conn(self) -> Conn {
        Conn::begun(self.stream, &self.read)
    }
}

//! What a stream brings, as text of HTTP/1.1.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::broken;
use super::message::push_fields;

/// One direction of a stream. The other side may send as much as was read here: its speed is passed on.
#[derive(Debug)]
pub struct Incoming {
    /// Heads, and what frames chunks.
    text: Vec<u8>,
    used: usize,
    data: Bytes,
    /// `None`: all of it was read.
    body: Option<RecvStream>,
    chunked: bool,
}

impl Incoming {
    /// A message with this head, and the body that follows.
    pub fn new(head: Vec<u8>, chunked: bool, body: Option<RecvStream>) -> Self {
        Self {
            text: head,
            used: 0,
            data: Bytes::new(),
            body,
            chunked,
        }
    }

    /// Reads as much as there is and fits. Nothing: the message is at its end.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            self.copy(buf)?;
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let polled = self.poll_more(cx);
            if buf.filled().len() > before && !matches!(polled, Poll::Ready(Ok(true))) {
                // What went wrong will show at the next read.
                return Poll::Ready(Ok(()));
            }
            if !ready!(polled)? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Whether all of the message was read.
    pub fn ended(&self) -> bool {
        self.body.is_none() && self.used == self.text.len() && self.data.is_empty()
    }

    fn copy(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let count = (self.text.len() - self.used).min(buf.remaining());
        buf.put_slice(&self.text[self.used..self.used + count]);
        self.used += count;
        if self.used < self.text.len() {
            return Ok(());
        }
        let count = self.data.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.data[..count]);
            self.data.advance(count);
            if let Some(body) = &mut self.body {
                body.flow_control()
                    .release_capacity(count)
                    .map_err(broken)?;
            }
            if self.data.is_empty() && self.chunked {
                self.put(|text| text.extend_from_slice(b"\r\n"));
                return self.copy(buf);
            }
        }
        Ok(())
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        self.used = 0;
        write(&mut self.text);
    }

    /// Gets more to copy. False: there is no more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(false));
        };
        if let Some(data) = ready!(body.poll_data(cx)) {
            let data = data.map_err(broken)?;
            if self.chunked && !data.is_empty() {
                let size = format!("{:x}\r\n", data.len());
                self.put(|text| text.extend_from_slice(size.as_bytes()));
            }
            self.data = data;
            return Poll::Ready(Ok(true));
        }
        let trailers = ready!(body.poll_trailers(cx)).map_err(broken)?;
        self.body = None;
        if self.chunked {
            self.put(|text| {
                text.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    push_fields(&trailers, text);
                }
                text.extend_from_slice(b"\r\n");
            });
        }
        Poll::Ready(Ok(true))
    }
}

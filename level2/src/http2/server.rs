//! A client's stream, made to look like its connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::broken;
use super::incoming::Incoming;
use super::message::{Parsed, parse_response, push_request};
use super::outgoing::Outgoing;
use crate::http::body::Framing;
use crate::net::Layer;

/// A stream that a client has opened: its request is read from it, and the answer written to it. Dropped
/// before the answer's end, it tells the client that something is missing.
#[derive(Debug)]
pub struct ServedStream {
    incoming: Incoming,
    answering: Answering,
    /// Whether the answer has no body whatever its head says.
    is_head: bool,
    failed: bool,
}

#[derive(Debug)]
enum Answering {
    /// The beginning of a head that was not written whole.
    Head(SendResponse<Bytes>, Vec<u8>),
    Body(Outgoing),
    Done,
}

impl ServedStream {
    /// The stream of a request.
    pub fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let ends = body.is_end_stream();
        let mut head = Vec::with_capacity(512);
        let chunked = push_request(&parts, ends, &mut head);
        Self {
            incoming: Incoming::new(head, chunked, (!ends).then_some(body)),
            answering: Answering::Head(respond, Vec::new()),
            is_head: parts.method == http::Method::HEAD,
            failed: false,
        }
    }

    /// Sends the head at the start of the text, if it is whole. Returns how much of the text was used.
    fn send_head(&mut self, text: &[u8]) -> io::Result<usize> {
        let Answering::Head(respond, begun) = &mut self.answering else {
            return Ok(0);
        };
        let before = begun.len();
        if before > 0 {
            begun.extend_from_slice(text);
        }
        let head = if before > 0 { &begun[..] } else { text };
        let Some(end) = memmem::find(head, b"\r\n\r\n").map(|at| at + 4) else {
            if before == 0 {
                begun.extend_from_slice(text);
            }
            return Ok(text.len());
        };
        let Parsed { head, framing } = parse_response(&head[..end], self.is_head)
            .ok_or_else(|| broken("an answer that HTTP/2 has no words for"))?;
        begun.clear();
        if head.status().is_informational() {
            respond.send_informational(head).map_err(broken)?;
        } else {
            let ends = matches!(framing, Framing::Empty | Framing::Sized(0));
            let stream = respond.send_response(head, ends).map_err(broken)?;
            self.answering = if ends {
                Answering::Done
            } else {
                Answering::Body(Outgoing::new(stream, framing))
            };
        }
        Ok(end - before)
    }
}

impl AsyncRead for ServedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.incoming.ended() {
            let before = buf.filled().len();
            ready!(this.incoming.poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        // The request is at its end, which is not the client's: that is when it gives up.
        match &mut this.answering {
            Answering::Head(respond, _) => ready!(respond.poll_reset(cx)).map_or((), |_| ()),
            Answering::Body(body) => ready!(body.poll_reset(cx)),
            Answering::Done => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        text: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut used = 0;
        while used < text.len() {
            match &mut this.answering {
                Answering::Head(..) => used += this.send_head(&text[used..])?,
                Answering::Body(body) if !body.done() => match body.poll_write(cx, &text[used..]) {
                    Poll::Ready(written) => used += written?,
                    Poll::Pending if used > 0 => break,
                    Poll::Pending => return Poll::Pending,
                },
                _ => return Poll::Ready(Err(broken("more than one answer"))),
            }
        }
        Poll::Ready(Ok(used))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection sends what its streams have.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Poll::Ready(match &mut this.answering {
            Answering::Head(..) => Err(broken("there is no answer")),
            Answering::Body(body) => body.finish(),
            Answering::Done => Ok(()),
        })
    }
}

impl Layer for ServedStream {
    fn undelivered(&self) -> io::Result<usize> {
        // Nothing is taken but what the client has room for.
        Ok(0)
    }

    fn reset_on_close(&mut self) {
        self.failed = true;
    }
}

impl Drop for ServedStream {
    fn drop(&mut self) {
        let reason = if self.failed {
            Reason::INTERNAL_ERROR
        } else {
            Reason::CANCEL
        };
        match &mut self.answering {
            Answering::Head(respond, _) => respond.send_reset(reason),
            Answering::Body(body) if !body.done() => body.reset(reason),
            _ => {}
        }
    }
}

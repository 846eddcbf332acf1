//! A client's stream, made to look like its connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::broken;
use super::incoming::Incoming;
use super::message::{Parsed, parse_response, push_request};
use super::outgoing::Outgoing;
use super::writing::Writing;
use crate::http::body::Framing;
use crate::net::Layer;

/// A stream that a client has opened: its request is read from it, and the answer written to it. Dropped
/// before the answer's end, it tells the client that something is missing.
#[derive(Debug)]
pub struct ServedStream {
    incoming: Incoming,
    answering: Writing<SendResponse<Bytes>>,
    /// Whether the answer has no body whatever its head says.
    is_head: bool,
    failed: bool,
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
            answering: Writing::new(respond),
            is_head: parts.method == http::Method::HEAD,
            failed: false,
        }
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
            Writing::Head(respond, _) => ready!(respond.poll_reset(cx)).map_or((), |_| ()),
            Writing::Body(body) => ready!(body.poll_reset(cx)),
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
        let Self {
            answering, is_head, ..
        } = self.get_mut();
        answering.poll_write(cx, text, |respond, head| {
            let Parsed { head, framing } = parse_response(head, *is_head)
                .ok_or_else(|| broken("an answer that HTTP/2 has no words for"))?;
            if head.status().is_informational() {
                respond.send_informational(head).map_err(broken)?;
                return Ok(None);
            }
            let ends = framing == Framing::Empty;
            let stream = respond.send_response(head, ends).map_err(broken)?;
            Ok(Some(Outgoing::new(stream, framing)))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection sends what its streams have.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Poll::Ready(match &mut this.answering {
            Writing::Head(..) => Err(broken("there is no answer")),
            Writing::Body(body) => body.finish(),
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
            Writing::Head(respond, _) => respond.send_reset(reason),
            Writing::Body(body) if !body.done() => body.reset(reason),
            Writing::Body(_) => {}
        }
    }
}

//! A connection to a backend that speaks HTTP/2, and its streams, each made to look like a connection of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::{Method, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::broken;
use super::incoming::Incoming;
use super::message::{Parsed, parse_request, push_response};
use super::outgoing::Outgoing;
use super::writing::Writing;
use crate::http::body::Framing;
use crate::net::{Layer, Stream};

/// Bytes that a backend may send on one stream before they are read.
const WINDOW: u32 = 256 * 1024;

/// Bytes of a request that may wait in a stream for the connection to send them.
const SEND_BUFFER: usize = 64 * 1024;

/// Begins to speak HTTP/2 on a connection to a backend that is known to. The connection ends with the last
/// of what is returned, and of its streams.
pub async fn begin(stream: Stream) -> io::Result<SendRequest<Bytes>> {
    let (requests, connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(stream)
        .await
        .map_err(broken)?;
    // Ends as said above; whatever goes wrong on it, its streams learn.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(requests)
}

/// A stream on which one request is asked: it is written as text of HTTP/1.1, and the answer read so.
#[derive(Debug)]
pub struct AskedStream {
    asking: Writing<SendRequest<Bytes>>,
    method: Method,
    answer: Option<ResponseFuture>,
    /// What was read of the answer.
    incoming: Incoming,
}

impl AskedStream {
    /// A stream of this connection, which has room for one.
    pub fn new(connection: SendRequest<Bytes>) -> Self {
        Self {
            asking: Writing::new(connection),
            method: Method::GET,
            answer: None,
            incoming: Incoming::new(Vec::new(), false, None),
        }
    }

    /// Gets more of the answer's heads to read, as text.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(answer) = &mut self.answer else {
            // Before anything was asked nothing comes.
            return Poll::Pending;
        };
        let mut head = Vec::with_capacity(512);
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            push_response(&interim.map_err(broken)?, &self.method, true, &mut head);
            self.incoming = Incoming::new(head, false, None);
            return Poll::Ready(Ok(()));
        }
        let (parts, body) = ready!(Pin::new(answer).poll(cx))
            .map_err(broken)?
            .into_parts();
        self.answer = None;
        let ends = body.is_end_stream();
        let answer = Response::from_parts(parts, ());
        let chunked = push_response(&answer, &self.method, ends, &mut head);
        self.incoming = Incoming::new(head, chunked, (!ends).then_some(body));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for AskedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.incoming.ended() {
                let before = buf.filled().len();
                ready!(this.incoming.poll_read(cx, buf))?;
                if buf.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            }
            if this.answer.is_none() && matches!(this.asking, Writing::Body(_)) {
                // The answer was read whole.
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_head(cx))?;
        }
    }
}

impl AsyncWrite for AskedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        text: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            asking,
            method,
            answer,
            ..
        } = self.get_mut();
        asking.poll_write(cx, text, |connection, head| {
            let Parsed { head, framing } = parse_request(head)
                .ok_or_else(|| broken("a request that HTTP/2 has no words for"))?;
            *method = head.method().clone();
            let ends = framing == Framing::Empty;
            let (awaited, stream) = connection.send_request(head, ends).map_err(broken)?;
            *answer = Some(awaited);
            Ok(Some(Outgoing::new(stream, framing)))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Gives the request up: that is what the close of a connection would say.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Writing::Body(body) = &mut self.get_mut().asking {
            body.reset(Reason::CANCEL);
        }
        Poll::Ready(Ok(()))
    }
}

impl Layer for AskedStream {
    fn undelivered(&self) -> io::Result<usize> {
        Ok(0)
    }

    fn reset_on_close(&mut self) {
        // A stream that is dropped before its end is reset.
    }
}

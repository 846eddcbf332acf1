//! Where clients come in: accepting connections, over TCP or a unix socket, and words for the
//! refusals of the HTTP library.
//!
//! The library answers what it cannot parse (a request line of a mebibyte, say) by itself, with a
//! status and no body. All our errors have a reason in JSON, so such an answer is replaced while it
//! is being written; it ends its connection either way.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use bytes::{Buf as _, Bytes};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Sleep, sleep};

use super::pool::Socket;
use crate::wire::Listener;

/// How long to wait when no connection can be accepted: mostly, no more files may be opened.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long the rest of a refused request is read. If it were left unread, the system would take
/// the answer back from a client that is still sending.
const DRAIN: Duration = Duration::from_secs(1);

/// Connections that the system takes before we do: a burst of clients is not turned away.
const BACKLOG: i32 = 1024;

/// Accepts connections, without Nagle's delay.
pub(crate) struct Door {
    entrance: Entrance,
    /// Takes a unix socket's file away at the end.
    _listener: Listener,
}

enum Entrance {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// A door where `listener` listens. Only within a runtime.
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        let entrance = match &listener {
            Listener::Tcp(tcp) => {
                rustix::net::listen(tcp, BACKLOG)?;
                tcp.set_nonblocking(true)?;
                Entrance::Tcp(TcpListener::from_std(tcp.try_clone()?)?)
            }
            Listener::Unix(unix, _) => {
                rustix::net::listen(unix, BACKLOG)?;
                unix.set_nonblocking(true)?;
                Entrance::Unix(UnixListener::from_std(unix.try_clone()?)?)
            }
        };
        Ok(Self {
            entrance,
            _listener: listener,
        })
    }

    async fn next(&self) -> io::Result<(Visit, Peer)> {
        match &self.entrance {
            Entrance::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    crate::note!("cannot turn off Nagle's delay: {error}");
                }
                Ok((Visit::new(stream), Peer(Some(address))))
            }
            Entrance::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Visit::new(stream), Peer(None)))
            }
        }
    }
}

impl axum::serve::Listener for Door {
    type Io = Visit;
    type Addr = Peer;

    async fn accept(&mut self) -> (Visit, Peer) {
        let mut is_said = false;
        loop {
            match self.next().await {
                Ok(visit) => return visit,
                Err(error) => {
                    // Once, however long it goes on.
                    if !std::mem::replace(&mut is_said, true) {
                        crate::note!("the master cannot accept a connection: {error}");
                    }
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        match &self.entrance {
            Entrance::Tcp(listener) => listener.local_addr().map(Some).map(Peer),
            Entrance::Unix(_) => Ok(Peer(None)),
        }
    }
}

/// The address of whoever asks; none behind a unix socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(Option<SocketAddr>);

impl Peer {
    /// Whether it is a program on this host.
    pub(crate) fn is_local(self) -> bool {
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        self.0.is_none_or(is_loopback)
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        *stream.remote_addr()
    }
}

/// A client's connection.
pub(crate) struct Visit {
    stream: Box<dyn Socket>,
    /// What is still to be written of an answer that takes the place of the library's.
    replacement: Bytes,
    /// Runs while the rest of a refused request is being read.
    drain: Option<Pin<Box<Sleep>>>,
    is_refused: bool,
}

impl Visit {
    fn new(stream: impl Socket + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            replacement: Bytes::new(),
            drain: None,
            is_refused: false,
        }
    }
}

/// What to write instead of `head`, if that is a refusal without a reason.
fn explained(head: &[u8]) -> Option<Bytes> {
    const BARE: &str = "\r\ncontent-length: 0\r\n";
    let is_refusal = head.starts_with(b"HTTP/1.1 4") && head.ends_with(b"\r\n\r\n");
    let head = std::str::from_utf8(head).ok().filter(|_| is_refusal)?;
    // Our own answers have a reason, and a type.
    if !head.contains(BARE) || head.contains("content-type") {
        return None;
    }
    let status = head.lines().next()?.strip_prefix("HTTP/1.1 ")?;
    let (code, name) = status.split_once(' ')?;
    let error = match code {
        "414" => "the request line is too long: the limit is 64 KiB".to_owned(),
        "431" => "the head of the request is too long".to_owned(),
        _ => format!("the request cannot be understood: {name}"),
    };
    let body = json!({"success": false, "error": error}).to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    Some((head + &body).into())
}

impl AsyncRead for Visit {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.replacement.is_empty() {
            match explained(bytes) {
                Some(replacement) => {
                    this.replacement = replacement;
                    this.is_refused = true;
                }
                None => return Pin::new(&mut this.stream).poll_write(context, bytes),
            }
        }
        while !this.replacement.is_empty() {
            let stream = Pin::new(&mut this.stream);
            let count = ready!(stream.poll_write(context, &this.replacement))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.replacement.advance(count);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is one part.
        match parts {
            [part] => self.poll_write(context, part),
            _ => Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        if !this.is_refused {
            return Poll::Ready(Ok(()));
        }
        let drain = this.drain.get_or_insert_with(|| Box::pin(sleep(DRAIN)));
        let mut scratch = [0; 8 << 10];
        while drain.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_without_a_reason_are_replaced() {
        let bare = b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let text = String::from_utf8(explained(bare).unwrap().to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 414 URI Too Long\r\n"), "{text}");
        assert!(
            text.contains(r#"{"success":false,"error":"the request line"#),
            "{text}"
        );
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 414 is part of this text",
            b"",
        ] {
            assert!(explained(other).is_none());
        }
    }
}

//! A connection's beginning where TLS is spoken: the handshake, and what is known of the client after it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use rustls::server::Acceptor;
use tokio::task::yield_now;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::timer::{Stage, Timer};
use super::worker::Worker;
use crate::net::{Layer, Prefixed, Stream};
use crate::stats::count;
use crate::tls::Identity;
use crate::trust::Peer;

/// What is known of a connection with TLS.
#[derive(Debug)]
pub struct Secured {
    /// What was shown to the client.
    pub identity: Arc<Identity>,
    /// What its own certificate calls the client.
    pub client: Option<String>,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
}

impl Layer for TlsStream<Prefixed> {
    fn undelivered(&self) -> io::Result<usize> {
        self.get_ref().0.undelivered()
    }

    fn reset_on_close(&mut self) {
        self.get_mut().0.reset_on_close();
    }
}

/// Sees a handshake through. `None`: it was refused or has failed, and the connection is to be closed.
pub async fn handshake(
    worker: &Rc<Worker>,
    timer: &Timer,
    io: Prefixed,
    peer: Peer,
) -> Option<(Stream, Secured)> {
    let config = worker.config();
    let most = config.max_handshakes.div_ceil(config.threads);
    let Some(under_way) = worker.handshakes.begin(peer, most) else {
        count(&worker.stats().handshakes_refused);
        return None;
    };
    timer.set(worker.clock(), Stage::Busy, config.header_timeout);
    // What a client sends first is read without any work on it.
    let hello = LazyConfigAcceptor::new(Acceptor::default(), io);
    let begun = in_time(timer, hello).await.and_then(Result::ok);
    let found = match (begun, worker.shared.tls.current()) {
        (Some(begun), Some(credentials)) => {
            let hello = begun.client_hello();
            let identity = credentials.identity(hello.server_name());
            let config = credentials.config(hello.cipher_suites());
            let turn = under_way.turn().await;
            let mut accepting = pin!(begun.into_stream(config));
            let mut turn = Some(turn);
            let first = poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx))).await;
            let accepted = match first {
                Poll::Ready(accepted) => Some(accepted),
                Poll::Pending => {
                    // The work is done. What is ready meanwhile goes before the next handshake's.
                    yield_now().await;
                    turn.take();
                    in_time(timer, accepting).await
                }
            };
            accepted.and_then(Result::ok).zip(identity)
        }
        _ => None,
    };
    drop(under_way);
    let Some((stream, identity)) = found else {
        count(&worker.stats().handshakes_failed);
        return None;
    };
    count(&worker.stats().handshakes);
    let certificates = stream.get_ref().1.peer_certificates();
    let client = certificates
        .and_then(|chain| chain.first())
        .and_then(|certificate| config.client_naming.name(certificate));
    let secured = Secured {
        identity,
        client,
        http2: stream.get_ref().1.alpn_protocol() == Some(b"h2"),
    };
    Some((stream.into(), secured))
}

/// What comes of it before the timer fires.
pub async fn in_time<F: Future + Unpin>(timer: &Timer, mut future: F) -> Option<F::Output> {
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        timer
            .check(cx)
            .map_or(Poll::Ready(None), |()| Poll::Pending)
    })
    .await
}

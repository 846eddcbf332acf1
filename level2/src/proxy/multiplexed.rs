//! Connections to backends that speak HTTP/2, each for many requests at once.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::SendRequest;

/// One worker's connections, by backend.
#[derive(Debug, Default)]
pub struct Multiplexed {
    backends: Vec<Vec<SendRequest<Bytes>>>,
}

impl Multiplexed {
    /// A connection with room for one more stream. Those that are gone are forgotten.
    pub fn room(&mut self, backend: usize) -> Option<SendRequest<Bytes>> {
        let kept = self.backends.get_mut(backend)?;
        let mut found = None;
        kept.retain(|connection| {
            if found.is_some() {
                return true;
            }
            let mut connection = connection.clone();
            match ready(&mut connection) {
                Poll::Ready(Ok(())) => {
                    found = Some(connection);
                    true
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            }
        });
        found
    }

    /// Keeps a connection for more requests.
    pub fn keep(&mut self, backend: usize, connection: &SendRequest<Bytes>) {
        if self.backends.len() <= backend {
            self.backends.resize_with(backend + 1, Vec::new);
        }
        self.backends[backend].push(connection.clone());
    }

    /// Lets go of those that are gone, and of those to backends that are used no more: they end with their
    /// streams.
    pub fn sweep(&mut self, retired: &[usize]) {
        for (backend, kept) in self.backends.iter_mut().enumerate() {
            if retired.contains(&backend) {
                kept.clear();
            }
            kept.retain_mut(|connection| !matches!(ready(connection), Poll::Ready(Err(_))));
        }
    }
}

/// Whether a connection has room. Nobody is woken when that changes: another is made instead.
fn ready(connection: &mut SendRequest<Bytes>) -> Poll<Result<(), h2::Error>> {
    connection.poll_ready(&mut Context::from_waker(Waker::noop()))
}

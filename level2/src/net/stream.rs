//! Connections.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::ioctl;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// Something on top of one of them: TLS, or a stream of HTTP/2.
    Layered(Box<dyn Layer>),
}

/// What carries a connection on top of another.
pub trait Layer: AsyncRead + AsyncWrite + Debug + Send + Unpin {
    /// Bytes that were written and that the other side does not have yet, as far as is known.
    fn undelivered(&self) -> io::Result<usize>;

    /// Makes the coming close one that shows that something is missing.
    fn reset_on_close(&mut self);
}

impl<L: Layer + 'static> From<L> for Stream {
    fn from(layer: L) -> Self {
        Self::Layered(Box::new(layer))
    }
}

impl Stream {
    /// Calls an address.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                let _ = stream.set_nodelay(true);
                Self::Tcp(stream)
            }
            Address::Unix(path) => Self::Unix(UnixStream::connect(path).await?),
            Address::Any(_) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        })
    }

    /// Whether a kept connection that should be silent still is: neither closed nor speaking.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
            Self::Layered(_) => return false,
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes what the kernel takes at once.
    pub fn try_write(&self, data: &[u8]) {
        let _ = match self {
            Self::Tcp(stream) => stream.try_write(data),
            Self::Unix(stream) => stream.try_write(data),
            Self::Layered(_) => Ok(0),
        };
    }

    /// Bytes that were written and that the other side does not have yet: its window may be full.
    pub fn undelivered(&self) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => undelivered(stream.as_fd()),
            Self::Unix(stream) => undelivered(stream.as_fd()),
            Self::Layered(layer) => layer.undelivered(),
        }
    }

    /// Makes the coming close a reset, so that the other side sees that something is missing.
    pub fn reset_on_close(&mut self) {
        match self {
            Self::Tcp(stream) => {
                let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            }
            Self::Unix(_) => {}
            Self::Layered(layer) => layer.reset_on_close(),
        }
    }
}

/// Bytes in a socket's send queue (`SIOCOUTQ` of tcp(7); unix sockets know it as well, though they count the
/// kernel's own bytes besides).
#[expect(unsafe_code, reason = "no crate here has a safe call for it")]
fn undelivered(socket: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: the kernel writes one int, which is what this getter has room for.
    let bytes = unsafe {
        let queued = ioctl::Getter::<{ libc::TIOCOUTQ as ioctl::Opcode }, libc::c_int>::new();
        ioctl::ioctl(socket, queued)
    }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

macro_rules! either {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Layered($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, data))
    }

    /// One call of the system for what TLS and HTTP/2 have in several pieces: each would be a packet otherwise.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Layered(layer) => layer.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // The kernel has what was written.
            Stream::Tcp(_) | Stream::Unix(_) => Poll::Ready(Ok(())),
            Stream::Layered(layer) => Pin::new(layer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn what_the_other_side_has_not_read_is_undelivered() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(ours).unwrap();
        stream.writable().await.unwrap();
        let mut sent = 0;
        while let Ok(count) = stream.try_write(&[0; 8192]) {
            sent += count;
        }
        let stream = Stream::Tcp(stream);
        let before = stream.undelivered().unwrap();
        assert!(0 < before && before <= sent, "{before} of {sent}");
        (&other).read_exact(&mut vec![0; sent]).unwrap();
        let start = Instant::now();
        while stream.undelivered().unwrap() > 0 {
            assert!(start.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
    }
}

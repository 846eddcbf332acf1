//! Addresses, listeners and streams, over TCP or unix sockets alike.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::trust::Peer;

/// Connections the kernel may queue for us: a flood's first moment.
const BACKLOG: i32 = 4096;

/// Where to listen or whom to call: `HOST:PORT`, or `unix:PATH`, or a path that begins with `/` or
/// `.`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// A TCP address. A host name is resolved when the address is read.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path by itself is one too, so that all programs here are called alike.
        let bare = text.starts_with(['/', '.']).then_some(text);
        if let Some(path) = text.strip_prefix("unix:").or(bare) {
            if path.is_empty() {
                return Err("`unix:` needs a path".into());
            }
            return Ok(Self::Unix(path.into()));
        }
        let mut found = text
            .to_socket_addrs()
            .map_err(|error| format!("`{text}` is not HOST:PORT or unix:PATH ({error})"))?;
        found
            .next()
            .map(Self::Tcp)
            .ok_or_else(|| format!("`{text}` has no address"))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound listener, not yet tied to a runtime.
#[derive(Debug)]
pub enum Bound {
    /// Over TCP.
    Tcp(std::net::TcpListener),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixListener),
}

/// Binds an address `copies` times, so that each worker accepts for itself.
///
/// Over TCP each copy is a socket of its own and the kernel spreads connections over them
/// (`SO_REUSEPORT`); a unix listener is one socket that all share.
pub fn bind(address: &Address, copies: usize) -> io::Result<Vec<Bound>> {
    match address {
        Address::Tcp(address) => {
            // Without SO_REUSEPORT a port in use shows, even if its owner would share it.
            drop(bind_tcp(*address, false)?);
            let first = bind_tcp(*address, copies > 1)?;
            let actual = first.local_addr()?;
            let mut all = vec![first];
            while all.len() < copies {
                all.push(bind_tcp(actual, true)?);
            }
            Ok(all.into_iter().map(Bound::Tcp).collect())
        }
        Address::Unix(path) => {
            use std::os::unix::net::{UnixListener, UnixStream};
            // A socket nobody listens on is left over from a process that was killed.
            if UnixStream::connect(path)
                .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
            {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            let mut all = Vec::new();
            while all.len() + 1 < copies {
                all.push(Bound::Unix(listener.try_clone()?));
            }
            all.push(Bound::Unix(listener));
            Ok(all)
        }
    }
}

fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// The address it came to be bound to.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(Address::Tcp(listener.local_addr()?)),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(Address::Unix(
                    address.as_pathname().map(PathBuf::from).unwrap_or_default(),
                ))
            }
        }
    }

    /// Ties it to the current runtime.
    pub fn into_listener(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// Accepts connections.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over a unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// The next connection, if one is there.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, from)| {
                // Answers are written whole; waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                (Stream::Tcp(stream), Peer::Ip(from.ip().to_canonical()))
            }),
            Self::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| (Stream::Unix(stream), Peer::Unix)),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
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
        })
    }

    /// Whether a kept connection that should be silent still is: neither closed nor speaking.
    pub fn is_silent(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Makes the coming close a reset, so that the other side sees that something is missing.
    pub fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

macro_rules! either {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["127.0.0.1:80", "[::1]:8080", "unix:/tmp/socket"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in ["", "80", "host", "unix:", "1.2.3.4:99999"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_in_use_is_noticed_even_if_it_is_shared() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = bind(&any, 2).unwrap();
        let error = bind(&first[0].address().unwrap(), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}

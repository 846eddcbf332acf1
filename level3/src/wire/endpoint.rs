//! Addresses of servers, and blocking sockets of either family behind one type.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `host:port`.
    Tcp(String),
    /// `unix:PATH`, or a path that begins with `/` or `.`.
    Unix(PathBuf),
}

/// An address that is neither `host:port` nor `unix:PATH`.
#[derive(Debug, Error)]
#[error("`{0}` is no address: expected HOST:PORT or unix:PATH")]
pub struct EndpointError(String);

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        // A path by itself is one too, so that all programs here are called alike.
        let bare = text.starts_with(['/', '.']).then_some(text);
        let path = text.strip_prefix("unix:").or(bare);
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(EndpointError(text.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => out.write_str(address),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// A listening socket.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, whose file is removed with the listener.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens at `endpoint`. The socket file of a process that is gone is replaced.
    pub fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            Endpoint::Unix(path) => {
                use std::os::unix::fs::FileTypeExt as _;
                match std::fs::symlink_metadata(path) {
                    Ok(meta) if !meta.file_type().is_socket() => {
                        return Err(io::Error::new(
                            io::ErrorKind::AlreadyExists,
                            "there is a file of another kind, which is left alone",
                        ));
                    }
                    Ok(_) if UnixStream::connect(path).is_err() => std::fs::remove_file(path)?,
                    _ => {}
                }
                Ok(Self::Unix(UnixListener::bind(path)?, path.clone()))
            }
        }
    }

    /// The address to connect to, with the port that the system chose if it was asked to.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(listener) => Ok(Endpoint::Tcp(listener.local_addr()?.to_string())),
            Self::Unix(_, path) => Ok(Endpoint::Unix(path.clone())),
        }
    }

    /// Waits for a connection.
    pub fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }

    /// Ends the accepting for good: a call of [`accept`](Self::accept) that waits, and every later
    /// one, fails. A connection to oneself would not do, since a socket's file may be gone.
    pub fn close(&self) {
        // An error means that there is nothing to end.
        let _ = match self {
            Self::Tcp(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
            Self::Unix(listener, _) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
        };
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Nothing depends on it: a later listener replaces a dead socket file.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A connected socket.
pub enum Stream {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `endpoint`.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Endpoint::Unix(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    /// A second handle to the same connection.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    /// Makes a read fail if the peer says nothing for this long.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    /// Makes a write fail if the peer takes nothing for this long.
    pub fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_write_timeout(Some(timeout)),
        }
    }

    /// Whether the peer has closed its end, without waiting for anything. Only for a peer that has
    /// no more to say.
    pub fn has_hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut polled = [match self {
            Self::Tcp(stream) => PollFd::new(stream, PollFlags::RDHUP),
            Self::Unix(stream) => PollFd::new(stream, PollFlags::RDHUP),
        }];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(ended)
    }

    /// Ends the connection for all handles, so that whoever waits on one wakes up.
    pub fn shutdown(&self) {
        // An error means that the connection has ended already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tcp_or_unix_or_refused() {
        for good in [
            "127.0.0.1:9091",
            "[::1]:80",
            "node.example:1",
            "unix:/tmp/n1",
        ] {
            assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
        }
        for bad in ["", "host", ":80", "host:", "host:99999", "unix:"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_dead_socket_file_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(dir.path().join("socket"));
        drop(UnixListener::bind(dir.path().join("socket")).unwrap());
        let live = Listener::bind(&endpoint).unwrap();
        assert!(Listener::bind(&endpoint).is_err());
        drop(live);
        assert!(!dir.path().join("socket").exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("precious");
        std::fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, dir.path().join("link")).unwrap();
        for name in ["precious", "link"] {
            let endpoint = Endpoint::Unix(dir.path().join(name));
            let error = Listener::bind(&endpoint).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"text");
    }

    #[test]
    fn a_peer_that_closes_is_noticed() {
        let (one, other) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(one);
        assert!(!stream.has_hung_up());
        drop(other);
        assert!(stream.has_hung_up());
    }
}

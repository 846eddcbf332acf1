//! Non-blocking sockets of either kind, unix or TCP, behind one face.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token, event::Source};

use super::connection::Socket;
use crate::socket_file::SocketFile;

/// How many reads empty a socket before it is closed; one whose node never stops is closed anyway.
const DRAINS: usize = 512;

/// A place to listen at or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address; port 0 listens on a free port.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens; a unix socket is open to every user, as the nodes may run as another one.
    pub fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => {
                let listener = UnixListener::bind(path)?;
                let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
                std::fs::set_permissions(path, everybody)?;
                Ok(Self::Unix(listener))
            }
            Endpoint::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(*address)?)),
        }
    }

    /// Where it listens, with the port that was found free.
    pub fn endpoint(&self, asked: &Endpoint) -> io::Result<Endpoint> {
        match self {
            Self::Unix(_) => Ok(asked.clone()),
            Self::Tcp(listener) => Ok(Endpoint::Tcp(listener.local_addr()?)),
        }
    }

    pub fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix(listener) => Stream::Unix(listener.accept()?.0),
            Self::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        })
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Unix(listener) => listener.register(registry, token, Interest::READABLE),
            Self::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

/// A connected (or, over TCP, connecting) socket.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Begins to connect. A unix socket is connected on return, and is the one at the path itself,
    /// not one that a link leads to; a TCP one when it is writable and [`Self::take_error`] finds
    /// nothing.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Ok(match endpoint {
            Endpoint::Unix(path) => {
                let file = SocketFile::open(path)?;
                Self::Unix(UnixStream::connect(file.path())?)
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
        })
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Unix(stream) => stream.register(registry, token, both),
            Self::Tcp(stream) => stream.register(registry, token, both),
        }
    }

    /// Whether the connect has come through; `Err` if it failed.
    pub fn is_connected(&self) -> io::Result<bool> {
        match self {
            Self::Unix(_) => Ok(true),
            Self::Tcp(stream) => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                match stream.peer_addr() {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

impl Socket for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn end_of_stream(&mut self) {
        let _already_gone = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn refuse_more(&mut self) -> bool {
        match self {
            Self::Unix(stream) => {
                let _already_gone = stream.shutdown(Shutdown::Read);
                true
            }
            Self::Tcp(_) => false,
        }
    }

    /// A TCP socket that is closed with something unread answers with a reset, which throws away
    /// what it has not sent yet: what is unread is read first.
    fn close(mut self) {
        if matches!(self, Self::Tcp(_)) {
            let mut unread = [0; 16 * 1024];
            for _ in 0..DRAINS {
                if !matches!(self.read(&mut unread), Ok(1..)) {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_not_reached_by_a_link_to_another() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let other = Listener::bind(&Endpoint::Unix(at("other"))).unwrap();
        Stream::connect(&Endpoint::Unix(at("other"))).unwrap();
        other.accept().unwrap();
        std::os::unix::fs::symlink(at("other"), at("own")).unwrap();
        let refused = Stream::connect(&Endpoint::Unix(at("own"))).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert_eq!(
            other.accept().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
}

//! Listening sockets: bound here, or inherited from systemd.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::address::Address;
use super::stream::Stream;
use crate::trust::Peer;

/// Connections the kernel may queue for us: a flood's first moment.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel may hold unsent for a client. Much more, and a slow client's progress would
/// show in leaps only; the rest waits in the proxy's own buffers.
const UNSENT: u32 = 128 * 1024;

/// A bound listener, not yet tied to a runtime.
#[derive(Debug)]
pub enum Bound {
    /// Over TCP.
    Tcp(std::net::TcpListener),
    /// Over a unix socket.
    Unix(StdUnixListener),
}

/// Binds an address `copies` times, so that each worker accepts for itself.
///
/// Over TCP each copy is a socket of its own and the kernel spreads connections over them
/// (`SO_REUSEPORT`); a unix listener is one socket that all share.
pub fn bind(address: &Address, copies: usize) -> io::Result<Vec<Bound>> {
    match address {
        Address::Tcp(address) => bind_all_tcp(*address, copies, true),
        Address::Any(port) => {
            let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
            match bind_all_tcp(all, copies, false) {
                // A machine without IPv6.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    bind_all_tcp((Ipv4Addr::UNSPECIFIED, *port).into(), copies, true)
                }
                bound => bound,
            }
        }
        Address::Unix(path) => {
            remove_dead_socket(path)?;
            let listener = StdUnixListener::bind(path)?;
            Bound::Unix(listener).copies(copies)
        }
    }
}

fn bind_all_tcp(address: SocketAddr, copies: usize, only_v6: bool) -> io::Result<Vec<Bound>> {
    // Without SO_REUSEPORT a port in use shows, even if its owner would share it.
    drop(bind_tcp(address, false, only_v6)?);
    let first = bind_tcp(address, copies > 1, only_v6)?;
    let actual = first.local_addr()?;
    let mut all = vec![first];
    while all.len() < copies {
        all.push(bind_tcp(actual, true, only_v6)?);
    }
    Ok(all.into_iter().map(Bound::Tcp).collect())
}

fn bind_tcp(address: SocketAddr, shared: bool, only_v6: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Inherited by the connections; where the kernel does not know it, nothing is lost.
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Removes a socket that nobody listens on, left over from a process that was killed; nothing else.
fn remove_dead_socket(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is there already",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        // Somebody listens, or may: binding will say so.
        _ => Ok(()),
    }
}

/// A socket in the file system that is ours: removed when dropped, if it is still the same.
#[derive(Debug)]
pub struct OwnSocket {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnSocket {
    /// The socket just bound at an address, if that is one in the file system.
    pub fn at(address: &Address) -> Option<Self> {
        let Address::Unix(path) = address else {
            return None;
        };
        let found = std::fs::symlink_metadata(path).ok()?;
        Some(Self {
            path: std::path::absolute(path).ok()?,
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let same = |found: &std::fs::Metadata| {
            found.file_type().is_socket() && (found.dev(), found.ino()) == (self.device, self.inode)
        };
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| same(&found)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The listening sockets that systemd has passed to this process (`sd_listen_fds`), if any.
pub fn inherited() -> io::Result<Vec<Bound>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut all = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            all.push(Bound::Tcp(listener));
        } else if let Some(listener) = passed.take_unix_listener(index)? {
            all.push(Bound::Unix(listener));
        }
    }
    Ok(all)
}

impl Bound {
    /// The same socket so many times.
    pub fn copies(self, copies: usize) -> io::Result<Vec<Self>> {
        match &self {
            Self::Tcp(listener) => listener.set_nonblocking(true)?,
            Self::Unix(listener) => listener.set_nonblocking(true)?,
        }
        let mut all = Vec::new();
        while all.len() + 1 < copies {
            all.push(match &self {
                Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
                Self::Unix(listener) => Self::Unix(listener.try_clone()?),
            });
        }
        all.push(self);
        Ok(all)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_noticed_even_if_it_is_shared() {
        for any in ["127.0.0.1:0", ":0"] {
            let first = bind(&any.parse().unwrap(), 2).unwrap();
            let error = bind(&first[0].address().unwrap(), 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn only_dead_sockets_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(bind(&Address::Unix(path.clone()), 1).is_err());
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        let socket = Address::Unix(folder.path().join("socket"));
        let live = bind(&socket, 2).unwrap();
        assert_eq!(
            bind(&socket, 1).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(live);
        assert!(bind(&socket, 1).is_ok());
    }

    #[test]
    fn only_the_own_socket_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = Address::Unix(path.clone());
        let first = bind(&address, 1).unwrap();
        let own = OwnSocket::at(&address).unwrap();
        drop(first);
        // Another process has taken the place; the path is the same, the socket is not.
        let second = bind(&address, 1).unwrap();
        let others = OwnSocket::at(&address).unwrap();
        if others.inode != own.inode {
            drop(own);
            assert!(path.exists());
        }
        drop(second);
        drop(others);
        assert!(!path.exists());
    }
}

//! Listening sockets: bound here, or inherited from systemd.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, UnixListener};

use super::address::Address;
use super::stream::Stream;
use crate::trust::Peer;

/// Connections the kernel may queue for us: a flood's first moment.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel may hold unsent for a client. Much more, and a slow client's progress would
/// show in leaps only; the rest waits in the proxy's own buffers.
const UNSENT: u32 = 128 * 1024;

/// What systemd's `FileDescriptorName=` is for a socket on which TLS is spoken.
const SECURE_NAME: &str = "tls";

/// An address to listen on, and whether TLS is spoken there: `tls:` in front says so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress {
    /// The address.
    pub address: Address,
    /// Whether TLS is spoken.
    pub secure: bool,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix("tls:");
        Ok(Self {
            address: bare.unwrap_or(text).parse()?,
            secure: bare.is_some(),
        })
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for ListenAddress {
    /// Without TLS.
    fn from(address: Address) -> Self {
        Self {
            address,
            secure: false,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.secure { "tls:" } else { "" };
        write!(f, "{mark}{}", self.address)
    }
}

/// A bound listener, not yet tied to a runtime.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    /// Whether TLS is spoken on it.
    pub secure: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// Binds an address `copies` times, so that each worker accepts for itself.
///
/// Over TCP each copy is a socket of its own and the kernel spreads connections over them
/// (`SO_REUSEPORT`); a unix listener is one socket that all share.
pub fn bind(listen: &ListenAddress, copies: usize) -> io::Result<Vec<Bound>> {
    let sockets = bind_all(&listen.address, copies)?;
    let secure = listen.secure;
    let bound = |socket| Bound { socket, secure };
    Ok(sockets.into_iter().map(bound).collect())
}

fn bind_all(address: &Address, copies: usize) -> io::Result<Vec<Socket>> {
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
            Socket::Unix(listener).copies(copies)
        }
    }
}

fn bind_all_tcp(address: SocketAddr, copies: usize, only_v6: bool) -> io::Result<Vec<Socket>> {
    // Without SO_REUSEPORT a port in use shows, even if its owner would share it.
    drop(bind_tcp(address, false, only_v6)?);
    let first = bind_tcp(address, copies > 1, only_v6)?;
    let actual = first.local_addr()?;
    let mut all = vec![first];
    while all.len() < copies {
        all.push(bind_tcp(actual, true, only_v6)?);
    }
    Ok(all.into_iter().map(Socket::Tcp).collect())
}

fn bind_tcp(address: SocketAddr, shared: bool, only_v6: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
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

/// The listening sockets that systemd has passed to this process (`sd_listen_fds`), if any. TLS is spoken
/// on those that it calls `tls`.
pub fn inherited() -> io::Result<Vec<Bound>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = listenfd::ListenFd::from_env();
    let mut all = Vec::new();
    for index in 0..passed.len() {
        let secure = names.next() == Some(SECURE_NAME);
        let socket = if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            Socket::Tcp(listener)
        } else if let Some(listener) = passed.take_unix_listener(index)? {
            Socket::Unix(listener)
        } else {
            continue;
        };
        all.push(Bound { socket, secure });
    }
    Ok(all)
}

impl Bound {
    /// The same socket so many times.
    pub fn copies(self, copies: usize) -> io::Result<Vec<Self>> {
        let secure = self.secure;
        let sockets = self.socket.copies(copies)?;
        let bound = |socket| Self { socket, secure };
        Ok(sockets.into_iter().map(bound).collect())
    }

    /// The address it came to be bound to.
    pub fn address(&self) -> io::Result<ListenAddress> {
        let address = match &self.socket {
            Socket::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Socket::Unix(listener) => {
                let address = listener.local_addr()?;
                Address::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default())
            }
        };
        Ok(ListenAddress {
            address,
            secure: self.secure,
        })
    }

    /// Ties it to the current runtime.
    pub fn into_listener(self) -> io::Result<Listener> {
        let accepting = match self.socket {
            Socket::Tcp(listener) => Accepting::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener) => Accepting::Unix(UnixListener::from_std(listener)?),
        };
        Ok(Listener {
            accepting,
            secure: self.secure,
        })
    }
}

impl Socket {
    fn copies(self, copies: usize) -> io::Result<Vec<Self>> {
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
}

/// Accepts connections.
#[derive(Debug)]
pub struct Listener {
    accepting: Accepting,
    secure: bool,
}

#[derive(Debug)]
enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Its other end.
    pub peer: Peer,
    /// Whether TLS is to be spoken on it.
    pub secure: bool,
}

impl Listener {
    /// The next connection, if one is there.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let accepted = match &self.accepting {
            Accepting::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, from)| {
                // Answers are written whole; waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                (Stream::Tcp(stream), Peer::Ip(from.ip().to_canonical()))
            }),
            Accepting::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| (Stream::Unix(stream), Peer::Unix)),
        };
        let secure = self.secure;
        accepted.map_ok(|(stream, peer)| Accepted {
            stream,
            peer,
            secure,
        })
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
    fn tls_is_said_in_front_of_an_address() {
        for (text, secure) in [
            ("tls:127.0.0.1:443", true),
            ("tls:unix:/s", true),
            ("unix:/s", false),
        ] {
            let listen: ListenAddress = text.parse().unwrap();
            assert_eq!((listen.secure, listen.to_string()), (secure, text.into()));
        }
        assert!("tls:".parse::<ListenAddress>().is_err());
    }

    #[test]
    fn only_dead_sockets_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(bind(&Address::Unix(path.clone()).into(), 1).is_err());
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        let socket = Address::Unix(folder.path().join("socket")).into();
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
        let listen = ListenAddress::from(address.clone());
        let first = bind(&listen, 1).unwrap();
        let own = OwnSocket::at(&address).unwrap();
        drop(first);
        // Another process has taken the place; the path is the same, the socket is not.
        let second = bind(&listen, 1).unwrap();
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

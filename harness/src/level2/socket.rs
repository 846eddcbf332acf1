//! Non-blocking sockets over TCP or unix paths, and the buffer of what is still to be sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use octopus::SocketFile;
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Bytes read at a time.
const PIECE: usize = 16 * 1024;
/// What the kernel holds for a slow reader, in bytes.
const FAR_BUFFER: usize = 4096;
/// The longest TCP segment over Ethernet, in bytes.
const ETHERNET_SEGMENT: u32 = 1460;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// A TCP port on loopback that was free a moment ago.
    pub fn free_port() -> io::Result<Self> {
        Ok(Self::Tcp(
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?,
        ))
    }

    /// A socket in a folder.
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self::Unix(folder.join(name))
    }

    /// The TCP port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    fn socket(&self) -> io::Result<(Socket, SockAddr)> {
        let (domain, address) = match self {
            Self::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Self::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        Ok((socket, address))
    }

    /// Takes the address without listening yet: connections are refused until [`listen`].
    pub fn bind(&self) -> io::Result<Socket> {
        let (socket, address) = self.socket()?;
        match self {
            Self::Tcp(_) => socket.set_reuse_address(true)?,
            Self::Unix(path) => match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        socket.bind(&address)?;
        Ok(socket)
    }

    /// Starts a connection, which may still be under way when this returns. A link in a unix socket's
    /// place is not followed: it could lead past the solution, to a backend.
    pub fn connect(&self) -> io::Result<Wire> {
        let (socket, address) = self.socket()?;
        self.connect_by(socket, address)
    }

    /// Starts a connection of somebody far away who reads slowly. Loopback has segments of 64 KiB, and the
    /// other side's kernel takes megabytes of an answer for it; with those of Ethernet it takes little.
    pub fn connect_from_afar(&self) -> io::Result<Wire> {
        let (socket, address) = self.socket()?;
        socket.set_recv_buffer_size(FAR_BUFFER)?;
        if matches!(self, Self::Tcp(_)) {
            socket.set_tcp_mss(ETHERNET_SEGMENT)?;
        }
        self.connect_by(socket, address)
    }

    fn connect_by(&self, socket: Socket, mut address: SockAddr) -> io::Result<Wire> {
        let file = match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(SocketFile::open(path)?),
        };
        if let Some(file) = &file {
            address = SockAddr::unix(file.path())?;
        }
        match socket.connect(&address) {
            Err(error) if !under_way(&error) => return Err(error),
            _ => {}
        }
        Wire::new(socket)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Whether a non-blocking call only has to be repeated later.
fn under_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Starts to accept connections on a bound socket.
pub fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

/// The next waiting connection of a listening socket.
pub fn accept(socket: &Socket) -> io::Result<Option<Wire>> {
    match socket.accept() {
        Ok((connection, _)) => {
            connection.set_nonblocking(true)?;
            Wire::new(connection).map(Some)
        }
        Err(error) if under_way(&error) || error.kind() == ErrorKind::ConnectionAborted => Ok(None),
        Err(error) => Err(error),
    }
}

/// One connection and the bytes that it still has to carry.
pub struct Wire {
    socket: Socket,
    unsent: Vec<u8>,
    sent: usize,
}

/// What a read gave.
pub enum Incoming {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// The peer has closed its side.
    End,
}

impl Wire {
    fn new(socket: Socket) -> io::Result<Self> {
        if socket.domain()? != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(Self {
            socket,
            unsent: Vec::new(),
            sent: 0,
        })
    }

    /// Has the kernel hold little of what is sent: whoever sends more is held up by the reader.
    pub fn hold_little(&self) -> io::Result<()> {
        self.socket.set_send_buffer_size(PIECE)
    }

    /// Sends bytes, now or when the socket can take them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        self.flush().map(|_| ())
    }

    /// Sends what it can; says whether anything went.
    pub fn flush(&mut self) -> io::Result<bool> {
        let before = self.sent;
        while self.sent < self.unsent.len() {
            match (&self.socket).write(&self.unsent[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if under_way(&error) => return Ok(self.sent > before),
                Err(error) => return Err(error),
            }
        }
        let moved = self.sent > before;
        self.unsent.clear();
        self.sent = 0;
        Ok(moved)
    }

    /// Whether bytes still wait to be sent.
    pub fn is_sending(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what has come, at most one piece.
    pub fn receive(&mut self) -> io::Result<Incoming> {
        self.receive_at_most(PIECE)
    }

    /// Reads what has come, at most so many bytes and one piece.
    pub fn receive_at_most(&mut self, most: usize) -> io::Result<Incoming> {
        let mut piece = [0; PIECE];
        match (&self.socket).read(&mut piece[..most.min(PIECE)]) {
            Ok(0) => Ok(Incoming::End),
            Ok(count) => Ok(Incoming::Bytes(piece[..count].to_vec())),
            Err(error) if under_way(&error) => Ok(Incoming::Nothing),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_socket_leads_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let backend = Address::in_folder(home.path(), "backend0.sock");
        let listening = backend.bind().unwrap();
        listen(&listening).unwrap();
        backend.connect().unwrap();
        std::os::unix::fs::symlink("backend0.sock", home.path().join("shield.sock")).unwrap();
        let shield = Address::in_folder(home.path(), "shield.sock");
        for refused in [shield.connect(), shield.connect_from_afar()] {
            let told = refused.err().unwrap().to_string();
            assert!(told.contains("symbolic link"), "{told}");
        }
    }
}

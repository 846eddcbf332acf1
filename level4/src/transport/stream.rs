//! Unix and TCP sockets under one type, and a stream that gives back bytes already read.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Either kind of connection.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Whether an address names a unix socket rather than `host:port`.
pub fn is_path(address: &str) -> bool {
    address.starts_with('/') || address.starts_with('.')
}

/// A connection, and what is known of its other end.
pub struct Connected {
    /// The bytes.
    pub socket: Box<dyn Socket>,
    /// The other end is on this machine: a unix socket, or the loopback interface.
    pub local: bool,
    /// The other end's address, without a port.
    pub from: String,
}

impl Connected {
    fn unix(stream: UnixStream) -> Self {
        Self {
            socket: Box::new(stream),
            local: true,
            from: "a unix socket".to_owned(),
        }
    }

    fn tcp(stream: TcpStream, ip: IpAddr) -> Self {
        // Fails if it has ended already, which reading will tell.
        let _ = stream.set_nodelay(true);
        let ip = ip.to_canonical();
        Self {
            socket: Box::new(stream),
            local: ip.is_loopback(),
            from: ip.to_string(),
        }
    }
}

/// Connects to `host:port` or to a socket's path.
pub async fn connect(address: &str) -> io::Result<Connected> {
    if is_path(address) {
        return Ok(Connected::unix(UnixStream::connect(address).await?));
    }
    let stream = TcpStream::connect(address).await?;
    let ip = stream.peer_addr()?.ip();
    Ok(Connected::tcp(stream, ip))
}

/// Where clients and peers come in.
#[derive(Debug)]
pub enum Listener {
    /// A socket's path.
    Unix(UnixListener),
    /// `host:port`.
    Tcp(TcpListener),
}

impl Listener {
    /// Listens at `address`. Of what may be at a socket's path already, only a socket that nobody
    /// listens on any more is removed.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if somebody listens there, [`io::ErrorKind::AlreadyExists`] if
    /// something else than a socket is there, which stays.
    pub async fn bind(address: &str) -> io::Result<Self> {
        if !is_path(address) {
            return Ok(Self::Tcp(TcpListener::bind(address).await?));
        }
        let path = Path::new(address);
        if let Some(found) = FileId::of(path)? {
            remove_dead_socket(path, found).await?;
        }
        Ok(Self::Unix(UnixListener::bind(path)?))
    }

    /// The address in a form that reaches it (with the port the system chose, if it was 0).
    pub fn address(&self, given: &str) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| given.to_owned(), |addr| addr.to_string()),
            Self::Unix(_) => given.to_owned(),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Connected> {
        match self {
            Self::Unix(listener) => Ok(Connected::unix(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok(Connected::tcp(stream, from.ip()))
            }
        }
    }
}

/// Which file a path named when it was looked at: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
    /// The file at `path` itself (links are not followed); `None`: there is none.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::symlink_metadata(path) {
            Ok(file) => Ok(Some(Self(file.dev(), file.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Removes what was `found` at `path`, if it is a socket without a listener.
async fn remove_dead_socket(path: &Path, found: FileId) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is not a socket; it was left as it is",
        ));
    }
    match UnixStream::connect(path).await {
        // Refused: it is a socket, and nobody has it open.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            remove_if_same(path, found)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
    }
}

/// Removes the file at `path` if it still is the one that was looked at.
pub fn remove_if_same(path: &Path, found: FileId) -> io::Result<()> {
    match FileId::of(path)? {
        Some(now) if now == found => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// A stream whose first bytes have been looked at.
pub struct Rewound<S> {
    first: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    /// Gives `first`, then what `stream` has.
    pub fn new(first: Bytes, stream: S) -> Self {
        Self { first, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

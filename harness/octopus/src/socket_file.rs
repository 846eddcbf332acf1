//! A unix socket at a path, and nothing that leads somewhere else.
//!
//! A node that is reached at a path can put there what it likes. With a symbolic link, or another
//! name (a hard link), of some other node's socket it would have its callers talk to that one past
//! the network's links. So the file is opened without following links, what was opened is looked
//! at, and *that* is what is connected to (on Linux, by way of `/proc/self/fd`): whatever becomes
//! of the path in between makes no difference.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a path is not connected to.
#[derive(Debug, Error)]
pub enum SocketFileError {
    /// Something in the file's place leads to another socket.
    #[error("{0} is a symbolic link, where a socket is expected")]
    Link(PathBuf),
    /// The file has another name, maybe in another node's folder.
    #[error("{0} is a hard link: one socket has several names")]
    Shared(PathBuf),
    /// It is not there, or cannot be looked at.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<SocketFileError> for io::Error {
    fn from(error: SocketFileError) -> Self {
        match error {
            SocketFileError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

/// The file of a unix socket that was found to be one, with no name but this.
#[derive(Debug)]
pub struct SocketFile {
    #[cfg(target_os = "linux")]
    file: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    path: PathBuf,
}

#[cfg(target_os = "linux")]
impl SocketFile {
    /// Looks at what is there. What is no socket is refused by whoever connects to it.
    ///
    /// # Errors
    /// It is a link, it has other names, or it is not there.
    pub fn open(path: &Path) -> Result<Self, SocketFileError> {
        use rustix::fs::{FileType, Mode, OFlags, fstat, open};

        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        let found = fstat(&file).map_err(io::Error::from)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => Err(SocketFileError::Link(path.to_owned())),
            FileType::Socket if found.st_nlink > 1 => Err(SocketFileError::Shared(path.to_owned())),
            _ => Ok(Self { file }),
        }
    }

    /// A path that leads to this very file, for as long as it is open.
    pub fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;

        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// Without a way to connect to what was looked at, a file that is exchanged at the right moment
/// is not noticed.
#[cfg(not(target_os = "linux"))]
impl SocketFile {
    /// Looks at what is there. What is no socket is refused by whoever connects to it.
    ///
    /// # Errors
    /// It is a link, it has other names, or it is not there.
    pub fn open(path: &Path) -> Result<Self, SocketFileError> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};

        let found = std::fs::symlink_metadata(path)?;
        if found.is_symlink() {
            return Err(SocketFileError::Link(path.to_owned()));
        }
        if found.file_type().is_socket() && found.nlink() > 1 {
            return Err(SocketFileError::Shared(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The path that was looked at.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::ErrorKind,
        os::unix::{
            fs::symlink,
            net::{UnixListener, UnixStream},
        },
    };

    use super::*;

    #[test]
    fn a_socket_is_connected_to_and_no_link_to_one() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let _listener = UnixListener::bind(at("real")).unwrap();
        let real = SocketFile::open(&at("real")).unwrap();
        UnixStream::connect(real.path()).unwrap();

        symlink(at("real"), at("link")).unwrap();
        let refused = SocketFile::open(&at("link")).unwrap_err();
        assert!(matches!(refused, SocketFileError::Link(_)), "{refused}");

        let absent = SocketFile::open(&at("absent")).unwrap_err();
        assert_eq!(io::Error::from(absent).kind(), ErrorKind::NotFound);

        fs::write(at("file"), "").unwrap();
        let file = SocketFile::open(&at("file")).unwrap();
        let refused = UnixStream::connect(file.path()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

        fs::hard_link(at("real"), at("other")).unwrap();
        for name in ["real", "other"] {
            let refused = SocketFile::open(&at(name)).unwrap_err();
            assert!(matches!(refused, SocketFileError::Shared(_)), "{refused}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_connected_to_is_what_was_looked_at() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let own = UnixListener::bind(at("own")).unwrap();
        let others = UnixListener::bind(at("others")).unwrap();
        for listener in [&own, &others] {
            listener.set_nonblocking(true).unwrap();
        }
        let opened = SocketFile::open(&at("own")).unwrap();
        // Between the look and the call the node puts a link in its place.
        fs::remove_file(at("own")).unwrap();
        symlink(at("others"), at("own")).unwrap();
        UnixStream::connect(opened.path()).unwrap();
        assert!(own.accept().is_ok());
        assert_eq!(others.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

//! The first start of a cluster from a backup.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{BackupError, RestoreConfig};
use crate::node::{Form, RecoverError, begin_with};
use crate::notes::note;
use crate::stack::Stack;

/// It is there from before the cluster is founded until it has the backup: a node that ends between the two
/// tries again.
const MARK: &str = "restoring";
/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The largest backup, bytes: as large as a database may be.
const LIMIT: u64 = 64 * 1024 * 1024 * 1024;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// Why a cluster does not begin with its backup.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It cannot be fetched.
    #[error("cannot restore: {0}")]
    Fetch(#[from] BackupError),
    /// It takes too long.
    #[error("cannot restore: {place} took longer than {seconds} s")]
    Late {
        /// The store.
        place: String,
        /// The limit.
        seconds: u64,
    },
    /// A file cannot be used.
    #[error("cannot restore: {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// It is no database, or cannot be put in its place.
    #[error("cannot restore: {0}")]
    Begin(#[from] RecoverError),
    /// The system gives no thread.
    #[error("cannot restore: {0}")]
    Thread(io::Error),
}

/// A backup that was fetched.
pub struct Restored {
    /// What it holds.
    content: Box<dyn Read + Send>,
    mark: PathBuf,
}

/// The node does not begin with a backup, and never will: what clients write from now on must not be replaced.
///
/// # Errors
///
/// If the mark of an earlier attempt cannot be taken away.
pub fn forget(folder: &Path) -> Result<(), RestoreError> {
    unmark(&folder.join(MARK))
}

fn unmark(mark: &Path) -> Result<(), RestoreError> {
    match fs::remove_file(mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed
            .and_then(|()| sync_folder(mark))
            .map_err(failed(mark)),
    }
}

/// What is in the folder of this file is on disk.
fn sync_folder(file: &Path) -> io::Result<()> {
    file.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Takes no more bytes than a backup may have.
struct Limited<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(too_long)?;
        self.out.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn too_long() -> io::Error {
    io::Error::other("the backup has more than 64 GiB")
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |cause| RestoreError::File {
        path: path.clone(),
        cause,
    }
}

/// Fetches the backup for a node that founds a cluster in `folder`, or that has not come to its end with
/// that; `is_new`: has no state yet. Otherwise there is nothing to restore.
///
/// # Errors
///
/// If it cannot be had, unless the cluster is to begin without then.
pub async fn fetch(
    config: &RestoreConfig,
    folder: &Path,
    is_new: bool,
) -> Result<Option<Restored>, RestoreError> {
    let mark = folder.join(MARK);
    if !is_new && !mark.exists() {
        return Ok(None);
    }
    let place = config.store.to_string();
    let partial = folder.join("restore.partial");
    let getting = async {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&partial)
            .map_err(failed(&partial))?;
        let mut limited = Limited {
            out: &mut file,
            left: LIMIT,
        };
        config.store.get(&mut limited).await?;
        Ok::<_, RestoreError>(file)
    };
    let late = |_| RestoreError::Late {
        place: place.clone(),
        seconds: config.timeout.as_secs(),
    };
    let got = timeout(config.timeout, getting)
        .await
        .map_err(late)
        .flatten();
    let opened = got.and_then(|file| Ok((file.metadata().map_err(failed(&partial))?.len(), file)));
    let opened = opened.and_then(|(length, file)| {
        let content = unpacked(file).map_err(failed(&partial))?;
        Ok((length, content))
    });
    // Whoever reads it has it still.
    let _ = fs::remove_file(&partial);
    match opened {
        Ok((length, content)) => {
            fs::write(&mark, "")
                .and_then(|()| sync_folder(&mark))
                .map_err(failed(&mark))?;
            note(format_args!(
                "beginning with the backup at {place}: {length} bytes"
            ));
            Ok(Some(Restored { content, mark }))
        }
        Err(error) if config.continue_on_failure => {
            unmark(&mark)?;
            note(format_args!("{error}; beginning with an empty database"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What a file holds, compressed or not.
fn unpacked(mut file: File) -> io::Result<Box<dyn Read + Send>> {
    let mut first = [0; 2];
    file.rewind()?;
    let begun = file.read(&mut first)?;
    file.rewind()?;
    let file = BufReader::with_capacity(CHUNK, file);
    Ok(if first[..begun] == GZIP {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// Has a new cluster in `folder`, whose only member is known by `name`, begin with a backup.
///
/// # Errors
///
/// If the folder cannot be used, or the backup is no database.
pub async fn put_in_place(
    restored: Restored,
    folder: &Path,
    name: &str,
    form: Form,
) -> Result<(), RestoreError> {
    let Restored { mut content, mark } = restored;
    let (folder, name) = (folder.to_owned(), name.to_owned());
    let (done, placed) = oneshot::channel();
    let begin = move || {
        // Nobody waits any more when the process is to end.
        let _ = done.send(begin_with(&folder, &name, form, &mut *content));
    };
    Stack::Sql
        .spawn("restore", begin)
        .map_err(RestoreError::Thread)?;
    let ended = |_| RestoreError::Thread(io::Error::other("the thread has ended"));
    let is_placed = placed.await.map_err(ended)??;
    if !is_placed {
        note(format_args!("the backup was in its place already"));
    }
    unmark(&mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_that_begins_without_its_backup_never_gets_it_later() {
        let home = tempfile::tempdir().unwrap();
        let missing = home.path().join("none");
        let file = home.path().join("restore.json");
        let text = serde_json::json!({
            "version": 1, "type": "file", "continue_on_failure": true, "sub": {"dir": missing},
        });
        fs::write(&file, text.to_string()).unwrap();
        let config = RestoreConfig::load(&file).unwrap();
        // An earlier start had fetched one that was no database, and it was taken away since.
        let mark = home.path().join(MARK);
        fs::write(&mark, "").unwrap();
        assert!(fetch(&config, home.path(), false).await.unwrap().is_none());
        assert!(!mark.exists());
        fs::write(&mark, "").unwrap();
        forget(home.path()).unwrap();
        forget(home.path()).unwrap();
        assert!(!mark.exists());
    }

    #[test]
    fn no_more_is_taken_than_a_database_may_have() {
        let mut out = Limited {
            out: Vec::new(),
            left: 3,
        };
        out.write_all(b"abc").unwrap();
        assert!(out.write_all(b"d").is_err());
        assert_eq!(out.out, b"abc");
    }

    #[test]
    fn files_are_read_compressed_or_not() {
        let read = |file| {
            let mut whole = Vec::new();
            unpacked(file).unwrap().read_to_end(&mut whole).unwrap();
            whole
        };
        let mut plain = tempfile::tempfile().unwrap();
        plain.write_all(b"SQLite format 3\0").unwrap();
        assert_eq!(read(plain), b"SQLite format 3\0");
        let packed = tempfile::tempfile().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        gzip.write_all(b"SQLite format 3\0").unwrap();
        assert_eq!(read(gzip.finish().unwrap()), b"SQLite format 3\0");
        assert_eq!(read(tempfile::tempfile().unwrap()), b"");
    }
}

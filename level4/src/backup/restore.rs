//! The first start of a cluster from a backup.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _};
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use flate2::read::MultiGzDecoder;
use tokio::time::timeout;

use super::{BackupError, RestoreConfig};
use crate::consensus::AnswerKind;
use crate::message::Command;
use crate::node::Node;
use crate::notes::note;
use crate::statement::Outcome;

/// It is there from before the cluster is founded until it has the backup: a node that ends between the two
/// tries again.
const MARK: &str = "restoring";
/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The largest backup, bytes.
const LIMIT: u64 = 8 * 1024 * 1024 * 1024;

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
    /// It is no database.
    #[error("cannot restore: {0}")]
    NoDatabase(String),
    /// The node ended meanwhile.
    #[error("cannot restore: the node is ending")]
    Ended,
}

/// A backup that was fetched.
#[derive(Debug)]
pub struct Restored {
    bytes: Bytes,
    mark: PathBuf,
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
        config.store.get(&mut file).await?;
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
    let read = got.and_then(|file| read(file).map_err(failed(&partial)));
    // It has been read, or is of no use.
    let _ = fs::remove_file(&partial);
    match read {
        Ok(bytes) => {
            fs::write(&mark, "").map_err(failed(&mark))?;
            note(format_args!(
                "beginning with the backup at {place}: {} bytes",
                bytes.len()
            ));
            let bytes = bytes.into();
            Ok(Some(Restored { bytes, mark }))
        }
        Err(error) if config.continue_on_failure => {
            note(format_args!("{error}; beginning with an empty database"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What a file holds, compressed or not.
fn read(mut file: File) -> io::Result<Vec<u8>> {
    let mut first = [0; 2];
    file.rewind()?;
    let begun = file.read(&mut first)?;
    file.rewind()?;
    let mut whole = Vec::new();
    let limited = &mut BufReader::new(file);
    if first[..begun] == GZIP {
        MultiGzDecoder::new(limited)
            .take(LIMIT + 1)
            .read_to_end(&mut whole)?;
    } else {
        limited.take(LIMIT + 1).read_to_end(&mut whole)?;
    }
    if whole.len() as u64 > LIMIT {
        return Err(io::Error::other("it has more than 8 GiB"));
    }
    Ok(whole)
}

/// Has a new cluster begin with a backup.
///
/// # Errors
///
/// If the node ends, or the backup is no database.
pub async fn put_in_place(node: &Node, restored: Restored) -> Result<(), RestoreError> {
    let Restored { bytes, mark } = restored;
    let answer = node
        .execute(None, Command::Load(bytes))
        .ok_or(RestoreError::Ended)?;
    let answer = answer.await.map_err(|_| RestoreError::Ended)?;
    let reason = match Outcome::decode_all(&answer.body).as_deref() {
        Ok([Outcome::Error(reason), ..]) => Some(reason.clone()),
        Ok(_) if answer.kind == AnswerKind::Output => None,
        _ => Some("the node did not take it".to_owned()),
    };
    match reason {
        Some(reason) => Err(RestoreError::NoDatabase(reason)),
        None => fs::remove_file(&mark).map_err(failed(&mark)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn files_are_read_compressed_or_not() {
        let mut plain = tempfile::tempfile().unwrap();
        plain.write_all(b"SQLite format 3\0").unwrap();
        assert_eq!(read(plain).unwrap(), b"SQLite format 3\0");
        let packed = tempfile::tempfile().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        gzip.write_all(b"SQLite format 3\0").unwrap();
        assert_eq!(read(gzip.finish().unwrap()).unwrap(), b"SQLite format 3\0");
        assert_eq!(read(tempfile::tempfile().unwrap()).unwrap(), b"");
    }
}

//! Backups that a cluster makes by itself, into a folder or a store that speaks S3, and the first start
//! from one.
//!
//! The leader makes them. Nothing is sent if nothing was written since the last time; if only the log has
//! grown, what would be sent is compared with what was sent, by its digest.

mod config;
mod folder;
mod multipart;
mod restore;
mod s3;
mod sign;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{sleep, timeout};

use crate::api::{Format, write_backup};
use crate::database::DumpError;
use crate::fetch::{FetchError, FileBody};
use crate::ids::Index;
use crate::node::Node;
use crate::notes::note;
use crate::stack::Stack;
pub use config::{BackupConfig, ConfigError, RestoreConfig, Store};
pub use restore::{RestoreError, Restored, fetch, forget, put_in_place};

/// A store may take so long for an answer, and for each MiB that it is sent a second more.
const PATIENCE: Duration = Duration::from_secs(60);

/// After a failure it is tried again so soon, or after the interval, if that is shorter.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The node is ending, or its state is not to be trusted.
    #[error("the node has no state to be saved")]
    NoState,
    /// The copy cannot be made.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// A file cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The store does not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The store says no.
    #[error("{place} answers {status}: {text}")]
    Refused {
        /// The store.
        place: String,
        /// Its status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// A store that took too long may be at the last one still, and reads its file.
    #[error("the last backup is still on its way to {0}")]
    Busy(String),
    /// The store takes too long.
    #[error("{place} has not taken it in {seconds} s")]
    Late {
        /// The store.
        place: String,
        /// How long was waited.
        seconds: u64,
    },
    /// There is none.
    #[error("there is no backup at {0}")]
    Missing(String),
}

/// What was done, for `/status` and `/debug/vars`.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// The last upload.
    pub last: Option<(SystemTime, Index)>,
    /// Uploads,
    pub uploaded: u64,
    /// attempts that failed,
    pub failed: u64,
    /// and those that found nothing new.
    pub skipped: u64,
}

/// Backups of a node, one after the other.
#[derive(Debug)]
pub struct Backups {
    /// As the operator wants them.
    pub config: BackupConfig,
    done: Mutex<Done>,
    /// Whoever has it makes one, and puts it where it goes.
    turn: Turn,
}

/// The right to write the file on its way, or to read it, which lasts until nobody does.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// What was sent last by this node.
struct Sent {
    index: Index,
    digest: [u8; 32],
}

impl Backups {
    /// None made yet.
    pub fn new(config: BackupConfig) -> Self {
        Self {
            config,
            done: Mutex::default(),
            turn: Turn::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        // Nothing panics while it is held.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        self.lock().clone()
    }

    /// Makes them as long as it is polled; files on their way are in `folder`.
    pub async fn keep(self: Arc<Self>, node: Arc<Node>, folder: PathBuf) {
        let mut sent = None;
        let mut told = None;
        let mut pause = self.config.interval;
        loop {
            sleep(pause).await;
            pause = self.config.interval;
            match self.make(&node, &folder, &mut sent).await {
                Ok(Some(index)) => {
                    let mut done = self.lock();
                    done.uploaded += 1;
                    done.last = Some((SystemTime::now(), index));
                    told = None;
                }
                Ok(None) => self.lock().skipped += 1,
                Err(error) => {
                    self.lock().failed += 1;
                    pause = pause.min(TRY_AGAIN);
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        note(format_args!("no backup was made: {error}; trying on"));
                        told = Some(error);
                    }
                }
            }
        }
    }

    /// Makes one, if this node leads and there is anything new; gives the index that it has.
    async fn make(
        &self,
        node: &Node,
        folder: &Path,
        sent: &mut Option<Sent>,
    ) -> Result<Option<Index>, BackupError> {
        let status = node.status().await.map_err(|_| BackupError::NoState)?;
        let index = status.applied_index;
        let is_old = sent.as_ref().is_some_and(|sent| sent.index == index);
        if status.role != "leader" || is_old {
            return Ok(None);
        }
        let busy = |_| BackupError::Busy(self.config.store.to_string());
        let turn = self.turn.clone().try_lock_owned().map_err(busy)?;
        let view = node.view().await.map_err(|_| BackupError::NoState)?;
        let path = folder.join("backup.partial");
        let config = &self.config;
        let (format, compress) = (
            Format::File {
                vacuumed: config.vacuum,
            },
            config.compress,
        );
        let (made, making) = tokio::sync::oneshot::channel();
        let write = {
            let path = path.clone();
            move || {
                // Nobody waits any more when the node ends.
                let _ = made.send(written(&path, |out| {
                    write_backup(&view, &format, compress, out)
                }));
            }
        };
        let spawned = Stack::Sql.spawn("backup", write);
        spawned.map_err(|cause| BackupError::File {
            path: path.clone(),
            cause,
        })?;
        let file = making.await.map_err(|_| BackupError::NoState)??;
        let is_same = sent.as_ref().is_some_and(|sent| sent.digest == file.digest);
        let patience = PATIENCE + Duration::from_secs(file.length >> 20);
        let store = async {
            // Where names begin with the time, what is there has another name.
            let is_there = is_same || !config.timestamp && config.store.has(&file).await;
            if !is_there {
                config.store.put(&file, config.timestamp, turn).await?;
            }
            Ok::<_, BackupError>(is_there)
        };
        let stored = timeout(patience, store).await;
        let is_there = stored.map_err(|_| BackupError::Late {
            place: config.store.to_string(),
            seconds: patience.as_secs(),
        })??;
        // It is made anew each time.
        let _ = std::fs::remove_file(&path);
        *sent = Some(Sent {
            index,
            digest: file.digest,
        });
        Ok((!is_there).then_some(index))
    }
}

/// A file ready to be sent.
#[derive(Debug, Clone)]
pub struct Ready {
    path: PathBuf,
    length: u64,
    digest: [u8; 32],
}

impl Ready {
    fn digest(&self) -> String {
        hex(&self.digest)
    }

    fn open(&self) -> Result<File, BackupError> {
        File::open(&self.path).map_err(|cause| BackupError::File {
            path: self.path.clone(),
            cause,
        })
    }

    /// So many bytes of it from `start` on, as a request's body.
    fn part(&self, start: u64, length: u64) -> Result<FileBody, BackupError> {
        FileBody::part(self.open()?, start, length).map_err(|cause| BackupError::File {
            path: self.path.clone(),
            cause,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Writes a file, and takes its digest on the way.
fn written(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), DumpError>,
) -> Result<Ready, BackupError> {
    let failed = |cause| BackupError::File {
        path: path.to_owned(),
        cause,
    };
    let mut out = Digested {
        file: io::BufWriter::new(File::create(path).map_err(failed)?),
        digest: Sha256::new(),
        length: 0,
    };
    write(&mut out)?;
    out.flush().map_err(failed)?;
    Ok(Ready {
        path: path.to_owned(),
        length: out.length,
        digest: out.digest.finalize().into(),
    })
}

struct Digested {
    file: io::BufWriter<File>,
    digest: Sha256,
    length: u64,
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Store {
    /// Whether it has the file already, as far as it says.
    async fn has(&self, file: &Ready) -> bool {
        match self {
            Self::Folder(folder) => folder.has(file),
            Self::S3(s3) => s3.has(file).await.unwrap_or(false),
        }
    }

    /// Puts the file there; its name begins with the time if that is wanted. `turn` ends when nobody reads the file
    /// any more, which may be after this is given up.
    async fn put(
        &self,
        file: &Ready,
        timestamp: bool,
        turn: OwnedMutexGuard<()>,
    ) -> Result<(), BackupError> {
        let prefix = if timestamp { stamp() } else { String::new() };
        match self {
            Self::Folder(folder) => {
                let (folder, file) = (folder.clone(), file.clone());
                let put = move || {
                    let _turn = turn;
                    folder.put(&file, &prefix)
                };
                // A disk may take long, or for ever.
                let put = tokio::task::spawn_blocking(put).await;
                put.map_err(|_| BackupError::NoState)?
            }
            Self::S3(s3) => s3.put(file, &prefix).await,
        }
    }

    /// Writes what is there into `out`.
    async fn get(&self, out: &mut (dyn Write + Send)) -> Result<(), BackupError> {
        match self {
            Self::Folder(folder) => folder.get(out),
            Self::S3(s3) => s3.get(out).await,
        }
    }
}

/// The time as rqlite puts it before names: `20260131235959_`.
fn stamp() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let digits: String = now.chars().filter(char::is_ascii_digit).collect();
    format!("{digits}_")
}

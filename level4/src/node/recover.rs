//! From a folder to the parts of a node: the lock, the identity, the log and the state as they were
//! left, or those of a new node.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use raft::eraftpb::{ConfState, HardState, Snapshot};

use super::threads::now_ms;
use super::trust::{self, Trust};
use crate::consensus::{Applied, Apply, Core, MemoryLog, Persist, Start, Timing, founding_entry};
use crate::database::{Database, DatabaseError};
use crate::identity::Identity;
use crate::ids::{ClusterId, Index, NodeId, Term};
use crate::log::{Disk as _, Folder, Log, LogError, Recovered};
use crate::machine::{ApplyError, Machine};
use crate::notes::note;

/// How long to wait for another process to leave the folder, and how often to look.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why a node cannot start from its folder.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A file of the folder cannot be used.
    #[error("cannot use {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// Two processes in one folder would write one log.
    #[error("another process uses this folder")]
    InUse,
    /// The log is there, the file `node` is not.
    #[error(
        "there is a log, but not the file that says whose: restore {}, or empty the folder and join again",
        .0.display()
    )]
    NoIdentity(PathBuf),
    /// The file `node` is there and says that there is a log, which is not there or empty.
    #[error(
        "this node had a log, and {} has none: restore it from a backup, or empty the whole folder and start with --join",
        .0.display()
    )]
    NoLog(PathBuf),
    /// A cluster was to begin with a database, and has begun with another one.
    #[error("the cluster in {} has begun already: empty the folder and start again", .0.display())]
    HasBegun(PathBuf),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    State(#[from] ApplyError<DatabaseError>),
    /// The database's files cannot be used, or SQLite does not even open an empty database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Raft finds the log inconsistent.
    #[error("the log cannot be used: {0}")]
    Raft(#[from] raft::Error),
}

impl RecoverError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |cause| Self::File { path, cause }
    }
}

/// A node's parts before it runs.
pub struct Prepared {
    /// As saved for this start.
    pub identity: Identity,
    /// Held until the process ends.
    pub(super) lock: File,
    pub(super) folder: PathBuf,
    pub(super) core: Core,
    pub(super) log: Log<Folder>,
    pub(super) machine: Machine<Database>,
    /// The index of the last snapshot.
    pub(super) saved: Index,
    pub(super) trust: Trust,
}

/// Takes the folder for this process, which keeps it as long as it runs. One that was killed just now may
/// not be gone yet, and is waited for a little.
fn lock(home: &Path) -> Result<File, RecoverError> {
    let path = home.join("lock");
    let file = File::create(&path).map_err(RecoverError::file(&path))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(RecoverError::InUse),
            Err(TryLockError::Error(error)) => return Err(RecoverError::file(&path)(error)),
        }
    }
}

/// Where the replicated database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In memory.
    Memory,
    /// In the node's folder.
    Disk,
}

/// A node's folder, before anything is done in it.
pub(super) struct Opened {
    pub(super) lock: File,
    /// The log's.
    pub(super) folder: PathBuf,
    pub(super) log: Log<Folder>,
    pub(super) recovered: Recovered,
    /// Of a new node, not saved yet.
    pub(super) identity: Identity,
}

/// Opens a folder, and finds out whose it is.
pub(super) fn open(home: &Path) -> Result<Opened, RecoverError> {
    let lock = lock(home)?;
    let folder = home.join("log");
    let mut disk = Folder::open(folder.clone()).map_err(RecoverError::file(&folder))?;
    // A snapshot may have been renamed just before the process was killed; what came before it goes now.
    disk.sync_folder().map_err(RecoverError::file(&folder))?;
    let (log, recovered) = Log::open(disk)?;
    let file = home.join("node");
    let identity = Identity::load(home).map_err(RecoverError::file(&file))?;
    let identity = match identity {
        Some(known) if !recovered.is_new => known,
        Some(known) if known.has_log => return Err(RecoverError::NoLog(folder)),
        None if recovered.has_files => return Err(RecoverError::NoIdentity(file)),
        // Nothing was ever promised, even if this is not the first start.
        _ => Identity::new(NodeId::new(random_id())),
    };
    Ok(Opened {
        lock,
        folder,
        log,
        recovered,
        identity,
    })
}

/// Recovers a node from its folder, or makes a new one. A node without state founds a cluster, unless it
/// is going to join one.
pub fn prepare(
    home: &Path,
    name: &str,
    joins: bool,
    timing: Timing,
    proved: bool,
    form: Form,
) -> Result<Prepared, RecoverError> {
    let Opened {
        lock,
        folder,
        mut log,
        mut recovered,
        mut identity,
    } = open(home)?;
    let file = home.join("node");
    let is_new = recovered.is_new;
    if recovered.torn {
        note(format_args!(
            "the last write to the log was torn, and is cut off"
        ));
    }
    identity.incarnation = identity.incarnation.next();
    let founder = is_new && !joins;
    if founder {
        identity.cluster = ClusterId::new(random_id());
    }
    let save = |identity: &Identity| identity.save(home).map_err(RecoverError::file(&file));
    save(&identity)?;
    if founder {
        recovered.log = found(&mut log, identity.node, name)?;
    } else if is_new {
        log.begin()?;
    }
    if !identity.has_log {
        // Only now, for a crash between the two leaves a folder that never promised anything.
        identity.has_log = true;
        save(&identity)?;
    }
    let parted = trust::load(home).map_err(RecoverError::file(&home.join("parted")))?;
    let snapshot = recovered.snapshot.as_ref();
    let saved = snapshot.map_or(Index::START, index);
    let mut machine = state(home, form, identity.node, snapshot, &mut recovered.log)?;
    let skipped = recovered.log.skips();
    let mut core = Core::new(Start {
        id: identity.node,
        incarnation: identity.incarnation,
        log: recovered.log,
        applied: machine.applied(),
        origin: saved,
        members: machine.members().clone(),
        timing,
        seed: random_id(),
        parted,
        skipped,
        proved,
    })?;
    core.applied(Applied::recovered(machine.applied(), machine.take_links()));
    Ok(Prepared {
        trust: Trust::new(home.to_owned(), parted),
        identity,
        lock,
        folder,
        core,
        log,
        machine,
        saved,
    })
}

fn index(snapshot: &Snapshot) -> Index {
    Index::new(snapshot.get_metadata().index)
}

/// The state as an earlier process has left it, or if that is not to be had, as of the last snapshot.
fn state(
    home: &Path,
    form: Form,
    node: NodeId,
    snapshot: Option<&Snapshot>,
    log: &mut MemoryLog,
) -> Result<Machine<Database>, RecoverError> {
    let folder = home.join("database");
    let start = |skips: &BTreeSet<Index>| -> Result<Machine<Database>, RecoverError> {
        let database = match form {
            Form::Memory => Database::beside(&folder)?,
            Form::Disk => Database::on_disk(&folder, node)?,
        };
        let mut machine = Machine::new(database);
        machine.skip(skips);
        if let Some(snapshot) = snapshot {
            machine.apply(Apply::Restore(snapshot.clone()))?;
        }
        Ok(machine)
    };
    let skips = log.skips();
    let mut machine = start(&skips)?;
    let recalled = machine.recall(|index| log.entry(index));
    let doubt = match recalled {
        Ok(()) => {
            // That these are committed may be news, and with it that they say to skip some.
            log.begin_from(machine.applied(), machine.conf_state().clone());
            let (began, applied) = (snapshot.map_or(Index::START, index), machine.applied());
            let mut news = log
                .skips()
                .into_iter()
                .filter(|index| !skips.contains(index));
            let wrong = news.find(|&index| index > began && index <= applied);
            wrong.map(|index| format!("the entry at {index} was executed, and is to be skipped"))
        }
        Err(error) => Some(error.to_string()),
    };
    if let Some(doubt) = doubt {
        note(format_args!(
            "{doubt}: the database is rebuilt from snapshot and log"
        ));
        drop(machine);
        Database::distrust(&folder).map_err(RecoverError::file(&folder))?;
        machine = start(&log.skips())?;
        // Nothing is noted any more.
        let again = machine.recall(|index| log.entry(index));
        again.map_err(|error| RecoverError::file(&folder)(io::Error::other(error)))?;
    }
    log.begin_from(machine.applied(), machine.conf_state().clone());
    Ok(machine)
}

/// Begins the log of a new cluster, whose only member is `node`.
fn found(log: &mut Log<Folder>, node: NodeId, name: &str) -> Result<MemoryLog, LogError> {
    let entries = vec![founding_entry(node, name)];
    let hard_state = HardState {
        term: 1,
        commit: 1,
        ..HardState::default()
    };
    log.append(&[Persist {
        entries: entries.clone(),
        hard_state: Some(hard_state.clone()),
        ..Persist::default()
    }])?;
    let conf_state = ConfState::default();
    Ok(MemoryLog::new(
        (Index::START, Term::default()),
        entries,
        hard_state,
        conf_state,
    ))
}

/// A random number that is not 0, from the system's generator by way of the standard library's hashing
/// keys.
pub(super) fn random_id() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(now_ms());
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{entry_of, founding, step};
    use super::*;
    use crate::codec::Writer;
    use crate::settings::Settings;
    use raft::eraftpb::Entry;

    fn prepared(home: &Path) -> Prepared {
        let timing = Settings::listening_at("n").timing();
        prepare(home, "n", false, timing, false, Form::Disk).unwrap()
    }

    /// A process has executed an entry and noted that; another entry, which its log did not know to be
    /// committed when it ended, says to skip the first one.
    fn left(home: &Path, skips: bool) {
        let node = prepared(home).identity.node;
        let mut skip = Writer::new();
        skip.byte(b'S');
        skip.uint(2);
        let mut last = entry_of(node, 3, "SELECT 1");
        if skips {
            last.data = skip.finish().into();
        }
        let entries = [entry_of(node, 2, "CREATE TABLE t (a)"), last];
        let (mut log, _) = Log::open(Folder::open(home.join("log")).unwrap()).unwrap();
        let hard_state = HardState {
            term: 1,
            commit: 2,
            ..HardState::default()
        };
        log.append(&[Persist {
            entries: entries.to_vec(),
            hard_state: Some(hard_state),
            ..Persist::default()
        }])
        .unwrap();
        let database = Database::on_disk(&home.join("database"), node).unwrap();
        let mut machine = Machine::new(database);
        machine.recall(|_: Index| None::<&Entry>).unwrap();
        machine.apply(founding(node)).unwrap();
        for entry in &entries {
            machine.apply(step(entry)).unwrap();
        }
        machine.commit().unwrap();
    }

    #[test]
    fn what_a_process_has_applied_is_called_back_and_is_no_snapshot() {
        let home = tempfile::tempdir().unwrap();
        left(home.path(), false);
        let prepared = prepared(home.path());
        assert_eq!(
            (prepared.machine.applied(), prepared.saved),
            (Index::new(3), Index::START)
        );
    }

    #[test]
    fn an_entry_that_was_executed_and_is_to_be_skipped_is_not_called_back() {
        let home = tempfile::tempdir().unwrap();
        left(home.path(), true);
        let prepared = prepared(home.path());
        assert_eq!(prepared.machine.applied(), Index::START);
        assert!(prepared.machine.skips(Index::new(2)));
    }
}

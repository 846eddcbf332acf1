//! The SQLite database behind the log: deterministic execution, in memory or in a file.
//!
//! The database is rebuilt from snapshot and log; durability is the log's. In a file it need not be rebuilt
//! after the end of a process (`disk`); to SQLite both forms are the same. Each request behaves as in a
//! fresh `sqlite3` process: an open transaction is rolled back at its end, and a connection that remembers
//! more of the request than the data is replaced. Readers work on copies of the file as it was between two
//! requests, on threads of their own.

pub mod capture;
mod changes;
mod complete;
mod digest;
mod disk;
mod dump;
mod engine;
mod firing;
mod guard;
mod landing;
mod loading;
mod nesting;
mod readers;
mod session;
mod shell;
mod staging;
mod state;
mod statements;
mod tokens;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use crate::codec::{Malformed, Reader};
use crate::ids::{Index, Term};
use crate::machine::{Executor, Moment, Recorded};
use crate::message::Command;
use crate::statement::{Outcome, Statements};
use capture::{Capture, Changes, Feed};
use changes::Ran;
use disk::{Disk, Map};
use engine::image::Image;
use engine::meter;
use engine::vfs::File;
use guard::Access;
use nesting::TooLong;
use session::Session;
use staging::Staging;
use state::Parts;

pub use capture::Capturing;
pub use complete::Completeness;
pub use disk::Shelf;
pub use dump::DumpError;
pub use engine::meter::{Budget, Exceeded, Scope};
#[cfg(test)]
pub(crate) use engine::pages::death;
pub use landing::Landing;
pub use loading::LIMIT as FILE_LIMIT;
pub use readers::{Cancel, Read, ReadAnswer, Readers, View};
pub use staging::{PIECE, Stage};
pub use state::Content;

/// The database that requests from the log change.
#[derive(Debug)]
pub struct Database {
    file: File,
    writer: Session,
    /// Tells this database from others that this process has had.
    generation: u64,
    /// What a request may use that asks for no more.
    budget: Budget,
    /// What has been changed, until somebody was told.
    capture: Capture,
    /// A file that comes in piece by piece.
    staging: Staging,
    /// What the form in a file has besides.
    disk: Option<Disk>,
    /// A database in memory may begin from a snapshot whose pages are there.
    folder: Option<PathBuf>,
}

/// Raised whenever the same entry is executed in another way than before: the replicas of programs with
/// different ones are not compared.
const DIALECT: u32 = 6;

static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// Offsets of the two versions in a SQLite file's header (file format, section 1.3), and their values.
const FILE_FORMAT_VERSIONS: [usize; 2] = [18, 19];
const ROLLBACK_JOURNAL: u8 = 1;
const WAL: u8 = 2;

/// Goes through what may be a list of pages or a record of changes, and finds it readable or not.
pub fn read_lists(bytes: &[u8]) {
    let _ = Map::read(bytes);
    let _ = changes::decode(bytes);
}

/// Names what answers depend on besides the log.
fn engine() -> u64 {
    // With SQLite's hook, programs of statements have other steps.
    let version = format!(
        "{} {DIALECT} {} {}",
        env!("CARGO_PKG_VERSION"),
        rusqlite::version(),
        capture::IS_BUILT
    );
    u64::from(crc32c::crc32c(version.as_bytes()))
}

/// Whether a SQLite file says that it needs a write-ahead log beside it.
pub fn is_in_wal_mode(file: &[u8]) -> bool {
    FILE_FORMAT_VERSIONS
        .iter()
        .any(|&place| file.get(place) == Some(&WAL))
}

/// The engine's version.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Why a request, a snapshot or a given file could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refuses it.
    #[error("not a usable SQLite database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A snapshot that is not in the format.
    #[error("the database's snapshot cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// SQLite's check found something.
    #[error("the SQLite database is damaged: {0}")]
    Damaged(String),
    /// Its check takes too much.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// Every request to it would.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It is longer than a database may be.
    #[error("it has more than the 64 GiB that a database may have")]
    TooLarge,
    /// Its files cannot be used.
    #[error("the database's files cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The pages of a snapshot are not there.
    #[error("database/pages {0}; restore the folder from a backup, or empty it and join again")]
    Pages(String),
    /// A state that an earlier process has left does not fit the log, or one is referred to that is not here.
    #[error("the state that is referred to is not here")]
    Forgotten,
    /// What happened here need not have happened on other nodes: no answer may be made of it.
    #[error("while a request was executed: {0}")]
    Environment(&'static str),
}

impl Database {
    /// An empty database.
    pub fn new() -> Result<Self, DatabaseError> {
        Self::open(Image::default())
    }

    fn open(image: Image) -> Result<Self, DatabaseError> {
        let file = File::new(image);
        let writer = Session::open(&file, Access::Write)?;
        Ok(Self {
            file,
            writer,
            generation: GENERATIONS.fetch_add(1, Relaxed),
            budget: Budget::default(),
            capture: Capture::default(),
            staging: Staging::default(),
            disk: None,
            folder: None,
        })
    }

    /// Another file is the database from now on.
    fn replace(&mut self, image: Image) -> Result<(), DatabaseError> {
        let Self {
            file,
            writer,
            generation,
            ..
        } = Self::open(image).map_err(|error| self.explained(error))?;
        (self.file, self.writer, self.generation) = (file, writer, generation);
        self.record()
    }

    /// Has the writer take down what is wanted of changes.
    fn record(&mut self) -> Result<(), DatabaseError> {
        let selection = self.capture.selection();
        if selection.is_some() || self.writer.is_recording() {
            self.writer.record(&self.file, selection)?;
        }
        Ok(())
    }

    /// The database as it is now, for readers.
    pub fn view(&self) -> View {
        View::new(self.file.image(), self.generation, self.budget)
    }

    /// What the last request on this thread has used of its budget: the same on every replica.
    pub fn used(&self) -> Budget {
        meter::used()
    }

    /// Runs a request with a budget.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Environment`]: the database is in an unknown state, and the request has to be
    /// executed again from a known one.
    pub fn run(
        &mut self,
        moment: Moment,
        budget: Budget,
        command: &Command,
    ) -> Result<Bytes, DatabaseError> {
        self.writer.changes = 0;
        self.writer.taken_down = None;
        match command {
            Command::Shell(sql) => self
                .writer
                .request(&self.file, moment, budget, |work| shell::run(work, sql)),
            Command::Statements(request) => match Statements::decode(request) {
                Ok(request) => self.writer.request(&self.file, moment, budget, |work| {
                    Outcome::encode_all(&statements::run(work, &request, false).0)
                }),
                Err(error) => Ok(unreadable(error)),
            },
            Command::Load(file) => self.load(moment, budget, file),
            Command::Configure(encoded) => Ok(self.configure(encoded)),
            Command::Capture(encoded) => self.keep_changes(encoded),
            Command::Stage(encoded) => self.stage(moment, budget, encoded),
            Command::Budgeted { factor, command } => {
                self.run(moment, budget.times(*factor), command)
            }
        }
    }

    /// Gives all requests from here on another budget.
    fn configure(&mut self, encoded: &[u8]) -> Bytes {
        match Budget::decode(&mut Reader::new(encoded)) {
            Ok(budget) => {
                self.budget = budget;
                Outcome::encode_all(&[DONE]).into()
            }
            Err(error) => unreadable(error),
        }
    }

    /// Keeps changes from here on, or keeps none, or forgets those that somebody has been told.
    fn keep_changes(&mut self, encoded: &[u8]) -> Result<Bytes, DatabaseError> {
        let command = match Capturing::decode(encoded) {
            Ok(command) => command,
            Err(error) => return Ok(unreadable(error)),
        };
        let is_switch = !matches!(command, Capturing::Delivered(_));
        if let Err(error) = self.capture.obey(command) {
            return Ok(Outcome::encode_all(&[Outcome::Error(error.to_string())]).into());
        }
        if is_switch {
            self.record()?;
        }
        Ok(Outcome::encode_all(&[DONE]).into())
    }

    /// Changes that nobody has been told yet.
    pub fn feed(&self) -> Feed {
        self.capture.feed()
    }
}

/// Bytes of a snapshot that are written to the file at a time.
const RESTORED: usize = 1 << 20;

const DONE: Outcome = Outcome::Done {
    last_insert_id: None,
    rows_affected: None,
};

/// The answer to statements that were written by another version, alike on all nodes of this one.
fn unreadable(error: Malformed) -> Bytes {
    let reason = format!("the request cannot be read: {error}");
    Outcome::encode_all(&[Outcome::Error(reason)]).into()
}

impl Executor for Database {
    type Error = DatabaseError;
    type Saved = Content;

    fn engine(&self) -> u64 {
        engine()
    }

    fn is_comparable(&self, command: &Command) -> bool {
        // EXPLAIN shows addresses.
        matches!(command, Command::Stage(_)) || !tokens::says_explain(command.body())
    }

    fn changes(&self) -> u64 {
        self.writer.changes
    }

    fn execute(&mut self, moment: Moment, command: &Command) -> Result<Bytes, DatabaseError> {
        let recalled = self
            .disk
            .as_mut()
            .and_then(|disk| disk.recalled(moment.seed));
        if let Some(recalled) = recalled {
            let ran = recalled?;
            self.writer.changes = ran.changes;
            if let Command::Capture(encoded) = command.budget().1 {
                self.keep_changes(encoded)?;
            }
            if !ran.taken_down.is_empty() {
                self.capture.add(Changes::new(ran.taken_down));
            }
            return Ok(ran.body);
        }
        self.staging.expire(moment.time_ms)?;
        let ran = self.run(moment, self.budget, command);
        let taken_down = self.writer.taken_down.take();
        match (&ran, &mut self.disk) {
            (Ok(body), Some(disk)) => disk.note(Ran {
                seed: moment.seed,
                changes: self.writer.changes,
                body: body.clone(),
                taken_down: taken_down.as_ref().map_or_else(Bytes::new, Changes::shared),
            }),
            (Err(_), _) => self.failed(),
            _ => {}
        }
        if let Some(changes) = taken_down {
            self.capture.add(changes);
        }
        ran
    }

    fn end_entry(&mut self, index: Index, time_ms: u64) {
        self.capture.end_entry(index, time_ms);
    }

    fn save(&mut self) -> Content {
        self.content()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DatabaseError> {
        let parts = Parts::read(state)?;
        let file = parts.file;
        let map = Map::read(file);
        if Map::is_foreign(file) {
            return Err(DatabaseError::Pages("is another version's".to_owned()));
        }
        let before = std::mem::take(&mut self.staging.image);
        let image = match (&mut self.disk, map) {
            (None, None) => Image::new(file),
            (None, Some(map)) => self.load_map(&map)?,
            (Some(disk), Some(map)) => self.file.with(|image| disk.open(&map, [image, &before]))?,
            (Some(disk), None) => {
                disk.replaced()?;
                let mut image = self.file.with(|before| disk.empty(Some(before)));
                image.succeed(&before);
                // Piece by piece, as what is in memory is written before the next one comes.
                for (number, piece) in file.chunks(RESTORED).enumerate() {
                    image.write(number * RESTORED, piece)?;
                }
                image
            }
        };
        let (image, staged) = parts.split(image);
        self.staging.image = match &self.disk {
            Some(disk) if parts.staged.is_none() => disk.empty(None),
            _ => staged,
        };
        self.capture.decode(parts.capture)?;
        self.replace(image)?;
        self.set_head(state)
    }

    fn save_reference(&mut self) -> io::Result<Content> {
        Self::save_reference(self)
    }

    fn commit(&mut self, at: (Index, Term), note: &[u8]) -> io::Result<()> {
        self.note_changes(at, note)
    }

    fn recall(&mut self, applied: Index) -> Result<Vec<Recorded>, DatabaseError> {
        Ok(self.begin_recall(applied)?)
    }

    fn recalled(&mut self) -> Result<(), DatabaseError> {
        self.end_recall()
    }
}

#[cfg(test)]
mod connections;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod faults;

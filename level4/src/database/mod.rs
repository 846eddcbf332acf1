//! The SQLite database behind the log: deterministic execution, in memory.
//!
//! The database lives in memory and is rebuilt from snapshot and log; durability is the log's. Each
//! request behaves as in a fresh `sqlite3` process: an open transaction is rolled back at its end, and
//! a connection that remembers more of the request than the data is replaced. Readers work on copies of
//! the file as it was between two requests, on threads of their own.

mod complete;
mod digest;
mod dump;
mod engine;
mod guard;
mod nesting;
mod readers;
mod session;
mod shell;
mod statements;
mod tokens;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use crate::codec::{Malformed, Reader, Writer};
use crate::machine::{Executor, Moment, Saved};
use crate::message::Command;
use crate::statement::{Outcome, Statements};
use engine::image::Image;
use engine::meter;
use engine::vfs::File;
use guard::Access;
use nesting::TooLong;
use session::Session;

pub use dump::DumpError;
pub use engine::meter::{Budget, Exceeded, Scope};
pub use readers::{Cancel, Read, ReadAnswer, Readers, View};

/// The database that requests from the log change.
#[derive(Debug)]
pub struct Database {
    file: File,
    writer: Session,
    /// Tells this database from others that this process has had.
    generation: u64,
    /// What a request may use that asks for no more.
    budget: Budget,
}

/// Raised whenever the same entry is executed in another way than before: the replicas of programs with
/// different ones are not compared.
const DIALECT: u32 = 2;

static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// Offsets of the two versions in a SQLite file's header (file format, section 1.3), and their values.
const FILE_FORMAT_VERSIONS: [usize; 2] = [18, 19];
const ROLLBACK_JOURNAL: u8 = 1;
const WAL: u8 = 2;

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
        })
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

    /// Replaces the database by a file that a client gave, if it stands SQLite's check. The check runs
    /// the file's own expressions, so it is guarded like a request, with a budget of its own.
    fn load(
        &mut self,
        moment: Moment,
        budget: Budget,
        file: &[u8],
    ) -> Result<Bytes, DatabaseError> {
        let mut image = Image::new(file);
        // A file in WAL mode that was closed well has all its content, but says that it needs a WAL.
        for version in FILE_FORMAT_VERSIONS {
            if file.get(version) == Some(&WAL) {
                image.write(version, &[ROLLBACK_JOURNAL]);
            }
        }
        let outcome = match check(&image, moment, budget) {
            Ok(()) => Self::open(image).map(|database| {
                let budget = self.budget;
                *self = Self { budget, ..database };
                self.writer.is_foreign = true;
            }),
            Err(error) => Err(error),
        };
        if let Some(fault) = meter::end() {
            return Err(DatabaseError::Environment(fault));
        }
        let outcome = match outcome {
            Ok(()) => DONE,
            Err(error @ DatabaseError::Environment(_)) => return Err(error),
            Err(error) => Outcome::Error(error.to_string()),
        };
        Ok(Outcome::encode_all(&[outcome]).into())
    }
}

/// Whether a file is a whole database.
fn check(image: &Image, moment: Moment, budget: Budget) -> Result<(), DatabaseError> {
    let file = File::new(image.clone());
    let mut session = Session::open(&file, Access::Read)?;
    session.is_foreign = true;
    session.check_tables()?;
    let budget = budget.bulk(Scope::Load, image.len() as u64);
    let (mut verdict, mut exceeded) = (Ok(String::new()), None);
    session.request(&file, moment, budget, |work| {
        verdict = work.text("PRAGMA integrity_check(1)");
        exceeded = meter::exceeded();
        Vec::new()
    })?;
    match (exceeded, verdict) {
        (Some(exceeded), _) => Err(exceeded.into()),
        (None, Ok(verdict)) if verdict == "ok" => Ok(()),
        (None, Ok(damage) | Err(damage)) => Err(DatabaseError::Damaged(damage)),
    }
}

/// Stands between the budget and the file in a snapshot, where a client has loaded the database. No SQLite
/// file begins so.
const FOREIGN: u8 = 1;

/// The budget, whether a client has loaded the database, and the file, from a snapshot.
fn parts(state: &[u8]) -> Result<(Budget, bool, &[u8]), Malformed> {
    let mut reader = Reader::new(state);
    let budget = Budget::decode(&mut reader)?;
    let rest = reader.rest();
    let file = rest.strip_prefix(&[FOREIGN]);
    Ok((budget, file.is_some(), file.unwrap_or(rest)))
}

/// The database as of one moment, for snapshots.
#[derive(Debug)]
pub struct Content {
    /// What is not in the file.
    head: Vec<u8>,
    image: Image,
}

impl Saved for Content {
    fn size(&self) -> usize {
        self.head.len() + self.image.len()
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.head);
        self.image.append_to(bytes);
    }
}

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
        let version = format!(
            "{} {DIALECT} {}",
            env!("CARGO_PKG_VERSION"),
            rusqlite::version()
        );
        u64::from(crc32c::crc32c(version.as_bytes()))
    }

    fn is_comparable(&self, command: &Command) -> bool {
        // EXPLAIN shows addresses.
        let mut words = command.body().windows(7);
        !words.any(|word| word.eq_ignore_ascii_case(b"explain"))
    }

    fn changes(&self) -> u64 {
        self.writer.changes
    }

    fn execute(&mut self, moment: Moment, command: &Command) -> Result<Bytes, DatabaseError> {
        self.run(moment, self.budget, command)
    }

    fn save(&mut self) -> Content {
        let mut writer = Writer::new();
        self.budget.encode(&mut writer);
        if self.writer.is_foreign {
            writer.byte(FOREIGN);
        }
        Content {
            head: writer.finish(),
            image: self.file.image(),
        }
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), DatabaseError> {
        let (budget, is_foreign, file) = parts(state)?;
        let database = Self::open(Image::new(file))?;
        *self = Self { budget, ..database };
        self.writer.is_foreign = is_foreign;
        Ok(())
    }
}

#[cfg(test)]
mod connections;
#[cfg(test)]
mod faults;

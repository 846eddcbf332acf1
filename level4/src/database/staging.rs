//! A long SQLite file on its way into the database: the log has it piece by piece, so that no entry is long and
//! nobody has it in memory.
//!
//! What has come is part of the replicated state, beside the database and with its pages in the same place; nobody
//! sees it until it is adopted, and then it is the database. A newer file takes the place of one that has not come to
//! its end, and one of which nothing has come for long is forgotten.

use bytes::Bytes;

use super::engine::image::Image;
use super::engine::meter::Budget;
use super::loading::LIMIT;
use super::{DONE, Database, DatabaseError, unreadable};
use crate::codec::{Malformed, Reader, Writer};
use crate::machine::Moment;
use crate::statement::Outcome;

/// So long may pass between two pieces of a file, milliseconds of the log's time.
const PATIENCE_MS: u64 = 600_000;

/// What is to be done with a file that comes in, as a command of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage<'a> {
    /// Some of its bytes.
    Piece {
        /// Tells the file from others.
        file: u64,
        /// Where they belong; 0 begins the file.
        offset: u64,
        /// At most [`PIECE`].
        bytes: &'a [u8],
    },
    /// All has come: it is the database from here on.
    Adopt {
        /// As above.
        file: u64,
        /// Bytes in all.
        length: u64,
        /// CRC32C of all of them.
        sum: u32,
    },
    /// It is not wanted any more.
    Discard {
        /// As above.
        file: u64,
    },
}

/// The longest piece, bytes.
pub const PIECE: usize = 8 << 20;

impl<'a> Stage<'a> {
    /// The bytes for a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let (kind, file) = match self {
            Self::Piece { file, .. } => (0, file),
            Self::Adopt { file, .. } => (1, file),
            Self::Discard { file } => (2, file),
        };
        writer.byte(kind);
        writer.raw(&file.to_le_bytes());
        match self {
            Self::Piece { offset, bytes, .. } => {
                writer.uint(*offset);
                writer.raw(bytes);
            }
            Self::Adopt { length, sum, .. } => {
                writer.uint(*length);
                writer.raw(&sum.to_le_bytes());
            }
            Self::Discard { .. } => {}
        }
        writer.finish()
    }

    /// Reads [`Stage::encode`]'s bytes.
    ///
    /// # Errors
    ///
    /// Bytes in another format.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = reader.byte()?;
        let file = u64::from_le_bytes(reader.array()?);
        Ok(match kind {
            0 => Self::Piece {
                file,
                offset: reader.uint()?,
                bytes: reader.rest(),
            },
            1 => Self::Adopt {
                file,
                length: reader.uint()?,
                sum: u32::from_le_bytes(reader.array()?),
            },
            2 => Self::Discard { file },
            _ => return Err(Malformed { at: 0 }),
        })
    }
}

/// What is known of a file that comes in, besides its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Tells it from others.
    file: u64,
    /// CRC32C of what has come.
    sum: u32,
    /// When something last came, milliseconds since 1970.
    time_ms: u64,
}

impl Known {
    /// Appends the bytes that [`Known::decode`] reads.
    pub fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.file.to_le_bytes());
        writer.raw(&self.sum.to_le_bytes());
        writer.uint(self.time_ms);
    }

    /// Reads [`Known::encode`]'s bytes.
    ///
    /// # Errors
    ///
    /// Bytes in another format.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            file: u64::from_le_bytes(reader.array()?),
            sum: u32::from_le_bytes(reader.array()?),
            time_ms: reader.uint()?,
        })
    }
}

/// What has come of a file.
#[derive(Debug, Default)]
pub struct Staging {
    /// `None`: no file comes in.
    pub known: Option<Known>,
    /// Its bytes.
    pub image: Image,
}

/// Why a piece was not taken, or a file not adopted. The same on all nodes.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "the file cannot be gone on with: another one has begun to come in, or nothing of this one came for 10 minutes"
    )]
    Lost,
    #[error("what has come is not the file that was sent")]
    Differs,
}

impl Staging {
    /// Nothing has come; `image` is where it will.
    pub fn new(image: Image) -> Self {
        Self { known: None, image }
    }

    /// What has come, which is staged no more.
    pub fn take(&mut self) -> Image {
        std::mem::take(self).image
    }

    /// Forgets what has come.
    pub fn discard(&mut self) -> Result<(), DatabaseError> {
        self.known = None;
        Ok(self.image.truncate(0)?)
    }

    /// Forgets a file of which nothing has come for long, as of the time of an entry.
    pub fn expire(&mut self, time_ms: u64) -> Result<(), DatabaseError> {
        let is_old = |known: Known| time_ms.saturating_sub(known.time_ms) > PATIENCE_MS;
        if self.known.is_some_and(is_old) {
            self.discard()?;
        }
        Ok(())
    }

    fn is_of(&self, file: u64) -> bool {
        self.known.is_some_and(|known| known.file == file)
    }

    fn append(
        &mut self,
        (file, offset): (u64, u64),
        bytes: &[u8],
        time_ms: u64,
    ) -> Result<Outcome, DatabaseError> {
        if offset == 0 {
            self.discard()?;
        } else if !self.is_of(file) || offset != self.image.len() as u64 {
            return Ok(Outcome::Error(Refusal::Lost.to_string()));
        }
        if offset + bytes.len() as u64 > LIMIT {
            self.discard()?;
            return Ok(Outcome::Error(DatabaseError::TooLarge.to_string()));
        }
        let sum = self.known.map_or(0, |known| known.sum);
        self.known = Some(Known {
            file,
            sum: crc32c::crc32c_append(sum, bytes),
            time_ms,
        });
        self.image.write(self.image.len(), bytes)?;
        Ok(DONE)
    }
}

impl Database {
    /// Obeys a command about a file that comes in.
    pub(super) fn stage(
        &mut self,
        moment: Moment,
        budget: Budget,
        encoded: &[u8],
    ) -> Result<Bytes, DatabaseError> {
        let outcome = match Stage::decode(encoded) {
            Err(error) => return Ok(unreadable(error)),
            Ok(Stage::Piece {
                file,
                offset,
                bytes,
            }) => self.staging.append((file, offset), bytes, moment.time_ms)?,
            Ok(Stage::Adopt { file, length, sum }) => {
                if !self.staging.is_of(file) {
                    Outcome::Error(Refusal::Lost.to_string())
                } else if self.staging.image.len() as u64 != length
                    || self.staging.known.is_none_or(|known| known.sum != sum)
                {
                    self.staging.discard()?;
                    Outcome::Error(Refusal::Differs.to_string())
                } else {
                    return self.adopt(moment, budget);
                }
            }
            Ok(Stage::Discard { file }) => {
                if self.staging.is_of(file) {
                    self.staging.discard()?;
                }
                DONE
            }
        };
        Ok(Outcome::encode_all(&[outcome]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::machine::{Executor as _, Saved as _};
    use crate::message::Command;

    fn moment(seconds: u64) -> Moment {
        Moment {
            time_ms: seconds * 1000,
            seed: seconds,
        }
    }

    fn stage(database: &mut Database, seconds: u64, stage: &Stage) -> Outcome {
        let command = Command::Stage(stage.encode().into());
        let answer = database.execute(moment(seconds), &command).unwrap();
        Outcome::decode_all(&answer).unwrap().remove(0)
    }

    /// A database with a table that has a blob of so many bytes.
    fn filled(bytes: usize) -> Database {
        let mut database = Database::new().unwrap();
        let sql = format!("CREATE TABLE t (a); INSERT INTO t SELECT randomblob({bytes})");
        let command = Command::Shell(sql.into());
        database.execute(moment(0), &command).unwrap();
        database
    }

    fn a_file() -> Vec<u8> {
        content(&filled(300_000))
    }

    fn send(database: &mut Database, name: u64, file: &[u8], pieces: std::ops::Range<usize>) {
        for number in pieces {
            let offset = number * 50_000;
            let bytes = &file[offset..file.len().min(offset + 50_000)];
            let piece = Stage::Piece {
                file: name,
                offset: offset as u64,
                bytes,
            };
            assert_eq!(stage(database, number as u64, &piece), DONE);
        }
    }

    fn adoption(name: u64, file: &[u8]) -> Stage<'static> {
        Stage::Adopt {
            file: name,
            length: file.len() as u64,
            sum: crc32c::crc32c(file),
        }
    }

    fn refused(outcome: &Outcome, reason: &str) {
        assert!(
            matches!(outcome, Outcome::Error(error) if error.contains(reason)),
            "{outcome:?}"
        );
    }

    fn content(database: &Database) -> Vec<u8> {
        database.view().to_vec().unwrap()
    }

    #[test]
    fn a_file_that_came_in_pieces_is_the_database_once_it_is_adopted_and_not_before() {
        let file = a_file();
        let mut database = filled(50_000);
        let before = content(&database);
        send(&mut database, 7, &file, 0..7);
        assert!(content(&database) == before);
        assert_eq!(stage(&mut database, 9, &adoption(7, &file)), DONE);
        assert!(content(&database) == file);
        assert!(database.staging.image.is_empty());
        // Once only.
        refused(
            &stage(&mut database, 9, &adoption(7, &file)),
            "gone on with",
        );
    }

    #[test]
    fn what_has_come_outlives_snapshots_from_one_form_to_the_other() {
        let file = a_file();
        let folder = tempfile::tempdir().unwrap();
        let mut database = filled(50_000);
        let before = content(&database);
        send(&mut database, 7, &file, 0..2);
        for (number, pieces) in [2..4, 4..5, 5..7].into_iter().enumerate() {
            let state = database.save().to_bytes().unwrap();
            let digest = database.save().digest().unwrap();
            assert_eq!(Database::digest(&state).unwrap(), digest);
            database = if number == 1 {
                Database::new().unwrap()
            } else {
                let home = folder.path().join(number.to_string());
                Database::on_disk(&home, NodeId::new(1)).unwrap()
            };
            database.restore(&state).unwrap();
            assert!(content(&database) == before);
            send(&mut database, 7, &file, pieces);
        }
        assert_eq!(stage(&mut database, 9, &adoption(7, &file)), DONE);
        assert!(content(&database) == file);
    }

    #[test]
    fn what_is_not_the_file_that_was_sent_is_refused_and_changes_nothing() {
        let file = a_file();
        let mut database = filled(50_000);
        let before = content(&database);
        let lost = "gone on with";
        // Nothing came.
        refused(&stage(&mut database, 0, &adoption(7, &file)), lost);
        // Another one has begun.
        send(&mut database, 7, &file, 0..3);
        send(&mut database, 8, &file, 0..1);
        let piece = |file: u64, offset: u64| Stage::Piece {
            file,
            offset,
            bytes: b"more",
        };
        refused(&stage(&mut database, 3, &piece(7, 150_000)), lost);
        // A piece is missing; one comes twice.
        refused(&stage(&mut database, 3, &piece(8, 50_001)), lost);
        assert_eq!(stage(&mut database, 3, &piece(8, 50_000)), DONE);
        refused(&stage(&mut database, 3, &piece(8, 50_000)), lost);
        // It is another one than was said.
        refused(
            &stage(&mut database, 4, &adoption(8, &file)),
            "not the file",
        );
        refused(&stage(&mut database, 4, &adoption(8, &file)), lost);
        // It is no database.
        let half = &file[..file.len() / 2];
        send(&mut database, 9, half, 0..half.len().div_ceil(50_000));
        refused(
            &stage(&mut database, 5, &adoption(9, half)),
            "SQLite database",
        );
        assert!(database.staging.image.is_empty() && content(&database) == before);
        // Nobody wants it; or nothing came for long.
        send(&mut database, 10, &file, 0..7);
        assert_eq!(stage(&mut database, 7, &Stage::Discard { file: 11 }), DONE);
        assert!(!database.staging.image.is_empty());
        assert_eq!(stage(&mut database, 7, &Stage::Discard { file: 10 }), DONE);
        assert!(database.staging.image.is_empty());
        send(&mut database, 11, &file, 0..7);
        refused(&stage(&mut database, 700, &adoption(11, &file)), lost);
        assert!(database.staging.image.is_empty() && content(&database) == before);
    }

    #[test]
    fn commands_survive_the_log() {
        for stage in [
            Stage::Piece {
                file: 1 << 60,
                offset: 1 << 40,
                bytes: b"bytes",
            },
            adoption(5, b"file"),
            Stage::Discard { file: 3 },
        ] {
            assert_eq!(Stage::decode(&stage.encode()).unwrap(), stage);
        }
    }
}

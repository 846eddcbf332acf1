//! SQLite files that others have made, as the database.

use std::io::Read;

use bytes::Bytes;

use super::engine::image::Image;
use super::engine::meter;
use super::engine::vfs::File;
use super::guard::Access;
use super::session::Session;
use super::staging::Staging;
use super::{
    Budget, DONE, Database, DatabaseError, FILE_FORMAT_VERSIONS, ROLLBACK_JOURNAL, Scope, WAL,
};
use crate::machine::Moment;
use crate::statement::Outcome;

/// Bytes of a file that are taken at a time.
const PIECE: usize = 1 << 20;
/// For so many bytes of a file its check may use the usual budget once more.
const BYTES_A_BUDGET: u64 = 1 << 20;
/// The longest file, bytes: as long as a database may be.
pub const LIMIT: u64 = 64 << 30;

/// What the check of a file of this length may use.
pub fn budget_for(budget: Budget, length: u64) -> Budget {
    budget.times(1 + length / BYTES_A_BUDGET)
}

impl Database {
    /// Replaces the database by a file that a client gave, if it stands SQLite's check. The check runs
    /// the file's own expressions, so it is guarded like a request, with a budget of its own.
    pub(super) fn load(
        &mut self,
        moment: Moment,
        budget: Budget,
        file: &[u8],
    ) -> Result<Bytes, DatabaseError> {
        let mut image = Image::new(file);
        let checked = check(&mut image, moment, budget);
        let outcome = checked.and_then(|()| self.put(image));
        judged(outcome)
    }

    /// Replaces the database by the file that has come in piece by piece, likewise; no more is to come of it.
    pub(super) fn adopt(&mut self, moment: Moment, budget: Budget) -> Result<Bytes, DatabaseError> {
        let length = self.staging.image.len() as u64;
        let outcome = match check(&mut self.staging.image, moment, budget_for(budget, length)) {
            Ok(()) => {
                let image = self.staging.take();
                if let Some(disk) = &self.disk {
                    self.staging = Staging::new(disk.empty(None));
                }
                self.put(image)
            }
            Err(error) => {
                self.staging.discard()?;
                Err(error)
            }
        };
        judged(outcome)
    }

    /// A file is the database from here on.
    fn put(&mut self, mut image: Image) -> Result<(), DatabaseError> {
        if let Some(disk) = &self.disk {
            image = self.file.with(|before| disk.adopt(image, Some(before)));
        }
        self.replace(image)?;
        self.writer.is_foreign = true;
        Ok(())
    }

    /// Replaces the database by a file that the operator gives, of any size, if it stands SQLite's check. Of one
    /// whose place is in the folder, no more than some pieces are in memory. Gives its length, bytes.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or is no database.
    pub fn begin_with(
        &mut self,
        moment: Moment,
        source: &mut dyn Read,
    ) -> Result<u64, DatabaseError> {
        let mut image = match &self.disk {
            Some(disk) => self.file.with(|before| disk.empty(Some(before))),
            None => Image::default(),
        };
        let mut source = source.take(LIMIT + 1);
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            piece.clear();
            (&mut source).take(PIECE as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            image.write(image.len(), &piece)?;
            image.write_back()?;
        }
        let length = image.len() as u64;
        if length > LIMIT {
            return Err(DatabaseError::TooLarge);
        }
        check(&mut image, moment, budget_for(self.budget, length))?;
        self.replace(image)?;
        self.writer.is_foreign = true;
        match meter::end() {
            Some(fault) => Err(DatabaseError::Environment(fault)),
            None => Ok(length),
        }
    }
}

/// A file in WAL mode that was closed well has all its content, but says that it needs a WAL.
fn leave_wal_mode(image: &mut Image) -> Result<(), DatabaseError> {
    for version in FILE_FORMAT_VERSIONS {
        let mut found = [0];
        if image.read(version, &mut found)? == 1 && found == [WAL] {
            image.write(version, &[ROLLBACK_JOURNAL])?;
        }
    }
    Ok(())
}

/// The answer to whoever has given a file, the same on all nodes.
fn judged(outcome: Result<(), DatabaseError>) -> Result<Bytes, DatabaseError> {
    if let Some(fault) = meter::end() {
        return Err(DatabaseError::Environment(fault));
    }
    let outcome = match outcome {
        Ok(()) => DONE,
        // Other nodes need not have met with it.
        Err(
            error
            @ (DatabaseError::Environment(_) | DatabaseError::Io(_) | DatabaseError::Pages(_)),
        ) => return Err(error),
        Err(error) => Outcome::Error(error.to_string()),
    };
    Ok(Outcome::encode_all(&[outcome]).into())
}

/// Whether a file is a whole database. It is not in WAL mode afterwards.
fn check(image: &mut Image, moment: Moment, budget: Budget) -> Result<(), DatabaseError> {
    leave_wal_mode(image)?;
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

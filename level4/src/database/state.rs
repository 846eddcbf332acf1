//! The database's state as a snapshot has it: what is not in the file, and the file.
//!
//! What stands before the file is the budget, whether a client has loaded the database, what is known of a file that
//! comes in, and changes that nobody has been told yet; the last three only if there are any. The pages of the file
//! that comes in stand behind those of the database.

use std::io;

use super::disk::{self, Reference};
use super::engine::image::Image;
use super::engine::meter::Budget;
use super::engine::pages::PAGE;
use super::readers::View;
use super::staging::Known;
use super::{Database, DatabaseError};
use crate::codec::{Malformed, Reader, Writer};
use crate::machine::Saved;

/// A client has loaded the database. No SQLite file begins so.
const FOREIGN: u8 = 1;
/// Before changes that wait, if any are kept.
const CAPTURE: u8 = 2;
/// Before what is known of a file that comes in.
const STAGED: u8 = 3;

/// A snapshot's state, taken apart.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Of each request.
    pub budget: Budget,
    /// Whether a client has loaded the database.
    pub is_foreign: bool,
    /// A file that comes in, and how long the database is before it, bytes.
    pub staged: Option<(Known, usize)>,
    /// Changes that wait.
    pub capture: Option<&'a [u8]>,
    /// The database, and what has come of the file.
    pub file: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes it apart.
    ///
    /// # Errors
    ///
    /// Bytes in another format.
    pub fn read(state: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Self::begin(state)?;
        if let Some(after) = parts.file.strip_prefix(&[CAPTURE]) {
            let mut reader = Reader::new(after);
            parts.capture = Some(reader.bytes()?);
            parts.file = reader.rest();
        }
        Ok(parts)
    }

    /// Reads what stands before changes that wait.
    fn begin(state: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(state);
        let budget = Budget::decode(&mut reader)?;
        let mut rest = reader.rest();
        let foreign = rest.strip_prefix(&[FOREIGN]);
        rest = foreign.unwrap_or(rest);
        let mut staged = None;
        if let Some(after) = rest.strip_prefix(&[STAGED]) {
            let mut reader = Reader::new(after);
            let known = Known::decode(&mut reader)?;
            let length = usize::try_from(reader.uint()?).map_err(|_| Malformed { at: 0 })?;
            staged = Some((known, length));
            rest = reader.rest();
        }
        Ok(Self {
            budget,
            is_foreign: foreign.is_some(),
            staged,
            capture: None,
            file: rest,
        })
    }

    /// The database among the pages of the state, and what has come of a file.
    pub fn split(&self, mut image: Image) -> (Image, Image) {
        match &self.staged {
            Some((_, length)) => {
                let staged = image.split_off(*length);
                (image, staged)
            }
            None => (image, Image::default()),
        }
    }
}

/// So many bytes of a snapshot, if it has them, say where the file begins in it.
pub const FIRST_BYTES: usize = 128;

/// Where the file begins in a snapshot of which these are the first bytes.
///
/// # Errors
///
/// Bytes in another format.
pub fn file_begins(first: &[u8]) -> Result<u64, Malformed> {
    let mut rest = Parts::begin(first)?.file;
    let mut waiting = 0;
    if let Some(after) = rest.strip_prefix(&[CAPTURE]) {
        let mut reader = Reader::new(after);
        waiting = reader.uint()?;
        rest = reader.rest();
    }
    Ok(waiting.saturating_add((first.len() - rest.len()) as u64))
}

/// The database as of one moment, for snapshots.
#[derive(Debug)]
pub struct Content {
    /// What is not in the file.
    head: Vec<u8>,
    image: Image,
    /// What has come of a file.
    staged: Image,
    /// It can be kept as a map.
    pub(super) reference: Option<Reference>,
}

impl Content {
    /// What is not in the files, and the pages of both.
    pub fn parts(&self) -> (&[u8], View) {
        (&self.head, View::new(self.whole(), 0, Budget::default()))
    }

    /// What is not in the files, and the database.
    pub(super) fn database(&self) -> (&[u8], &Image) {
        (&self.head, &self.image)
    }

    fn whole(&self) -> Image {
        self.image.joined(&self.staged)
    }

    /// Its length, bytes.
    fn length(&self) -> usize {
        if self.staged.is_empty() {
            return self.image.len();
        }
        self.image.len().next_multiple_of(PAGE) + self.staged.len()
    }
}

impl Saved for Content {
    fn size(&self) -> usize {
        self.head.len() + self.length()
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.extend_from_slice(&self.head);
        self.whole().append_to(bytes)
    }

    fn reference_size(&self) -> usize {
        let map = |_: &Reference| self.head.len() + disk::map_size(self.length());
        self.reference.as_ref().map_or_else(|| self.size(), map)
    }

    fn append_reference_to(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        match &self.reference {
            Some(reference) => {
                bytes.extend_from_slice(&self.head);
                reference.append_to(&self.whole(), bytes);
                Ok(())
            }
            None => self.append_to(bytes),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.reference.as_ref().map_or(Ok(()), Reference::sync)
    }

    fn keep(&self) {
        if let Some(reference) = &self.reference {
            reference.keep(&self.whole());
        }
    }
}

impl Database {
    /// The state now.
    pub(super) fn content(&self) -> Content {
        let mut head = self.head();
        if let Some(capture) = self.capture.encode() {
            let mut writer = Writer::new();
            writer.byte(CAPTURE);
            writer.bytes(&capture);
            head.extend(writer.finish());
        }
        Content {
            head,
            image: self.file.image(),
            staged: self.staging.image.clone(),
            reference: None,
        }
    }

    /// What is not in the files, but for changes that wait.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.budget.encode(&mut writer);
        if self.writer.is_foreign {
            writer.byte(FOREIGN);
        }
        if let Some(known) = &self.staging.known {
            writer.byte(STAGED);
            known.encode(&mut writer);
            writer.uint(self.file.len() as u64);
        }
        writer.finish()
    }

    /// Takes over what [`Database::head`] gave.
    pub(super) fn set_head(&mut self, head: &[u8]) -> Result<(), DatabaseError> {
        let parts = Parts::read(head)?;
        self.budget = parts.budget;
        self.writer.is_foreign = parts.is_foreign;
        self.staging.known = parts.staged.map(|(known, _)| known);
        Ok(())
    }
}

//! A snapshot on its way from another node into the file of pages.

use std::io;
use std::sync::Arc;

use super::disk::{Shelf, append_map};
use super::engine::image::Image;
use super::engine::pages::PAGE;
use super::state::{FIRST_BYTES, Parts, file_begins};
use crate::codec::Malformed;
use crate::ids::Index;

/// What stands before the file in a database's state is shorter than this, bytes: changes that nobody has been told
/// yet may be up to half of it.
const HEAD_LIMIT: u64 = 2 << 30;

/// A database's state that is coming in, piece by piece.
#[derive(Debug)]
pub struct Landing {
    shelf: Arc<Shelf>,
    /// The snapshot's.
    index: Index,
    /// What stands before the file; until it is known how much that is, what has come.
    head: Vec<u8>,
    image: Option<Owned>,
    /// What has come of the next page.
    tail: Vec<u8>,
}

/// An image that gives its slots back if nobody takes it.
#[derive(Debug)]
struct Owned(Image);

impl Owned {
    fn take(mut self) -> Image {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A state that is here, and neither in use nor referred to by a durable snapshot yet.
#[derive(Debug)]
pub struct Landed {
    generation: u64,
    index: Index,
    /// For the database, which has not come to it yet.
    image: Option<Owned>,
    /// Its pages stay until the snapshot is durable.
    copy: Option<Image>,
}

impl Landed {
    /// Whether the map of this generation says where its pages are.
    pub fn is(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// The database.
    pub fn take(&mut self) -> Option<Image> {
        self.image.take().map(Owned::take)
    }

    /// What has to stay now that the map is durable.
    pub fn take_copy(&mut self) -> Option<Image> {
        self.copy.take()
    }

    /// Whether anybody will ask for it, of a database that has everything up to `applied`.
    pub fn is_awaited(&self, applied: Index) -> bool {
        match &self.image {
            // A state that has parted may be replaced by one at the same index.
            Some(_) => self.index >= applied,
            None => self.copy.is_some(),
        }
    }
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Landing {
    /// Nothing has come of the snapshot at `index`.
    pub fn new(shelf: Arc<Shelf>, index: Index) -> Self {
        Self {
            shelf,
            index,
            head: Vec::new(),
            image: None,
            tail: Vec::new(),
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    ///
    /// If they are not in the format; or if the file takes no more, and then they can be given again.
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(Owned(image)) = &mut self.image {
            // What came before. Little at a time, as somebody waits for it who must not wait for long.
            image.write_back()?;
            self.tail.extend_from_slice(bytes);
            let whole = self.tail.len() / PAGE * PAGE;
            image.write(image.len(), &self.tail[..whole])?;
            self.tail.drain(..whole);
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        if self.head.len() < FIRST_BYTES {
            return Ok(());
        }
        let begins = file_begins(&self.head).map_err(malformed)?;
        if begins > HEAD_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if begins <= self.head.len() as u64 {
            self.open()?;
        }
        Ok(())
    }

    /// All that stands before the file is here.
    fn open(&mut self) -> io::Result<()> {
        let Parts { file, .. } = Parts::read(&self.head).map_err(malformed)?;
        let at = self.head.len() - file.len();
        let image = Image::default().write_to(self.shelf.store(), None);
        self.image = Some(Owned(image));
        let file = self.head.split_off(at);
        self.take(&file)
    }

    /// All has come: the state as the database takes it.
    ///
    /// # Errors
    ///
    /// As [`Landing::take`].
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        if self.image.is_none() {
            self.open()?;
        }
        let Some(mut image) = self.image.take() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        image.0.write(image.0.len(), &self.tail)?;
        image.0.begin()?;
        let generation = self.shelf.take_generation();
        let mut state = self.head;
        append_map(&image.0, self.index, generation, &mut state);
        self.shelf.land(Landed {
            generation,
            index: self.index,
            copy: Some(image.0.clone()),
            image: Some(image),
        });
        Ok(state)
    }
}

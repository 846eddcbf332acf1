//! The database in a file: what it has beside the form in memory.
//!
//! `pages` holds the pages of the database as it is now, of the last snapshot and of every copy that
//! somebody holds; a snapshot in the node's folder only says where its pages are (a *map*), after these have
//! been synced; and [`super::changes`] says what came after it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::changes::{self, About, Boot, Changes, Doubt, Owner, Ran, Record};
use super::engine::image::Image;
use super::engine::pages::{PAGE, Slot, Store};
use super::landing::Landed;
use super::readers::View;
use super::staging::Staging;
use super::state::Parts;
use super::{Content, Database, DatabaseError};
use crate::ids::{Index, NodeId, Term};
use crate::machine::{Executor as _, Recorded};
use crate::notes::note;

/// A map begins so; no SQLite file does. The last byte is the version. Index in the log, generation, length (u64
/// each), then slot and CRC32C (u32 each) of every page follow.
const MAP: &[u8; 8] = b"L4MAP\x00\x00\x02";
const MAP_HEADER: usize = 32;
const ENTRY: usize = 8;

/// Length of the map of a copy of so many bytes, bytes.
pub fn map_size(length: usize) -> usize {
    MAP_HEADER + length.div_ceil(PAGE) * ENTRY
}

/// Where the pages of a database are, as a snapshot says it.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    index: Index,
    generation: u64,
    length: usize,
    slots: &'a [u8],
}

impl<'a> Map<'a> {
    /// Reads a map; `None`: it is none.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, slots) = bytes.split_at_checked(MAP_HEADER)?;
        let number = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let map = Self {
            index: Index::new(number(8)?),
            generation: number(16)?,
            length: usize::try_from(number(24)?).ok()?,
            slots,
        };
        let is_whole = slots.len() == map.length.div_ceil(PAGE).checked_mul(ENTRY)?;
        (header.starts_with(MAP) && is_whole).then_some(map)
    }

    /// Whether what is not one in this version looks like one in another.
    pub fn is_foreign(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAP[..7]) && !bytes.starts_with(MAP)
    }

    fn slots(&self) -> impl Iterator<Item = Slot> + 'a {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        self.slots.chunks_exact(ENTRY).map(move |entry| Slot {
            number: number(&entry[..4]),
            sum: number(&entry[4..]),
        })
    }

    /// The database, if its pages can be there.
    fn image(&self, store: &Arc<Store>) -> Result<Image, DatabaseError> {
        let end = store.end();
        if self.slots().any(|slot| slot.number >= end) {
            return Err(DatabaseError::Pages("is missing, or cut off".to_owned()));
        }
        Ok(Image::stored(store, self.slots(), self.length))
    }

    /// Whether all pages are on the disk as they were written.
    fn verify(&self, store: &Store) -> Result<(), DatabaseError> {
        let damaged = |error: io::Error| DatabaseError::Pages(error.to_string());
        self.slots()
            .try_for_each(|slot| store.check(slot))
            .map_err(damaged)
    }
}

/// The files, as far as other threads need them.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    store: Arc<Store>,
    /// The snapshot that is on the disk: its pages stay.
    kept: Mutex<Option<Kept>>,
    /// Those from other nodes.
    landed: Mutex<Vec<Landed>>,
    /// The generation of the next snapshot.
    next: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    index: Index,
    generation: u64,
    image: Image,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    /// Slots that are free, and all.
    #[cfg(test)]
    pub(crate) fn usage(&self) -> (usize, usize) {
        self.store.usage()
    }

    /// The file of pages.
    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(super) fn take_generation(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// The pages of the snapshot that is on the disk.
    fn kept(&self) -> Option<Image> {
        locked(&self.kept).as_ref().map(|kept| kept.image.clone())
    }

    /// What a saved snapshot's `state` is in the form for other nodes: its first bytes, and the file behind
    /// them. `None`: it is in that form.
    ///
    /// # Errors
    ///
    /// If it is not the one that is kept.
    pub fn whole(shelf: Option<&Self>, state: &[u8]) -> io::Result<Option<(Vec<u8>, View)>> {
        let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let Parts { budget, file, .. } = Parts::read(state).map_err(malformed)?;
        let Some(map) = Map::read(file) else {
            return Ok(None);
        };
        let gone = || io::Error::other("the snapshot's pages are not kept");
        let kept = locked(&shelf.ok_or_else(gone)?.kept);
        let kept = kept.as_ref();
        let kept = kept.filter(|kept| kept.generation == map.generation);
        let kept = kept.ok_or_else(gone)?;
        let head = state[..state.len() - file.len()].to_vec();
        Ok(Some((head, View::new(kept.image.clone(), 0, budget))))
    }

    /// Makes the pages durable.
    ///
    /// # Errors
    ///
    /// If the disk fails. It is then unknown what is on it.
    pub fn sync(&self) -> io::Result<()> {
        self.store.sync().map_err(|error| self.unknown(error))
    }

    /// Has the system write what is only in its memory. What comes meanwhile may wait, and it is not durable.
    ///
    /// # Errors
    ///
    /// As [`Shelf::sync`].
    pub fn write_out(&self) -> io::Result<()> {
        self.store.write_back().map_err(|error| self.unknown(error))
    }

    /// What was written may be gone from the page cache, too, and no second try would tell, not even if there was
    /// only no room.
    fn unknown(&self, error: io::Error) -> io::Error {
        let _ = Database::distrust(&self.folder);
        io::Error::other(error)
    }

    /// The map at `index` is durable: its pages stay, and those of the one before may go.
    fn keep(&self, index: Index, generation: u64, image: Image) {
        {
            let mut kept = locked(&self.kept);
            if kept.as_ref().is_some_and(|kept| kept.index > index) {
                // One from another node has come meanwhile, and is the newest on the disk.
                return;
            }
            *kept = Some(Kept {
                index,
                generation,
                image,
            });
        }
        if let Err(error) = changes::remove(&self.folder, Some(generation)) {
            // They are only not needed.
            note(format_args!("old lists of changes stay: {error}"));
        }
    }

    /// A snapshot with this `state`, which came from another node, is durable.
    pub fn keep_landed(&self, state: &[u8]) {
        let parts = Parts::read(state).ok();
        let Some(map) = parts.and_then(|parts| Map::read(parts.file)) else {
            return;
        };
        if let Some(copy) = self.landed(map.generation, Landed::take_copy) {
            self.keep(map.index, map.generation, copy);
        }
    }

    /// A snapshot from another node is here.
    pub(super) fn land(&self, landed: Landed) {
        locked(&self.landed).push(landed);
    }

    /// Takes something of the one with this generation.
    fn landed(
        &self,
        generation: u64,
        take: impl FnOnce(&mut Landed) -> Option<Image>,
    ) -> Option<Image> {
        let mut landed = locked(&self.landed);
        landed.iter_mut().find(|l| l.is(generation)).and_then(take)
    }

    /// Gives the room back of what nobody will ask for any more, as the database has everything up to
    /// `applied`: Raft takes no snapshot from before.
    fn tidy(&self, applied: Index) {
        locked(&self.landed).retain(|landed| landed.is_awaited(applied));
    }
}

/// Which slots these images use, of those before `end`.
fn marks(images: [&Image; 2], end: u32) -> Vec<bool> {
    let mut marks = vec![false; end as usize];
    for slot in images.into_iter().flat_map(Image::slots) {
        if let Some(mark) = marks.get_mut(slot.number as usize) {
            *mark = true;
        }
    }
    marks
}

/// Appends the map of a copy.
pub fn append_map(image: &Image, index: Index, generation: u64, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(MAP);
    bytes.extend_from_slice(&index.get().to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&(image.len() as u64).to_le_bytes());
    for slot in image.slots() {
        bytes.extend_from_slice(&slot.number.to_le_bytes());
        bytes.extend_from_slice(&slot.sum.to_le_bytes());
    }
}

/// A snapshot that may be kept as a map.
#[derive(Debug)]
pub struct Reference {
    shelf: Arc<Shelf>,
    /// It stands there.
    index: Index,
    generation: u64,
}

impl Reference {
    /// Appends the map of a copy.
    pub fn append_to(&self, image: &Image, bytes: &mut Vec<u8>) {
        append_map(image, self.index, self.generation, bytes);
    }

    /// Makes the pages durable.
    ///
    /// # Errors
    ///
    /// If they cannot be, or one of them is known to be damaged: the snapshot before this one, and the log, can
    /// still make it anew. No second try helps.
    pub fn sync(&self) -> io::Result<()> {
        self.shelf.sync()?;
        if self.shelf.store.is_damaged() {
            let _ = Database::distrust(&self.shelf.folder);
            return Err(io::Error::other("a page of the database is damaged"));
        }
        Ok(())
    }

    /// The map is durable.
    pub fn keep(&self, image: &Image) {
        self.shelf.keep(self.index, self.generation, image.clone());
    }
}

/// What the database in a file has besides.
#[derive(Debug)]
pub struct Disk {
    shelf: Arc<Shelf>,
    /// `None`: it is not known which boot this is, and nothing is noted for the next process.
    owner: Option<Owner>,
    /// The boot is the one that wrote the files, as far as is known.
    is_trusted: bool,
    /// The state is that of the map of this generation, or of an empty database (0), until changes are noted.
    base: Option<u64>,
    /// The state is that which the node goes on with: no map is taken any more.
    has_begun: bool,
    changes: Option<Changes>,
    /// The last entry that is noted.
    noted: Index,
    /// What requests gave since.
    ran: Vec<Ran>,
    recall: Option<Recall>,
}

/// A state that an earlier process has left, on its way back.
#[derive(Debug)]
struct Recall {
    ran: VecDeque<Ran>,
    image: Image,
    staged: Image,
    head: Option<Bytes>,
    changes: Changes,
    at: Index,
}

impl Disk {
    /// What the request with this seed gave, if the state is only being called back.
    ///
    /// # Errors
    ///
    /// If it is another request's turn.
    pub fn recalled(&mut self, seed: u64) -> Option<Result<Ran, DatabaseError>> {
        let recall = self.recall.as_mut()?;
        let next = recall.ran.pop_front();
        Some(match next {
            Some(ran) if ran.seed == seed => Ok(ran),
            _ => Err(DatabaseError::Forgotten),
        })
    }

    /// A request was executed.
    pub fn note(&mut self, ran: Ran) {
        if self.owner.is_some() {
            self.ran.push(ran);
        }
    }

    /// Has changes of `image` written to the file; `before` is what the writer had.
    pub fn adopt(&self, image: Image, before: Option<&Image>) -> Image {
        image.write_to(&self.shelf.store, before)
    }

    /// An empty file.
    pub fn empty(&self, before: Option<&Image>) -> Image {
        self.adopt(Image::default(), before)
    }

    /// Takes a map's pages: those of the snapshot in the folder, before the node begins, or those
    /// that came from another node. `before` is what the writer had: the database, and a file that came in.
    pub fn open(&mut self, map: &Map, before: [&Image; 2]) -> Result<Image, DatabaseError> {
        if self.has_begun {
            let image = self.shelf.landed(map.generation, Landed::take);
            let mut image = image.ok_or(DatabaseError::Forgotten)?;
            for before in before {
                image.succeed(before);
            }
            self.base = Some(map.generation);
            self.ran.clear();
            self.noted = map.index;
            changes::remove(&self.shelf.folder, None)?;
            self.begin(map.generation, None)?;
            return Ok(image);
        }
        let image = map.image(&self.shelf.store)?;
        if !self.is_trusted {
            map.verify(&self.shelf.store)?;
        }
        self.base = Some(map.generation);
        self.shelf.next.fetch_max(map.generation + 1, Relaxed);
        self.shelf.keep(map.index, map.generation, image.clone());
        Ok(image.write_to(&self.shelf.store, None))
    }

    /// The state is another one, which no list of changes goes on from.
    pub fn replaced(&mut self) -> io::Result<()> {
        self.base = None;
        self.ran.clear();
        if !self.has_begun {
            // Nothing refers to the file any more.
            return self.shelf.store.reclaim(std::iter::empty());
        }
        changes::remove(&self.shelf.folder, None)?;
        let generation = self.shelf.take_generation();
        self.begin(generation, None)
    }

    fn begin(&mut self, generation: u64, after: Option<u64>) -> io::Result<()> {
        if let Some(owner) = &self.owner {
            let folder = &self.shelf.folder;
            self.changes = Some(Changes::create(folder, owner, generation, after)?);
        }
        Ok(())
    }

    /// Begins without what an earlier process may have left.
    fn start_anew(&mut self, used: [&Image; 2]) -> io::Result<()> {
        changes::remove(&self.shelf.folder, None)?;
        let kept = self.shelf.kept();
        let slots = kept.iter().chain(used).flat_map(Image::slots);
        self.shelf.store.reclaim(slots.map(|slot| slot.number))?;
        let generation = match self.base {
            Some(generation) => generation,
            None => self.shelf.take_generation(),
        };
        self.begin(generation, None)
    }
}

impl Database {
    /// The database in `folder`, as it is before a snapshot is restored and a former process's state is called
    /// back ([`crate::machine::Machine::recall`]).
    ///
    /// # Errors
    ///
    /// If the folder cannot be used.
    pub fn on_disk(folder: &Path, node: NodeId) -> Result<Self, DatabaseError> {
        fs::create_dir_all(folder)?;
        let boot = Boot::now();
        let shelf = Arc::new(Shelf {
            folder: folder.to_owned(),
            store: Store::open(&folder.join("pages"))?,
            kept: Mutex::default(),
            landed: Mutex::default(),
            next: AtomicU64::new(changes::next(folder)?),
        });
        // Snapshots are to be lists of what is in there.
        fs::File::open(folder)?.sync_all()?;
        folder
            .parent()
            .map_or(Ok(()), |home| fs::File::open(home)?.sync_all())?;
        let disk = Disk {
            is_trusted: boot.is_some() && Boot::noted(folder) == boot,
            owner: boot.map(|boot| Owner {
                node,
                boot,
                engine: super::engine(),
            }),
            base: Some(0),
            has_begun: false,
            changes: None,
            noted: Index::START,
            ran: Vec::new(),
            recall: None,
            shelf,
        };
        let mut database = Self::open(disk.empty(None))?;
        database.staging = Staging::new(disk.empty(None));
        database.disk = Some(disk);
        Ok(database)
    }

    /// The database in memory, which may begin from a snapshot that was taken by one on disk in `folder`.
    ///
    /// # Errors
    ///
    /// As [`Database::new`].
    pub fn beside(folder: &Path) -> Result<Self, DatabaseError> {
        let mut database = Self::new()?;
        database.folder = Some(folder.to_owned());
        Ok(database)
    }

    /// Forgets what is in `folder` besides the snapshot's pages, because something about it is not as it has
    /// to be.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn distrust(folder: &Path) -> io::Result<()> {
        changes::remove(folder, None)?;
        match fs::remove_file(folder.join("boot")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The files, for other threads; `None`: the database is in memory.
    pub fn shelf(&self) -> Option<Arc<Shelf>> {
        self.disk.as_ref().map(|disk| disk.shelf.clone())
    }

    /// How many bytes of changes a process that starts again has to read.
    pub fn noted(&self) -> u64 {
        let changes = self.disk.as_ref().and_then(|disk| disk.changes.as_ref());
        changes.map_or(0, Changes::size)
    }

    /// Why a file could not be opened: if its pages are not what was written, that is why.
    pub(super) fn explained(&self, error: DatabaseError) -> DatabaseError {
        match &self.disk {
            Some(disk) if disk.shelf.store.is_damaged() => {
                DatabaseError::Pages("is damaged".to_owned())
            }
            _ => error,
        }
    }

    /// The environment failed. If the file of pages is not what was written, the next process must not go on
    /// with it.
    pub(super) fn failed(&self) {
        if let Some(disk) = &self.disk
            && disk.shelf.store.is_damaged()
        {
            let _ = Self::distrust(&disk.shelf.folder);
        }
    }

    /// Slots that were written since the last sync, and what they held before.
    #[cfg(test)]
    pub(super) fn unsynced(&self) -> Vec<(u32, Box<super::engine::pages::Page>)> {
        let store = &self.disk.as_ref().unwrap().shelf.store;
        let unsynced = store.unsynced.lock().unwrap();
        unsynced
            .iter()
            .map(|(&number, page)| (number, page.clone()))
            .collect()
    }

    /// The pages of a map, for a database in memory.
    pub(super) fn load_map(&mut self, map: &Map) -> Result<Image, DatabaseError> {
        let folder = self.folder.take().ok_or(DatabaseError::Forgotten)?;
        let store = Store::open(&folder.join("pages"))?;
        let image = map.image(&store)?;
        let damaged = |error: io::Error| DatabaseError::Pages(error.to_string());
        Ok(Image::new(&image.to_vec().map_err(damaged)?))
    }

    /// The state at the last noted entry, for a snapshot that may be kept as a map.
    pub(super) fn save_reference(&mut self) -> io::Result<Content> {
        let mut content = self.save();
        let Some(disk) = &mut self.disk else {
            return Ok(content);
        };
        let generation = disk.shelf.take_generation();
        let after = disk.changes.as_ref().map(|changes| changes.generation);
        disk.begin(generation, after)?;
        content.reference = Some(Reference {
            shelf: disk.shelf.clone(),
            index: disk.noted,
            generation,
        });
        Ok(content)
    }

    /// Notes everything up to the entry `at`.
    pub(super) fn note_changes(&mut self, at: (Index, Term), note: &[u8]) -> io::Result<()> {
        let head = self.head();
        let Some(disk) = &mut self.disk else {
            return Ok(());
        };
        let about = About {
            from: disk.noted,
            at,
            note,
            head: &head,
            ran: &disk.ran,
        };
        let (changes, staged) = (&mut disk.changes, &mut self.staging.image);
        self.file.with(|image| {
            image.settle(|database| {
                staged.settle(|staged| match changes {
                    Some(changes) => changes.append(&about, [&database, &staged]),
                    None => Ok(()),
                })
            })
        })?;
        disk.noted = at.0;
        disk.ran.clear();
        disk.shelf.tidy(at.0);
        Ok(())
    }

    /// Begins to call back what an earlier process has left after the snapshot.
    pub(super) fn begin_recall(&mut self, applied: Index) -> io::Result<Vec<Recorded>> {
        let Some(disk) = &mut self.disk else {
            return Ok(Vec::new());
        };
        disk.noted = applied;
        let loaded = match (&disk.owner, disk.base, disk.is_trusted) {
            (Some(owner), Some(base), true) => Changes::load(&disk.shelf.folder, owner, base),
            _ => Err(Doubt::Nothing),
        };
        let (records, changes) = match loaded {
            Ok(loaded) => loaded,
            Err(doubt) => {
                if !matches!(doubt, Doubt::Nothing) {
                    note(format_args!(
                        "{doubt}: the database is rebuilt from snapshot and log"
                    ));
                }
                let (file, staged) = (&self.file, &self.staging.image);
                file.with(|image| disk.start_anew([image, staged]))?;
                return Ok(Vec::new());
            }
        };
        let mut recall = Recall {
            ran: VecDeque::new(),
            image: self.file.image(),
            staged: self.staging.image.clone(),
            head: None,
            changes,
            at: applied,
        };
        let mut recorded = Vec::new();
        for record in records {
            let Record {
                from, index, term, ..
            } = record;
            recall.image.redo(&record.database.changes());
            recall.staged.redo(&record.staged.changes());
            recall.ran.extend(record.ran);
            recall.head = Some(record.head);
            recall.at = index;
            recorded.push(Recorded {
                from,
                at: (index, term),
                note: record.note,
            });
        }
        disk.recall = Some(recall);
        Ok(recorded)
    }

    /// The state is called back.
    pub(super) fn end_recall(&mut self) -> Result<(), DatabaseError> {
        let Some(recall) = self.disk.as_mut().and_then(|disk| disk.recall.take()) else {
            return self.trust();
        };
        if !recall.ran.is_empty() {
            return Err(DatabaseError::Forgotten);
        }
        let (changes, at) = (recall.changes, recall.at);
        let before = self.file.image();
        if let Some(disk) = &mut self.disk {
            let store = &disk.shelf.store;
            let end = store.end();
            let now = [&recall.image, &recall.staged];
            let slots = now.into_iter().flat_map(Image::slots);
            if slots.into_iter().any(|slot| slot.number >= end) {
                return Err(DatabaseError::Forgotten);
            }
            let then = marks([&before, &self.staging.image], end);
            let now = marks(now, end);
            let all = || 0..end;
            let is = |marks: &[bool], number: u32| marks[number as usize];
            store.reclaim(all().filter(|&n| is(&then, n) || is(&now, n)))?;
            store.renew(all().filter(|&n| is(&now, n) && !is(&then, n)));
            // These are the snapshot's alone.
            store.retire(all().filter(|&n| is(&then, n) && !is(&now, n)));
            disk.changes = Some(changes);
            disk.noted = at;
        }
        if let Some(head) = recall.head {
            if let Some(disk) = &self.disk {
                let image = disk.adopt(recall.image, None);
                self.staging.image = disk.adopt(recall.staged, None);
                self.replace(image)?;
            }
            self.set_head(&head)?;
        }
        self.trust()
    }

    /// From here on the files are those of this boot.
    fn trust(&mut self) -> Result<(), DatabaseError> {
        if let Some(folder) = self.folder.take() {
            // No snapshot refers to it.
            let _ = fs::remove_dir_all(folder);
        }
        if let Some(disk) = &mut self.disk {
            disk.has_begun = true;
            if let Some(owner) = &disk.owner {
                owner.boot.note(&disk.shelf.folder)?;
            }
        }
        Ok(())
    }
}

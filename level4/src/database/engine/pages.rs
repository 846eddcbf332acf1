//! Pages in a file, for databases that need not fit into memory.
//!
//! A page that was written is never written over as long as anybody may want it: a change goes to a free
//! slot, and the slot of what it replaces is free again when no copy of the database refers to it any more.
//! So whoever holds a copy as of one moment (a reader, a backup, a snapshot) reads it from the same file
//! while the writer goes on, and nobody waits for anybody.
//!
//! Which slot holds which page is not in this file: [`super::image`] knows it, snapshots and the lists of
//! changes say it, with a checksum for each page, which is looked at whenever the page is read.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::fdatasync;

/// Bytes of a page: what SQLite's pages have usually.
pub const PAGE: usize = 4096;
/// Pages kept in memory: those that are read with every request, above all.
const CACHED: usize = 4096;

/// So much is written back at a time before a sync, bytes: whoever syncs the log beside it waits for no more.
const WRITTEN_BACK: u64 = 4 * 1024 * 1024;

/// A page's content.
pub type Page = [u8; PAGE];

/// Where a page is, and what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its place in the file, in pages.
    pub number: u32,
    /// CRC32C of its content.
    pub sum: u32,
}

/// A page in memory, and its slot.
type Cached = Option<(u32, Arc<Page>)>;

/// A file of pages.
pub struct Store {
    file: File,
    slots: Mutex<Slots>,
    /// Pages by their slots' last digits.
    cache: Vec<Mutex<Cached>>,
    /// Something that was read is not what was written.
    is_damaged: AtomicBool,
    #[cfg(test)]
    pub(in crate::database) unsynced: Mutex<BTreeMap<u32, Box<Page>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.file).finish()
    }
}

/// Writes all of it.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    death::has_room()?;
    #[cfg(test)]
    let bytes = &bytes[..death::allows(bytes.len())];
    file.write_all_at(bytes, offset)?;
    #[cfg(test)]
    death::look()?;
    Ok(())
}

/// The process dies at one of its writes, or the disk is full, for tests.
#[cfg(test)]
pub mod death {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    thread_local! {
        static WRITES_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
        static FULL: RefCell<Arc<AtomicBool>> = RefCell::default();
    }

    /// As long as it is set, this thread finds no room on the disk.
    pub fn fill(full: Arc<AtomicBool>) {
        FULL.set(full);
    }

    pub(super) fn has_room() -> io::Result<()> {
        if FULL.with_borrow(|full| full.load(Relaxed)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// After so many more writes of this thread, of which the last is torn, nothing is written any more.
    pub fn after(writes: u64) {
        WRITES_LEFT.set(writes);
    }

    pub(super) fn allows(bytes: usize) -> usize {
        let left = WRITES_LEFT.get();
        WRITES_LEFT.set(left.saturating_sub(1));
        match left {
            0 => 0,
            1 => bytes / 2,
            _ => bytes,
        }
    }

    pub(super) fn look() -> io::Result<()> {
        if WRITES_LEFT.get() == 0 {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }
}

/// Which slots may be written.
#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    /// How many there are.
    end: u32,
    /// When each was written, on [`Slots::clock`].
    births: Vec<u64>,
    /// Goes on by one whenever something changes after a lease was given.
    clock: u64,
    /// A lease was given at this time.
    is_leased: bool,
    /// The leases by the time that they are as of.
    leases: BTreeMap<u64, Held>,
}

/// What the leases as of one time hold.
#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// Slots that the writer does not use any more, and no later lease needs.
    slots: Vec<u32>,
}

impl Slots {
    fn tick(&mut self) {
        self.clock += u64::from(std::mem::take(&mut self.is_leased));
    }

    fn take(&mut self) -> io::Result<u32> {
        self.tick();
        let number = if let Some(number) = self.free.pop() {
            number
        } else {
            let number = self.end;
            self.end = number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
            number
        };
        self.bear(number);
        Ok(number)
    }

    fn bear(&mut self, number: u32) {
        let place = number as usize;
        if place >= self.births.len() {
            self.births.resize(place + 1, 0);
        }
        self.births[place] = self.clock;
    }

    /// Frees a slot that was in use until `until`, as soon as no lease from its time is there.
    fn release(&mut self, number: u32, until: u64) {
        let born = self
            .births
            .get(number as usize)
            .copied()
            .unwrap_or_default();
        match self.leases.range_mut(born..until.max(born)).next_back() {
            Some((_, held)) => held.slots.push(number),
            None => self.free.push(number),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the slots of everything that was in use when it was given.
#[derive(Debug)]
pub struct Lease {
    store: Arc<Store>,
    time: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slots = locked(&self.store.slots);
        let Some(held) = slots.leases.get_mut(&self.time) else {
            return;
        };
        held.count -= 1;
        if held.count == 0
            && let Some(held) = slots.leases.remove(&self.time)
        {
            for number in held.slots {
                slots.release(number, self.time);
            }
        }
    }
}

impl Store {
    /// Opens the file, which is made if it is not there. Its slots count as used until
    /// [`Store::reclaim`].
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let pages = file.metadata()?.len() / PAGE as u64;
        let slots = Slots {
            end: u32::try_from(pages).map_err(|_| io::ErrorKind::FileTooLarge)?,
            ..Slots::default()
        };
        Ok(Arc::new(Self {
            file,
            slots: Mutex::new(slots),
            cache: std::iter::repeat_with(Mutex::default)
                .take(CACHED)
                .collect(),
            is_damaged: AtomicBool::new(false),
            #[cfg(test)]
            unsynced: Mutex::default(),
        }))
    }

    /// How many slots there are.
    pub fn end(&self) -> u32 {
        locked(&self.slots).end
    }

    /// Frees all slots that are not `used`, and gives the end of the file back. Before anything is written.
    pub fn reclaim(&self, used: impl Iterator<Item = u32>) -> io::Result<()> {
        let mut slots = locked(&self.slots);
        let mut is_used = vec![false; slots.end as usize];
        let mut end = 0;
        for number in used {
            if let Some(mark) = is_used.get_mut(number as usize) {
                *mark = true;
                end = end.max(number + 1);
            }
        }
        self.file.set_len(u64::from(end) * PAGE as u64)?;
        slots.end = end;
        slots.free = (0..end).rev().filter(|&n| !is_used[n as usize]).collect();
        Ok(())
    }

    /// These came into use after the leases that there are.
    pub fn renew(&self, numbers: impl Iterator<Item = u32>) {
        let mut slots = locked(&self.slots);
        slots.tick();
        for number in numbers {
            slots.bear(number);
        }
    }

    /// The page in a slot.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not what was written.
    pub fn read(&self, slot: Slot) -> io::Result<Arc<Page>> {
        let mut cached = locked(&self.cache[slot.number as usize % CACHED]);
        if let Some((number, page)) = &*cached
            && *number == slot.number
        {
            return Ok(page.clone());
        }
        let page = self.read_file(slot)?;
        *cached = Some((slot.number, page.clone()));
        Ok(page)
    }

    fn read_file(&self, slot: Slot) -> io::Result<Arc<Page>> {
        let mut page = Arc::new([0; PAGE]);
        let offset = u64::from(slot.number) * PAGE as u64;
        let content = Arc::make_mut(&mut page);
        let read = self.file.read_exact_at(content, offset);
        if read.is_err() || crc32c::crc32c(content) != slot.sum {
            self.is_damaged.store(true, Relaxed);
            read?;
            let what = format!("the page in slot {} is damaged", slot.number);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(page)
    }

    /// Whether a page is what was written, on the disk and not in memory.
    pub fn check(&self, slot: Slot) -> io::Result<()> {
        self.read_file(slot).map(drop)
    }

    /// Whether anything that was read was not what had been written.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Relaxed)
    }

    /// Writes a page to a free slot.
    pub fn put(&self, page: Arc<Page>) -> io::Result<Slot> {
        let number = locked(&self.slots).take()?;
        let offset = u64::from(number) * PAGE as u64;
        #[cfg(test)]
        self.note_unsynced(number);
        if let Err(error) = write_at(&self.file, &page[..], offset) {
            // Nobody knows of it.
            locked(&self.slots).free.push(number);
            return Err(error);
        }
        let sum = crc32c::crc32c(&page[..]);
        *locked(&self.cache[number as usize % CACHED]) = Some((number, page));
        Ok(Slot { number, sum })
    }

    /// The writer does not use these any more, and would not after a crash either.
    pub fn retire(&self, numbers: impl Iterator<Item = u32>) {
        let mut slots = locked(&self.slots);
        slots.tick();
        let now = slots.clock;
        for number in numbers {
            slots.release(number, now);
        }
    }

    /// Keeps everything that is in use now.
    pub fn lease(self: &Arc<Self>) -> Lease {
        let mut slots = locked(&self.slots);
        slots.is_leased = true;
        let time = slots.clock;
        slots.leases.entry(time).or_default().count += 1;
        Lease {
            store: self.clone(),
            time,
        }
    }

    /// Makes all that has been written until now durable. If that fails, trying again would tell nothing: what
    /// was not written may be forgotten.
    pub fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        locked(&self.unsynced).clear();
        self.write_back()?;
        Ok(fdatasync(&self.file)?)
    }

    /// Has the system write what is only in its memory, a little at a time.
    pub fn write_back(&self) -> io::Result<()> {
        let length = u64::from(self.end()) * PAGE as u64;
        let how = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        for offset in (0..length).step_by(WRITTEN_BACK as usize) {
            let (file, offset) = (self.file.as_raw_fd(), offset as i64);
            // SAFETY: the file is open, and nothing but numbers is passed.
            let code = unsafe { libc::sync_file_range(file, offset, WRITTEN_BACK as i64, how) };
            if code != 0 {
                // The sync after it would not tell of it again.
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// Slots that are free, and all.
    #[cfg(test)]
    pub fn usage(&self) -> (usize, usize) {
        let slots = locked(&self.slots);
        (slots.free.len(), slots.end as usize)
    }

    #[cfg(test)]
    fn note_unsynced(&self, number: u32) {
        let mut before = Box::new([0; PAGE]);
        let _ = self
            .file
            .read_at(&mut before[..], u64::from(number) * PAGE as u64);
        locked(&self.unsynced).entry(number).or_insert(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What a lease was given for stays as it was, whatever comes after; and without leases no more
        /// slots are used than pages are there.
        #[test]
        fn leased_pages_stay_and_others_are_used_again(
            steps in prop::collection::vec((0..4u8, 0..8usize), 1..120),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("pages")).unwrap();
            let mut now: Vec<Option<(Slot, u8)>> = vec![None; 8];
            let mut held = Vec::new();
            for (number, (kind, place)) in steps.into_iter().enumerate() {
                match kind {
                    0 | 1 => {
                        let content = number as u8;
                        let slot = store.put(Arc::new([content; PAGE])).unwrap();
                        if let Some((old, _)) = now[place].replace((slot, content)) {
                            store.retire(std::iter::once(old.number));
                        }
                    }
                    2 => held.push((store.lease(), now.clone())),
                    _ if held.is_empty() => {}
                    _ => drop(held.remove(place % held.len())),
                }
                for state in held.iter().map(|(_, state)| state).chain([&now]) {
                    for &(slot, content) in state.iter().flatten() {
                        prop_assert_eq!(*store.read(slot).unwrap(), [content; PAGE]);
                        prop_assert!(store.check(slot).is_ok());
                    }
                }
                let mut used: Vec<u32> = held.iter().flat_map(|(_, state)| state).chain(&now)
                    .flatten().map(|(slot, _)| slot.number).collect();
                used.sort_unstable();
                used.dedup();
                let (free, all) = store.usage();
                prop_assert_eq!(free + used.len(), all);
            }
        }
    }

    #[test]
    fn a_page_that_was_changed_on_the_disk_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pages");
        let store = Store::open(&path).unwrap();
        let slots = [1, 2].map(|byte| store.put(Arc::new([byte; PAGE])).unwrap());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[9], 5000).unwrap();
        let again = Store::open(&path).unwrap();
        assert!(again.read(slots[0]).is_ok() && !again.is_damaged());
        assert!(again.read(slots[1]).is_err() && again.is_damaged());
    }
}

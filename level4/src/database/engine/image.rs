//! A file of which a copy costs next to nothing: what the copies share is copied when one of them changes it.
//!
//! The writer's database file is one; readers, backups and snapshots each have a copy as of one moment,
//! so that none of them waits for another. Its pages are in memory, or in slots of a [`Store`].

use std::io;
use std::sync::Arc;

use super::pages::{Lease, PAGE, Page, Slot, Store};

/// Pages of a group, and groups of a branch: the units of copying what says where pages are.
const FAN: usize = 256;
/// So many changed pages are held in memory, at most, before they are written.
const DIRTY_LIMIT: usize = 4096;

/// Where a page is.
#[derive(Debug, Clone)]
enum Block {
    Memory(Arc<Page>),
    Stored(Slot),
}

type Group = Vec<Block>;
type Branch = Vec<Arc<Group>>;

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub struct Image {
    branches: Vec<Arc<Branch>>,
    length: usize,
    backing: Option<Backing>,
}

/// The file behind an image.
#[derive(Debug)]
struct Backing {
    store: Arc<Store>,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// Changes are written there.
    Writer(Pending),
    /// It is as of one moment, and its changes stay in memory.
    Copy(Arc<Lease>),
}

impl Clone for Backing {
    fn clone(&self) -> Self {
        let lease = match &self.role {
            Role::Writer(_) => Arc::new(self.store.lease()),
            Role::Copy(lease) => lease.clone(),
        };
        Self {
            store: self.store.clone(),
            role: Role::Copy(lease),
        }
    }
}

/// What has changed since the last [`Image::settle`].
#[derive(Debug, Default)]
struct Pending {
    /// Pages in memory.
    dirty: Vec<u32>,
    /// Those that were written.
    moves: Vec<Move>,
    /// Slots that are not used any more.
    displaced: Vec<u32>,
    /// Nothing is left of what was there before.
    is_fresh: bool,
}

impl Pending {
    /// Takes off what is about pages from `count` on.
    fn split_off(&mut self, count: u32) -> Self {
        let mut rest = Self {
            is_fresh: self.is_fresh,
            ..Self::default()
        };
        let behind = |number: u32| number.checked_sub(count);
        rest.dirty = self.dirty.iter().copied().filter_map(behind).collect();
        self.dirty.retain(|&number| number < count);
        let moves = self.moves.iter();
        rest.moves = moves
            .filter_map(|&(number, slot)| Some((behind(number)?, slot)))
            .collect();
        self.moves.retain(|&(number, _)| number < count);
        rest
    }
}

/// A page and where it is now.
pub type Move = (u32, Slot);

/// What has changed, all of it written.
#[derive(Debug)]
pub struct Changes<'a> {
    /// All pages are among the moves.
    pub is_fresh: bool,
    /// The file's length, bytes.
    pub length: usize,
    /// The pages that are elsewhere now; some may be behind the end, and of two moves of a page the later
    /// counts.
    pub moves: &'a [Move],
}

impl Image {
    /// A file with this content, in memory.
    pub fn new(bytes: &[u8]) -> Self {
        let mut image = Self {
            length: bytes.len(),
            ..Self::default()
        };
        for bytes in bytes.chunks(PAGE) {
            let mut page = [0; PAGE];
            page[..bytes.len()].copy_from_slice(bytes);
            image.push(Block::Memory(Arc::new(page)));
        }
        image
    }

    /// A copy of what is in these slots, of `length` bytes.
    pub fn stored(store: &Arc<Store>, slots: impl Iterator<Item = Slot>, length: usize) -> Self {
        let mut image = Self {
            length,
            backing: Some(Backing {
                store: store.clone(),
                role: Role::Copy(Arc::new(store.lease())),
            }),
            ..Self::default()
        };
        for slot in slots {
            image.push(Block::Stored(slot));
        }
        image
    }

    /// Has changes written to `store` from now on, `before` being the writer's image until now. What is in
    /// memory is written, too. It may have been another writer's image of the same store.
    pub fn write_to(mut self, store: &Arc<Store>, before: Option<&Self>) -> Self {
        let mut pending = self.pending().map(std::mem::take).unwrap_or_default();
        pending.dirty.clear();
        if let Some(before) = before {
            pending.is_fresh = true;
            pending.moves.clear();
            pending.displaced.extend(before.leaves());
        }
        for (number, block) in (0..).zip(self.blocks()) {
            match block {
                Block::Memory(_) => pending.dirty.push(number),
                Block::Stored(slot) if before.is_some() => pending.moves.push((number, *slot)),
                Block::Stored(_) => {}
            }
        }
        self.backing = Some(Backing {
            store: store.clone(),
            role: Role::Writer(pending),
        });
        self
    }

    /// The slots that are free once another image has taken the place of this one.
    fn leaves(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = self.slots().map(|slot| slot.number).collect();
        if let Some(Backing {
            role: Role::Writer(pending),
            ..
        }) = &self.backing
        {
            slots.extend(&pending.displaced);
        }
        slots
    }

    /// A copy with the pages of `other` behind its own.
    pub fn joined(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        if !other.is_empty() {
            for block in other.blocks() {
                joined.push(block.clone());
            }
            joined.length = self.count() * PAGE + other.length;
        }
        joined
    }

    /// Takes off the pages behind those of the first `length` bytes, which it has from then on: what was
    /// [`Image::joined`] is two again.
    pub fn split_off(&mut self, length: usize) -> Self {
        let count = length.div_ceil(PAGE).min(self.count());
        let mut rest = Self {
            length: self.length.saturating_sub(count * PAGE),
            ..Self::default()
        };
        for block in self.blocks().skip(count) {
            rest.push(block.clone());
        }
        rest.backing = self.backing.as_mut().map(|backing| Backing {
            store: backing.store.clone(),
            role: match &mut backing.role {
                Role::Writer(pending) => Role::Writer(pending.split_off(count as u32)),
                Role::Copy(lease) => Role::Copy(lease.clone()),
            },
        });
        self.truncate_blocks(count);
        self.length = self.length.min(length);
        rest
    }

    /// Takes moves over that an earlier process has made.
    pub fn redo(&mut self, changes: &Changes) {
        if changes.is_fresh {
            self.branches.clear();
            self.length = 0;
        }
        let count = changes.length.div_ceil(PAGE);
        self.truncate_blocks(count);
        for _ in self.count()..count {
            self.push(Block::Memory(Arc::new([0; PAGE])));
        }
        self.length = changes.length;
        for &(number, slot) in changes.moves {
            if (number as usize) < count {
                *self.block(number as usize) = Block::Stored(slot);
            }
        }
    }

    /// How many pages there are.
    fn count(&self) -> usize {
        self.length.div_ceil(PAGE)
    }

    fn at(&self, number: usize) -> &Block {
        &self.branches[number / FAN / FAN][number / FAN % FAN][number % FAN]
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        let groups = self.branches.iter().flat_map(|branch| branch.iter());
        groups.flat_map(|group| group.iter())
    }

    /// The slots that its pages are in.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.blocks().filter_map(|block| match block {
            Block::Stored(slot) => Some(*slot),
            Block::Memory(_) => None,
        })
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn pending(&mut self) -> Option<&mut Pending> {
        match &mut self.backing.as_mut()?.role {
            Role::Writer(pending) => Some(pending),
            Role::Copy(_) => None,
        }
    }

    fn block(&mut self, number: usize) -> &mut Block {
        let branch = Arc::make_mut(&mut self.branches[number / FAN / FAN]);
        &mut Arc::make_mut(&mut branch[number / FAN % FAN])[number % FAN]
    }

    fn push(&mut self, block: Block) {
        if self.branches.last().is_none_or(|branch| {
            branch.len() == FAN && branch.last().is_none_or(|group| group.len() == FAN)
        }) {
            self.branches.push(Arc::default());
        }
        if let Some(branch) = self.branches.last_mut() {
            let branch = Arc::make_mut(branch);
            if branch.last().is_none_or(|group| group.len() == FAN) {
                branch.push(Arc::default());
            }
            if let Some(group) = branch.last_mut() {
                Arc::make_mut(group).push(block);
            }
        }
    }

    /// Fills `buffer` from `offset` on, with zeros beyond the end; gives how many bytes were there.
    ///
    /// # Errors
    ///
    /// If a page cannot be read from the file.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.length.saturating_sub(offset).min(buffer.len());
        let (content, beyond) = buffer.split_at_mut(there);
        let mut at = offset;
        let mut rest = content;
        while !rest.is_empty() {
            let within = at % PAGE;
            let length = rest.len().min(PAGE - within);
            let (part, after) = rest.split_at_mut(length);
            let number = at / PAGE;
            match self.at(number) {
                Block::Memory(page) => part.copy_from_slice(&page[within..within + length]),
                Block::Stored(slot) => {
                    let page = self.load(*slot)?;
                    part.copy_from_slice(&page[within..within + length]);
                }
            }
            rest = after;
            at += length;
        }
        beyond.fill(0);
        Ok(there)
    }

    fn load(&self, slot: Slot) -> io::Result<Arc<Page>> {
        match &self.backing {
            Some(backing) => backing.store.read(slot),
            None => Err(io::Error::other("a page in a slot of no file")),
        }
    }

    /// A page, to be changed; `keeps`: what is in it matters.
    fn page(&mut self, number: usize, keeps: bool) -> io::Result<&mut Page> {
        let before = match self.at(number) {
            Block::Memory(_) => None,
            Block::Stored(slot) => Some(*slot),
        };
        if let Some(slot) = before {
            let page = if keeps {
                self.load(slot)?
            } else {
                Arc::new([0; PAGE])
            };
            *self.block(number) = Block::Memory(page);
            if let Some(pending) = self.pending() {
                pending.dirty.push(number as u32);
                pending.displaced.push(slot.number);
            }
        }
        match self.block(number) {
            Block::Memory(page) => Ok(Arc::make_mut(page)),
            Block::Stored(_) => Err(io::Error::other("a page that was put into memory is not")),
        }
    }

    /// Writes `bytes` at `offset`; a gap before it is zeros.
    ///
    /// # Errors
    ///
    /// If what stays of a page cannot be read from the file.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.grow(offset + bytes.len());
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % PAGE;
            let length = rest.len().min(PAGE - within);
            let (part, after) = rest.split_at(length);
            let page = self.page(at / PAGE, length < PAGE)?;
            page[within..within + length].copy_from_slice(part);
            rest = after;
            at += length;
        }
        if self
            .pending()
            .is_some_and(|pending| pending.dirty.len() > DIRTY_LIMIT)
        {
            // What finds no room stays in memory, until the whole change is written.
            let _ = self.write_back();
        }
        Ok(())
    }

    fn grow(&mut self, length: usize) {
        if length <= self.length {
            return;
        }
        for number in self.length.div_ceil(PAGE)..length.div_ceil(PAGE) {
            self.push(Block::Memory(Arc::new([0; PAGE])));
            if let Some(pending) = self.pending() {
                pending.dirty.push(number as u32);
            }
        }
        self.length = length;
    }

    /// Cuts the file off at `length`, if it is longer.
    ///
    /// # Errors
    ///
    /// If what stays of the last page cannot be read from the file.
    pub fn truncate(&mut self, length: usize) -> io::Result<()> {
        if length >= self.length {
            return Ok(());
        }
        let within = length % PAGE;
        if within > 0 {
            // What is behind the end of the last page is zeros again when the file grows.
            self.page(length / PAGE, true)?[within..].fill(0);
        }
        let gone = self.truncate_blocks(length.div_ceil(PAGE));
        if let Some(pending) = self.pending() {
            pending.displaced.extend(gone);
        }
        self.length = length;
        Ok(())
    }

    /// Forgets pages from `count` on; gives the slots that these were in.
    fn truncate_blocks(&mut self, count: usize) -> Vec<u32> {
        let gone = (count..self.count()).filter_map(|number| match self.at(number) {
            Block::Stored(slot) => Some(slot.number),
            Block::Memory(_) => None,
        });
        let gone = gone.collect();
        self.branches.truncate(count.div_ceil(FAN * FAN));
        let within = count % (FAN * FAN);
        if within > 0
            && self.branches.len() == count.div_ceil(FAN * FAN)
            && let Some(branch) = self.branches.last_mut()
        {
            let branch = Arc::make_mut(branch);
            branch.truncate(within.div_ceil(FAN));
            let last = within % FAN;
            if last > 0
                && branch.len() == within.div_ceil(FAN)
                && let Some(group) = branch.last_mut()
            {
                Arc::make_mut(group).truncate(last);
            }
        }
        gone
    }

    /// Writes changed pages to free slots.
    ///
    /// # Errors
    ///
    /// If the file takes no more. What was not written stays in memory, and can be written later.
    pub fn write_back(&mut self) -> io::Result<()> {
        let Some(backing) = &self.backing else {
            return Ok(());
        };
        let store = backing.store.clone();
        while let Some(&number) = self.pending().and_then(|pending| pending.dirty.last()) {
            // It may have been cut off, or be there twice.
            if (number as usize) < self.count()
                && let Block::Memory(page) = self.block(number as usize)
            {
                let slot = store.put(page.clone())?;
                *self.block(number as usize) = Block::Stored(slot);
                if let Some(pending) = self.pending() {
                    pending.moves.push((number, slot));
                }
            }
            if let Some(pending) = self.pending() {
                pending.dirty.pop();
            }
        }
        Ok(())
    }

    /// What has changed since this was last done, given to `note`, which makes sure that a later process
    /// finds it. From then on the slots of what was there before can be used again.
    ///
    /// # Errors
    ///
    /// Those of writing, and `note`'s. It can be tried again.
    pub fn settle(&mut self, note: impl FnOnce(Changes) -> io::Result<()>) -> io::Result<()> {
        self.write_back()?;
        let Some(Backing {
            store,
            role: Role::Writer(pending),
        }) = &mut self.backing
        else {
            return Ok(());
        };
        note(Changes {
            is_fresh: pending.is_fresh,
            length: self.length,
            moves: &pending.moves,
        })?;
        pending.is_fresh = false;
        pending.moves.clear();
        store.retire(pending.displaced.drain(..));
        Ok(())
    }

    /// All of it has been written, and what is noted of it says so: changes count from here.
    ///
    /// # Errors
    ///
    /// If the file takes no more.
    pub fn begin(&mut self) -> io::Result<()> {
        self.write_back()?;
        if let Some(Backing {
            store,
            role: Role::Writer(pending),
        }) = &mut self.backing
        {
            pending.moves = Vec::new();
            store.retire(pending.displaced.drain(..));
        }
        Ok(())
    }

    /// Replaces what was the writer's image until now: its slots are free after the next [`Image::settle`].
    pub fn succeed(&mut self, before: &Self) {
        if let Some(pending) = self.pending() {
            pending.displaced.extend(before.leaves());
        }
    }

    /// Nobody will use it, nor has any of it been noted: gives the slots of a writer's image back.
    pub fn abandon(&mut self) {
        let slots: Vec<u32> = self.slots().map(|slot| slot.number).collect();
        if let Some(Backing {
            store,
            role: Role::Writer(pending),
        }) = &mut self.backing
        {
            store.retire(slots.into_iter().chain(pending.displaced.drain(..)));
        }
        self.branches.clear();
        self.length = 0;
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// If a page cannot be read from the file.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.length);
        self.append_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Appends all of it.
    ///
    /// # Errors
    ///
    /// If a page cannot be read from the file.
    pub fn append_to(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        for (block, start) in self.blocks().zip((0..self.length).step_by(PAGE)) {
            let length = PAGE.min(self.length - start);
            match block {
                Block::Memory(page) => bytes.extend_from_slice(&page[..length]),
                Block::Stored(slot) => bytes.extend_from_slice(&self.load(*slot)?[..length]),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Steps = Vec<(u8, usize, Vec<u8>)>;

    fn steps() -> impl Strategy<Value = Steps> {
        let bytes = prop::collection::vec(any::<u8>(), 0..9000);
        prop::collection::vec((0..5u8, 0..1_300_000usize, bytes), 1..9)
    }

    /// Against a plain vector; a copy made at some point must not change. Gives the moves, too.
    fn compare(mut image: Image, steps: Steps, copied_at: usize) -> Image {
        let mut plain = image.to_vec().unwrap();
        let mut copy = (image.clone(), plain.clone());
        let mut replica = image.clone();
        for (number, (kind, offset, bytes)) in steps.into_iter().enumerate() {
            if number == copied_at {
                copy = (image.clone(), plain.clone());
            }
            match kind {
                0 => {
                    image.truncate(offset).unwrap();
                    plain.truncate(offset);
                }
                1 => {
                    let noted = image.settle(|changes| {
                        replica.redo(&changes);
                        Ok(())
                    });
                    noted.unwrap();
                    if image.pending().is_some() {
                        // Nothing else knows where the pages are.
                        assert!(replica.to_vec().unwrap() == plain);
                    }
                }
                2 => image.write_back().unwrap(),
                _ if bytes.is_empty() => {}
                _ => {
                    image.write(offset, &bytes).unwrap();
                    plain.resize(plain.len().max(offset + bytes.len()), 0);
                    plain[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
            }
            assert_eq!(image.len(), plain.len());
            let mut buffer = vec![7; 100];
            let there = image.read(offset, &mut buffer).unwrap();
            assert_eq!(there, plain.len().saturating_sub(offset).min(100));
        }
        assert!(image.to_vec().unwrap() == plain);
        assert!(copy.0.to_vec().unwrap() == copy.1);
        image
    }

    #[test]
    fn as_long_as_a_change_is_not_noted_what_was_there_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("pages")).unwrap();
        let mut image = Image::default().write_to(&store, None);
        image.write(0, &[1; PAGE]).unwrap();
        let mut noted = Vec::new();
        let settled = image.settle(|changes| {
            noted = changes.moves.to_vec();
            Ok(())
        });
        settled.unwrap();
        image.write(0, &[2; PAGE]).unwrap();
        assert!(image.settle(|_| Err(io::Error::other("no room"))).is_err());
        image.write(PAGE, &[3; PAGE]).unwrap();
        image.write_back().unwrap();
        assert!(store.check(noted[0].1).is_ok());
        image.settle(|_| Ok(())).unwrap();
        assert_eq!(store.usage(), (1, 3));
    }

    /// What a writer's image is after everything it noted has been done again.
    fn noted(image: &mut Image) -> Vec<u8> {
        let mut again = Image::default();
        again.backing.clone_from(&image.backing);
        let noted = image.settle(|changes| {
            again.redo(&changes);
            Ok(())
        });
        noted.unwrap();
        again.to_vec().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// In memory, of slots that are noted already, and of some that are not.
        #[test]
        fn two_files_joined_and_split_are_two_again(
            first in prop::collection::vec(any::<u8>(), 0..20_000),
            second in prop::collection::vec(any::<u8>(), 0..20_000), written in 0..3u8,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("pages")).unwrap();
            let joined = Image::new(&first).joined(&Image::new(&second));
            let mut all = match written {
                0 => joined,
                _ => joined.write_to(&store, Some(&Image::default())),
            };
            if written == 2 {
                all.write_back().unwrap();
            }
            let mut rest = all.split_off(first.len());
            prop_assert!(all.to_vec().unwrap() == first && rest.to_vec().unwrap() == second);
            if written > 0 {
                prop_assert!(noted(&mut all) == first && noted(&mut rest) == second);
            }
            // Each has nothing to do with the other one any more.
            all.truncate(0).unwrap();
            all.write(0, &second).unwrap();
            rest.truncate(0).unwrap();
            rest.write(0, &first).unwrap();
            for image in [&mut all, &mut rest] {
                image.settle(|_| Ok(())).unwrap();
            }
            prop_assert!(all.to_vec().unwrap() == second && rest.to_vec().unwrap() == first);
            let (free, slots) = store.usage();
            if written > 0 {
                prop_assert_eq!(slots - free, first.len().div_ceil(PAGE) + second.len().div_ceil(PAGE));
            }
        }

        #[test]
        fn a_file_is_what_was_written(steps in steps(), copied_at in 0..9usize) {
            compare(Image::default(), steps, copied_at);
        }

        /// The same with pages in a file; a second one that replaces it gives all slots back.
        #[test]
        fn a_file_in_slots_is_what_was_written(
            first in steps(), second in steps(), copied_at in 0..9usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("pages")).unwrap();
            let image = Image::default().write_to(&store, None);
            let image = compare(image, first, copied_at);
            let content = Image::new(&vec![5; 300_000]);
            let image = compare(content.write_to(&store, Some(&image)), second, copied_at);
            let mut image = image;
            image.settle(|_| Ok(())).unwrap();
            let (free, all) = store.usage();
            prop_assert_eq!(all - free, image.len().div_ceil(PAGE));
        }
    }
}

//! A read buffer that starts small and grows with what passes through it.

/// Size of a fresh buffer: holds nearly every head, and keeps idle connections cheap.
const SMALL: usize = 8 * 1024;

/// Size of one that is used for one message, of which most are nothing but a head.
const SMALLEST: usize = 1024;

/// Size up to which a buffer grows while a body streams through it.
const LARGE: usize = 128 * 1024;

/// Bytes read and not yet used. Its storage is zeroed once and then reused.
#[derive(Debug)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::of(SMALL)
    }

    /// An empty one for one message.
    pub fn for_one() -> Self {
        Self::of(SMALLEST)
    }

    fn of(size: usize) -> Self {
        Self {
            storage: vec![0; size],
            start: 0,
            end: 0,
        }
    }

    /// What was read and not yet used.
    pub fn unread(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The same, to be changed in place.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Whether nothing is left to use.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks `count` bytes as used.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room for the next read: never empty unless the buffer is full at its largest, or at `most`
    /// when that is larger.
    pub fn room(&mut self, most: usize) -> &mut [u8] {
        if self.end == self.storage.len() {
            if self.start > 0 {
                self.storage.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if self.storage.len() < most.max(LARGE) {
                let grown = (self.storage.len() * 2).min(most.max(LARGE));
                self.storage.resize(grown, 0);
            }
        }
        &mut self.storage[self.end..]
    }

    /// Adds what was read elsewhere.
    pub fn push(&mut self, data: &[u8]) {
        let end = self.end + data.len();
        if end > self.storage.len() {
            self.storage.resize(end, 0);
        }
        self.storage[self.end..end].copy_from_slice(data);
        self.end = end;
    }

    /// Grows once while empty: called when a read filled all the room there was.
    pub fn grow(&mut self) {
        let grown = (self.storage.len() * 2).min(LARGE);
        if grown > self.storage.len() {
            self.storage.resize(grown, 0);
        }
    }

    /// Counts bytes that were read into the room.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.storage.len());
    }

    /// Gives a grown buffer's memory back, if nothing in it is needed: for connections that go idle.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.storage.len() > SMALL {
            self.storage = vec![0; SMALL];
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

//! The part of a segment's file that queries read: where it lies or, if it is small, from a copy.
//!
//! A read costs about a microsecond and copies what it reads. That is little beside searching a large
//! segment, and most of the work in one of a few hundred kilobytes, whose copy costs next to nothing.
//! Mapping the file instead would make every page of it that was touched memory of the process.
//!
//! All copies together have a budget. A part that finds none left is copied later, by the first query
//! that does: segments that are replaced keep theirs until the last query that reads them has ended.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::format::IndexError;
use crate::byte_pool::BytePool;

/// The largest part that is copied, in bytes.
const MAX_COPY_BYTES: u64 = 4 << 20;

/// Bytes that the copies of this process may take in all.
static POOL: BytePool = BytePool::new(32 << 20);

/// A part of an open file, and its copy if there is one.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    part: Range<u64>,
    copy: OnceLock<Copy>,
}

impl Store {
    /// Takes `part` of `file`, and copies it if it is small.
    pub(super) fn new(path: PathBuf, file: File, part: Range<u64>) -> Result<Self, IndexError> {
        let store = Self {
            path,
            file,
            part,
            copy: OnceLock::new(),
        };
        store.copy()?;
        Ok(store)
    }

    /// The copy, if there is one or can be.
    fn copy(&self) -> Result<Option<&Copy>, IndexError> {
        if let Some(copy) = self.copy.get() {
            return Ok(Some(copy));
        }
        let Some(mut copy) = Copy::of(self.part.end - self.part.start) else {
            return Ok(None);
        };
        self.fill(&mut copy.0, self.part.start)?;
        // If another thread was first, that one's stays and this one goes.
        Ok(Some(self.copy.get_or_init(|| copy)))
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `bytes` bytes from `start` of the file on, in the copy or else in `buffer`.
    pub(super) fn read<'a>(
        &'a self,
        start: u64,
        bytes: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], IndexError> {
        if let Some(copy) = self.copy()? {
            return self.within(copy, start, bytes);
        }
        self.read_into(start, bytes, buffer)?;
        Ok(buffer)
    }

    /// Likewise, in `buffer` in any case, which then holds just that.
    pub(super) fn read_into(
        &self,
        start: u64,
        bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), IndexError> {
        // Not cleared first: bytes that are overwritten anyway need no zeros.
        buffer.resize(bytes, 0);
        match self.copy.get() {
            Some(copy) => buffer.copy_from_slice(self.within(copy, start, bytes)?),
            None => self.fill(buffer, start)?,
        }
        Ok(())
    }

    fn within<'a>(&self, copy: &'a Copy, start: u64, bytes: usize) -> Result<&'a [u8], IndexError> {
        let at = start.checked_sub(self.part.start);
        let rest = at.and_then(|at| copy.0.get(at as usize..));
        let found = rest.and_then(|rest| rest.get(..bytes));
        found.ok_or_else(|| IndexError::damaged(&self.path, "too short"))
    }

    fn fill(&self, buffer: &mut [u8], start: u64) -> Result<(), IndexError> {
        let filled = self.file.read_exact_at(buffer, start);
        filled.map_err(IndexError::io(&self.path))
    }
}

/// What was copied. It counts among all copies until it is dropped.
struct Copy(Box<[u8]>);

impl Copy {
    /// Room for a copy of so many bytes, unless they are too many.
    fn of(bytes: u64) -> Option<Self> {
        let fits = bytes <= MAX_COPY_BYTES && POOL.take(bytes as usize);
        fits.then(|| Self(vec![0; bytes as usize].into()))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        POOL.give_back(self.0.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of a text less its first byte.
    fn store(text: &[u8]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, text).unwrap();
        let file = File::open(&path).unwrap();
        let store = Store::new(path, file, 1..text.len() as u64).unwrap();
        (dir, store)
    }

    #[test]
    fn what_is_read_is_the_same_with_and_without_a_copy() {
        let text: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        let (_dir, mut store) = store(&text);
        assert!(store.copy.get().is_some());
        for is_copied in [true, false] {
            let mut buffer = vec![7; 9];
            for (start, bytes) in [(1, 0), (1, 3999), (17, 100), (3999, 1), (4000, 0)] {
                store.read_into(start, bytes, &mut buffer).unwrap();
                assert_eq!(buffer, &text[start as usize..][..bytes]);
                let read = store.read(start, bytes, &mut buffer).unwrap();
                assert_eq!(read, &text[start as usize..][..bytes]);
                if !is_copied {
                    // The read has made one, as the first one does that finds room for it.
                    assert!(store.copy.take().is_some());
                }
            }
            for (start, bytes) in [(3990, 11), (5000, 1)] {
                assert!(store.read_into(start, bytes, &mut buffer).is_err());
                assert!(store.read(start, bytes, &mut buffer).is_err());
            }
            store.copy.take();
        }
    }

    #[test]
    fn large_parts_are_not_copied() {
        assert!(Copy::of(MAX_COPY_BYTES + 1).is_none());
        assert!(Copy::of(1).is_some());
    }
}

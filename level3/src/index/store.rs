//! A file of a segment: read where it lies or, if it is small, from a copy in memory.
//!
//! A read costs about a microsecond and copies what it reads. That is little beside searching a large
//! segment, and most of the work in one of a few hundred kilobytes, whose copy costs next to nothing.
//! Mapping the file instead would make every page of it that was touched memory of the process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::IndexError;

/// The largest file that is copied, in bytes.
const MAX_COPY_BYTES: u64 = 4 << 20;

/// Bytes that the copies of this process may take in all.
const MAX_ALL_BYTES: u64 = 32 << 20;

/// Bytes that they take.
static ALL_BYTES: AtomicU64 = AtomicU64::new(0);

/// An open file, and its copy if there is one.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    copy: Option<Copy>,
}

impl Store {
    /// Takes `file`, which has `bytes` bytes, and copies it if it is small.
    pub(super) fn new(path: PathBuf, file: File, bytes: u64) -> Result<Self, IndexError> {
        let mut store = Self {
            path,
            file,
            copy: None,
        };
        if let Some(mut copy) = Copy::of(bytes) {
            store.fill(&mut copy.0, 0)?;
            store.copy = Some(copy);
        }
        Ok(store)
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `bytes` bytes from `start` on, in the copy or else in `buffer`.
    pub(super) fn read<'a>(
        &'a self,
        start: u64,
        bytes: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], IndexError> {
        if let Some(copy) = &self.copy {
            return self.part(copy, start, bytes);
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
        match &self.copy {
            Some(copy) => buffer.copy_from_slice(self.part(copy, start, bytes)?),
            None => self.fill(buffer, start)?,
        }
        Ok(())
    }

    fn part<'a>(&self, copy: &'a Copy, start: u64, bytes: usize) -> Result<&'a [u8], IndexError> {
        let rest = copy.0.get(start as usize..);
        let part = rest.and_then(|rest| rest.get(..bytes));
        part.ok_or_else(|| IndexError::damaged(&self.path, "too short"))
    }

    fn fill(&self, buffer: &mut [u8], start: u64) -> Result<(), IndexError> {
        let filled = self.file.read_exact_at(buffer, start);
        filled.map_err(IndexError::io(&self.path))
    }
}

/// A file's content, which counts among all copies until it is dropped.
struct Copy(Box<[u8]>);

impl Copy {
    /// Room for a copy of so many bytes, unless they are too many.
    fn of(bytes: u64) -> Option<Self> {
        // Relaxed: only the number counts, and no other memory is guarded by it.
        let more = |all| with_another(all, bytes);
        let taken = ALL_BYTES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Self(vec![0; bytes as usize].into()))
    }
}

/// The bytes of all copies with one more, if there may be one.
fn with_another(all: u64, bytes: u64) -> Option<u64> {
    let all = all.checked_add(bytes)?;
    (bytes <= MAX_COPY_BYTES && all <= MAX_ALL_BYTES).then_some(all)
}

impl Drop for Copy {
    fn drop(&mut self) {
        ALL_BYTES.fetch_sub(self.0.len() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &[u8]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, text).unwrap();
        let file = File::open(&path).unwrap();
        let store = Store::new(path, file, text.len() as u64).unwrap();
        (dir, store)
    }

    #[test]
    fn what_is_read_is_the_same_with_and_without_a_copy() {
        let text: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        let (_dir, mut store) = store(&text);
        assert!(store.copy.is_some());
        for _ in 0..2 {
            let mut buffer = vec![7; 9];
            for (start, bytes) in [(0, 0), (0, 4000), (17, 100), (3999, 1), (4000, 0)] {
                let read = store.read(start, bytes, &mut buffer).unwrap();
                assert_eq!(read, &text[start as usize..][..bytes]);
            }
            assert!(store.read(3990, 11, &mut buffer).is_err());
            assert!(store.read(5000, 1, &mut buffer).is_err());
            store.read_into(17, 5, &mut buffer).unwrap();
            assert_eq!(buffer, &text[17..22]);
            store.copy = None;
        }
    }

    #[test]
    fn large_files_and_what_is_above_the_budget_are_not_copied() {
        let largest = MAX_COPY_BYTES;
        assert_eq!(with_another(0, largest), Some(largest));
        assert_eq!(with_another(0, largest + 1), None);
        let rest = MAX_ALL_BYTES - largest;
        assert_eq!(with_another(rest, largest), Some(MAX_ALL_BYTES));
        assert_eq!(with_another(rest + 1, largest), None);
    }
}

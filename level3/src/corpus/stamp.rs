//! What tells whether a file has changed: its place, its size and its times.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::codec::{Reader, put_varint};

/// A change younger than this when the file is read may be followed by another with the same
/// time stamp, because kernels stamp files with the time of their last clock tick (10 ms at most).
const GRAIN_NS: i64 = 100_000_000;

/// Likewise where the file system keeps whole seconds, or every second one (FAT).
const COARSE_GRAIN_NS: i64 = 2_100_000_000;

const SECOND_NS: i64 = 1_000_000_000;

/// A folder, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderId {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl FolderId {
    /// The folder with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

/// What tells whether a file has changed. A file whose stamp is the same is not read again.
///
/// Device and inode notice a file that was put in another's place with its times kept (`mv`,
/// a folder renamed); the inode's change time notices what programs that set back the
/// modification time (`touch -d`, `tar`, `rsync -t`) have written. A change through a mapping that
/// was written to before (`mmap`) is only noticed once the system has written it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Change time of the inode in nanoseconds since 1970.
    pub changed_ns: i64,
}

impl Stamp {
    /// The stamp of a file with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(SECOND_NS).saturating_add(ns);
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified_ns: ns(meta.mtime(), meta.mtime_nsec()),
            changed_ns: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Appends the stamp, packed.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for number in [self.device, self.inode, self.bytes] {
            put_varint(out, number);
        }
        out.extend(self.modified_ns.to_le_bytes());
        out.extend(self.changed_ns.to_le_bytes());
    }

    /// Takes a packed stamp.
    pub(crate) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            device: reader.varint()?,
            inode: reader.varint()?,
            bytes: reader.varint()?,
            modified_ns: reader.i64()?,
            changed_ns: reader.i64()?,
        })
    }

    /// A stamp that equals no file's: it has to be read again.
    #[must_use]
    pub fn never(self) -> Self {
        Self {
            changed_ns: i64::MIN,
            ..self
        }
    }

    /// Whether the file may change again without its stamp showing it, as of now.
    pub(crate) fn is_fresh(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_nanos() as i64);
        let is_coarse = self.changed_ns % SECOND_NS == 0;
        let grain = if is_coarse { COARSE_GRAIN_NS } else { GRAIN_NS };
        // A time in the future, by another host's clock, says nothing.
        now.saturating_sub(self.changed_ns) < grain
    }

    /// The stamp, or one that equals no file's if this one cannot be relied on.
    pub(crate) fn settled(self) -> Self {
        if self.is_fresh() { self.never() } else { self }
    }

    /// Whether two hosts, or the same one twice, saw the same state of a file. Hosts number their
    /// devices as they like.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let device = self.device;
        *self == Self { device, ..*other }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_in_the_place_of_another_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "text").unwrap();
        fs::write(&two, "next").unwrap();
        let stamp = |path| Stamp::of(&fs::metadata(path).unwrap());
        let before = stamp(&one);
        fs::rename(&two, &one).unwrap();
        let after = stamp(&one);
        assert_ne!(before.inode, after.inode);
        assert!(before != after && !before.agrees(&after));
    }

    #[test]
    fn a_fresh_stamp_is_not_relied_on() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = now.as_nanos() as i64 | 1;
        let stamp = |age: i64| Stamp {
            changed_ns: now - age,
            ..Stamp::default()
        };
        assert_ne!(stamp(0).settled(), stamp(0));
        assert_ne!(stamp(-SECOND_NS).settled(), stamp(-SECOND_NS));
        let old = stamp(2 * GRAIN_NS);
        assert_eq!(old.settled(), old);
        // Whole seconds: the file system keeps no finer time.
        let coarse = Stamp {
            changed_ns: (now / SECOND_NS - 1) * SECOND_NS,
            ..Stamp::default()
        };
        assert_ne!(coarse.settled(), coarse);
    }
}

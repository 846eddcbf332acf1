//! Reading one file under the contract's rules.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{MAX_FILE_BYTES, Reject};

/// A change younger than this when the file is read may be followed by another with the same
/// time stamp, because kernels stamp files with the time of their last clock tick.
const RACY_NS: i64 = 100_000_000;

/// Size and change time of a file. A file whose stamp is the same as before is not read again.
///
/// The inode's change time is used rather than the modification time, since programs can set
/// the latter back (`touch -d`, `tar`, `rsync -t`) but not the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size in bytes.
    pub bytes: u64,
    /// Change time in nanoseconds since 1970.
    pub changed_ns: i64,
}

impl Stamp {
    /// The stamp of a file with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        let changed_ns = meta.ctime().saturating_mul(1_000_000_000) + meta.ctime_nsec();
        Self {
            bytes: meta.len(),
            changed_ns,
        }
    }

    /// A stamp that equals no file's, for files caught while they were changing.
    fn settle(self) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_nanos() as i64);
        if now - self.changed_ns < RACY_NS {
            Self {
                changed_ns: i64::MIN,
                ..self
            }
        } else {
            self
        }
    }
}

/// Reads the file into `text` (cleared first) and returns its stamp as it was before reading.
///
/// # Errors
/// The stamp, as far as it could be taken, and the rule that keeps the file out.
pub fn load(path: &Path, text: &mut Vec<u8>) -> Result<Stamp, (Option<Stamp>, Reject)> {
    text.clear();
    // Not following links and not blocking: the tree may have changed since it was walked, and a
    // pipe in the file's place would hang the indexer.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let unreadable = |_| (None, Reject::Unreadable);
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err((None, Reject::Unreadable));
    }
    let stamp = Stamp::of(&meta).settle();
    if stamp.bytes > MAX_FILE_BYTES {
        return Err((Some(stamp), Reject::TooLarge));
    }
    text.reserve(stamp.bytes as usize + 1);
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(text)
        .map_err(|_| (Some(stamp), Reject::Unreadable))?;
    match judge(text) {
        Some(reason) => Err((Some(stamp), reason)),
        None => Ok(stamp),
    }
}

/// The rule that the contents break, if any.
fn judge(text: &[u8]) -> Option<Reject> {
    if text.len() as u64 > MAX_FILE_BYTES {
        Some(Reject::TooLarge)
    } else if memchr::memchr(0, text).is_some() {
        Some(Reject::Binary)
    } else if std::str::from_utf8(text).is_err() {
        Some(Reject::NotUtf8)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_judged_by_size_nul_and_utf8() {
        assert_eq!(judge(b"plain \xc3\xa9"), None);
        assert_eq!(judge(b"cut \xc3"), Some(Reject::NotUtf8));
        assert_eq!(judge(b"zero\0"), Some(Reject::Binary));
        assert_eq!(judge(&vec![b'a'; 1 << 20]), None);
        assert_eq!(judge(&vec![b'a'; (1 << 20) + 1]), Some(Reject::TooLarge));
    }

    #[test]
    fn symbolic_links_and_folders_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        let mut text = Vec::new();
        assert!(load(&dir.path().join("file"), &mut text).is_ok());
        assert_eq!(text, b"text");
        assert!(load(&dir.path().join("link"), &mut text).is_err());
        assert!(load(dir.path(), &mut text).is_err());
    }

    #[test]
    fn a_file_that_just_changed_gets_a_stamp_that_never_matches() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let stamp = load(&path, &mut Vec::new()).unwrap();
        let seen = Stamp::of(&std::fs::metadata(&path).unwrap());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos() as i64;
        // Only while the change is still fresh, in case the machine stood still in between.
        if now - seen.changed_ns < RACY_NS {
            assert_ne!(stamp, seen);
        }
    }
}

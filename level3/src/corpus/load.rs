//! Reading one file under the contract's rules.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{MAX_FILE_BYTES, Reject, Stamp};

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
    let stamp = Stamp::of(&meta).settled();
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
}

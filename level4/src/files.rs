//! Small files that an operator writes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// No file of settings, certificates or users needs more bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Reads a file of a bounded size, whatever is there: a device has no end.
///
/// # Errors
///
/// The system's, or that it is too long.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let reason = format!("it has more than {} MiB", LIMIT >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// The same, of text.
///
/// # Errors
///
/// Likewise, or that it is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
        assert!(read_text(Path::new("/dev/null")).unwrap().is_empty());
    }
}

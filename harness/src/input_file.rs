//! Files that somebody names, read whole: never more of them than they can sensibly have. What is
//! named may be a pipe, a device or anything else, and it may grow meanwhile.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_opened(File::open(path)?, most)
}

/// The same for a file that was opened in a way of its own.
///
/// # Errors
/// As for [`read`].
pub fn read_opened(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let size = if most < 1 << 20 {
            format!("{} KiB", most >> 10)
        } else {
            format!("{} MiB", most >> 20)
        };
        let message = format!("it has more than {size}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The same for a text.
///
/// # Errors
/// As for [`read`], or it is not valid UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let message = format!("it is no text in UTF-8: byte {} is wrong", place + 1);
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x");
        std::fs::write(&path, [b'a'; 2048]).unwrap();
        assert_eq!(read_text(&path, 2048).unwrap().len(), 2048);
        let told = |path: &Path, most| read_text(path, most).unwrap_err().to_string();
        assert_eq!(told(&path, 2047), "it has more than 1 KiB");
        std::fs::write(&path, b"ab\xff").unwrap();
        assert!(told(&path, 10).contains("byte 3 "));
        // Without an end.
        assert_eq!(
            told(Path::new("/dev/zero"), 1 << 20),
            "it has more than 1 MiB"
        );
        assert!(read(home.path(), 10).is_err());
    }
}

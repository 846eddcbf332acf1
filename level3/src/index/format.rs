//! The header of a segment's index file, and the errors of reading an index.
//!
//! `DESIGN.md` shows the same layout as a table.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::codec::Reader;

/// First bytes of every segment index file.
pub(crate) const MAGIC: [u8; 8] = *b"L3INDEX\n";

/// Changes whenever a reader of the old format would misread the new one.
pub(crate) const VERSION: u32 = 2;

/// Bytes of an encoded [`Header`].
pub(crate) const HEADER_BYTES: usize = 8 + 4 + 4 * 4 + 8 + 4 * 12 + 4;

/// Why an index cannot be written, read or used.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not what we wrote: damaged, cut short, or another program's.
    #[error("{}: {what}; the index must be rebuilt", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The check that failed.
        what: &'static str,
    },
    /// Another process uses the folder.
    #[error("{}: another process uses this data folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

impl IndexError {
    /// Adds the path to an error of the operating system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            path: path.to_owned(),
            error,
        }
    }

    /// A failed check of the file at `path`.
    pub(crate) fn damaged(path: &Path, what: &'static str) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what,
        }
    }
}

/// Length and checksum of one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub bytes: u64,
    pub crc: u32,
}

/// What an index file contains. The sections follow the header in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub files: u32,
    pub chunks: u32,
    pub grams: u32,
    /// Length of the packed text beside the index file.
    pub text_bytes: u64,
    /// Names, stamps and chunk counts of the files.
    pub file_table: Section,
    /// Lengths, line counts and checksums of the chunks.
    pub chunk_table: Section,
    /// Grams and the lengths of their posting lists.
    pub dictionary: Section,
    /// The posting lists.
    pub postings: Section,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        // Spare, so that the 64-bit fields are aligned for whoever reads a hex dump.
        out.extend(0_u32.to_le_bytes());
        for count in [self.files, self.chunks, self.grams] {
            out.extend(count.to_le_bytes());
        }
        out.extend(self.text_bytes.to_le_bytes());
        for section in [
            self.file_table,
            self.chunk_table,
            self.dictionary,
            self.postings,
        ] {
            out.extend(section.bytes.to_le_bytes());
            out.extend(section.crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    /// Reads a header, or says what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (body, crc) = bytes
            .split_last_chunk::<4>()
            .ok_or("too short for a header")?;
        if bytes.len() != HEADER_BYTES || !body.starts_with(&MAGIC) {
            return Err("not an index file of level3");
        }
        let mut reader = Reader(&body[MAGIC.len()..]);
        if reader.u32() != Some(VERSION) {
            return Err("index file of another format version");
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err("checksum of the header differs");
        }
        Self::fields(&mut reader).ok_or("header cut short")
    }

    /// Reads the fields of a header whatever its magic, version and checksum are.
    pub(crate) fn unchecked(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        reader.take(MAGIC.len() + size_of_val(&VERSION))?;
        Self::fields(&mut reader)
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        reader.u32()?;
        let (files, chunks, grams) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let text_bytes = reader.u64()?;
        let mut section = || {
            Some(Section {
                bytes: reader.u64()?,
                crc: reader.u32()?,
            })
        };
        let (file_table, chunk_table) = (section()?, section()?);
        let (dictionary, postings) = (section()?, section()?);
        Some(Self {
            files,
            chunks,
            grams,
            text_bytes,
            file_table,
            chunk_table,
            dictionary,
            postings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_any_flipped_bit_is_noticed() {
        let section = |bytes| Section {
            bytes,
            crc: bytes as u32 * 7,
        };
        let header = Header {
            files: 1,
            chunks: 2,
            grams: 3,
            text_bytes: 4,
            file_table: section(5),
            chunk_table: section(6),
            dictionary: section(7),
            postings: section(8),
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(Header::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
        assert!(Header::decode(&bytes[..20]).is_err());
    }
}

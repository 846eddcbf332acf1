//! Writing a segment.
//!
//! The text goes to disk as files are added. For the posting lists the builder remembers, chunk
//! after chunk, which grams occurred, and counts each; at the end one counting sort turns "grams of
//! each chunk" into "chunks of each gram". That takes six bytes a posting, about as much memory as
//! the segment has text, which [`SegmentBuilder::TEXT_BYTES`] bounds.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::chunk::{self, MAX_CHUNKS};
use super::format::{Header, IndexError, Section};
use super::gram::{Gram, GramScanner, GramTable};
use super::posting;
use super::segment::{index_path, text_path};
use crate::codec::{put_bytes, put_varint};
use crate::corpus::{Reject, Stamp};

/// Writes one segment.
pub struct SegmentBuilder {
    path: PathBuf,
    text_path: PathBuf,
    text: BufWriter<File>,
    text_bytes: u64,
    files: u32,
    file_table: Vec<u8>,
    chunks: usize,
    chunk_table: Vec<u8>,
    scanner: GramScanner,
    /// How many chunks each gram occurs in.
    counts: GramTable,
    /// The grams of all chunks, one chunk after the other.
    occurrences: Vec<Gram>,
    /// Where each chunk ends in `occurrences`.
    chunk_ends: Vec<usize>,
}

impl SegmentBuilder {
    /// Text at which a segment is full, in bytes. Bounds the memory of its builder.
    pub const TEXT_BYTES: u64 = 64 << 20;

    /// Starts segment `number` in `dir`, over whatever a killed predecessor left there.
    pub fn new(dir: &Path, number: u64) -> Result<Self, IndexError> {
        let text_path = text_path(dir, number);
        let text = File::create(&text_path).map_err(IndexError::io(&text_path))?;
        Ok(Self {
            path: index_path(dir, number),
            text_path,
            text: BufWriter::with_capacity(1 << 18, text),
            text_bytes: 0,
            files: 0,
            file_table: Vec::new(),
            chunks: 0,
            chunk_table: Vec::new(),
            scanner: GramScanner::new(),
            counts: GramTable::new(),
            occurrences: Vec::new(),
            chunk_ends: Vec::new(),
        })
    }

    /// Whether a file of `bytes` bytes still fits.
    pub fn fits(&self, bytes: u64) -> bool {
        // A chunk may be a single short line between two long ones, but two neighbours together
        // always exceed the chunk size.
        let chunks = 2 * bytes as usize / (16 << 10) + 1;
        self.text_bytes + bytes <= Self::TEXT_BYTES && self.chunks + chunks <= MAX_CHUNKS
    }

    /// Adds a file with its text. Files are added in the order of their paths.
    pub fn add(&mut self, path: &str, stamp: Stamp, text: &[u8]) -> Result<(), IndexError> {
        let first_chunk = self.chunks;
        for part in chunk::cut(text) {
            put_varint(&mut self.chunk_table, part.len() as u64);
            put_varint(
                &mut self.chunk_table,
                memchr::memchr_iter(b'\n', part).count() as u64,
            );
            self.chunk_table.extend(crc32c::crc32c(part).to_le_bytes());
            let Self {
                scanner,
                counts,
                occurrences,
                ..
            } = self;
            scanner.scan(part, |gram| {
                *counts.of(gram) += 1;
                occurrences.push(gram);
            });
            self.chunk_ends.push(self.occurrences.len());
            self.chunks += 1;
        }
        self.text
            .write_all(text)
            .map_err(IndexError::io(&self.text_path))?;
        self.text_bytes += text.len() as u64;
        self.row(path, stamp, None, self.chunks - first_chunk);
        Ok(())
    }

    /// Adds a file that the rules keep out, so that it is known and not read again.
    pub fn add_rejected(&mut self, path: &str, stamp: Stamp, reason: Reject) {
        self.row(path, stamp, Some(reason), 0);
    }

    fn row(&mut self, path: &str, stamp: Stamp, reject: Option<Reject>, chunks: usize) {
        let code = reject.and_then(|reason| Reject::ALL.iter().position(|&r| r == reason));
        put_bytes(&mut self.file_table, path.as_bytes());
        self.file_table.push(code.map_or(0, |code| code as u8 + 1));
        stamp.put(&mut self.file_table);
        put_varint(&mut self.file_table, chunks as u64);
        self.files += 1;
    }

    /// Writes the index and makes both files durable.
    pub fn finish(mut self) -> Result<(), IndexError> {
        self.text.flush().map_err(IndexError::io(&self.text_path))?;
        self.text
            .get_ref()
            .sync_data()
            .map_err(IndexError::io(&self.text_path))?;
        let Inverted {
            grams,
            dictionary,
            postings,
        } = self.invert();
        let section = |part: &[u8]| Section {
            bytes: part.len() as u64,
            crc: crc32c::crc32c(part),
        };
        let header = Header {
            files: self.files,
            chunks: self.chunks as u32,
            grams,
            text_bytes: self.text_bytes,
            file_table: section(&self.file_table),
            chunk_table: section(&self.chunk_table),
            dictionary: section(&dictionary),
            postings: section(&postings),
        };
        let mut file = File::create(&self.path).map_err(IndexError::io(&self.path))?;
        let parts = [
            &header.encode(),
            &self.file_table,
            &self.chunk_table,
            &dictionary,
            &postings,
        ];
        for part in parts {
            file.write_all(part).map_err(IndexError::io(&self.path))?;
        }
        file.sync_data().map_err(IndexError::io(&self.path))
    }

    /// Turns the grams of each chunk into the chunks of each gram.
    fn invert(&mut self) -> Inverted {
        // From here on the table says where the list of each gram ends so far.
        let mut ends = std::mem::take(&mut self.counts);
        let mut counts = Vec::new();
        let mut start = 0;
        ends.each_mut(|gram, count| {
            counts.push((gram, *count));
            start += std::mem::replace(count, start);
        });
        let mut lists = vec![0_u16; self.occurrences.len()];
        let mut from = 0;
        for (chunk, &to) in self.chunk_ends.iter().enumerate() {
            for &gram in &self.occurrences[from..to] {
                let end = ends.of(gram);
                lists[*end as usize] = chunk as u16;
                *end += 1;
            }
            from = to;
        }
        self.occurrences = Vec::new();
        drop(ends);
        let mut inverted = Inverted {
            grams: counts.len() as u32,
            ..Inverted::default()
        };
        let Inverted {
            dictionary,
            postings,
            ..
        } = &mut inverted;
        let (mut rest, mut previous) = (&lists[..], 0);
        for (gram, count) in counts {
            let (list, after) = rest.split_at(count as usize);
            rest = after;
            let before = postings.len();
            posting::encode(list, self.chunks, postings);
            put_varint(dictionary, u64::from(gram.0 - previous));
            put_varint(dictionary, (postings.len() - before) as u64);
            previous = gram.0;
        }
        inverted
    }
}

/// The chunks of each gram.
#[derive(Default)]
struct Inverted {
    /// How many there are.
    grams: u32,
    dictionary: Vec<u8>,
    postings: Vec<u8>,
}

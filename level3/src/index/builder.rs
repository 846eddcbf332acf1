//! Writing a segment.
//!
//! The text goes to disk as files are added. For the posting lists the builder remembers, chunk
//! after chunk, which grams occurred, as numbers given in order of first sight; at the end one
//! counting sort turns "grams of each chunk" into "chunks of each gram". That takes six bytes a
//! posting, about as much memory as the segment has text, which [`SegmentBuilder::TEXT_BYTES`]
//! bounds.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::chunk::{self, MAX_CHUNKS};
use super::format::{Header, IndexError, Section};
use super::gram::{Gram, GramScanner};
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
    /// The number of each gram seen so far.
    numbers: FxHashMap<Gram, u32>,
    /// How many chunks each numbered gram occurs in.
    counts: Vec<u32>,
    /// The numbers of the grams of all chunks, one chunk after the other.
    occurrences: Vec<u32>,
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
            numbers: FxHashMap::default(),
            counts: Vec::new(),
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
                numbers,
                counts,
                occurrences,
                ..
            } = self;
            scanner.scan(part, |gram| {
                let number = *numbers.entry(gram).or_insert_with(|| {
                    counts.push(0);
                    counts.len() as u32 - 1
                });
                counts[number as usize] += 1;
                occurrences.push(number);
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
        let (dictionary, postings) = self.invert();
        let section = |part: &[u8]| Section {
            bytes: part.len() as u64,
            crc: crc32c::crc32c(part),
        };
        let header = Header {
            files: self.files,
            chunks: self.chunks as u32,
            grams: self.counts.len() as u32,
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

    /// Turns the grams of each chunk into the chunks of each gram: dictionary and posting lists.
    fn invert(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut start = 0;
        let mut ends: Vec<u32> = Vec::with_capacity(self.counts.len());
        for &count in &self.counts {
            ends.push(start);
            start += count;
        }
        let mut lists = vec![0_u16; self.occurrences.len()];
        let mut from = 0;
        for (chunk, &to) in self.chunk_ends.iter().enumerate() {
            for &number in &self.occurrences[from..to] {
                let end = &mut ends[number as usize];
                lists[*end as usize] = chunk as u16;
                *end += 1;
            }
            from = to;
        }
        self.occurrences = Vec::new();
        let mut grams: Vec<(Gram, u32)> = self.numbers.drain().collect();
        grams.sort_unstable();
        let (mut dictionary, mut postings) = (Vec::new(), Vec::new());
        let mut previous = 0;
        for (gram, number) in grams {
            let end = ends[number as usize] as usize;
            let list = &lists[end - self.counts[number as usize] as usize..end];
            let before = postings.len();
            posting::encode(list, self.chunks, &mut postings);
            put_varint(&mut dictionary, u64::from(gram.0 - previous));
            put_varint(&mut dictionary, (postings.len() - before) as u64);
            previous = gram.0;
        }
        (dictionary, postings)
    }
}

//! Reading a segment.
//!
//! Opening checks every checksum but the text's; a chunk's text is checked the first time it is
//! read. Names, chunk table and dictionary stay in memory, and so do posting lists and text if they
//! are small; otherwise they are read when a query needs them (see [`Store`]).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::chunk::{ChunkSet, MAX_CHUNKS};
use super::format::{HEADER_BYTES, Header, IndexError, Section};
use super::gram::Gram;
use super::posting;
use super::store::Store;
use crate::codec::Reader;
use crate::corpus::{MAX_FILE_BYTES, Reject, Stamp};

/// Where the index of segment `number` lies.
pub(crate) fn index_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.index"))
}

/// Where the packed text of segment `number` lies.
pub(crate) fn text_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.text"))
}

/// A file of a segment.
#[derive(Clone, Debug)]
pub struct FileRow {
    /// Path below the indexed root.
    pub path: Box<str>,
    /// The file as it was when it was read.
    pub stamp: Stamp,
    /// Why it has no text, if it has none.
    pub reject: Option<Reject>,
    /// Its first chunk.
    pub first_chunk: u32,
    /// How many chunks it has.
    pub chunks: u32,
}

/// Where a chunk lies in the packed text, and what it belongs to.
#[derive(Clone, Copy, Debug)]
struct ChunkRow {
    offset: u64,
    bytes: u32,
    file: u32,
    /// Lines of the file in front of the chunk.
    lines_before: u32,
    crc: u32,
}

/// An open segment.
pub struct Segment {
    number: u64,
    index: Store,
    text: Store,
    header: Header,
    files: Vec<FileRow>,
    chunks: Vec<ChunkRow>,
    /// The grams in ascending order.
    grams: Vec<Gram>,
    /// Where the posting list of each gram starts in the index file, and where the last ends.
    list_starts: Vec<u64>,
    /// Chunks whose text has been checked, a bit each.
    checked: Vec<AtomicU64>,
}

impl Segment {
    /// Opens segment `number` of the shard in `dir`.
    pub fn open(dir: &Path, number: u64) -> Result<Self, IndexError> {
        let (index_path, text_path) = (index_path(dir, number), text_path(dir, number));
        let damaged = |what| IndexError::damaged(&index_path, what);
        let mut index = File::open(&index_path).map_err(IndexError::io(&index_path))?;
        let length = index.metadata().map_err(IndexError::io(&index_path))?.len();
        let mut start = [0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 {
            return Err(damaged("too short for a header"));
        }
        index
            .read_exact(&mut start)
            .map_err(IndexError::io(&index_path))?;
        let header = Header::decode(&start).map_err(damaged)?;
        let sections = [
            header.file_table,
            header.chunk_table,
            header.dictionary,
            header.postings,
        ];
        let expected = sections
            .iter()
            .try_fold(HEADER_BYTES as u64, |sum, section| {
                sum.checked_add(section.bytes)
            });
        if expected != Some(length) {
            return Err(damaged("length differs from the header's"));
        }
        let mut read = |section| read_section(&mut index, section, &index_path);
        let (file_table, chunk_table) = (read(header.file_table)?, read(header.chunk_table)?);
        let dictionary = read(header.dictionary)?;
        check_section(&mut index, header.postings, &index_path)?;

        let files = parse_files(&file_table, header).ok_or_else(|| damaged("bad file table"))?;
        let chunks =
            parse_chunks(&chunk_table, header, &files).ok_or_else(|| damaged("bad chunk table"))?;
        let (grams, list_starts) =
            parse_dictionary(&dictionary, header).ok_or_else(|| damaged("bad dictionary"))?;
        let text = File::open(&text_path).map_err(IndexError::io(&text_path))?;
        let text_bytes = text.metadata().map_err(IndexError::io(&text_path))?.len();
        if text_bytes != header.text_bytes {
            return Err(IndexError::damaged(
                &text_path,
                "length differs from the index's",
            ));
        }
        let checked = (0..chunks.len().div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Self {
            number,
            index: Store::new(index_path, index, length - header.postings.bytes..length)?,
            text: Store::new(text_path, text, 0..text_bytes)?,
            header,
            files,
            chunks,
            grams,
            list_starts,
            checked,
        })
    }

    /// The number that names the segment's files.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The files in the order of their paths, those kept out by a rule included.
    pub fn files(&self) -> &[FileRow] {
        &self.files
    }

    /// How many chunks the segment has.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Bytes of packed text.
    pub fn text_bytes(&self) -> u64 {
        self.header.text_bytes
    }

    /// Bytes of the index file.
    pub fn index_bytes(&self) -> u64 {
        self.list_starts.last().copied().unwrap_or(0)
    }

    /// Position in [`Segment::files`] of the file that a chunk belongs to.
    pub fn file_of(&self, chunk: usize) -> usize {
        self.chunks[chunk].file as usize
    }

    /// Lines of its file in front of a chunk.
    pub fn lines_before(&self, chunk: usize) -> u32 {
        self.chunks[chunk].lines_before
    }

    /// Bytes of text of a chunk.
    pub fn chunk_bytes(&self, chunk: usize) -> usize {
        self.chunks[chunk].bytes as usize
    }

    /// What reading the posting list of `gram` costs, in bytes; 0 if the gram does not occur.
    pub fn list_bytes(&self, gram: Gram) -> u64 {
        self.list_range(gram).map_or(0, |(start, end)| end - start)
    }

    /// The chunks that contain `gram`.
    pub fn postings(&self, gram: Gram) -> Result<ChunkSet, IndexError> {
        let Some((start, end)) = self.list_range(gram) else {
            return Ok(ChunkSet::none(self.chunks()));
        };
        let mut buffer = Vec::new();
        let bytes = (end - start) as usize;
        let list = self.index.read(start, bytes, &mut buffer)?;
        posting::decode(list, self.chunks())
            .ok_or_else(|| IndexError::damaged(self.index.path(), "bad posting list"))
    }

    fn list_range(&self, gram: Gram) -> Option<(u64, u64)> {
        let at = self.grams.binary_search(&gram).ok()?;
        Some((self.list_starts[at], self.list_starts[at + 1]))
    }

    /// The text of a run of neighbouring chunks, in memory already or read into `buffer`.
    pub fn read<'a>(
        &'a self,
        first: usize,
        count: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], IndexError> {
        let (start, bytes) = self.range(first, count);
        let text = self.text.read(start, bytes, buffer)?;
        self.check(first, count, text)?;
        Ok(text)
    }

    /// Reads the whole text of a file into `buffer`, which then holds just that.
    pub fn read_file(&self, file: usize, buffer: &mut Vec<u8>) -> Result<(), IndexError> {
        let row = &self.files[file];
        let (first, count) = (row.first_chunk as usize, row.chunks as usize);
        let (start, bytes) = self.range(first, count);
        self.text.read_into(start, bytes, buffer)?;
        self.check(first, count, buffer)
    }

    /// Where the text of a run of chunks starts, and its bytes.
    fn range(&self, first: usize, count: usize) -> (u64, usize) {
        let rows = &self.chunks[first..first + count];
        let start = rows.first().map_or(0, |row| row.offset);
        (start, rows.iter().map(|row| row.bytes as usize).sum())
    }

    /// Compares the text of a run of chunks with their checksums, once while the segment is open.
    fn check(&self, first: usize, count: usize, text: &[u8]) -> Result<(), IndexError> {
        let mut rest = text;
        for chunk in first..first + count {
            let row = &self.chunks[chunk];
            let (part, after) = rest.split_at(row.bytes as usize);
            rest = after;
            let (word, bit) = (&self.checked[chunk / 64], 1 << (chunk % 64));
            // Relaxed: the bit only saves work, and checking twice does no harm.
            if word.load(Ordering::Relaxed) & bit == 0 {
                if crc32c::crc32c(part) != row.crc {
                    let what = "checksum of the text differs";
                    return Err(IndexError::damaged(self.text.path(), what));
                }
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Reads the next section and checks it.
fn read_section(index: &mut File, section: Section, path: &Path) -> Result<Vec<u8>, IndexError> {
    let mut bytes = vec![0; section.bytes as usize];
    index.read_exact(&mut bytes).map_err(IndexError::io(path))?;
    if crc32c::crc32c(&bytes) != section.crc {
        return Err(IndexError::damaged(path, "checksum of a section differs"));
    }
    Ok(bytes)
}

/// Checks the next section without keeping it.
fn check_section(index: &mut File, section: Section, path: &Path) -> Result<(), IndexError> {
    let mut buffer = vec![0; 1 << 18];
    let (mut left, mut crc) = (section.bytes, 0);
    while left > 0 {
        let part = &mut buffer[..left.min(1 << 18) as usize];
        index.read_exact(part).map_err(IndexError::io(path))?;
        crc = crc32c::crc32c_append(crc, part);
        left -= part.len() as u64;
    }
    if crc != section.crc {
        return Err(IndexError::damaged(
            path,
            "checksum of the posting lists differs",
        ));
    }
    Ok(())
}

fn parse_files(table: &[u8], header: Header) -> Option<Vec<FileRow>> {
    let mut reader = Reader(table);
    let mut files = Vec::with_capacity((header.files as usize).min(table.len()));
    let mut first_chunk = 0_u32;
    for _ in 0..header.files {
        let path = reader.string()?.into();
        let reject = match reader.u8()? {
            0 => None,
            code => Some(*Reject::ALL.get(usize::from(code) - 1)?),
        };
        let stamp = Stamp::take(&mut reader)?;
        let chunks = reader.varint_u32()?;
        files.push(FileRow {
            path,
            stamp,
            reject,
            first_chunk,
            chunks,
        });
        first_chunk = first_chunk.checked_add(chunks)?;
    }
    (reader.is_empty() && first_chunk == header.chunks).then_some(files)
}

fn parse_chunks(table: &[u8], header: Header, files: &[FileRow]) -> Option<Vec<ChunkRow>> {
    if header.chunks as usize > MAX_CHUNKS {
        return None;
    }
    let mut reader = Reader(table);
    let mut chunks = Vec::with_capacity(header.chunks as usize);
    let mut offset = 0;
    for (file, row) in files.iter().enumerate() {
        let mut lines_before = 0;
        for _ in 0..row.chunks {
            let (bytes, lines) = (reader.varint_u32()?, reader.varint_u32()?);
            let crc = reader.u32()?;
            if u64::from(bytes) > MAX_FILE_BYTES || lines > bytes {
                return None;
            }
            chunks.push(ChunkRow {
                offset,
                bytes,
                file: file as u32,
                lines_before,
                crc,
            });
            offset += u64::from(bytes);
            lines_before = lines.checked_add(lines_before)?;
        }
    }
    (reader.is_empty() && offset == header.text_bytes).then_some(chunks)
}

fn parse_dictionary(table: &[u8], header: Header) -> Option<(Vec<Gram>, Vec<u64>)> {
    let mut reader = Reader(table);
    let capacity = (header.grams as usize).min(table.len());
    let mut grams = Vec::with_capacity(capacity);
    let mut starts = Vec::with_capacity(capacity + 1);
    let sections = [header.file_table, header.chunk_table, header.dictionary];
    let mut start = HEADER_BYTES as u64 + sections.iter().map(|section| section.bytes).sum::<u64>();
    let mut gram = 0_u32;
    for _ in 0..header.grams {
        gram = gram.checked_add(reader.varint_u32()?)?;
        grams.push(Gram(gram));
        starts.push(start);
        start = start.checked_add(reader.varint()?)?;
    }
    starts.push(start);
    let end = HEADER_BYTES as u64
        + sections.iter().map(|section| section.bytes).sum::<u64>()
        + header.postings.bytes;
    let ascending = grams.is_sorted_by(|a, b| a < b);
    (reader.is_empty() && ascending && start == end).then_some((grams, starts))
}

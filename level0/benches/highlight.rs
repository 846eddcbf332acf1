//! What level0 costs, beside its peers in the same run: `cargo bench -p level0`.
//!
//! - `short_document`: whole processes on 11 KB, as in 2014, beside an empty Rust program, which is
//!   the part of the time that no program can save.
//! - `short_document_in_process`: the peer's part of the same work without starting a process: fill
//!   a plain hash set from the dictionary, then look up.
//! - `long_document`: 64 MiB from memory to nowhere, the table beside a plain hash set. Reading and
//!   writing files come on top; whole processes on 1 GiB are measured by the harness.
//!
//! In the documents about three words in ten are unknown, and every entry of the dictionary is
//! equally frequent. That is hard on caches: natural text repeats its words.

use divan::Bencher;
use divan::counter::BytesCount;
use level0::{Dictionary, Highlighter, Markers, Report, WORDS};
use rustc_hash::FxHashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

const SHORT_BYTES: usize = 11_000;
const LONG_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 4 << 20;

fn main() {
    divan::main();
}

/// Files that the benchmarked processes use.
struct Files {
    folder: TempDir,
}

impl Files {
    fn document(&self) -> PathBuf {
        self.folder.path().join("document")
    }

    fn dictionary(&self) -> PathBuf {
        self.folder.path().join("dictionary")
    }

    fn empty_program(&self) -> PathBuf {
        self.folder.path().join("empty")
    }
}

/// Written once; the empty program is compiled with the flags of the release profile.
static FILES: LazyLock<Files> = LazyLock::new(|| {
    let files = Files {
        folder: tempfile::tempdir().expect("a folder"),
    };
    std::fs::write(files.document(), document(SHORT_BYTES)).expect("written");
    std::fs::write(files.dictionary(), WORDS).expect("written");
    let source = files.folder.path().join("empty.rs");
    std::fs::write(&source, "fn main() {}").expect("written");
    let status = Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .args([
            "-C",
            "opt-level=3",
            "-C",
            "lto=thin",
            "-C",
            "codegen-units=1",
            "-o",
        ])
        .args([files.empty_program(), source])
        .status()
        .expect("rustc runs");
    assert!(status.success());
    files
});

/// A document of dictionary words, some of them mutated, ended by spaces, newlines and full stops.
fn document(bytes: usize) -> Vec<u8> {
    let words: Vec<&[u8]> = WORDS.split(|&byte| byte == b'\n').collect();
    let mut state = 42;
    let mut random = move || split_mix(&mut state);
    let mut text = Vec::with_capacity(bytes + 64);
    while text.len() < bytes {
        let word = words[random() as usize % words.len()];
        let start = text.len();
        text.extend_from_slice(word);
        match random() % 100 {
            0..=9 => text.extend_from_slice(b"Qz"),
            10..=14 if !word.is_empty() => text[start] = b'x',
            15..=18 => text.push(b'.'),
            19..=24 => text[start..].make_ascii_uppercase(),
            _ => {}
        }
        text.push(if random() % 12 == 0 { b'\n' } else { b' ' });
    }
    text
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The plain way: a hash set of the lines, and a fresh lower-case copy of each word.
fn plain_set(dictionary: &[u8]) -> FxHashSet<&[u8]> {
    dictionary.split(|&byte| byte == b'\n').collect()
}

fn plain_highlight(set: &FxHashSet<&[u8]>, text: &[u8], mut sink: impl Write) -> io::Result<()> {
    let mut marked = Vec::with_capacity(text.len() * 2);
    for field in text.split_inclusive(|byte| matches!(byte, b' ' | b'\n')) {
        let end = field.len() - usize::from(matches!(field.last(), Some(b' ' | b'\n')));
        let (word, separator) = field.split_at(end);
        if word.is_empty() || set.contains(word.to_ascii_lowercase().as_slice()) {
            marked.extend_from_slice(field);
        } else {
            marked.push(b'<');
            marked.extend_from_slice(word);
            marked.push(b'>');
            marked.extend_from_slice(separator);
        }
    }
    sink.write_all(&marked)
}

#[divan::bench_group(sample_count = 300, sample_size = 1)]
mod short_document {
    use super::{Bencher, Command, FILES, File, Path, Stdio};

    #[divan::bench]
    fn empty_program(bencher: Bencher) {
        run(bencher, &FILES.empty_program(), None);
    }

    #[divan::bench]
    fn built_in_dictionary(bencher: Bencher) {
        run(bencher, Path::new(env!("CARGO_BIN_EXE_level0")), None);
    }

    #[divan::bench]
    fn dictionary_file(bencher: Bencher) {
        run(
            bencher,
            Path::new(env!("CARGO_BIN_EXE_level0")),
            Some(&FILES.dictionary()),
        );
    }

    fn run(bencher: Bencher, program: &Path, argument: Option<&Path>) {
        bencher.bench(|| {
            Command::new(program)
                .args(argument)
                .stdin(File::open(FILES.document()).expect("opened"))
                .stdout(Stdio::null())
                .status()
                .expect("the program runs")
        });
    }
}

#[divan::bench_group(sample_count = 50, sample_size = 1)]
mod short_document_in_process {
    use super::{Bencher, FILES, SHORT_BYTES, document, io, plain_highlight, plain_set};

    #[divan::bench]
    fn plain_hash_set_of_a_file(bencher: Bencher) {
        let text = document(SHORT_BYTES);
        bencher.bench(|| {
            let dictionary = std::fs::read(FILES.dictionary()).expect("read");
            plain_highlight(&plain_set(&dictionary), &text, io::sink())
        });
    }
}

#[divan::bench_group(sample_count = 3, sample_size = 1)]
mod long_document {
    use super::{
        Bencher, BytesCount, CHUNK_BYTES, Dictionary, Highlighter, LONG_BYTES, LazyLock, Markers,
        Report, WORDS, document, io, plain_highlight, plain_set,
    };

    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| document(LONG_BYTES));

    #[divan::bench]
    fn plain_hash_set(bencher: Bencher) {
        let set = plain_set(WORDS);
        bencher.counter(BytesCount::new(TEXT.len())).bench(|| {
            TEXT.chunks(CHUNK_BYTES)
                .try_for_each(|chunk| plain_highlight(&set, chunk, io::sink()))
        });
    }

    #[divan::bench]
    fn compact_list(bencher: Bencher) {
        highlight(
            bencher,
            &Dictionary::built_in(),
            Report::Document(Markers::ANGLE_BRACKETS),
            1,
        );
    }

    #[divan::bench(args = [1, 2], sample_count = 20)]
    fn table(bencher: Bencher, threads: usize) {
        let dictionary = Dictionary::built_in().for_long_documents();
        highlight(
            bencher,
            &dictionary,
            Report::Document(Markers::ANGLE_BRACKETS),
            threads,
        );
    }

    #[divan::bench(args = [1, 2], sample_count = 20)]
    fn table_counting_only(bencher: Bencher, threads: usize) {
        let dictionary = Dictionary::built_in().for_long_documents();
        highlight(bencher, &dictionary, Report::Count, threads);
    }

    fn highlight(bencher: Bencher, dictionary: &Dictionary, report: Report, threads: usize) {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        bencher.counter(BytesCount::new(TEXT.len())).bench(|| {
            pool.install(|| {
                let mut highlighter = Highlighter::new(dictionary, report, io::sink());
                if threads > 1 {
                    highlighter = highlighter.in_parallel();
                }
                for chunk in TEXT.chunks(CHUNK_BYTES) {
                    highlighter.push(chunk)?;
                }
                highlighter.finish().map(|(_, tally)| tally)
            })
        });
    }

    #[divan::bench]
    fn making_the_table() -> Dictionary {
        Dictionary::built_in().for_long_documents()
    }
}

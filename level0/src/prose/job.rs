//! The program for prose without its flags: documents in, a report out.
//!
//! Documents that fit a chunk are read and judged many at a time, one a thread; a longer one is
//! judged alone, by all threads. The report is in the order of the documents either way.

use super::document::{CHUNK_BYTES, Count, Finding, Stop, Wanted, judge};
use super::error::{Problem, ProseError};
use super::files::{Document, Selection};
use super::fold::Diacritics;
use super::format::{Format, Remark, Writer, write_list};
use super::personal;
use super::vocabulary::{Vocabulary, VocabularyBuilder};
use crate::LISTED_BYTES;
use rayon::prelude::*;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Documents, and bytes of them, that are judged at a time: what is found in them is kept until they
/// are reported, some thirty times their bytes if no short word in them is known.
const BATCH: (usize, u64) = (256, 16 * 1024 * 1024);

/// Distinct words whose suggestions are remembered.
const SUGGESTED_WORDS: usize = 100_000;

/// No dictionary has suggestions for a word of more bytes.
const SUGGESTED_BYTES: usize = 256;

/// What is asked of the program for prose.
#[derive(Debug, Default)]
pub struct Job {
    /// Documents and folders, `-` for standard input, which is also what is read if there are none.
    pub paths: Vec<PathBuf>,
    /// Which files of folders are taken.
    pub selection: Selection,
    /// Dictionary files; without any, and without languages, the built-in list.
    pub dictionaries: Vec<PathBuf>,
    /// Languages whose hunspell dictionaries the system has.
    pub languages: Vec<String>,
    /// The personal list; if nothing is given, the nearest and that of the home directory.
    pub personal: Option<PathBuf>,
    /// Words to add to the personal list first.
    pub add: Vec<String>,
    /// Whether diacritics tell words apart.
    pub diacritics: Diacritics,
    /// Names like `camelCase` are taken apart.
    pub code: bool,
    /// What is told.
    pub report: Report,
    /// The report's form.
    pub format: Format,
    /// How many suggestions are given with each unknown word.
    pub suggest: usize,
    /// Threads; all cores if nothing is given.
    pub threads: Option<NonZero<usize>>,
}

/// What is told of the documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Report {
    /// Each unknown word with its place.
    #[default]
    Findings,
    /// Each distinct unknown word with how often it stands there, the most frequent first.
    List,
    /// Only how many words there are, and how many are unknown.
    Count,
}

/// Does the job; writes the report to standard output. What keeps single documents from being judged
/// goes to `problem`, and the others are judged.
///
/// A reader of the output that closes it ends the job early and is no error.
///
/// # Errors
/// See [`ProseError`].
pub fn run(job: &Job, problem: &mut dyn FnMut(&Problem)) -> Result<Count, ProseError> {
    if !job.add.is_empty() {
        personal::add(&job.add, job.personal.as_deref())?;
        if job.paths.is_empty() {
            return Ok(Count::default());
        }
    }
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = job.threads {
        pool = pool.num_threads(threads.get());
    }
    let pool = pool
        .build()
        .map_err(|source| ProseError::Threads { source })?;
    let overrides = job.selection.overrides()?;
    let vocabulary = pool.install(|| vocabulary(job))?;
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let output = stdout.map_err(|source| ProseError::Output { source })?;
    let mut reporter = Reporter::new(job, &vocabulary, BufWriter::new(File::from(output)));
    let documents = job.selection.documents(&job.paths, &overrides);
    let reported = judge_all(documents, &vocabulary, &pool, &mut reporter, problem)
        .and_then(|count| reporter.finish(count).map(|()| count));
    match reported {
        Err(source) if source.kind() == ErrorKind::BrokenPipe => Ok(Count::default()),
        other => other.map_err(|source| ProseError::Output { source }),
    }
}

fn vocabulary(job: &Job) -> Result<Vocabulary, ProseError> {
    let mut builder = VocabularyBuilder::new(job.diacritics).with_code(job.code);
    if job.dictionaries.is_empty() && job.languages.is_empty() {
        builder.add_built_in();
    }
    for path in &job.dictionaries {
        builder.read(path)?;
    }
    for language in &job.languages {
        builder.read_language(language)?;
    }
    for path in personal::lists(job.personal.as_deref()) {
        personal::read(&path, &mut builder)?;
    }
    Ok(builder.build())
}

/// What was found in a document that was judged with others.
struct Judged {
    document: Document,
    found: Vec<Owned>,
    result: Result<Count, Stop>,
}

/// A finding that outlives its text.
struct Owned {
    word: Box<str>,
    offset: u64,
    line: u64,
    column: u64,
}

/// Judges all documents. Problems are told, and an error is one of writing.
fn judge_all(
    documents: impl Iterator<Item = Result<Document, Problem>>,
    vocabulary: &Vocabulary,
    pool: &rayon::ThreadPool,
    reporter: &mut Reporter<'_, impl Write + Send>,
    problem: &mut dyn FnMut(&Problem),
) -> io::Result<Count> {
    let mut total = Count::default();
    let mut batch: Vec<(Document, File)> = Vec::new();
    let mut bytes = 0;
    for document in documents {
        let opened = document.and_then(|document| open(&document).map(|file| (document, file)));
        let (document, file) = match opened {
            Ok(opened) => opened,
            Err(wrong) => {
                // What comes before is told before.
                judge_batch(&mut batch, vocabulary, pool, reporter, problem, &mut total)?;
                problem(&wrong);
                continue;
            }
        };
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file);
        let len = metadata.map_or(u64::MAX, |metadata| metadata.len());
        if len < CHUNK_BYTES as u64 && document.path.is_some() {
            bytes += len;
            batch.push((document, file));
            if batch.len() < BATCH.0 && bytes < BATCH.1 {
                continue;
            }
        } else {
            judge_batch(&mut batch, vocabulary, pool, reporter, problem, &mut total)?;
            let path = document.path.as_deref();
            let wanted = reporter.wanted();
            let judged = pool
                .install(|| judge(file, vocabulary, wanted, |found| reporter.take(path, found)));
            end_document(&document, judged, problem, &mut total)?;
        }
        judge_batch(&mut batch, vocabulary, pool, reporter, problem, &mut total)?;
        bytes = 0;
    }
    judge_batch(&mut batch, vocabulary, pool, reporter, problem, &mut total)?;
    Ok(total)
}

/// Judges documents that fit a chunk each, in parallel; reports them in order.
fn judge_batch(
    batch: &mut Vec<(Document, File)>,
    vocabulary: &Vocabulary,
    pool: &rayon::ThreadPool,
    reporter: &mut Reporter<'_, impl Write>,
    problem: &mut dyn FnMut(&Problem),
    total: &mut Count,
) -> io::Result<()> {
    let documents = std::mem::take(batch);
    let wanted = reporter.wanted();
    let judged: Vec<Judged> = pool.install(|| {
        let documents = documents.into_par_iter().with_max_len(1);
        documents
            .map(|(document, file)| judge_small(document, file, vocabulary, wanted))
            .collect()
    });
    for judged in judged {
        for owned in &judged.found {
            let finding = Finding {
                word: &owned.word,
                offset: owned.offset,
                line: owned.line,
                column: owned.column,
            };
            reporter.take(judged.document.path.as_deref(), &finding)?;
        }
        end_document(&judged.document, judged.result, problem, total)?;
    }
    Ok(())
}

fn judge_small(document: Document, file: File, vocabulary: &Vocabulary, wanted: Wanted) -> Judged {
    let mut found = Vec::new();
    let result = judge(file, vocabulary, wanted, |finding| {
        found.push(Owned {
            word: finding.word.into(),
            offset: finding.offset,
            line: finding.line,
            column: finding.column,
        });
        Ok(())
    });
    Judged {
        document,
        found,
        result,
    }
}

/// Counts a document, or tells why it cannot be.
fn end_document(
    document: &Document,
    judged: Result<Count, Stop>,
    problem: &mut dyn FnMut(&Problem),
    total: &mut Count,
) -> io::Result<()> {
    match judged {
        Ok(count) => {
            total.words += count.words;
            total.unknown += count.unknown;
        }
        Err(Stop::Write(error)) => return Err(error),
        Err(Stop::Read(source)) => problem(&Problem::Unreadable {
            path: document.path.clone(),
            source,
        }),
        // Pictures and programs lie in every folder.
        Err(Stop::Binary) if !document.named => {}
        Err(Stop::Binary) => problem(&Problem::Binary {
            path: document.path.clone(),
        }),
    }
    Ok(())
}

fn open(document: &Document) -> Result<File, Problem> {
    let opened = match &document.path {
        Some(path) => File::open(path),
        None => io::stdin().as_fd().try_clone_to_owned().map(File::from),
    };
    opened.map_err(|source| Problem::Unreadable {
        path: document.path.clone(),
        source,
    })
}

/// Writes or collects what is found.
struct Reporter<'a, W: Write> {
    job: &'a Job,
    vocabulary: &'a Vocabulary,
    writer: Writer<W>,
    suggested: HashMap<String, Vec<String>>,
    counts: HashMap<String, u64>,
}

impl<'a, W: Write> Reporter<'a, W> {
    fn new(job: &'a Job, vocabulary: &'a Vocabulary, sink: W) -> Self {
        Self {
            job,
            vocabulary,
            writer: Writer::new(job.format, sink),
            suggested: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// What the report needs to know of unknown words.
    fn wanted(&self) -> Wanted {
        match self.job.report {
            Report::Findings => Wanted::Places,
            Report::List => Wanted::Words,
            Report::Count => Wanted::Count,
        }
    }

    fn take(&mut self, path: Option<&Path>, finding: &Finding<'_>) -> io::Result<()> {
        match self.job.report {
            Report::Count => return Ok(()),
            Report::List => {
                // A longer word is listed by its beginning, as in the contest's form.
                let word = &finding.word[..finding.word.floor_char_boundary(LISTED_BYTES)];
                match self.counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => drop(self.counts.insert(word.to_owned(), 1)),
                }
                return Ok(());
            }
            Report::Findings => {}
        }
        let may_have_some = self.job.suggest > 0 && finding.word.len() <= SUGGESTED_BYTES;
        if may_have_some && !self.suggested.contains_key(finding.word) {
            if self.suggested.len() >= SUGGESTED_WORDS {
                self.suggested.clear();
            }
            let words = self.vocabulary.suggestions(finding.word, self.job.suggest);
            self.suggested.insert(finding.word.to_owned(), words);
        }
        let suggestions = self.suggested.get(finding.word);
        self.writer.write(&Remark {
            path,
            finding,
            suggestions: suggestions.map_or(&[], Vec::as_slice),
        })
    }

    fn finish(self, count: Count) -> io::Result<()> {
        match self.job.report {
            Report::Findings => self.writer.finish(),
            Report::List => {
                let mut words: Vec<(String, u64)> = self.counts.into_iter().collect();
                words.sort_unstable_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
                write_list(&mut self.writer.into_sink(), self.job.format, &words)
            }
            Report::Count => {
                let mut sink = self.writer.into_sink();
                writeln!(sink, "{} {}", count.words, count.unknown)?;
                sink.flush()
            }
        }
    }
}

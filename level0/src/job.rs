//! The contest's program without its flags: picks the way for the document's size, and reports.
//!
//! `files.rs` opens what is read and written; `prose/` is the other program, for texts as people
//! write them.

use crate::dictionary::{Dictionary, DictionaryBuilder};
use crate::error::RunError;
use crate::files::Files;
use crate::highlighter::Highlighter;
use crate::report::{Report, Tally};
use crate::wanted::Wanted;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

/// A document of up to so many bytes is read whole before anything is set up.
///
/// Making the table for long documents takes as long as looking up a document of this size in the
/// compact list.
const SHORT_BYTES: usize = 512 * 1024;

/// Bytes of a long document read at once: enough pieces for all cores.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What the program is asked to do.
#[derive(Debug)]
pub struct Job {
    /// Dictionary files, used together; the built-in dictionary if there are none.
    pub dictionaries: Vec<PathBuf>,
    /// The document; standard input if nothing is given.
    pub input: Option<PathBuf>,
    /// Where the report goes; standard output if nothing is given.
    pub output: Option<PathBuf>,
    /// What to tell about the document.
    pub report: Report,
    /// Threads for a long document; all cores if nothing is given.
    pub threads: Option<NonZero<usize>>,
}

/// Does the job. A reader of the output that closes it ends the job early and is no error.
///
/// # Errors
/// See [`RunError`]. Nothing has been written if a dictionary is at fault, or a document that cannot
/// be read at all.
pub fn run(job: &Job) -> Result<(), RunError> {
    let mut files = Files::open(job)?;
    let mut beginning = vec![0; SHORT_BYTES];
    let len = files.fill(&mut beginning)?;
    let result = if len < SHORT_BYTES {
        beginning.truncate(len);
        run_short(job, &mut files, &beginning)
    } else {
        run_long(job, &mut files, beginning)
    };
    match result {
        Err(RunError::Output { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Reports a document that is in memory: one thread, one write.
fn run_short(job: &Job, files: &mut Files<'_>, text: &[u8]) -> Result<(), RunError> {
    let dictionary = if job.dictionaries.is_empty() {
        Dictionary::built_in()
    } else {
        let folded = text.to_ascii_lowercase();
        let mut wanted = Wanted::words_of(&folded);
        read_dictionaries(job, |file| wanted.read(file))?;
        wanted.into_dictionary()
    };
    let mut highlighter = Highlighter::new(&dictionary, job.report, Vec::new());
    let reported = highlighter.push(text).and_then(|()| highlighter.finish());
    let (report, tally) = reported.map_err(|source| files.output_error(source))?;
    let mut output = files.create_output()?;
    let written = output
        .write_all(&report)
        .and_then(|()| write_tally(&mut output, job, tally));
    written.map_err(|source| files.output_error(source))
}

/// Reports a document that may be of any length and begins with `beginning`.
fn run_long(job: &Job, files: &mut Files<'_>, beginning: Vec<u8>) -> Result<(), RunError> {
    let dictionary = if job.dictionaries.is_empty() {
        Dictionary::built_in().for_long_documents()
    } else {
        let mut builder = DictionaryBuilder::default();
        read_dictionaries(job, |file| builder.read(file))?;
        builder.build()
    };
    let output = files.create_output()?;
    let threads = job.threads.or_else(|| thread::available_parallelism().ok());
    let highlighter = Highlighter::new(&dictionary, job.report, output);
    let threads = threads.map_or(1, NonZero::get);
    let (mut output, tally) = if threads == 1 {
        push_in_turn(highlighter, files, beginning)?
    } else {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|source| RunError::Threads { source })?;
        pool.install(|| push_while_reading(highlighter.in_parallel(), files, beginning))?
    };
    write_tally(&mut output, job, tally).map_err(|source| files.output_error(source))
}

/// Reads and reports by turns, in one buffer.
fn push_in_turn(
    mut highlighter: Highlighter<'_, File>,
    files: &mut Files<'_>,
    beginning: Vec<u8>,
) -> Result<(File, Tally), RunError> {
    let mut chunk = beginning;
    let mut len = chunk.len();
    while len > 0 {
        highlighter
            .push(&chunk[..len])
            .map_err(|source| files.output_error(source))?;
        len = files.fill(&mut chunk)?;
    }
    highlighter
        .finish()
        .map_err(|source| files.output_error(source))
}

/// Reads the next chunk while the present one is reported.
fn push_while_reading(
    mut highlighter: Highlighter<'_, File>,
    files: &mut Files<'_>,
    beginning: Vec<u8>,
) -> Result<(File, Tally), RunError> {
    let mut len = beginning.len();
    let (mut chunk, mut next) = (beginning, vec![0; CHUNK_BYTES]);
    while len > 0 {
        let (read, pushed) =
            rayon::join(|| files.fill(&mut next), || highlighter.push(&chunk[..len]));
        pushed.map_err(|source| files.output_error(source))?;
        len = read?;
        std::mem::swap(&mut chunk, &mut next);
        next.resize(CHUNK_BYTES, 0);
    }
    highlighter
        .finish()
        .map_err(|source| files.output_error(source))
}

fn write_tally(output: &mut impl Write, job: &Job, tally: Tally) -> io::Result<()> {
    match job.report {
        Report::Document(_) | Report::List => Ok(()),
        Report::Count => {
            output.write_all(format!("{} {}\n", tally.words, tally.unknown).as_bytes())
        }
        Report::Distinct => output.write_all(format!("{}\n", tally.distinct).as_bytes()),
    }
}

fn read_dictionaries(
    job: &Job,
    mut read: impl FnMut(File) -> io::Result<()>,
) -> Result<(), RunError> {
    for path in &job.dictionaries {
        File::open(path)
            .and_then(&mut read)
            .map_err(|source| RunError::Dictionary {
                path: path.clone(),
                source,
            })?;
    }
    Ok(())
}

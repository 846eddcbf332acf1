//! The program without its flags: opens files, picks the way for the document's size, reports.

use crate::dictionary::{Dictionary, DictionaryBuilder};
use crate::highlighter::Highlighter;
use crate::report::{Report, Tally};
use crate::wanted::Wanted;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, thread};

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

/// Why a [`Job`] could not be done. The message names the file and the cause in one line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A dictionary cannot be opened or read.
    #[error("cannot read dictionary {}: {source}", Quoted(.path))]
    Dictionary {
        /// The dictionary's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The document cannot be opened or read.
    #[error("cannot read {}: {source}", Place(.path, "standard input"))]
    Input {
        /// The document's path, or nothing for standard input.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write {}: {source}", Place(.path, "standard output"))]
    Output {
        /// The report's path, or nothing for standard output.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// The report would overwrite what is still to be read.
    #[error("{} is read and cannot be written at the same time", Place(.path, "standard output"))]
    OutputIsInput {
        /// The report's path, or nothing for standard output.
        path: Option<PathBuf>,
    },
    /// The threads cannot be started.
    #[error("cannot start threads: {source}")]
    Threads {
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// A path in quotes.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line break in a name would make the message two lines.
        let name = self
            .0
            .to_string_lossy()
            .replace(char::is_control, "\u{FFFD}");
        write!(formatter, "'{name}'")
    }
}

/// A path in quotes, or what stands for it.
struct Place<'a>(&'a Option<PathBuf>, &'static str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => Quoted(path).fmt(formatter),
            None => formatter.write_str(self.1),
        }
    }
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

/// The document, and where its report goes.
struct Files<'j> {
    job: &'j Job,
    input: File,
}

impl<'j> Files<'j> {
    fn open(job: &'j Job) -> Result<Self, RunError> {
        let opened = match &job.input {
            Some(path) => File::open(path),
            // The standard library's handle would keep a buffer of its own.
            None => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        };
        let input = opened.map_err(|source| RunError::Input {
            path: job.input.clone(),
            source,
        })?;
        if job.input.is_none() && input.is_terminal() {
            let _ = writeln!(
                io::stderr(),
                "level0: reading the document from the terminal; end it with Ctrl-D"
            );
        }
        Ok(Self { job, input })
    }

    /// Reads until the buffer is full or the document ends; says how many bytes there are.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, RunError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(RunError::Input {
                        path: self.job.input.clone(),
                        source,
                    });
                }
            }
        }
        Ok(filled)
    }

    /// Opens the output; called when all that may be wrong before has been seen to be right.
    fn create_output(&self) -> Result<File, RunError> {
        let opened = match &self.job.output {
            Some(path) => {
                self.refuse_to_overwrite(path)?;
                File::create(path)
            }
            None => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        };
        opened.map_err(|source| self.output_error(source))
    }

    /// Truncating the output must not destroy the document, nor a dictionary.
    fn refuse_to_overwrite(&self, output: &Path) -> Result<(), RunError> {
        let Ok(output) = output.metadata() else {
            return Ok(());
        };
        let is_output = |read: &Metadata| {
            output.is_file() && (read.dev(), read.ino()) == (output.dev(), output.ino())
        };
        let dictionaries = self.job.dictionaries.iter().map(|path| path.metadata());
        let mut all_read = dictionaries.chain([self.input.metadata()]).flatten();
        if all_read.any(|read| is_output(&read)) {
            return Err(RunError::OutputIsInput {
                path: self.job.output.clone(),
            });
        }
        Ok(())
    }

    fn output_error(&self, source: io::Error) -> RunError {
        RunError::Output {
            path: self.job.output.clone(),
            source,
        }
    }
}

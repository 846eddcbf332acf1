//! The files of a [`Job`]: the document that is read, and the place where its report goes.
//!
//! A document comes through one handle, a file's or standard input's. The output is opened late, when
//! all that may be wrong before has been seen to be right, and never over a file that is read.

use crate::error::RunError;
use crate::job::Job;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The document, and where its report goes.
pub(crate) struct Files<'j> {
    job: &'j Job,
    input: File,
}

impl<'j> Files<'j> {
    pub(crate) fn open(job: &'j Job) -> Result<Self, RunError> {
        let opened = match &job.input {
            Some(path) => File::open(path),
            // The standard library's handle would keep a buffer of its own.
            None => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        };
        let input = opened.map_err(|source| RunError::Input {
            path: job.input.clone(),
            source,
        })?;
        Ok(Self { job, input })
    }

    /// Reads until the buffer is full or the document ends; says how many bytes there are.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, RunError> {
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
    pub(crate) fn create_output(&self) -> Result<File, RunError> {
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

    pub(crate) fn output_error(&self, source: io::Error) -> RunError {
        RunError::Output {
            path: self.job.output.clone(),
            source,
        }
    }
}

//! Why a trace cannot be read: which file, which line, and what is wrong with it.

use std::{io, path::PathBuf};

use super::{BYTES_MAX, EVENTS_MAX, LINE_BYTES_MAX, NODES_MAX, TRACE_SCHEMA};

/// The errors of reading a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The system refused something.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without traces.
    #[error("{} has no *.jsonl files: no traces of nodes", .0.display())]
    NoFiles(PathBuf),
    /// A file without any line.
    #[error("{} is empty: a trace begins with a line that says {{\"trace\":{TRACE_SCHEMA}}}", .0.display())]
    Empty(PathBuf),
    /// A line that is none of a trace.
    #[error("{}: line {line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// More events than a page can draw.
    #[error("{} has more than {EVENTS_MAX} events: write fewer, or a shorter run", .0.display())]
    Events(PathBuf),
    /// More than is kept in memory.
    #[error("{} has more than {} MiB: write fewer events, or a shorter run", .0.display(), BYTES_MAX >> 20)]
    Bytes(PathBuf),
    /// More nodes than a page has lanes.
    #[error("{}: more than {NODES_MAX} nodes", .0.display())]
    Nodes(PathBuf),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// It is longer than any event.
    #[error("it has more than {} KiB", LINE_BYTES_MAX >> 10)]
    Long,
    /// It is not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// A field that each event has is not there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field holds something else than it must.
    #[error("`{field}` is to be {wanted}, and is {found}")]
    Field {
        /// Its name.
        field: String,
        /// What it is to be, in words.
        wanted: &'static str,
        /// What it is, in words; cut if it is long.
        found: String,
    },
    /// The format is a later one.
    #[error("the format has version {0}, and this program reads version {TRACE_SCHEMA}")]
    Version(u64),
}

//! What the nodes print: appended to `ROOT/nodeI.log`, and handed to whoever listens.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, BufReader, PipeReader, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::network::NodeId;

/// A line longer than this is passed on in pieces, so that a node without line feeds costs no
/// memory.
const LINE_BYTES: u64 = 64 * 1024;

/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Hear = dyn Fn(NodeId, &str) + Send + Sync;

/// Hears each line that a node prints, without its line feed.
#[derive(Clone)]
pub struct Echo(Arc<Hear>);

impl Echo {
    /// Calls a function from the threads that read the nodes' output.
    pub fn new(hear: impl Fn(NodeId, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Hands on a line of a node.
    pub(crate) fn hear(&self, node: NodeId, line: &str) {
        (self.0)(node, line);
    }
}

impl std::fmt::Debug for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Echo")
    }
}

/// Collects the output of all nodes.
#[derive(Debug)]
pub(super) struct Collector {
    root: PathBuf,
    echo: Option<Echo>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Collector {
    pub fn new(root: &Path, echo: Option<Echo>) -> Self {
        Self {
            root: root.to_owned(),
            echo,
            readers: Mutex::default(),
        }
    }

    /// Reads until every process that has the other end is gone.
    pub fn collect(&self, node: NodeId, from: PipeReader) -> io::Result<()> {
        let path = self.root.join(format!("node{node}.log"));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let echo = self.echo.clone();
        let reader = thread::Builder::new()
            .name(format!("output of node {node}"))
            .spawn(move || {
                let mut from = BufReader::new(from);
                let mut line = Vec::new();
                while let Ok(1..) = from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                    // A full disk must not stop the node at its next line.
                    let _lost = file.write_all(&line);
                    if let Some(echo) = &echo {
                        echo.hear(node, String::from_utf8_lossy(&line).trim_end());
                    }
                    line.clear();
                }
            })?;
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(reader);
        Ok(())
    }

    /// The folder of the logs, in which the nodes' folders are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits for the last lines; every node must have been killed before. What somebody holds open
    /// nevertheless is not waited for longer than [`PATIENCE`].
    pub fn finish(&self) {
        let readers =
            std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        let start = Instant::now();
        while readers.iter().any(|reader| !reader.is_finished()) && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

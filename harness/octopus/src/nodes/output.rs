//! What the nodes print: appended to `ROOT/nodeI.log`, and echoed on request.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, BufReader, PipeReader, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use crate::network::NodeId;

/// A line longer than this is passed on in pieces, so that a node without line feeds costs no
/// memory.
const LINE_BYTES: u64 = 64 * 1024;

/// Collects the output of all nodes.
#[derive(Debug)]
pub(super) struct Collector {
    root: PathBuf,
    echo: bool,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Collector {
    pub fn new(root: &Path, echo: bool) -> Self {
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
        let echo = self.echo;
        let reader = thread::Builder::new()
            .name(format!("output of node {node}"))
            .spawn(move || {
                let mut from = BufReader::new(from);
                let mut line = Vec::new();
                while let Ok(1..) = from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                    // A full disk must not stop the node at its next line.
                    let _lost = file.write_all(&line);
                    if echo {
                        let text = String::from_utf8_lossy(&line);
                        let _nobody_listens =
                            writeln!(io::stderr().lock(), "[node{node}] {}", text.trim_end());
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

    /// Waits for the last lines; every node must have been killed before.
    pub fn finish(&self) {
        let readers =
            std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        for reader in readers {
            let _panicked = reader.join();
        }
    }
}

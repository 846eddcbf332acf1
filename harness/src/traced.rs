//! A run as a trace: what its nodes wrote down by themselves, what passed through the network, and what the
//! monkeys did, in one file for `harness trace`.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use octopus::{
    EventLog, NodeId, Octopus, Passages, monotonic_ns,
    trace::{Header, Pieces, Share, Trace, Writer, piece_together},
};

use crate::console;

/// The variable that tells a node where to write its share.
const VARIABLE: &str = "OCTOPUS_TRACE";

/// The run's file in the folder.
const FILE: &str = "run.jsonl";

/// Makes the folder; whatever else it has would be taken for a part of the run.
pub fn check(folder: &Path) -> Result<()> {
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
    let files = fs::read_dir(folder).with_context(|| format!("cannot read {shown}"))?;
    for file in files {
        let name = file?.file_name();
        let is_trace = Path::new(&name)
            .extension()
            .is_some_and(|end| end == "jsonl");
        ensure!(
            !is_trace || name == FILE,
            "--trace: {shown} has a trace already, {}: name another folder",
            name.display()
        );
    }
    Ok(())
}

/// Where a node writes its share.
pub fn share(root: &Path, node: NodeId) -> PathBuf {
    root.join(format!("node{node}.trace.jsonl"))
}

/// The words before a command line that tell a node so.
pub fn told(share: &Path) -> [OsString; 2] {
    let mut variable = OsString::from(VARIABLE);
    variable.push("=");
    variable.push(share);
    ["env".into(), variable]
}

/// A trace that is being made.
pub struct Traced {
    folder: PathBuf,
    nodes: usize,
    passages: Passages,
    /// When the event log began, by the clock that nodes write by.
    start_ns: u64,
}

impl Traced {
    /// From now on what passes is written down. No node runs yet.
    pub fn begin(folder: &Path, octopus: &Octopus) -> Self {
        let elapsed = octopus.log().elapsed().as_nanos() as u64;
        Self {
            folder: folder.to_owned(),
            nodes: octopus.nodes().count(),
            passages: octopus.network().passages(),
            start_ns: monotonic_ns() - elapsed,
        }
    }

    /// The run, which `header` says more of, is over: puts together what there is.
    pub fn write(self, header: Header, root: &Path, log: &EventLog) -> Result<()> {
        let nodes = self.nodes;
        let mut shares = Vec::new();
        for node in 0..nodes {
            let path = share(root, node);
            if !path.exists() {
                continue;
            }
            match Trace::open_part(&path) {
                Ok(trace) => shares.push(Share { node, trace }),
                Err(error) => console::log(&format!(
                    "harness: what node {node} wrote is no trace, and is left out: {error}"
                )),
            }
        }
        if self.passages.is_cut_short() {
            console::log("harness: so much passed that the trace does not have the end of it");
        }
        let trace = piece_together(Pieces {
            header,
            nodes,
            shares,
            passages: self.passages.take(),
            records: &log.sorted(),
            start_ns: self.start_ns,
        });
        for remark in &trace.remarks {
            console::log(&format!("harness: {remark}"));
        }
        let path = self.folder.join(FILE);
        write(&path, &trace)
            .with_context(|| format!("cannot write the trace to {}", path.display()))
    }
}

fn write(path: &Path, trace: &Trace) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut writer = Writer::new(&mut file, &trace.header)?;
    for event in &trace.events {
        writer.write(event)?;
    }
    file.flush()
}

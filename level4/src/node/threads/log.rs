//! The log thread: writes and syncs what the core hands it, many changes at once.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};

use super::super::Figures;
use super::super::fault::Fault;
use super::{Input, LogWork, retry};
use crate::consensus::Persist;
use crate::log::{Folder, Log};
use crate::notes::note;

/// Writes that share one record and one sync, at most.
const WRITE_GROUP: usize = 512;
/// And so many bytes, beyond which no more are added.
const WRITE_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Writes until the core is gone.
pub(in crate::node) fn run(
    mut log: Log<Folder>,
    works: &Receiver<LogWork>,
    core: &Sender<Input>,
    figures: &Figures,
) -> Result<(), Fault> {
    let mut writes: Vec<Persist> = Vec::new();
    while let Ok(first) = works.recv() {
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(work) = next.take() {
            match work {
                LogWork::Write(persist) => {
                    bytes += persist.size();
                    writes.push(persist);
                }
                LogWork::Compact(index) => {
                    if let Err(error) = log.compact(index) {
                        note(format_args!("old log segments stay: {error}"));
                    }
                }
            }
            if writes.len() < WRITE_GROUP && bytes < WRITE_GROUP_BYTES {
                next = works.try_recv().ok();
            }
        }
        flush_writes(&mut log, &mut writes, core, figures)?;
    }
    Ok(())
}

fn flush_writes(
    log: &mut Log<Folder>,
    writes: &mut Vec<Persist>,
    core: &Sender<Input>,
    figures: &Figures,
) -> Result<(), Fault> {
    if let Some(number) = writes.last().map(|persist| persist.number) {
        retry(core, figures, || log.append(writes))?;
        figures.syncs.fetch_add(1, Relaxed);
        writes.clear();
        let _ = core.send(Input::Persisted(number));
    }
    Ok(())
}

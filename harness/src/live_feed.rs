//! How a run stands, for a program that shows it: `--live` has stdout carry JSON lines.
//!
//! Each line is an object with `live`, its kind: `network` (nodes and links, as the terminal's view
//! has them), `queues` (level 2), `search` (level 3), `chain` (level 1), `result` (a verdict), `kept` (numbers in the
//! history). `docs/dashboard.md` has their fields. Nobody who reads them is no reason for a run to
//! end.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Serialize;
use serde_json::json;

static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// From now on stdout carries the feed, and all else goes to stderr.
pub fn open() {
    IS_OPEN.store(true, Ordering::Relaxed);
    crate::console::give_stdout_to_json();
}

/// Whether somebody is told at all.
pub fn is_open() -> bool {
    IS_OPEN.load(Ordering::Relaxed)
}

/// A line of a kind; nothing if the feed is not open.
pub fn tell(kind: &str, what: &impl Serialize) {
    if !is_open() {
        return;
    }
    let line = json!({ "live": kind, "is": what });
    let _nobody_reads = writeln!(io::stdout().lock(), "{line}");
}

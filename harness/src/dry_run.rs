//! What `--dry-run` prints: the schedule of the monkeys, and a digest by which two of them can be
//! compared at a glance.

use octopus::Schedule;
use sha2::{Digest, Sha256};

use crate::console;

/// Prints the schedule of links between so many places, and its digest.
pub fn print(schedule: &Schedule, places: usize) {
    let mut hash = Sha256::new();
    for line in schedule.lines(places) {
        hash.update(line.as_bytes());
        hash.update(b"\n");
        console::print(&line);
    }
    console::print(&format!("sha256 {}", hex::encode(hash.finalize())));
}

//! The bugs that DESIGN.md tells of, each as the shortest story in which it would show: a few cores driven
//! by hand, message by message. The simulation found most of them; here a changed seed cannot lose them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agreement;
mod membership;
mod promises;
mod skipping;
mod snapshots;
mod story;
mod strange;

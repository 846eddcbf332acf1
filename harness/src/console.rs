//! Lines for people: results on stdout, progress and logs on stderr.
//!
//! Unlike `println!`, these do not panic when the other end of a pipe has gone (`harness | head`):
//! a run goes on to its end, its exit status, and its JSON file without an audience.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether stdout belongs to a program that reads JSON from it.
static STDOUT_IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on stdout carries JSON and nothing else: lines for people go to stderr, all of them.
pub fn give_stdout_to_json() {
    STDOUT_IS_JSON.store(true, Ordering::Relaxed);
}

/// Writes a line to stdout, where results go; to stderr if stdout carries JSON.
pub fn print(line: &str) {
    if STDOUT_IS_JSON.load(Ordering::Relaxed) {
        return log(line);
    }
    // A reader who has left does not want the line; there is nobody to tell.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes a line to stderr, where progress and errors go.
pub fn log(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes a line of a node's to stderr.
pub fn log_node(node: usize, line: &str) {
    log(&format!("[node{node}] {line}"));
}

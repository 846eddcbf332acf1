//! What the tests share: the slow obvious oracle, and running the real binary.
#![allow(dead_code, reason = "each test binary uses a part")]

#[allow(unused_imports, reason = "each test binary uses a part")]
pub use oracle::{Expected, Oracle};

#[path = "../oracle/mod.rs"]
pub mod oracle;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The built program, called as a user would.
pub fn level0() -> Command {
    Command::new(env!("CARGO_BIN_EXE_level0"))
}

/// The path of a file that belongs to the crate.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs the command with `input` on its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    std::thread::scope(|scope| {
        // A program that ends early closes its input; what it then says is judged by the test.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("the program ends")
    })
}

/// The standard output of a run that succeeds without a word on standard error.
pub fn output_of(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = feed(command, input);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    output.stdout
}

/// Checks that a run said one line holding each of `parts`, and exited with 2.
pub fn assert_told(output: &Output, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
}

/// The same, and that it wrote nothing.
pub fn assert_refused(output: &Output, parts: &[&str]) {
    assert_told(output, parts);
    assert!(output.stdout.is_empty());
}

/// A long document of known and unknown words, the same at each call: more than two chunks.
pub fn long_document() -> Vec<u8> {
    let words: Vec<&[u8]> = level0::WORDS.split(|&byte| byte == b'\n').collect();
    let mut document = Vec::new();
    let mut state = 1_usize;
    while document.len() < 9 * 1024 * 1024 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = words[(state >> 33) % words.len()];
        document.extend_from_slice(word);
        match state >> 60 {
            0 => document.extend_from_slice(b"Zq"),
            1 => document.extend_from_slice(b".\n\n"),
            2 => document.push(b' '),
            _ => {}
        }
        document.push(b' ');
    }
    document
}

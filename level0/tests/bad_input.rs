//! Wrong input: one line that says what and where, exit 2, and nothing destroyed.

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;
use support::{assert_refused, feed, file, level0, long_document};

#[test]
fn a_missing_dictionary_is_named() {
    let output = feed(level0().arg("no/such/words"), b"the");
    assert_refused(&output, &["'no/such/words'", "No such file"]);
    let output = feed(
        level0()
            .arg("-d")
            .arg(file("data/web2"))
            .args(["-d", "gone"]),
        b"the",
    );
    assert_refused(&output, &["'gone'", "No such file"]);
}

#[test]
fn a_missing_dictionary_is_named_before_a_long_document_is_written() {
    assert_refused(
        &feed(level0().arg("gone"), &long_document()),
        &["'gone'", "No such file"],
    );
}

#[test]
fn directories_are_neither_dictionary_nor_document_nor_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().to_str().expect("a plain name");
    assert_refused(&feed(level0().arg(name), b"the"), &[name, "directory"]);
    assert_refused(
        &feed(level0().args(["-i", name]), b"the"),
        &[name, "directory"],
    );
    assert_refused(
        &feed(level0().args(["-o", name]), b"the"),
        &[name, "directory"],
    );
    let on_stdin = level0()
        .stdin(File::open(folder.path()).expect("opened"))
        .output()
        .expect("the program runs");
    assert_refused(&on_stdin, &["standard input", "directory"]);
}

#[test]
fn a_missing_document_is_named_and_no_output_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("out");
    let mut command = level0();
    command
        .args(["--input", "gone\nand away", "--output"])
        .arg(&output);
    assert_refused(
        &feed(&mut command, b"the"),
        &["'gone\u{FFFD}and away'", "No such file"],
    );
    assert!(!output.exists());
}

#[test]
fn a_file_that_is_read_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, link) = (folder.path().join("text"), folder.path().join("link"));
    fs::write(&path, "the xyzzyq").expect("written");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    let mut by_flag = level0();
    by_flag.arg("--input").arg(&path).arg("--output").arg(&link);
    assert_refused(&feed(&mut by_flag, b""), &["link", "read"]);
    let mut as_dictionary = level0();
    as_dictionary.arg(&path).arg("--output").arg(&path);
    assert_refused(&feed(&mut as_dictionary, b"the"), &["text", "read"]);
    let by_redirection = level0()
        .arg("--output")
        .arg(&path)
        .stdin(File::open(&path).expect("opened"))
        .output()
        .expect("the program runs");
    assert_refused(&by_redirection, &["text", "read"]);
    assert_eq!(fs::read(&path).expect("read"), b"the xyzzyq");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_reported() {
    for document in [b"the xyzzyq".to_vec(), long_document()] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("opened");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("text");
        fs::write(&path, &document).expect("written");
        let output = level0()
            .stdin(File::open(&path).expect("opened"))
            .stdout(full)
            .output()
            .expect("the program runs");
        assert_refused(&output, &["standard output", "No space left"]);
        let output = feed(level0().args(["--output", "/dev/full"]), &document);
        assert_refused(&output, &["'/dev/full'", "No space left"]);
    }
}

#[test]
fn a_closed_output_is_a_quiet_end() {
    let mut child = level0()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let document = long_document();
    // The reader goes away after the first bytes of a document that is far longer than a pipe.
    std::thread::scope(|scope| {
        scope.spawn(move || drop(std::io::Write::write_all(&mut stdin, &document)));
        let mut first = [0; 10];
        stdout.read_exact(&mut first).expect("read");
        drop(stdout);
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    });
}

#[test]
fn wrong_flags_say_which() {
    for (arguments, part) in [
        (&["--threads", "0"][..], "--threads"),
        (&["--threads", "many"], "--threads"),
        (&["--threads", "100000"], "from 1 to 1024"),
        (&["--colour"], "--colour"),
        (&["one", "two"], "two"),
    ] {
        let output = feed(level0().args(arguments), b"the");
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(part),
            "{arguments:?}"
        );
    }
}

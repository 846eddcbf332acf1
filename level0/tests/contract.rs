//! The contract of 2014 and what has been added to it, seen from outside.

mod support;

use std::fs;
use std::process::Stdio;
use support::{Oracle, feed, file, level0, long_document, output_of};

#[test]
fn original_documents_come_out_as_in_2014() {
    for case in ["HhC91MrU7B", "R5ez7L9mIu"] {
        let input = fs::read(file(&format!("tests/data/{case}.input.txt"))).expect("a case");
        let expected = fs::read(file(&format!("tests/data/{case}.output.txt"))).expect("a case");
        for arguments in [vec![], vec![file("data/web2")]] {
            let output = output_of(level0().args(&arguments), &input);
            assert!(output == expected, "{case} with {arguments:?}");
        }
    }
}

#[test]
fn separators_and_strange_bytes_are_kept() {
    for (input, expected) in [
        (&b""[..], &b""[..]),
        (b" ", b" "),
        (b"\n\n \n", b"\n\n \n"),
        (b"a", b"a"),
        (b"A  the\n\nxyzzyq", b"A  the\n\n<xyzzyq>"),
        (b"the\tthe the\r\n", b"<the\tthe> <the\r>\n"),
        (b"\xFF\0 the\0", b"<\xFF\0> <the\0>"),
        (b"London london", b"<London> <london>"),
    ] {
        assert_eq!(output_of(&mut level0(), input), expected, "{input:?}");
    }
}

#[test]
fn dictionary_lines_are_entries_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("words");
    // Without a final newline; with a carriage return, an upper-case letter and a lone byte.
    fs::write(&path, b"one\ntwo\r\nThree\n\nna\xEFve\nfour words\nlast").expect("written");
    let input = b"One TWO two\r three Three NA\xEFVE na\xCFve words last";
    let expected = b"One <TWO> two\r <three> <Three> NA\xEFVE <na\xCFve> <words> last";
    assert_eq!(output_of(level0().arg(&path), input), expected);
}

#[test]
fn dictionaries_are_joined() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, two, three] = ["one", "two", "three"].map(|name| {
        let path = folder.path().join(name);
        fs::write(&path, name).expect("written");
        path
    });
    let mut command = level0();
    command
        .arg(&one)
        .arg("-d")
        .arg(&two)
        .arg("--dictionary")
        .arg(&three);
    assert_eq!(
        output_of(&mut command, b"one two three four a"),
        b"one two three <four> <a>"
    );
}

#[test]
fn files_are_read_and_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&input, "the xyzzyq").expect("written");
    fs::write(&output, "something longer that was there before").expect("written");
    let mut command = level0();
    command
        .arg("--input")
        .arg(&input)
        .arg("--output")
        .arg(&output);
    assert_eq!(output_of(&mut command, b"not read"), b"");
    assert_eq!(fs::read(&output).expect("read"), b"the <xyzzyq>");
}

#[test]
fn reports_say_what_they_are_asked() {
    let input = b"the Qq the qq x-y\nQq zz";
    for (flag, expected) in [
        ("--count", &b"7 5\n"[..]),
        ("--list", b"Qq\nqq\nx-y\nzz\n"),
        ("--distinct", b"4\n"),
        (
            "--color",
            b"the \x1b[31mQq\x1b[0m the \x1b[31mqq\x1b[0m \x1b[31mx-y\x1b[0m\n\
            \x1b[31mQq\x1b[0m \x1b[31mzz\x1b[0m",
        ),
    ] {
        assert_eq!(output_of(level0().arg(flag), input), expected, "{flag}");
    }
    assert_eq!(output_of(level0().arg("--count"), b""), b"0 0\n");
}

#[test]
fn long_documents_come_out_as_short_ones_do() {
    let document = long_document();
    let expected = Oracle::new(level0::WORDS).judge(&document);
    for threads in ["1", "2", "5"] {
        for arguments in [vec![], vec![file("data/web2")]] {
            let mut command = level0();
            command.args(["--threads", threads]).args(&arguments);
            let output = output_of(&mut command, &document);
            assert!(
                output == expected.marked,
                "{threads} threads, {arguments:?}"
            );
        }
        let mut command = level0();
        let count = output_of(command.args(["--threads", threads, "--count"]), &document);
        assert_eq!(
            String::from_utf8_lossy(&count),
            format!("{} {}\n", expected.words, expected.unknown.len())
        );
        let mut command = level0();
        let mut list = expected.distinct().join(&b'\n');
        list.push(b'\n');
        let listed = output_of(command.args(["--threads", threads, "--list"]), &document);
        assert!(listed == list, "{threads} threads");
    }
    let distinct = output_of(level0().arg("--distinct"), &document);
    assert_eq!(
        String::from_utf8_lossy(&distinct),
        format!("{}\n", expected.distinct().len())
    );
}

#[test]
fn a_word_longer_than_all_buffers_is_passed_through() {
    let mut document = b"the ".to_vec();
    document.resize(10_000_000, b'w');
    let expected = [b"the <", &document[4..], b"> a\n"].concat();
    document.extend_from_slice(b" a\n");
    assert!(output_of(&mut level0(), &document) == expected);
    assert_eq!(output_of(level0().arg("--count"), &document), b"3 1\n");
    assert_eq!(output_of(level0().arg("--distinct"), &document), b"1\n");
    let listed = output_of(level0().arg("--list"), &document);
    assert!(listed == [&document[4..4 + level0::LISTED_BYTES], b"\n"].concat());
}

#[test]
fn reports_exclude_one_another() {
    for pair in [
        ["--count", "--list"],
        ["--color", "--count"],
        ["--list", "--distinct"],
    ] {
        let output = feed(level0().args(pair), b"the");
        assert_eq!(output.status.code(), Some(2), "{pair:?}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains(pair[1]));
    }
}

#[test]
fn help_shows_examples() {
    let output = level0()
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Examples:"));
}

//! `level0 --prose` on the real binary: what is reported, how, and what the exit code says.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::{assert_refused, assert_told, feed, level0, output_of};
use tempfile::TempDir;

const AFF: &str = "SET UTF-8\nTRY abcdefghijklmnopqrstuvwxyz\nSFX S Y 1\nSFX S 0 s .\n";
const DIC: &str = "7\nthe\nquick\nbrown\nfox/S\ndog/S\nsee\nLondon\n";

/// A folder with a dictionary, to which nobody's own lists belong.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Self(tempfile::tempdir().expect("a folder"));
        room.write("xx_YY.aff", AFF);
        room.write("xx_YY.dic", DIC);
        room
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("read")
    }

    /// `level0 --prose` in the folder, with the folder's dictionary.
    fn prose(&self, arguments: &[&str]) -> Command {
        let mut command = level0();
        command
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("DICPATH", self.path());
        command.arg("--prose").args(arguments);
        command
    }

    fn check(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.prose(&["--lang", "xx_YY"]);
        let report = output_of(command.args(arguments), input.as_bytes());
        String::from_utf8(report).expect("text")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn unknown_words_are_told_with_their_places() {
    let room = Room::new();
    let text = "The quick, \u{201C}brown\u{201D} fxo\u{2019}s\n\nsee the-dgo (London) london https://a.b/qq 3rd.";
    assert_eq!(
        room.check(&[], text),
        "<stdin>:1:20: fxo\n<stdin>:3:9: dgo\n<stdin>:3:22: london\n"
    );
    assert_eq!(room.check(&["--count"], text), "9 3\n");
    assert_eq!(room.check(&[], ""), "");
}

#[test]
fn suggestions_come_from_either_kind_of_dictionary() {
    let room = Room::new();
    assert_eq!(
        room.check(&["--suggest", "1"], "quikc"),
        "<stdin>:1:1: quikc (did you mean quick?)\n"
    );
    room.write("list", "quick\nquack\nquiz\n");
    let output = feed(
        &mut room.prose(&["-d", "list", "--suggest", "2"]),
        b"quck Zzzzzz",
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "<stdin>:1:1: quck (did you mean quack or quick?)\n<stdin>:1:6: Zzzzzz\n"
    );
}

#[test]
fn word_lists_are_compared_without_case_and_if_asked_without_diacritics() {
    let room = Room::new();
    room.write("list", "na\u{EF}ve\nStra\u{DF}e\nLondon\n");
    let text = "NA\u{CF}VE naive STRASSE london".as_bytes();
    let output = feed(&mut room.prose(&["-d", "list"]), text);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "<stdin>:1:7: naive\n"
    );
    let output = feed(&mut room.prose(&["-d", "list", "--fold"]), text);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn the_built_in_list_is_used_where_none_is_named() {
    let output = feed(
        &mut Room::new().prose(&[]),
        b"Highlight, the Zyrian xyzzyq.",
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "<stdin>:1:23: xyzzyq\n"
    );
}

#[test]
fn names_of_code_are_taken_apart_if_asked() {
    let room = Room::new();
    let text = "quickFox brown_dgos HTTPQuick fn_quikc";
    assert_eq!(
        room.check(&["--code"], text),
        "<stdin>:1:16: dgos\n<stdin>:1:21: HTTP\n<stdin>:1:34: quikc\n"
    );
    assert_eq!(room.check(&["--list"], text).lines().count(), 4);
}

#[test]
fn folders_are_read_as_git_would() {
    let room = Room::new();
    room.write("docs/b.md", "fxo");
    room.write("docs/a.md", "the\nquikc");
    room.write("docs/deep/c.txt", "dgo");
    room.write("docs/.hidden.md", "hiden");
    room.write("docs/picture.png", b"\x89PNG\0\0xx");
    room.write("docs/old.md", "odl");
    room.write("docs/.ignore", "old.md\n");
    room.write("docs/made.md", "maed");
    room.write("docs/.level0ignore", "made.md\n");
    assert_eq!(
        room.check(&["docs"], ""),
        "docs/a.md:2:1: quikc\ndocs/b.md:1:1: fxo\ndocs/deep/c.txt:1:1: dgo\n"
    );
    assert_eq!(
        room.check(&["-g", "*.txt", "docs"], ""),
        "docs/deep/c.txt:1:1: dgo\n"
    );
    assert_eq!(
        room.check(&["-g", "!*.md", "docs", "docs/b.md"], ""),
        "docs/deep/c.txt:1:1: dgo\ndocs/b.md:1:1: fxo\n"
    );
    let all = room.check(&["--hidden", "--no-ignore", "--list", "docs"], "");
    for word in ["hiden", "odl", "maed"] {
        assert!(all.contains(word), "{word} in {all}");
    }
    assert_eq!(
        room.check(&["docs/b.md", "-"], "dgo"),
        "docs/b.md:1:1: fxo\n<stdin>:1:1: dgo\n"
    );
}

#[test]
fn many_files_and_long_ones_are_reported_in_order() {
    let room = Room::new();
    let mut expected = String::new();
    for index in 0..600 {
        let name = format!("many/{index:03}.txt");
        // One is longer than what is judged at once.
        let lines = if index == 300 { 500_000 } else { index };
        room.write(&name, "the quick fox\n".repeat(lines) + "fxo");
        expected.extend([&name, &format!(":{}:1: fxo\n", lines + 1)].map(String::as_str));
    }
    for threads in ["1", "3"] {
        assert!(room.check(&["--threads", threads, "many"], "") == expected);
    }
}

#[test]
fn lists_count_each_spelling() {
    let room = Room::new();
    let text = "fxo dgo fxo\ndgo dgo Fxo";
    assert_eq!(room.check(&["--list"], text), "3\tdgo\n2\tfxo\n1\tFxo\n");
    assert_eq!(
        room.check(&["--list", "--format", "json"], text)
            .lines()
            .next(),
        Some(r#"{"word":"dgo","count":3}"#)
    );
}

#[test]
fn a_long_word_is_listed_by_its_beginning_and_a_long_line_is_no_entry() {
    let room = Room::new();
    let long = "a".repeat(2 * level0::LISTED_BYTES);
    let listed = format!("2\t{}\n", &long[..level0::LISTED_BYTES]);
    let text = format!("{long} {long}b");
    assert!(room.check(&["--list", "--suggest", "3"], &text) == listed);
    room.write("list", format!("{long}\nlast"));
    assert!(room.check(&["-d", "list", "--list"], &format!("{text} last")) == listed);
}

#[test]
fn reports_have_the_forms_that_programs_read() {
    let room = Room::new();
    room.write("a,b.md", "see\nthe fxo");
    assert_eq!(
        room.check(&["--format", "github", "a,b.md"], ""),
        "::warning file=a%2Cb.md,line=2,col=5,endColumn=8,title=Unknown word::fxo\n"
    );
    let line = room.check(&["--format", "json", "--suggest", "1", "a,b.md"], "");
    let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        object,
        serde_json::json!({"file": "a,b.md", "line": 2, "column": 5, "offset": 8, "word": "fxo",
            "suggestions": ["fox"]})
    );
    for (text, results) in [("a,b.md", 1), ("xx_YY.none", 0)] {
        room.write("xx_YY.none", "see");
        let log: serde_json::Value =
            serde_json::from_str(&room.check(&["--format", "sarif", text], "")).expect("JSON");
        assert_eq!(
            log["runs"][0]["results"].as_array().map(Vec::len),
            Some(results)
        );
    }
}

#[test]
fn check_makes_unknown_words_a_failure() {
    let room = Room::new();
    for (arguments, text, code) in [
        (&["--check"][..], "the fox", 0),
        (&["--check"], "the fxo", 1),
        (&["--check", "--count"], "the fxo", 1),
        (&[], "the fxo", 0),
        (&["--check", "gone", "-"], "the fxo", 2),
    ] {
        let output = feed(
            room.prose(&["--lang", "xx_YY"]).args(arguments),
            text.as_bytes(),
        );
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {text}");
    }
}

#[test]
fn own_words_are_added_and_found_from_below() {
    let room = Room::new();
    let output = feed(
        &mut room.prose(&["--add", "Fxo", "--add", "dgo", "--add", "dgo"]),
        b"",
    );
    assert_eq!(
        (output.status.code(), said(&output)),
        (Some(0), String::new())
    );
    assert_eq!(room.read(".level0.txt"), "Fxo\ndgo\n");
    assert_eq!(
        room.check(&[], "fxo DGO dgo's quikc"),
        "<stdin>:1:15: quikc\n"
    );
    room.write("deep/er/text", "fxo quikc");
    let mut below = room.prose(&["--lang", "xx_YY", "--add", "quikc", "text"]);
    let output = feed(below.current_dir(room.path().join("deep/er")), b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(room.read(".level0.txt"), "Fxo\ndgo\nquikc\n");
    room.write("own", "# a comment\nodl # of old\n");
    assert_eq!(
        room.check(&["--personal", "own"], "odl fxo"),
        "<stdin>:1:5: fxo\n"
    );
}

#[test]
fn a_text_says_what_is_not_reported() {
    let text = "fxo <!-- level0:ignore-line -->\ndgo // level0:ignore-next-line\nquikc\n\
        level0:ignore-start\nhiden\nlevel0:ignore-end odl maed\n# level0:words maed\nmaed Maed's\n";
    assert_eq!(
        Room::new().check(&[], text),
        "<stdin>:2:1: dgo\n<stdin>:6:19: odl\n<stdin>:6:23: maed\n"
    );
}

#[test]
fn bad_input_is_one_line_and_the_rest_is_done() {
    let room = Room::new();
    room.write("text", "fxo");
    room.write("zero", b"a\0b");
    for folder in ["folder", "folder.dic"] {
        fs::create_dir(room.path().join(folder)).expect("made");
    }
    for (arguments, parts, done) in [
        (&["--lang", "zz"][..], &["\"zz\"", "xx_YY"][..], false),
        (&["--lang", "../xx_YY"], &["\"../xx_YY\""], false),
        (&["-d", "gone"], &["'gone'", "No such file"], false),
        (&["-d", "gone.dic"], &["'gone.aff'", "No such file"], false),
        (&["-d", "."], &["'.'", "directory"], false),
        (&["--personal", "gone"], &["'gone'", "No such file"], false),
        (
            &["--add", "two words"],
            &["\"two words\"", "not one word"],
            false,
        ),
        (
            &["--add", "foo", "--personal", "no/such"],
            &["'no/such'", "No such file"],
            false,
        ),
        (&["-g", "[", "."], &["["], false),
        (&["--lang", ""], &["\"\"", "xx_YY"], false),
        (&["--lang", "xx YY"], &["\"xx YY\""], false),
        (
            &["-d", "folder.dic"],
            &["'folder.aff'", "No such file"],
            false,
        ),
        (&["-d", "folder"], &["'folder'", "directory"], false),
        (&["--personal", "folder"], &["'folder'", "directory"], false),
        (
            &["--add", "foo", "--personal", "folder"],
            &["'folder'", "directory"],
            false,
        ),
        (&["--add", ""], &["\"\"", "not one word"], false),
        (
            &["gone", "folder", "text"],
            &["'gone'", "No such file"],
            true,
        ),
        (
            &["gone\naway", "text"],
            &["'gone\u{FFFD}away'", "No such file"],
            true,
        ),
        (&["zero", "text"], &["'zero'", "NUL bytes"], true),
    ] {
        let output = feed(&mut room.prose(arguments), b"fxo");
        assert_told(&output, parts);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            stdout,
            if done { "text:1:1: fxo\n" } else { "" },
            "{arguments:?}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_text_are_read_and_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let room = Room::new();
    let name = OsStr::from_bytes(b"n\xFFame");
    fs::write(room.path().join(name), "the fxo").expect("written");
    let mut command = room.prose(&["--lang", "xx_YY", "--check", "."]);
    let output = feed(command.arg(name), b"");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.ends_with("\nn\u{FFFD}ame:1:5: fxo\n"), "{report}");
    assert_eq!(output.status.code(), Some(1));
    for flag in ["-d", "--personal", "-"] {
        let gone = OsStr::from_bytes(b"g\xFFone");
        let output = feed(room.prose(&[flag]).arg(gone), b"");
        assert_refused(&output, &["'g\u{FFFD}one'", "No such file"]);
    }
}

#[test]
fn no_suggestions_are_none() {
    assert_eq!(
        Room::new().check(&["--suggest", "0"], "fxo"),
        "<stdin>:1:1: fxo\n"
    );
}

#[test]
fn standard_input_is_named_as_such() {
    let room = Room::new();
    let folder = fs::File::open(room.path()).expect("opened");
    let output = room.prose(&[]).stdin(folder).output().expect("it runs");
    assert_refused(&output, &["cannot read standard input: ", "directory"]);
    let output = feed(&mut room.prose(&["-"]), b"a\0");
    assert_refused(&output, &["level0: standard input is no text"]);
}

#[test]
fn broken_dictionaries_are_named() {
    let room = Room::new();
    for (aff, dic) in [
        (&b"SET EBCDIC\n"[..], &b"1\na\n"[..]),
        (b"SET UTF-8\n", b"1\n\xFF\xFE\n"),
        (b"SET UTF-8\n", b"many\nword\n"),
        (b"SET UTF-8\nSFX A Y 3\nSFX A 0 s .\n", b"1\nword/A\n"),
        (b"SET UTF-8\nSFX A Y 1\nSFX A 0 s [\n", b"1\nword/A\n"),
        (b"SET UTF-8\nFLAG num\n", b"1\nword/x\n"),
    ] {
        room.write("broken.aff", aff);
        room.write("broken.dic", dic);
        let output = feed(&mut room.prose(&["-d", "broken.dic"]), b"fxo");
        assert_refused(&output, &["broken."]);
    }
}

#[test]
fn wrong_flags_say_which() {
    let room = Room::new();
    for (arguments, part) in [
        (&["--suggest", "99"][..], "--suggest"),
        (&["--suggest", "99999999999999999999"], "--suggest"),
        (&["--suggest=-1"], "--suggest"),
        (&["--suggest", "many"], "--suggest"),
        (&["--suggest"], "--suggest"),
        (&["--format", ""], "--format"),
        (&["--threads", "100000"], "from 1 to 1024"),
        (&["--format", "xml"], "xml"),
        (&["--list", "--count"], "--count"),
        (&["--list", "--format", "sarif"], "--list"),
        (&["--distinct"], "--distinct"),
    ] {
        let output = feed(&mut room.prose(arguments), b"the");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && said(&output).contains(part),
            "{arguments:?}"
        );
    }
    let output = feed(level0().args(["--lang", "xx"]), b"the");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("'--lang' needs --prose"),
        "{}",
        said(&output)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_reported_and_a_closed_output_is_not() {
    let room = Room::new();
    room.write("text", "fxo\n".repeat(100_000));
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("opened");
    let output = room
        .prose(&["text"])
        .stdout(full)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("No space left"), "{}", said(&output));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = room
        .prose(&["text"])
        .stdout(writer)
        .output()
        .expect("the program runs");
    assert_eq!(
        (output.status.code(), said(&output)),
        (Some(0), String::new())
    );
}

#[test]
fn the_help_shows_examples() {
    let output = feed(&mut Room::new().prose(&["--help"]), b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Examples:"));
}

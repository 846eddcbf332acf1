//! A roster of kits, our own solutions, liars and hostile programs, graded in one run: each row of
//! each table is what it has to be, and the pages are looked at in a browser.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    browser::Browser,
    classroom::{Classroom, said, shell},
};

/// What has to become of a student's solution to a level.
enum Fate {
    Passes,
    /// For one of these reasons.
    Fails(&'static [&'static str]),
    /// For whatever reason; one that keeps the machine busy may leave it undecided.
    DoesNotPass,
}
use Fate::{DoesNotPass, Fails, Passes};

/// By student and level.
type Fates = Vec<(&'static str, u8, Fate)>;

/// How often a grading is repeated for what a busy machine has left undecided.
const REPEATS: u32 = 5;

/// A name that would be a part of the page if it could.
const MARKUP: &str = "<img src=x onerror=alert(1)><b>Eve</b>";

/// A program that cargo has built next to the tests, if it has.
fn built(name: &str) -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent()?.parent()?.join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: {name} is not built");
    None
}

/// A solution that is a program of ours; `words` follow the judge's on its command line.
fn submit(class: &mut Classroom, student: &str, level: u8, program: &Path, words: &str) {
    let folder = format!("{student}-{level}");
    class.script_of(
        level,
        &folder,
        None,
        &format!("exec \"$(dirname \"$0\")/program\" \"$@\" {words}"),
    );
    let copy = class.path(&folder).join("program");
    fs::copy(program, &copy).unwrap();
    // Most of a test build is for debuggers.
    let _too_large_then = Command::new("strip").arg(copy).status();
    class.enrol(student, &folder);
}

fn honest(class: &mut Classroom) -> Fates {
    let mut fates = Fates::new();
    let kits = [
        ("Ada", 0, "c", "cc"),
        ("Bea", 0, "python", "python3"),
        ("Cleo", 1, "shell", "git"),
        ("Dora", 2, "node", "node"),
        ("Emmy", 3, "python", "python3"),
        ("Fay", 4, "python", "python3"),
    ];
    for (student, level, language, program) in kits {
        if class.kit(level, language, program, student) {
            class.enrol(student, student);
            fates.push((student, level, Passes));
        }
    }
    for level in 0..5 {
        if let Some(program) = built(&format!("level{level}")) {
            submit(class, "House", level, &program, "");
            fates.push(("House", level, Passes));
        }
    }
    fates
}

fn liars(class: &mut Classroom) -> Fates {
    let mut fates = Fates::new();
    // It never says that a word is unknown.
    class.script("Gil", None, "cat \"$1\"");
    class.enrol("Gil", "Gil");
    fates.push(("Gil", 0, Fails(&["wrong_output"])));
    if let Some(liar) = built("examples/liar") {
        submit(class, "Hal", 4, &liar, "--lie wrong --at 3");
        submit(class, "Ivo", 4, &liar, "--lie no-head --at 3");
        fates.push(("Hal", 4, Fails(&["wrong_output"])));
        fates.push(("Ivo", 4, Fails(&["bad_answer"])));
    }
    // A link where a socket should be.
    let link = "ln -s /tmp/elsewhere.sock node0.sock; exec sleep 1000";
    class.script_of(4, "Jan", None, link);
    class.enrol("Jan", "Jan");
    fates.push(("Jan", 4, Fails(&["not_its_own_socket"])));
    fates
}

fn hostile(class: &mut Classroom, port: u16, secret: &Path) -> Fates {
    let scan = format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3'");
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; exit 1";
    let markup = "echo '</pre><script>alert(2)</script>' | tee /dev/stderr; exit 1";
    let programs = [
        ("Bomb", 0, bomb.to_owned(), DoesNotPass),
        // Ten gigabytes, if it were let.
        (
            "Flood",
            0,
            "yes 123456789 | head -c 10000000000".into(),
            DoesNotPass,
        ),
        (
            "Filler",
            0,
            "cat /dev/zero > full; cat /dev/zero > /tmp/full; exit 1".into(),
            DoesNotPass,
        ),
        (
            "Scan",
            0,
            format!("{scan}; exit 1"),
            Fails(&["exit_status"]),
        ),
        (
            "Thief",
            0,
            format!("cat {} secret >&2; exit 1", secret.display()),
            Fails(&["exit_status"]),
        ),
        (MARKUP, 0, markup.into(), Fails(&["exit_status"])),
        // A node that leaves its process group and lives on.
        (
            "Escape",
            4,
            "setsid sh -c 'trap \"\" HUP TERM; while sleep 1; do :; done' & exit 1".into(),
            Fails(&["unexpected_exit"]),
        ),
    ];
    let mut fates = Fates::new();
    for ((student, level, program, fate), number) in programs.into_iter().zip(0..) {
        let folder = format!("hostile-{number}");
        class.script_of(level, &folder, None, &program);
        std::os::unix::fs::symlink(secret, class.path(&folder).join("secret")).unwrap();
        class.enrol(student, &folder);
        fates.push((student, level, fate));
    }
    fates
}

#[test]
fn a_roster_of_many_kinds_gets_the_right_table() {
    let mut class = Classroom::new();
    let secret = class.path("secret");
    fs::write(&secret, "what nobody is to read").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();

    let mut fates = honest(&mut class);
    fates.extend(liars(&mut class));
    fates.extend(hostile(&mut class, port, &secret));
    // One is handed in as an archive.
    shell(class.home.path(), "tar -czf Gil.tar.gz Gil; rm -r Gil");
    class.roster = class
        .roster
        .replace("source = 'Gil'", "source = 'Gil.tar.gz'");

    let Some(table) = grade(&class, &mut fates) else {
        return;
    };
    for (student, level, fate) in &fates {
        let record = class.record_of(student, *level);
        let (outcome, kind) = (&record["outcome"], record["kind"].as_str());
        let is_right = match fate {
            Passes => outcome == "passed",
            Fails(kinds) => outcome == "failed" && kind.is_some_and(|kind| kinds.contains(&kind)),
            DoesNotPass => outcome != "passed",
        };
        assert!(is_right, "{student}, level {level}: {record}\n{table}");
    }
    check_tables(&class, &fates, &table);
    let whole = fs::read_to_string(class.path("grades/grades.json")).unwrap();
    assert!(!whole.contains("nobody is to read"), "{whole}");
    assert!(
        listener.accept().is_err(),
        "somebody has come to the teacher's network"
    );
    look_at(&class, &fates);
}

/// Grades the first stages, again and again until nothing that should be decided is undecided; the
/// last table. What a busy machine leaves undecided all the same need only not have passed.
fn grade(class: &Classroom, fates: &mut Fates) -> Option<String> {
    let is_open = |(student, level, fate): &(&str, u8, Fate)| {
        !matches!(fate, DoesNotPass) && class.record_of(student, *level)["outcome"] == "undecided"
    };
    let mut text = String::new();
    for _ in 0..REPEATS {
        let flags = [
            "--stages", "1", "--jobs", "2", "--memory", "1024", "--disk", "128",
        ];
        let run = class.grade_as(&flags)?;
        text = said(&run);
        assert_eq!(run.status.code(), Some(0), "{text}");
        if !fates.iter().any(is_open) {
            break;
        }
    }
    let (all, mut open) = (fates.len(), 0);
    for entry in fates.iter_mut() {
        if is_open(entry) {
            eprintln!(
                "SKIPPED: {}, level {}: the machine is too busy",
                entry.0, entry.1
            );
            entry.2 = DoesNotPass;
            open += 1;
        }
    }
    // A verdict that no time is a part of is there on any machine.
    assert!(open <= all / 2, "{open} of {all} are undecided: {text}");
    Some(text)
}

/// For each student how many levels are passed, and how many there are.
fn rows(fates: &Fates) -> BTreeMap<&'static str, (usize, usize)> {
    let mut rows = BTreeMap::new();
    for (student, _, fate) in fates {
        let (passed, all) = rows.entry(*student).or_insert((0, 0));
        *passed += usize::from(matches!(fate, Passes));
        *all += 1;
    }
    rows
}

/// The table, the CSV and the XML say the same.
fn check_tables(class: &Classroom, fates: &Fates, table: &str) {
    let csv = fs::read_to_string(class.path("grades/grades.csv")).unwrap();
    let junit = fs::read_to_string(class.path("grades/junit.xml")).unwrap();
    for (student, (passed, all)) in rows(fates) {
        // A first stage is worth ten points.
        let points = format!("{}/{}", passed * 10, all * 10);
        let row = table
            .lines()
            .find(|line| line.trim_start().starts_with(student));
        let row = row.unwrap_or_else(|| panic!("no row of {student}: {table}"));
        assert!(
            row.trim_end().ends_with(&points),
            "{student}, {points}: {row}"
        );
        let suite = junit.split("<testsuite ").skip(1);
        let escaped = student.replace('<', "&lt;").replace('>', "&gt;");
        let suite = suite.filter(|suite| suite.starts_with(&format!("name=\"{escaped}\" ")));
        let suite: Vec<&str> = suite.collect();
        assert_eq!(suite.len(), 1, "{student}: {junit}");
        assert_eq!(
            suite[0].matches("<testcase ").count(),
            all,
            "{student}: {junit}"
        );
    }
    let passed = fates
        .iter()
        .filter(|(_, _, fate)| matches!(fate, Passes))
        .count();
    assert_eq!(csv.matches(",passed,\r\n").count(), passed, "{csv}");
    for (student, level, fate) in fates {
        if let Fails(_) = fate {
            let start = format!("{student},{level},");
            let line = csv.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("no line {start}: {csv}"));
            assert!(line.contains(",0,1,0,10,,,failed,"), "{line}");
        }
    }
}

/// Looks at the pages in a browser, if there is one: a row a student, and the report of a run.
fn look_at(class: &Classroom, fates: &Fates) {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let students = rows(fates).len();
    let page = class.path("grades/index.html");
    browser.open(&format!("file://{}", page.display()));
    browser.until_shown("h1", "A <b>class</b>");
    browser.until(&format!(
        "document.querySelectorAll('tbody tr').length === {students}"
    ));
    browser.until(&format!(
        "document.querySelectorAll('.runs a').length === {}",
        fates.len()
    ));
    // A name is text, and brings nothing with it.
    browser.until_shown("table", MARKUP);
    browser.until("!document.querySelector('img, script, tbody b')");
    // A wide table scrolls by itself, and the page does not.
    browser.size(400, 800);
    browser.until("document.documentElement.scrollWidth <= innerWidth");
    browser.click(".runs a.failed");
    browser.until_shown(".verdict", "failed");
    browser.until("document.documentElement.scrollWidth <= innerWidth");
    browser.click("a[href='../index.html']");
    browser.until_shown("h1", "A <b>class</b>");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

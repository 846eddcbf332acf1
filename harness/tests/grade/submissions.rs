//! Solutions in every wrapping, what a hostile student would hand in, and judges in sandboxes.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use harness::solution::{CONFINEMENT, find_program};
use octopus::sandbox::{Limits, Reach, Sandbox};

use super::classroom::{Classroom, said, shell};

#[test]
fn a_class_is_graded_whatever_its_solutions_are_wrapped_in() {
    let mut class = Classroom::new();
    let mut passing = Vec::new();
    if class.kit(0, "c", "cc", "ada") {
        class.enrol("Ada", "ada");
        passing.push("Ada");
    }
    // Those that are wrapped fail as they are meant to, which takes one run.
    class.script("bob", None, "cat");
    shell(class.home.path(), "tar -czf bob.tar.gz bob; rm -r bob");
    class.enrol("Bob", "bob.tar.gz");
    let mut failing = vec![("Bob", "wrong_output")];
    if find_program(Path::new("git")).is_ok() {
        class.script("cy", None, "cat");
        let commit = "git init -q; git add .
            git -c user.name=a -c user.email=a@b commit -qm x; git clone -q --bare . ../cy.git";
        shell(&class.path("cy"), commit);
        class.enrol("Cy", "cy.git");
        failing.push(("Cy", "wrong_output"));
    }
    failing.extend([("Dan", "wrong_output"), ("Eve", "build"), ("Fay", "source")]);
    class.script("dan", None, "cat");
    class.script("eve", Some("echo out of luck >&2; exit 3"), "cat");
    for (student, source) in [("Dan", "dan"), ("Eve", "eve"), ("Fay", "nowhere.zip")] {
        class.enrol(student, source);
    }
    let Some(run) = class.grade(&[]) else {
        return;
    };
    let text = said(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    for student in &passing {
        let record = class.record(student);
        assert_eq!(record["outcome"], "passed", "{student}: {record} {text}");
    }
    for &(student, kind) in &failing {
        let record = class.record(student);
        assert_eq!(record["outcome"], "failed", "{student}: {record}");
        assert_eq!(record["kind"], kind, "{student}: {record}");
    }
    assert!(
        class.record("Eve")["said"]
            .to_string()
            .contains("out of luck")
    );
    let csv = fs::read_to_string(class.path("grades/grades.csv")).unwrap();
    assert_eq!(
        csv.lines().count(),
        1 + failing.len() + passing.len(),
        "{csv}"
    );
    let junit = fs::read_to_string(class.path("grades/junit.xml")).unwrap();
    assert_eq!(junit.matches("<failure ").count(), failing.len(), "{junit}");
    let page = fs::read_to_string(class.path("grades/index.html")).unwrap();
    assert!(page.contains("A &lt;b&gt;class&lt;/b&gt;"), "{page}");
    // Links of the page lead to reports.
    let links = page.split("<a ").skip(1);
    let links: Vec<&str> = links.map(|a| a.split_once("href=\"").unwrap().1).collect();
    assert_eq!(links.len(), failing.len() + passing.len());
    for link in links {
        let (link, _) = link.split_once('"').unwrap();
        assert!(class.path("grades").join(link).is_file(), "{link}");
    }
    // What is judged is judged.
    let again = said(&class.grade(&[]).unwrap());
    assert!(
        !again.contains(", seed 1:") && !again.contains("is built"),
        "{again}"
    );
    let table = |text: &str| text.lines().filter(|line| line.contains("/1")).count();
    assert_eq!(table(&again), table(&text), "{again}");
    // But not what is handed in anew.
    class.script("dan2", None, "exit 1");
    shell(class.home.path(), "mv dan2/x.sh dan/x.sh");
    let anew = said(&class.grade(&[]).unwrap());
    assert_eq!(anew.matches(", seed 1:").count(), 1, "{anew}");
    assert_eq!(class.record("Dan")["kind"], "exit_status");
}

#[test]
fn hostile_submissions_hurt_nobody() {
    let mut class = Classroom::new();
    let secret = class.path("secret");
    fs::write(&secret, "what nobody is to read").unwrap();
    let secret = secret.display().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let scan = format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3'");
    let marker = format!("escaped-{}", std::process::id());
    let evil: [(&str, Option<String>, String); 8] = [
        (
            "bomb",
            None,
            "bomb() { bomb | bomb & }; bomb 2>/dev/null; exit 1".into(),
        ),
        (
            "flood",
            None,
            "yes '</script><script>alert(1)</script>'".into(),
        ),
        ("noise", None, "yes >&2".into()),
        (
            "filler",
            None,
            "for i in 1 2 3 4 5 6 7 8 9; do cat /dev/zero > $i; done; exit 1".into(),
        ),
        (
            "thief",
            None,
            format!("cat {secret} ../*/* >&2; ls / /root /home >&2; exit 1"),
        ),
        (
            "escape",
            None,
            format!(
                "setsid sh -c 'trap \"\" HUP TERM; while sleep 1; do :; done' {marker} & exit 1"
            ),
        ),
        ("scan", Some(scan.clone()), format!("{scan}; exit 1")),
        (
            "hunter",
            None,
            "kill -9 -1; kill -9 1; kill -9 $PPID; exit 1".into(),
        ),
    ];
    for (name, build, text) in &evil {
        let build = build.as_deref().map(|build| format!("{build}; true"));
        class.script(name, build.as_deref(), text);
        class.enrol(name, name);
    }
    // A link to what others have, in a folder and in an archive that writes through it.
    class.script("linker", None, "cat secret; exit 1");
    symlink(&secret, class.path("linker/secret")).unwrap();
    class.enrol("linker", "linker");
    let through = "mkdir t; cd t; cp ../linker/ctf3.toml ../linker/x.sh .; ln -s .. up
        tar -cf ../through.tar ctf3.toml x.sh up; rm up; mkdir up; echo broken > up/secret
        tar -rf ../through.tar up/secret; cd ..; rm -r t";
    shell(class.home.path(), through);
    class.enrol("through", "through.tar");
    class.enrol("<script>alert(2)</script>", "linker");
    let Some(run) = class.grade(&["--jobs", "2"]) else {
        return;
    };
    let text = said(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    let names = evil.iter().map(|(name, ..)| *name);
    for name in names.chain(["linker", "through"]) {
        let record = class.record(name);
        // One that keeps the machine busy may be undecided.
        assert_ne!(record["outcome"], "passed", "{name}: {record} {text}");
    }
    let whole = fs::read_to_string(class.path("grades/grades.json")).unwrap();
    assert!(!whole.contains("nobody is to read"), "{whole}");
    assert!(whole.len() < 1 << 20, "{}", whole.len());
    assert_eq!(
        fs::read_to_string(&secret).unwrap(),
        "what nobody is to read"
    );
    let reached = listener.accept().is_ok();
    assert!(!reached, "somebody has come to the teacher's network");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_left = line
            .split(|&byte| byte == 0)
            .any(|word| word == marker.as_bytes());
        assert!(!is_left, "a process has escaped");
    }
    for page in fs::read_dir(class.path("grades/runs")).unwrap().flatten() {
        if page
            .path()
            .extension()
            .is_some_and(|ending| ending == "html")
        {
            let text = fs::read_to_string(page.path()).unwrap();
            assert!(!text.contains("<script>"), "{text}");
        }
    }
}

#[test]
fn judges_of_levels_with_worlds_of_their_own_shut_solutions_in() {
    let classroom = Classroom::new();
    if let Err(error) = find_program(Path::new("python3")) {
        eprintln!("SKIPPED: {error}");
        return;
    }
    // Whoever judges may be somebody else.
    shell(classroom.home.path(), "chmod 755 .");
    for level in ["1", "3", "4"] {
        let (name, folder) = (format!("level{level}"), format!("l{level}"));
        let new = classroom.harness(&["new", &name, "--lang", "python", &folder]);
        assert!(new.status.success(), "{}", said(&new));
        let manifest = fs::read_to_string(classroom.path(&folder).join("ctf3.toml")).unwrap();
        let run = manifest
            .lines()
            .find_map(|line| line.strip_prefix("run = \"./"));
        let program = classroom
            .path(&folder)
            .join(run.unwrap().split('"').next().unwrap());
        let mut inner = Sandbox::new(Limits::default());
        inner.reach = Reach::Callers;
        inner.read_only.push(classroom.path(&folder));
        // As in a grading, the judge is in one as well.
        let harness = Path::new(env!("CARGO_BIN_EXE_harness"));
        let mut outer = Sandbox::new(Limits {
            processes: 4096,
            ..Limits::default()
        });
        outer.read_only = vec![classroom.path(&folder), harness.to_owned()];
        let judge = || {
            Command::new(harness)
                .args(outer.arguments(harness))
                .args([name.as_str(), "--stage=1", "--no-history"])
                .arg(format!("--solution={}", program.display()))
                .env(CONFINEMENT, serde_json::to_string(&inner).unwrap())
                .env("TMPDIR", "/tmp")
                // Those in a home are not seen.
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .current_dir("/tmp")
                .stdin(Stdio::null())
                .output()
                .unwrap()
        };
        let mut run = judge();
        for _ in 0..5 {
            // In there, a judge does not see how busy the machine is.
            if !run.status.success() && !said(&run).contains("no sandbox: ") {
                run = judge();
            }
        }
        if said(&run).contains("no sandbox: ") {
            eprintln!("SKIPPED: {}", said(&run));
            return;
        }
        assert!(run.status.success(), "level {level}: {}", said(&run));
    }
}

#[test]
fn without_sandboxes_it_is_said_and_done() {
    let mut class = Classroom::new();
    class.script(
        "dan",
        Some("echo '#!/bin/sh' > x.sh; echo 'exit 5' >> x.sh"),
        "",
    );
    class.enrol("Dan", "dan");
    let run = class.grade(&["--no-sandbox"]).unwrap();
    let text = said(&run);
    assert_eq!(run.status.code(), Some(0), "{text}");
    assert!(text.contains("without sandboxes"), "{text}");
    assert_eq!(class.record("Dan")["kind"], "exit_status");
}

#[test]
fn wrong_arguments_are_refused_in_a_line_that_says_what() {
    let class = Classroom::new();
    fs::write(class.path("empty.toml"), "").unwrap();
    fs::write(class.path("odd.toml"), "[[submission]]\nstudent = 1\n").unwrap();
    fs::write(
        class.path("fine.toml"),
        "[[submission]]\nstudent = 'a'\nsource = 'b'\n",
    )
    .unwrap();
    fs::write(class.path("file"), "").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (
            &["--roster", "/dev/zero"],
            "/dev/zero: cannot be read: it has more than 4 MiB",
        ),
        (
            &["--roster", "fine.toml", "--cache", "file"],
            "--cache file: not a folder",
        ),
        (
            &["--roster", "fine.toml", "--stages", "9,10"],
            "--stages 10: none of the levels has so many",
        ),
        (&["--roster", "none.toml"], "none.toml: cannot be read"),
        (&["--roster", "empty.toml"], "no [[submission]]"),
        (&["--roster", "odd.toml"], "odd.toml: line 2: "),
        (
            &["--roster", "fine.toml", "--levels", "9"],
            "level0 to level4",
        ),
        (
            &["--roster", "fine.toml", "--cache", "nowhere"],
            "--cache nowhere",
        ),
        (
            &["--roster", "fine.toml", "--no-sandbox", "--out", "file"],
            "cannot make file/runs",
        ),
    ];
    for (flags, what) in cases {
        let arguments: Vec<&str> = std::iter::once("grade")
            .chain(flags.iter().copied())
            .collect();
        let run = class.harness(&arguments);
        assert_eq!(run.status.code(), Some(2), "{flags:?}: {}", said(&run));
        assert!(said(&run).contains(what), "{flags:?}: {}", said(&run));
    }
}

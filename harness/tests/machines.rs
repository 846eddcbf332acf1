//! `harness network` with whole machines: nothing is left behind, workloads are judged, systems run. Where there
//! are no rights to make machines, or a system is not installed, tests are skipped, with a message.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that does nothing, and one line about it.
const IDLE: &str = "echo born; while :; do sleep 1; done";

/// A run of the harness in a folder of its own, whose temporary folders are made there too.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    /// None where there can be no machines.
    fn new() -> Option<Self> {
        let bed = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(bed.path("tmp")).unwrap();
        let tried = bed.run(&[
            "--machines",
            "--nodes",
            "1",
            "--duration",
            "1ms",
            "--",
            "true",
        ]);
        let said = text(&tried.stderr);
        if let Some(line) = said.lines().find(|line| line.contains("no machines")) {
            eprintln!("SKIPPED: {line}");
            return None;
        }
        assert!(tried.status.success(), "{said}");
        Some(bed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command
            .args(["--no-history", "network"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.path("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Processes that name our folder in their environment.
    fn processes(&self) -> usize {
        let own = self.folder.path().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mention = processes.filter(|process| {
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(own)
        });
        mention.count()
    }

    fn folders(&self) -> usize {
        fs::read_dir(self.path("tmp")).unwrap().count()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nothing_is_left_after_sigkill() {
    let Some(bed) = Bed::new() else { return };
    let script = ["--", "sh", "-c", IDLE];
    let flags = [
        "--machines",
        "--duration",
        "5m",
        "--monkeys",
        "murder,freeze",
        "--intensity",
        "1",
    ];
    let mut harness = bed.command(&[&flags[..], &script[..]].concat());
    let mut harness = harness
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The harness and its watcher, and three nodes.
    wait_until("nodes", || bed.processes() >= 5);
    harness.kill().unwrap();
    harness.wait().unwrap();
    wait_until("all are gone", || {
        bed.processes() == 0 && bed.folders() == 0
    });
}

#[test]
fn links_and_nodes_are_broken_by_hand() {
    let Some(bed) = Bed::new() else { return };
    let flags = [
        "--machines",
        "--nodes",
        "3",
        "--duration",
        "5m",
        "--monkeys",
        "none",
        "--ctl",
        "ctl",
    ];
    let mut harness = bed.command(&[&flags[..], &["--", "sh", "-c", IDLE]].concat());
    let mut harness = harness
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("a socket", || bed.path("ctl").exists());
    let say = |words: &[&str]| {
        let run = bed.run(&[&["ctl", "ctl"], words].concat());
        (run.status.code(), text(&run.stdout) + &text(&run.stderr))
    };
    wait_until("an answer", || say(&["status"]).0 == Some(0));
    for (words, line) in [
        (&["down", "0-2"][..], "link 0-2 down"),
        (&["freeze", "1"], "node 1 frozen"),
        (&["kill", "0"], "node 0 killed"),
        (&["wipe", "2"], "node 2 killed"),
        (&["revive", "2"], "node 2 running"),
        (&["up", "0-2"], "link 0-2 up"),
        (&["heal"], "node 1 running"),
        (&["status"], "node 0 running"),
    ] {
        let (status, said) = say(words);
        assert!(
            status == Some(0) && said.contains(line),
            "{words:?}: {said}"
        );
    }
    for (words, why) in [
        (&["down", "0-3"][..], "3 is none of the 3 nodes"),
        (&["up", "0-1"], "not done by hand"),
        (&["explode"], "is none of"),
    ] {
        let (status, said) = say(words);
        assert!(status == Some(2) && said.contains(why), "{words:?}: {said}");
    }
    harness.kill().unwrap();
    harness.wait().unwrap();
    wait_until("all are gone", || bed.processes() == 0);
}

#[test]
fn a_node_finds_another_clock_at_its_restart() {
    let Some(bed) = Bed::new() else { return };
    let acts = "1 ms clock node 0 killed, clock at 9000000 s, restart after 1 ms\n";
    fs::write(bed.path("acts"), acts).unwrap();
    // The first life goes on until it is killed.
    let script =
        "up=$(cut -d. -f1 /proc/uptime); test $up -ge 9000000 && exit 0; while :; do sleep 1; done";
    let run = bed.run(&[
        "--machines",
        "--nodes",
        "1",
        "--duration",
        "60s",
        "--schedule",
        "acts",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let said = text(&run.stdout) + &text(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("node 0 ended by itself"), "{said}");
}

#[test]
fn machines_know_each_other_by_name_and_number() {
    let Some(bed) = Bed::new() else { return };
    let script = "echo $0 '{peers:{host}@{ip}|;}'; cat /etc/hosts | grep -c node; hostname";
    let run = bed.run(&[
        "--machines",
        "--duration",
        "10s",
        "--monkeys",
        "none",
        "--",
        "sh",
        "-c",
        script,
        "{ip6}",
    ]);
    let said = text(&run.stderr);
    assert!(run.status.success(), "{said}");
    for line in [
        "[node1] fd77::11 node0@10.77.0.10;node2@10.77.0.12",
        "[node2] node2",
        "[node0] 6",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

/// Who is not root makes machines all the same, and programs that refuse to be root find that they are not.
#[test]
fn nobody_needs_to_be_root() {
    let Some(bed) = Bed::new() else { return };
    let system = "about = 'x'\nnodes = 2\nuser = 1234\n[[process]]\ncommand = ['sh', '-c', \
                  'echo I am $(id -u) at $(hostname); cat conf; while :; do sleep 0.1; done']\n\
                  [[file]]\npath = 'conf'\ntext = 'mine: {ip}'\n";
    fs::write(bed.path("x.toml"), system).unwrap();
    let harness = bed.path("harness");
    fs::copy(env!("CARGO_BIN_EXE_harness"), &harness).unwrap();
    let asked = r#"echo '{"process":0,"type":"invoke","f":"read","key":1,"time":1}
                 {"process":0,"type":"ok","f":"read","key":1,"time":2}'"#;
    let words = "\"$0\" --no-history network --system x.toml --monkeys none --duration 500ms --plain \
                 --workload-command \"$1\"";
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command
        .args(nobody)
        .args(["sh", "-c", words])
        .arg(&harness)
        .arg(asked)
        .current_dir(bed.folder.path())
        .env("TMPDIR", bed.path("tmp"))
        .env("HOME", bed.path("tmp"));
    for (path, mode) in [(bed.folder.path(), 0o755), (&bed.path("tmp"), 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let run = match command.output() {
        Ok(run) => run,
        Err(error) => return eprintln!("SKIPPED: no setpriv: {error}"),
    };
    let said = text(&run.stdout) + &text(&run.stderr);
    if said.contains("setpriv:") || said.contains("not permitted here") {
        return eprintln!("SKIPPED: {said}");
    }
    assert!(run.status.success(), "{said}");
    for line in ["[node1] I am 1234 at node1", "[node0] mine: 10.77.0.10"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(bed.processes(), 0);
}

/// Judges what a program says that its clients saw.
fn verdict_on(bed: &Bed, lines: &[&str]) -> (Option<i32>, String) {
    let script = format!("cat <<'END'\n{}\nEND\n", lines.join("\n"));
    let node = ["--", "sh", "-c", IDLE];
    let flags = [
        "--duration",
        "300ms",
        "--monkeys",
        "none",
        "--quiet",
        "--workload-command",
        &script,
    ];
    let run = bed.run(&[&flags[..], &node[..]].concat());
    (run.status.code(), text(&run.stdout) + &text(&run.stderr))
}

#[test]
fn what_a_program_saw_is_judged() {
    let Some(bed) = Bed::new() else { return };
    let wrote = [
        r#"{"process":0,"type":"invoke","f":"write","key":1,"value":5,"time":1}"#,
        r#"{"process":0,"type":"ok","f":"write","key":1,"value":5,"time":2}"#,
        r#"{"process":1,"type":"invoke","f":"read","key":1,"time":3}"#,
    ];
    let right = r#"{"process":1,"type":"ok","f":"read","key":1,"value":5,"time":4}"#;
    let (status, said) = verdict_on(&bed, &[&wrote[..], &[right]].concat());
    assert_eq!(status, Some(0), "{said}");
    let wrong = r#"{"process":1,"type":"ok","f":"read","key":1,"value":6,"time":4}"#;
    let (status, said) = verdict_on(&bed, &[&wrote[..], &[wrong]].concat());
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("register 1: no order"), "{said}");
    let (status, said) = verdict_on(&bed, &["hello"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("line 1 of the workload"), "{said}");
    let (status, said) = verdict_on(&bed, &["END", "exit 3"]);
    assert_eq!(status, Some(1), "{said}");
    let words = "command ended by itself with exit status: 3";
    assert!(said.contains(words), "{said}");
    assert_eq!(bed.processes(), 0);
}

/// The example that the tour ends with: numbers kept on every node.
#[test]
fn a_system_of_ones_own_is_judged() {
    let Some(bed) = Bed::new() else { return };
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let system = format!("{examples}/register.toml");
    let ask = format!("exec python3 '{examples}/ask.py'");
    fs::write(
        bed.path("cut"),
        "1 ms netsplit links 0-1 0-2 1-2 down for 10 s\n",
    )
    .unwrap();
    let flags = [
        "--system",
        &system,
        "--workload-command",
        &ask,
        "--duration",
        "2s",
        "--quiet",
    ];
    let copies = ["--schedule", "cut"];
    let primary = ["--monkeys", "none", "--set", "mode=primary"];
    for (more, status, words) in [(&copies[..], 1, "history wrong"), (&primary, 0, "passed")] {
        let run = bed.run(&[&flags[..], more].concat());
        let said = text(&run.stdout) + &text(&run.stderr);
        if said.contains("apt-get install") {
            return eprintln!("SKIPPED: {said}");
        }
        assert_eq!(run.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(bed.processes(), 0);
}

/// One line says what and where, and nothing is left.
#[test]
fn a_system_that_cannot_start_says_why() {
    let Some(bed) = Bed::new() else { return };
    let run = |more: &str, command: &str| {
        let system = format!("about = 'x'\n[[process]]\ncommand = {command}\n{more}");
        fs::write(bed.path("x.toml"), system).unwrap();
        let flags = ["--system", "x.toml", "--workload-command", "true"];
        let run = bed.run(&[&flags[..], &["--duration", "1s", "--quiet"]].concat());
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{said}");
        assert_eq!((bed.processes(), bed.folders()), (0, 0), "{said}");
        said
    };
    let idle = format!("['sh', '-c', '{IDLE}']");
    for (more, command, words) in [
        (
            "[ready]\nport = 99\nwithin = '200ms'",
            &*idle,
            "node 0 is not ready after 200ms: nobody takes connections at 10.77.0.10:99\n  born",
        ),
        (
            "[ready]\ncommand = ['false']\nwithin = '200ms'",
            &idle,
            "false does not succeed",
        ),
        (
            "[ready]\nport = 99",
            "['sh', '-c', 'echo no luck; exit 7']",
            "ended by itself with exit status: 7 before it was ready\n  no luck",
        ),
        (
            "[ready]\ncommand = ['no-such-program']",
            &idle,
            "no-such-program: no such program",
        ),
        ("not_on = [1]", &idle, "no [[process]] is on node 1"),
    ] {
        let said = run(more, command);
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A system of shells, which do not tell on stderr how `sleep` has died: files, readiness, health and an end.
const SHELLS: &str = r#"
about = 'shells'
nodes = 3
[[process]]
command = ['sh', '-c', "exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo born; cat conf; ls; echo $$ > pid; while :; do sleep 0.02; done"]
[[file]]
path = 'conf'
text = "node {id}\n"
[[file]]
path = 'conf'
on = [1]
text = "the one in the middle\n"
[ready]
command = ['sh', '-c', 'kill -0 $(cat pid)']
[health]
command = ['sh', '-c', 'kill -0 $(cat pid)']
every = '50ms'
[stop]
signal = 'TERM'
"#;

/// What a node said, line by line.
fn said_by(events: &[Value], node: u64) -> Vec<&str> {
    let said = events
        .iter()
        .filter(|event| event["event"] == "said" && event["node"] == node);
    said.filter_map(|event| event["text"].as_str()).collect()
}

#[test]
fn nodes_are_asked_to_end_wiped_and_lost_and_scripts_run() {
    let Some(bed) = Bed::new() else { return };
    fs::write(bed.path("shells.toml"), SHELLS).unwrap();
    let acts = "50 ms restart node 0 asked to end, restart after 100 ms\n\
                50 ms wipe node 1 killed and wiped, restart after 50 ms\n\
                50 ms crash node 2 killed for good\n\
                60 ms script script grow runs with 7\n\
                70 ms script script fail runs\n";
    fs::write(bed.path("acts"), acts).unwrap();
    let flags = [
        "--system",
        "shells.toml",
        "--schedule",
        "acts",
        "--act-script",
        "grow=echo $OCTOPUS_DRAW at $(hostname)",
        "--act-script",
        "fail=exit 3",
        "--workload-command",
        r#"echo '{"process":0,"type":"invoke","f":"write","value":5,"time":1}
                 {"process":0,"type":"ok","f":"write","value":5,"time":2}'"#,
        "--duration",
        "300ms",
        "--quiet",
        "--events",
        "events",
        "--report",
        "page.html",
    ];
    let run = bed.run(&flags);
    let out = text(&run.stdout) + &text(&run.stderr);
    assert!(run.status.success(), "{out}");
    assert!(
        out.contains("script fail ended with exit status: 3"),
        "{out}"
    );
    let page = fs::read_to_string(bed.path("page.html")).unwrap();
    for words in [
        "3 nodes (shells) on a network that was disturbed by hand.",
        "Right: what the clients were answered",
        "Nodes are killed, lose their files",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let events = fs::read_to_string(bed.path("events")).unwrap();
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = said_by(&events, 0);
    assert_eq!(first[..3], ["born", "node 0", "conf"], "{first:?}");
    // What was only asked to end finds what it had.
    assert!(first.contains(&"pid"), "{first:?}");
    assert_eq!(first.last(), Some(&"bye"), "{first:?}");
    let middle = ["born", "node 1", "the one in the middle", "conf"];
    assert_eq!(
        said_by(&events, 1),
        [&middle[..], &middle, &["bye"]].concat()
    );
    assert_eq!(said_by(&events, 2), ["born", "node 2", "conf"]);
    let newest = |kind: &str, node: u64| {
        let mut of = events
            .iter()
            .filter(|event| event["event"] == kind && event["node"] == node);
        of.next_back().unwrap().clone()
    };
    assert_eq!(newest("node", 2)["state"], "killed");
    assert_eq!(newest("health", 1)["well"], true);
    let mut script = events.iter().filter(|event| event["event"] == "script");
    let line = script.next().unwrap();
    assert_eq!(
        (&line["name"], &line["text"]),
        (&"grow".into(), &"7 at client".into())
    );
    assert_eq!(bed.processes(), 0);

    // One that does not end, and one that is not well.
    for (change, words) in [
        (
            (
                "exec 2>/dev/null; trap 'echo bye; exit 0' TERM",
                "trap '' TERM",
            ),
            "node 0 did not end in time",
        ),
        (
            (
                "[health]\ncommand = ['sh', '-c', 'kill -0 $(cat pid)']",
                "[health]\nport = 9",
            ),
            "is not well",
        ),
    ] {
        let changed = SHELLS.replace(change.0, change.1) + "within = '50ms'\n";
        fs::write(bed.path("shells.toml"), changed).unwrap();
        let run = bed.run(&[&flags[..], &["--recover-within", "100ms"]].concat());
        let out = text(&run.stdout) + &text(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{out}");
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[test]
fn set_up_errors_say_what_is_wrong() {
    let bed = Bed {
        folder: tempfile::tempdir().unwrap(),
    };
    fs::create_dir(bed.path("tmp")).unwrap();
    fs::write(
        bed.path("acts"),
        "1 s link link 0-1 down for 1 s\n1 s link link 0-7 down for 1 s\n",
    )
    .unwrap();
    fs::write(bed.path("scripts"), "1 s script script grow runs\n").unwrap();
    fs::write(bed.path("x.toml"), "about = 'x'\ncolour = 1\n").unwrap();
    fs::write(
        bed.path("typo.toml"),
        "about = 'x'\n[[process]]\ncommand = ['true', '{peerz}']\n",
    )
    .unwrap();
    let queue = "about = 'x'\ndriver = 'nats'\n[[process]]\ncommand = ['true']\n";
    fs::write(bed.path("queue.toml"), queue).unwrap();
    for (flags, words) in [
        (&["--loss", "0.1", "--", "true"][..], "--machines"),
        (&["--machines", "--loss", "2", "--", "true"], "from 0 to 1"),
        (
            &["--machines", "--mtu", "10", "--", "true"],
            "10 is not in 576..=65000",
        ),
        (
            &["--machines", "--down", "up", "--", "true"],
            "drop, reject",
        ),
        (&["--system", "no-such"], "redis-sentinel"),
        (
            &["--system", "x.toml"],
            "in the system x: line 2: unknown field `colour`",
        ),
        (
            &["--system", "typo.toml"],
            "in the system typo: a [[process]]: {peerz} is not known: is {peers} meant?",
        ),
        (
            &["--machines", "--", "true", "{Ip}"],
            "in the command of the nodes: {Ip} is not known",
        ),
        (
            &[
                "--system",
                "queue.toml",
                "--workload",
                "queue",
                "--stale-reads",
            ],
            "queue has no reads for --stale-reads",
        ),
        (
            &["--duration", "2s", "--heal-at", "2s", "--", "true"],
            "--heal-at 2s is not before the end",
        ),
        (
            &["--history", "x", "--", "true"],
            "required arguments were not provided",
        ),
        (
            &["--system", "queue.toml", "--workload", "bank"],
            "instead of --workload bank there is queue",
        ),
        (&["--system", "etcd", "--", "true"], "cannot be used with"),
        (
            &["--schedule", "acts", "--dry-run"],
            "line 2: 7 is none of the 3 nodes",
        ),
        (
            &["--schedule", "scripts", "--", "true"],
            "add --act-script grow=COMMAND",
        ),
        (&["--enable-clock-monkey", "--", "true"], "needs machines"),
        (
            &["--machines", "--cpus", "0", "--", "true"],
            "from 0.01 to 1024",
        ),
        (
            &["--enable-script-monkey", "--", "true"],
            "add --act-script NAME=COMMAND",
        ),
        (
            &["--schedule", "missing", "--", "true"],
            "cannot read the schedule missing",
        ),
    ] {
        let run = bed.run(flags);
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}

/// Runs a system for 20 s; the first result, none if the system is not installed.
fn system(name: &str, workload: &str) -> Option<Value> {
    system_with(name, workload, &["--duration", "20s"])
}

fn system_with(name: &str, workload: &str, more: &[&str]) -> Option<Value> {
    let bed = Bed::new()?;
    let flags = [
        "--system",
        name,
        "--workload",
        workload,
        "--seed",
        "1",
        "--quiet",
        "--json",
        "result.json",
        "--report",
        "run.html",
    ];
    let run = bed.run(&[&flags[..], more].concat());
    let said = text(&run.stderr);
    if let Some(line) = said.lines().find(|line| line.contains("apt-get install")) {
        eprintln!("SKIPPED: {line}");
        return None;
    }
    let written = fs::read(bed.path("result.json")).unwrap_or_else(|_| panic!("{said}"));
    let json: Value = serde_json::from_slice(&written).unwrap();
    assert!(fs::metadata(bed.path("run.html")).unwrap().len() > 10_000);
    assert_eq!(bed.processes(), 0, "{said}");
    Some(json["results"][0].clone())
}

#[test]
fn etcd_is_linearizable() {
    let Some(result) = system("etcd", "register") else {
        return;
    };
    assert_eq!(result["figures"]["history"], "right", "{result:#}");
    assert!(
        result["figures"]["operations_answered"].as_u64().unwrap() > 10,
        "{result:#}"
    );
}

#[test]
fn redis_is_asked_and_judged() {
    // Whether it loses anything in a run depends on the moment of a failover; that it is noticed does not.
    let Some(result) = system("redis-sentinel", "set") else {
        return;
    };
    assert_ne!(result["figures"]["history"], "undecided", "{result:#}");
    assert!(
        result["figures"]["operations_answered"].as_u64().unwrap() > 10,
        "{result:#}"
    );
}

#[test]
fn postgresql_executes_transactions_one_at_a_time_if_it_is_told_to() {
    let serializable = [
        "--duration",
        "5s",
        "--monkeys",
        "none",
        "--set",
        "isolation=serializable",
    ];
    let Some(result) = system_with("postgresql", "transactions", &serializable) else {
        return;
    };
    assert_eq!(result["figures"]["history"], "right", "{result:#}");
}

#[test]
fn nats_gives_out_what_it_was_given() {
    let calm = ["--duration", "5s", "--monkeys", "none"];
    let Some(result) = system_with("nats", "queue", &calm) else {
        return;
    };
    assert_eq!(result["figures"]["history"], "right", "{result:#}");
}

#[test]
fn zookeeper_is_linearizable_where_clients_ask_it_to_catch_up() {
    let calm = ["--duration", "4s", "--monkeys", "none"];
    for workload in ["register", "queue"] {
        let Some(result) = system_with("zookeeper", workload, &calm) else {
            return;
        };
        assert_eq!(result["figures"]["history"], "right", "{result:#}");
    }
}

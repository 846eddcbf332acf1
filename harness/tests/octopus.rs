//! Contract tests of `harness network` and `harness level4`, on the real binary with nodes of our
//! own: an echo node, fair and unfair SQL nodes (`examples/sqlnode.rs`).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The test nodes, which cargo builds next to the tests.
fn sqlnode() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples/sqlnode");
    assert!(
        path.exists(),
        "run `cargo test` for all targets, or `cargo build --examples`"
    );
    path
}

/// A run of the harness in a folder of its own, whose temporary folders are made there too.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.arg("--no-history");
        fs::create_dir_all(self.path("tmp")).unwrap();
        command
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

    /// Judges SQL nodes with further arguments of theirs, for two seconds.
    fn level4(&self, flags: &[&str], node: &[&str]) -> (Output, Value) {
        let program = sqlnode();
        let mut arguments = vec!["level4", "--solution", program.to_str().unwrap()];
        arguments.extend(["--seed", "7", "--json", "result.json"]);
        if !flags.contains(&"--duration") {
            arguments.extend(["--duration", "2s"]);
        }
        arguments.extend(flags);
        arguments.push("--");
        arguments.extend(node);
        let output = self.run(&arguments);
        let json = fs::read(self.path("result.json")).unwrap_or_default();
        let json: Value = serde_json::from_slice(&json).unwrap_or_default();
        (output, json["results"][0].clone())
    }

    /// Nothing of a run is left: no temporary folder, no process.
    fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        #[cfg(target_os = "linux")]
        {
            let own = self.folder.path().to_str().unwrap();
            let processes = processes_that_mention(own);
            assert!(processes.is_empty(), "{processes:?}");
        }
    }
}

/// Processes whose environment names a folder: all that were started there, wherever they went.
#[cfg(target_os = "linux")]
fn processes_that_mention(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(folder) && !command.is_empty() {
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

/// The store behind the network's back. Dropping it ends it.
struct Store {
    process: Child,
    path: PathBuf,
}

impl Store {
    fn start(folder: &Path) -> Self {
        let path = folder.join("store");
        let process = Command::new(sqlnode())
            .arg("--serve-store")
            .arg(&path)
            .spawn()
            .unwrap();
        let store = Self { process, path };
        let start = Instant::now();
        while !store.path.exists() {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "the store does not start"
            );
            thread::sleep(Duration::from_millis(1));
        }
        store
    }

    fn arguments(&self) -> [&str; 2] {
        ["--store", self.path.to_str().unwrap()]
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The event log of a run; each event and field of it is in `docs/events.md`.
fn events(path: &Path) -> Vec<Value> {
    let log = fs::read_to_string(path).unwrap();
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let documented = |name: &str| include_str!("../docs/events.md").contains(&format!("`{name}`"));
    for event in &events {
        let fields = event.as_object().unwrap();
        let kind = event["event"].as_str().unwrap();
        assert!(documented(kind), "{event}");
        for name in fields.keys() {
            assert!(documented(name), "{name} of {event}");
        }
    }
    let times = events.iter().map(|event| event["t_us"].as_u64().unwrap());
    assert!(times.is_sorted(), "events are in the order of time");
    events
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_schedule_of_seed_7_is_the_same_everywhere() {
    let bed = Bed::new();
    let output = bed.run(&["level4", "--dry-run", "--seed", "7"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.ends_with(&format!("sha256 {DIGEST}\n")), "{shown}");
    let classic = bed.run(&["level4", "-n", "-seed=7", "-c", "5", "-duration", "30s"]);
    assert_eq!(text(&classic.stdout), shown);
    let flags = [
        "level4",
        "-n",
        "-seed",
        "7",
        "-enable-murder-monkey=true",
        "-monkey-offset=0",
    ];
    let murder = bed.run(&flags);
    assert!(text(&murder.stdout).contains(" murder "));
}

/// The digest of the schedule of seed 7: 5 nodes, 30 s, the monkeys of 2014.
const DIGEST: &str = "534c14ef1cc6eadd8dbca77ed43379037dd6e57a0db0b265e65c73115d9646ff";

#[test]
fn a_cluster_without_a_single_point_of_failure_passes() {
    let bed = Bed::new();
    let store = Store::start(bed.folder.path());
    let flags = [
        "--monkey-offset",
        "0",
        "-w",
        "classic.json",
        "--events",
        "events.jsonl",
        "--report",
        "report.html",
        "--check-replicas",
        "--duration",
        "3s",
    ];
    let (output, result) = bed.level4(&flags, &store.arguments());
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert_eq!(result["passed"], true);
    let correct = result["figures"]["correct_queries"].as_u64().unwrap();
    // The answers to the probe are checked as well.
    let figure = |name: &str| result["figures"][name].as_u64().unwrap();
    assert!(figure("history_checked") > figure("answered_queries"));
    let classic: Value =
        serde_json::from_slice(&fs::read(bed.path("classic.json")).unwrap()).unwrap();
    assert_eq!(classic["CorrectQueries"], correct);
    assert_eq!(classic["QueryPoints"], correct * 10);
    assert!(text(&output.stdout).starts_with("Final stats (running with 5 nodes for 3s):\n"));
    assert!(
        fs::read_to_string(bed.path("report.html"))
            .unwrap()
            .contains("Final stats")
    );
    // The spof monkey had every node in its hands, and let it go.
    let events = events(&bed.path("events.jsonl"));
    let told = |what: &str| {
        events
            .iter()
            .filter(|e| e["text"].as_str().is_some_and(|t| t == what))
            .count()
    };
    for node in 0..5 {
        assert_eq!(
            told(&format!("spof: node {node} stopped and cut off")),
            1,
            "{node}"
        );
        assert_eq!(told(&format!("spof: node {node} back")), 1, "{node}");
    }
    bed.assert_clean();
}

#[test]
fn a_single_point_of_failure_gets_next_to_nothing() {
    let bed = Bed::new();
    // Spof alone, from the start: nothing else can be to blame.
    let flags = [
        "--monkeys",
        "spof",
        "--monkey-offset",
        "0",
        "--events",
        "events.jsonl",
        "--duration",
        "4s",
    ];
    let (output, result) = bed.level4(&flags, &[]);
    let events = events(&bed.path("events.jsonl"));
    // Node 0 is cut off at some time, and stays so to the end: no answer comes.
    let cut = events
        .iter()
        .find(|event| event["text"] == "spof: node 0 stopped and cut off")
        .unwrap_or_else(|| panic!("{}", text(&output.stderr)));
    assert!(
        !events
            .iter()
            .any(|event| event["text"] == "spof: node 0 back")
    );
    let answered_after = events
        .iter()
        .filter(|event| event["event"] == "request" && event["status"] == "answered")
        // By when it was sent: what was on its way from node 0 still arrives.
        .filter(|event| event["t_us"].as_u64() > cut["t_us"].as_u64())
        .count();
    assert_eq!(answered_after, 0);
    assert_ne!(result["passed"], true, "{result}");
}

#[test]
fn liars_are_disqualified() {
    for (lie, kind) in [
        ("repeat@20", "repeated_number"),
        ("output@20", "wrong_output"),
        ("head@20", "bad_answer"),
        ("exit@20", "unexpected_exit"),
    ] {
        let bed = Bed::new();
        // One node: it is asked everything.
        let flags = ["-c", "1", "--monkeys", "none", "--duration", "5m"];
        let start = Instant::now();
        let (output, result) = bed.level4(&flags, &["--lie", lie]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{lie}: {}",
            text(&output.stderr)
        );
        assert_eq!(result["failure"]["kind"], kind, "{lie}: {result}");
        assert_eq!(result["score"], 0.0);
        assert!(text(&output.stdout).contains("Disqualified: "));
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "{lie} did not end the run"
        );
    }
}

#[test]
fn a_number_lost_after_execution_stops_the_count_without_disqualifying() {
    let bed = Bed::new();
    let flags = ["-c", "1", "--monkeys", "none", "--duration", "4s"];
    let (output, result) = bed.level4(&flags, &["--lie", "lose@20"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(result["figures"]["correct_queries"], 20);
    assert_eq!(result["figures"]["lost_number"], 20);
    assert!(result["figures"]["unjudged_answers"].as_u64().unwrap() > 0);
    // More may be those of requests that were open when the run ended.
    assert!(result["figures"]["history_unanswered_numbers"].as_u64() >= Some(1));
    assert!(text(&output.stdout).contains("Number 20 is missing"));
}

#[test]
fn murdered_nodes_come_back_with_their_state() {
    let bed = Bed::new();
    let store = Store::start(bed.folder.path());
    let flags = [
        "--monkeys",
        "murder,blackout",
        "--monkey-offset",
        "0",
        "--monkey-gap",
        "0.1",
        "--intensity",
        "1",
        "--duration",
        "5s",
        "--events",
        "events.jsonl",
    ];
    let (output, result) = bed.level4(&flags, &store.arguments());
    let failure = &result["failure"]["kind"];
    // A kill may lose a number, but nobody is blamed for it.
    assert!(
        output.status.success(),
        "{failure}: {}",
        text(&output.stdout)
    );
    let back = |event: &Value| event["state"] == "running" && event["incarnation"] == 2;
    assert!(events(&bed.path("events.jsonl")).iter().any(back));
    bed.assert_clean();
}

#[test]
fn any_program_runs_on_the_network() {
    let bed = Bed::new();
    // Three shells that say what they were given, and end.
    let script = "echo hello from $0 $*; test -S ./node$1.sock || test $1 = {id}";
    for (extra, peer) in [(None, "./node1.sock"), (Some("--tcp"), "127.0.0.1:")] {
        let mut arguments = vec!["network", "--nodes", "3", "--duration", "20s"];
        arguments.extend(extra);
        let script = if extra.is_some() {
            "echo hello from $0 $*"
        } else {
            script
        };
        arguments.extend([
            "--", "sh", "-c", script, "node{id}", "1", "{join}", "{peers}",
        ]);
        let output = bed.run(&arguments);
        let shown = text(&output.stderr);
        assert!(output.status.success(), "{shown}{}", text(&output.stdout));
        // Node 0 has no one to join.
        assert!(
            shown.contains(&format!("[node0] hello from node0 1 1={peer}")),
            "{shown}"
        );
        assert!(shown.contains("[node2] hello from node2 1 "), "{shown}");
        assert!(
            text(&output.stdout).contains("2 → 1"),
            "{}",
            text(&output.stdout)
        );
        bed.assert_clean();
    }
}

#[test]
fn the_example_of_the_readme_measures_a_lossy_network() {
    let bed = Bed::new();
    let echo = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/echo.py");
    let arguments = [
        "network",
        "--nodes",
        "3",
        "--monkeys",
        "link,oneway,latency",
        "--monkey-offset",
        "0",
        "--intensity",
        "1",
        "--monkey-gap",
        "0.3",
        "--events",
        "events.jsonl",
        "--",
        echo.to_str().unwrap(),
        "{id}",
        "{listen}",
        "{peers}",
        "2",
    ];
    let output = bed.run(&arguments);
    let shown = text(&output.stderr);
    assert!(output.status.success(), "{shown}");
    for (node, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert!(
            shown.contains(&format!("[node{node}] {node} -> {peer}: ")),
            "{shown}"
        );
    }
    let events = events(&bed.path("events.jsonl"));
    assert!(events.iter().any(|event| event["monkey"] == "oneway"));
    let start = &events[0];
    assert_eq!(start["event"], "start");
    assert_eq!(start["schema"], 2);
    assert_eq!(start["seed"], "1");
    assert!(start["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(start["addresses"].as_array().unwrap().len(), 3);
    let listen = start["addresses"][2]["listen"].as_str().unwrap();
    assert!(listen.ends_with("/node2/node2.sock"), "{listen}");
    // An event of a link says something new each time.
    for link in start["links"].as_array().unwrap() {
        let state = |event: &Value| {
            let fields = ["up", "delay_ms", "jitter_ms", "loses", "bytes_per_s"];
            fields.map(|field| event[field].clone())
        };
        let mut before = state(link);
        for event in &events {
            if event["event"] == "link" && event["link"] == link["link"] {
                assert_ne!(state(event), before, "{event}");
                before = state(event);
            }
        }
    }
    let last = events.last().unwrap();
    let read = |direction: &Value| direction["bytes_read"].as_u64().unwrap();
    let total: u64 = last["links"]["directions"]
        .as_array()
        .unwrap()
        .iter()
        .map(read)
        .sum();
    assert!(total > 0);
    bed.assert_clean();
}

#[test]
fn a_node_that_fails_fails_the_command() {
    let bed = Bed::new();
    let output = bed.run(&["network", "--nodes", "2", "--", "sh", "-c", "exit {id}"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("node 1 ended by itself"));
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let bed = Bed::new();
    for signal in ["INT", "TERM"] {
        let arguments = ["network", "--nodes", "3", "--quiet", "--", "sleep", "600"];
        let mut harness = bed.command(&arguments).spawn().unwrap();
        let folder = bed.path("tmp");
        let start = Instant::now();
        // The last node runs: its output is collected.
        while !fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .any(|e| e.path().join("node2.log").exists())
        {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "the nodes do not start"
            );
            thread::sleep(Duration::from_millis(1));
        }
        let id = harness.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(harness.wait().unwrap().code(), Some(130), "{signal}");
        bed.assert_clean();
    }
}

#[test]
fn hard_short_runs_leave_nothing_behind() {
    let bed = Bed::new();
    let store = Store::start(bed.folder.path());
    let flags = [
        "--monkeys",
        "all",
        "--intensity",
        "1",
        "--monkey-offset",
        "0",
        "--monkey-gap",
        "0.1",
    ];
    let (output, _) = bed.level4(&flags, &store.arguments());
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        text(&output.stderr)
    );
    // A failed run keeps its folder, and says so.
    if output.status.success() {
        bed.assert_clean();
    }
}

#[test]
fn wrong_input_gets_one_clear_line() {
    let bed = Bed::new();
    fs::write(
        bed.path("case.json"),
        r#"{"id": "level4-x", "input": "no number"}"#,
    )
    .unwrap();
    for (arguments, expected) in [
        (vec!["level4", "--case", "case.json"], "is not an integer"),
        (
            vec!["level4", "--solution", "./missing", "--seed", "1"],
            "./missing: cannot be found",
        ),
        (
            vec!["level4", "--enable-fulldisk-monkey", "--seed", "1"],
            "add --disk-mb N",
        ),
        (vec!["level4", "--nodes", "0"], "0 is not in 1..=50"),
        (vec!["network", "--", "no-such-program"], "no such program"),
        (
            vec!["network", "--monkeys", "spof", "--", "true"],
            "spof monkey waits for answers",
        ),
        (vec!["network"], "COMMAND"),
        (
            vec!["network", "--monkeys", "gorilla", "--", "true"],
            "there is no gorilla monkey",
        ),
    ] {
        let output = bed.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let shown = text(&output.stderr);
        assert!(shown.contains(expected), "{arguments:?}: {shown}");
    }
}

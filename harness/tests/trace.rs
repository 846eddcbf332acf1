//! `harness trace` as a user has it: a program in another language writes the format, files that are
//! no traces are refused in a line, and the page is used in a real browser (headless Chromium; skipped,
//! with a message, where none is installed).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../level3/tests/common/browser.rs"]
mod browser;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use browser::Browser;
use octopus::trace::{Entry, Event, Header, Trace, Writer};
use serde_json::json;

/// How long two programs may take for twenty words with each other.
const PATIENCE: Duration = Duration::from_mins(2);

const SMALL: &str = include_str!("../docs/trace/small.jsonl");

fn harness(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("trace")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn page(folder: &Path, arguments: &[&str]) -> String {
    let made = harness(folder, &[arguments, &["--html", "page.html"]].concat());
    assert!(made.status.success(), "{made:?}");
    format!("file://{}", folder.join("page.html").display())
}

/// A process that ends with the value.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A browser that has opened a page, and in which its script has come to its end.
fn opened(url: &str) -> Option<Browser> {
    let mut browser = Browser::start()?;
    browser.open(url);
    browser.until("document.documentElement.dataset.ready");
    Some(browser)
}

#[test]
fn a_node_in_python_writes_what_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let node = |name: &str, other: &str| {
        Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/trace.py"))
            .args([
                name,
                &format!("./{name}.sock"),
                &format!("{other}=./{other}.sock"),
                "traces",
            ])
            .current_dir(folder.path())
            .spawn()
            .unwrap()
    };
    let _nodes = [Node(node("0", "1")), Node(node("1", "0"))];
    let traces = folder.path().join("traces");
    let is_done = |name: &str| {
        let text = fs::read_to_string(traces.join(name)).unwrap_or_default();
        text.contains("\"done\"")
    };
    let deadline = Instant::now() + PATIENCE;
    while !(is_done("0.jsonl") && is_done("1.jsonl")) {
        assert!(Instant::now() < deadline, "not all greetings were answered");
        thread::sleep(Duration::from_millis(20));
    }
    let trace = Trace::open(&traces).unwrap();
    assert_eq!(trace.nodes(), ["0", "1"]);
    let counts = trace.counts();
    assert!(counts["send"] >= 80, "{counts:?}");
    assert_eq!(counts["done"], 2);
    let told = harness(folder.path(), &["traces"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("sent: Hello "), "{told}");
}

/// Two nodes: 1 says hello to 0, which answers; and both write that down, if they are told where.
const HELLO: &str = r#"
import json, os, socket, sys, time
node, listen, peers = sys.argv[1:4]
path = os.environ.get("OCTOPUS_TRACE") if sys.argv[4] == "tells" else None
trace = open(path, "a", buffering=1) if path else None
def tell(kind, **fields):
    if trace:
        trace.write(json.dumps({"t": time.monotonic_ns(), "kind": kind, "node": "n" + node, **fields}) + "\n")
if trace:
    trace.write(json.dumps({"trace": 1, "program": "hello"}) + "\n")
where = {"connection": "c", "bytes": 5}
if node == "0":
    server = socket.socket(socket.AF_UNIX)
    server.bind(listen)
    server.listen()
    peer, _ = server.accept()
    peer.recv(5, socket.MSG_WAITALL)
    tell("deliver", type="Hello", **where, **{"from": "n1"})
    tell("send", type="Welcome", to="n1", **where)
    peer.sendall(b"you!!")
    peer.recv(1)
else:
    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect("./node0.sock")
            tell("send", type="Hello", to="n0", **where)
            peer.sendall(b"hello")
            if len(peer.recv(5, socket.MSG_WAITALL)) == 5:
                break
        except OSError:
            pass
        time.sleep(0.01)
    tell("deliver", type="Welcome", **where, **{"from": "n0"})
"#;

#[test]
fn a_run_on_the_network_is_drawn_with_its_messages_or_with_its_bytes() {
    for (tells, sent) in [
        ("tells", ["Hello", "Welcome"]),
        ("silent", ["bytes", "bytes"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ran = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args([
                "--no-history",
                "network",
                "--nodes",
                "2",
                "--monkeys",
                "latency",
            ])
            .args([
                "--monkey-offset",
                "600",
                "--duration",
                "2m",
                "--trace",
                "run",
                "--",
            ])
            .args(["python3", "-c", HELLO, "{id}", "{listen}", "{peers}", tells])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let trace = Trace::open(&folder.path().join("run")).unwrap();
        let of = |kind: &str| -> Vec<(&str, &str, u64)> {
            let events = trace.events.iter().filter(|event| event.kind == kind);
            let shown = events.map(|event| {
                let node = event.node.as_deref().unwrap();
                (node, event.message.as_deref().unwrap(), event.t)
            });
            shown.collect()
        };
        // Before node 0 listens, node 1 may have tried in vain.
        let (was_sent, came) = (of("send"), of("deliver"));
        let [hello, welcome] = sent;
        let [(zero, first, _), (one, second, at)] = came[..] else {
            panic!("{came:?}");
        };
        assert_eq!((zero, first, one, second), ("0", hello, "1", welcome));
        let last = was_sent.last().unwrap();
        assert_eq!((last.0, last.1), ("0", welcome));
        assert!(at > last.2, "a message takes time");
        assert!(was_sent[0].0 == "1" && was_sent[0].1 == hello);
        assert_eq!(trace.nodes(), ["0", "1"]);
        // A second run would be mixed with the first one's files.
        fs::write(folder.path().join("run/other.jsonl"), "").unwrap();
        let again = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["network", "--trace", "run", "--", "true"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(2), "{said}");
        assert!(
            said.contains("run has a trace already, other.jsonl"),
            "{said}"
        );
    }
}

#[test]
fn what_is_no_trace_is_refused_in_a_line_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), "{\"trace\":1}\n{\"t\":1}\n").unwrap();
    for (arguments, told) in [
        (&["x"][..], "x: line 2: `kind` is missing"),
        (&["nowhere"], "cannot read nowhere"),
        (&["."], ". has no *.jsonl files"),
        (
            &["x", "--html", "no/folder/x.html"],
            "cannot write the page to no/folder/x.html",
        ),
    ] {
        let refused = harness(folder.path(), arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_request_is_followed_from_its_client_and_back() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.jsonl"), SMALL).unwrap();
    let url = page(folder.path(), &["small.jsonl"]);
    let Some(mut browser) = opened(&url) else {
        return;
    };
    browser.until_shown("#title", "An election, a write by a follower, a crash");
    // At the end, node 2 has lost what it had not on disk.
    browser.value("moveCursor(app, app.view.length)");
    browser.until_shown("#state", "log to 1 · committed 0");
    browser.until_shown("#state", "on disk: log to 2, term 1, vote 1");
    // The cursor lies in the time at which the link was cut.
    browser.value("moveCursor(app, 40e6)");
    browser.until_shown("#links", "cut");
    browser.until_shown("#state", "1: leader");

    // A request is answered after what its path took.
    browser.value("tellStory(app, 'c0-1')");
    browser.until_shown("#request-said", "answered after 15 ms, entry 2");
    browser.until("!document.querySelector('#path').hidden");
    let costs = browser.value("app.stories[0].costs");
    assert_eq!(
        costs,
        json!({"network": 12_000_000, "disk": 2_000_000, "waiting": 0, "applying": 1_000_000})
    );
    // What happened on node 2 has nothing to do with it.
    let lit = browser.value(
        "[...app.stories[0].cone.lit.keys()].filter(at => app.stories[0].cone.lit[at]) \
         .map(at => nodeOf(app.runs[0], at + app.stories[0].invoke)).includes('2')",
    );
    assert_eq!(lit, false);

    // Searches, keys, bookmarks; all that is in the address.
    browser.value("find(app, 'kind:persist node:2')");
    browser.until_shown("#matches", "2 events");
    browser.value("moveCursor(app, 0); document.activeElement.blur()");
    browser.press("ArrowRight");
    browser.until("app.view.cursor === 5e6");
    browser.keys("n");
    browser.until("app.view.cursor === 12e6");
    browser.value("addMark(app, 'a <b>note</b>')");
    browser.until_shown("#marks", "12 ms a <b>note</b>");
    browser.until("location.hash.includes('note')");
    let address = browser.value("location.href");
    assert_eq!(browser.complaints, Vec::<String>::new());
    let Some(mut other) = opened(address.as_str().unwrap()) else {
        return;
    };
    other.until("app.view.cursor === 12e6 && app.request === 'c0-1'");
    other.until_shown("#marks", "a <b>note</b>");
    other.until_shown("#events", "persist for 1, term 1, index 0");
    assert_eq!(other.complaints, Vec::<String>::new());
}

#[test]
fn two_runs_are_one_above_the_other_on_one_axis() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), SMALL).unwrap();
    let slower = SMALL.replace("\"t\":45000000", "\"t\":47000000");
    let slower = slower.replace("\"what\":\"ok\"", "\"what\":\"info\"");
    fs::write(folder.path().join("b.jsonl"), slower).unwrap();
    let url = page(folder.path(), &["a.jsonl", "b.jsonl"]);
    let Some(mut browser) = opened(&url) else {
        return;
    };
    browser.until_shown("#title", "a.jsonl above b.jsonl");
    browser.value("tellStory(app, 'c0-1')");
    browser.until_shown("#request-said", "a.jsonl: answered after 15 ms");
    browser.until_shown(
        "#request-said",
        "b.jsonl: given up, outcome unknown, after 17 ms",
    );
    assert_eq!(
        browser.value("document.querySelectorAll('.node').length"),
        6
    );
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// A long run of five nodes: a leader that sends appends and heartbeats all the time.
fn long(path: &Path, events: u64) {
    let mut nodes = (0..5).map(|node| node.to_string());
    let header = Header {
        nodes: nodes.by_ref().collect(),
        ..Header::default()
    };
    let file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let mut writer = Writer::new(file, &header).unwrap();
    for at in 0..events / 6 {
        let (t, peer) = (at * 600_000, (at % 4 + 1).to_string());
        let leader = || Some("0".to_owned());
        let on = |t, kind: &str, node: &str| Event {
            node: Some(node.to_owned()),
            ..Event::new(t, kind)
        };
        let entries = vec![Entry {
            index: at + 1,
            term: 1 + at / 5_000,
            requests: vec![format!("c-{at}")],
        }];
        let message = |t, kind: &str, node: &str| Event {
            id: Some(at.to_string()),
            message: Some(["Append", "Heartbeat"][at as usize % 2].to_owned()),
            term: Some(1 + at / 5_000),
            index: Some(at + 1),
            ..on(t, kind, node)
        };
        let lines = [
            Event {
                role: Some("leader".to_owned()),
                term: Some(1 + at / 5_000),
                ..on(t, "become", "0")
            },
            Event {
                entries: entries.clone(),
                ..on(t, "append", "0")
            },
            Event {
                to: Some(peer.clone()),
                entries,
                ..message(t, "send", "0")
            },
            Event {
                from: leader(),
                ..message(t + 40_000_000, "deliver", &peer)
            },
            Event {
                index: Some(at + 1),
                ..on(t + 41_000_000, "persist", &peer)
            },
            Event {
                index: Some(at),
                ..on(t, "commit", "0")
            },
        ];
        for line in &lines {
            writer.write(line).unwrap();
        }
    }
}

#[test]
fn three_hundred_thousand_events_are_drawn_and_searched() {
    let folder = tempfile::tempdir().unwrap();
    long(&folder.path().join("long.jsonl"), 300_000);
    let url = page(folder.path(), &["long.jsonl"]);
    let size = fs::metadata(folder.path().join("page.html")).unwrap().len();
    assert!(size <= octopus::trace::PAGE_BYTES as u64, "{size}");
    let Some(mut browser) = opened(&url) else {
        return;
    };
    browser.until_shown("#about", "300000 events of 5 nodes");
    browser.until_shown("#detail", "one message of ");
    browser.value("show(app, 10e9, 10.05e9)");
    browser.until_shown("#detail", "Everything is drawn.");
    browser.value("find(app, 'request:c-49999')");
    browser.until_shown("#matches", "2 events");
    // The states at the end are those of all events in their order.
    browser.value("moveCursor(app, app.view.length)");
    browser.until_shown("#state", "log to 50000 · committed 49999");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

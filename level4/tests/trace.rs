//! What real nodes write down with `--trace`, read as `harness trace` reads it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::{HashMap, HashSet};
use std::process::Command;

use common::{cluster_with, eventually};
use octopus::trace::{Event, KINDS, Trace};

fn of_kind<'a>(trace: &'a Trace, kind: &str) -> Vec<&'a Event> {
    let events = trace.events.iter();
    events.filter(|event| event.kind == kind).collect()
}

#[test]
fn three_nodes_write_a_run_whose_messages_are_whole() {
    let root = tempfile::tempdir().unwrap();
    let traces = tempfile::tempdir().unwrap();
    let mut nodes = cluster_with(root.path(), 3, |place| {
        let trace = traces.path().join(format!("{place}.jsonl"));
        vec![format!("--trace={}", trace.display())]
    });
    nodes[0].sql("CREATE TABLE t (a)");
    for node in &nodes {
        node.sql("INSERT INTO t VALUES (1)");
    }
    // It has all been written down, too.
    eventually(|| {
        let text = std::fs::read_to_string(traces.path().join("2.jsonl")).unwrap();
        text.contains("\"what\":\"ok\"")
    });
    nodes[2].kill();
    nodes[2].restart();
    nodes[2].wait_for_members(3);
    nodes[2].sql("INSERT INTO t VALUES (2)");
    nodes[2]
        .request("GET", "/db/query?q=SELECT+1", "", b"")
        .unwrap();
    for node in &mut nodes {
        assert_eq!(node.terminate(), Some(0));
    }
    let trace = Trace::open(traces.path()).unwrap();
    assert_eq!(trace.remarks, [""; 0], "the file was mended");
    assert_eq!(trace.nodes().len(), 3);
    for kind in trace.counts().keys() {
        assert!(KINDS.iter().any(|(known, _)| known == kind), "{kind}");
    }
    // Both ends speak of the same messages in the same words, and each arrives once and after it was sent.
    let mut sent: HashMap<&str, &Event> = HashMap::new();
    for event in of_kind(&trace, "send") {
        let id = event.id.as_deref().expect("every message is located");
        assert!(sent.insert(id, event).is_none(), "{id} twice");
    }
    let mut arrived = 0;
    for event in of_kind(&trace, "deliver") {
        let Some(id) = event.id.as_deref() else {
            // Its sender's process ended before it had written that down.
            let mut later = trace.events.iter().filter(|later| later.t >= event.t);
            let next = later.find(|later| later.node == event.from);
            assert!(
                next.is_none_or(|next| next.kind == "restart"),
                "never sent: {event:?}"
            );
            continue;
        };
        let from = sent.remove(id).unwrap();
        assert_eq!((&from.node, &from.to), (&event.from, &event.node));
        assert_eq!(
            (&from.message, &from.requests),
            (&event.message, &event.requests)
        );
        assert_eq!(from.entries, event.entries);
        assert!(from.t <= event.t);
        arrived += 1;
    }
    assert!(arrived > 100, "{arrived}");
    // Four processes, one of which was killed.
    assert_eq!(of_kind(&trace, "restart").len(), 4);
    let led = of_kind(&trace, "become");
    assert!(
        led.iter()
            .any(|event| event.role.as_deref() == Some("leader"))
    );
    // Each write is asked for once, heard of once, and applied everywhere.
    let named = |what: &str| -> HashSet<&str> {
        let events = of_kind(&trace, "client").into_iter();
        let events = events.filter(|event| event.what.as_deref() == Some(what));
        events.map(|event| event.requests[0].as_str()).collect()
    };
    assert_eq!(named("invoke"), named("ok"));
    let writes: Vec<&str> = named("ok")
        .into_iter()
        .filter(|name| !name.starts_with("read-"))
        .collect();
    assert_eq!(writes.len(), 5);
    for name in writes {
        let applied = of_kind(&trace, "apply").into_iter();
        let at: HashSet<_> = applied
            .filter(|event| event.requests.iter().any(|request| request == name))
            .map(|event| event.node.as_deref())
            .collect();
        assert_eq!(at.len(), 3, "{name}");
    }
}

#[test]
fn a_variable_names_the_file_and_what_cannot_be_one_is_refused_at_once() {
    let root = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_level4");
    let foreign = root.path().join("notes.txt");
    std::fs::write(&foreign, "mine\n").unwrap();
    let output = Command::new(program)
        .args(["-l", "127.0.0.1:0"])
        .env("OCTOPUS_TRACE", &foreign)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("notes.txt, which is there already and is no trace"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "mine\n");
    let trace = root.path().join("a.jsonl");
    let mut child = Command::new(program)
        .args(["-l", "127.0.0.1:0"])
        .env("OCTOPUS_TRACE", &trace)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        text.contains("\"role\":\"leader\"")
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

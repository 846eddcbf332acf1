//! Replicas that differ or that are stuck, and keys that stand for something else, on real nodes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;

use common::{Node, cluster, eventually};
use level4::consensus::Persist;
use level4::log::{Folder, Log};
use raft::{GetEntriesContext, Storage as _};

fn query(node: &Node, level: &str, sql: &str) -> String {
    let path = format!("/db/query?level={level}");
    let body = format!(r#"["{sql}"]"#);
    let (status, answer) = node
        .request("POST", &path, "", body.as_bytes())
        .expect("an answer");
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Replaces a text in the log of a stopped node by one of the same length, as a fault of its own would.
fn alter(folder: &Path, from: &str, to: &str) {
    let disk = Folder::open(folder.join("log")).unwrap();
    let (mut log, recovered) = Log::open(disk).unwrap();
    let first = recovered.log.first_index().unwrap();
    let last = recovered.log.last_index().unwrap();
    let context = GetEntriesContext::empty(false);
    let entries = recovered.log.entries(first, last + 1, None, context);
    let mut entries = entries.unwrap();
    let find = |data: &[u8]| data.windows(from.len()).position(|w| w == from.as_bytes());
    let altered = entries.iter().position(|entry| find(&entry.data).is_some());
    let mut entries = entries.split_off(altered.expect("the text is in the log"));
    let mut data = entries[0].data.to_vec();
    let place = find(&data).unwrap();
    data[place..place + to.len()].copy_from_slice(to.as_bytes());
    entries[0].data = data.into();
    let write = Persist {
        entries,
        ..Persist::default()
    };
    log.append(&[write]).unwrap();
}

#[test]
fn a_replica_that_differs_is_found_says_so_and_is_rebuilt() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 2);
    let join = format!("--join={}", nodes[0].address);
    let folder = root.path().join("2");
    nodes.push(Node::start_logged(&folder, "127.0.0.1:0", &[&join]));
    for node in &nodes {
        node.wait_for_members(3);
    }
    nodes[0].sql("CREATE TABLE t (a)");
    nodes[0].sql("INSERT INTO t VALUES ('what all have')");
    let expected = r#"[["what all have"]]"#;
    assert!(query(&nodes[2], "linearizable", "SELECT a FROM t").contains(expected));
    nodes[2].kill();
    alter(&folder, "what all have", "what one has!");
    nodes[2].restart();
    nodes[2].wait_for_members(3);
    // Nothing shows it before somebody looks.
    nodes[1].sql("SELECT a FROM t");
    eventually(|| {
        let log = nodes[2].log();
        log.contains("this node's state has parted from the majority's at index")
            && log.contains("this node's state agrees with the others'")
    });
    assert!(query(&nodes[2], "linearizable", "SELECT a FROM t").contains(expected));
    assert!(query(&nodes[2], "none", "SELECT a FROM t").contains(expected));
}

/// The index that a majority is stuck at.
fn stuck_at(node: &Node) -> Option<u64> {
    let (_, status) = node.request("GET", "/cluster/status", "", b"")?;
    let (_, rest) = status.split_once("\"stuck_at\":")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[test]
fn an_entry_that_holds_up_everybody_is_skipped_and_its_client_gets_an_error() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    // They start themselves again with the arguments that they have: those with their ports.
    for node in &mut nodes {
        node.kill();
        node.restart();
    }
    for node in &nodes {
        node.wait_for_members(3);
    }
    nodes[0].sql("CREATE TABLE t (a)");
    let (status, answer) = nodes[1]
        .request("POST", "/cluster/skip?index=2", "", b"")
        .unwrap();
    assert_eq!(status, 409, "{answer}");
    let endless = "INSERT INTO t VALUES (1); WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) \
                   SELECT count(*) FROM r";
    std::thread::scope(|scope| {
        let nodes = &nodes;
        let client = scope.spawn(move || {
            let key = "Idempotency-Key: endless\r\n";
            let path = "/sql?budget=1000&timeout=600s";
            nodes[1].request("POST", path, key, endless.as_bytes())
        });
        eventually(|| stuck_at(&nodes[2]).is_some());
        let index = stuck_at(&nodes[2]).unwrap();
        let status = nodes[2].get("/cluster/status");
        assert!(status.contains("WITH RECURSIVE"), "{status}");
        // The answer may be lost, as this node is in the midst of it, too.
        let path = format!("/cluster/skip?index={index}");
        let _ = nodes[2].request("POST", &path, "", b"");
        if let Some((status, answer)) = client.join().unwrap() {
            assert_ne!(status, 200, "{answer}");
        }
    });
    for node in &nodes {
        let ready = |(status, _): (u16, String)| status == 200;
        eventually(|| node.request("GET", "/readyz", "", b"").is_some_and(ready));
        let answer = query(node, "linearizable", "SELECT count(*) FROM t");
        assert!(answer.contains("[[0]]"), "{answer}");
    }
    // Whoever asks again under its key does not bring it back; and it took no number.
    let key = "Idempotency-Key: endless\r\n";
    let again = nodes[0].request("POST", "/sql?budget=1000", key, endless.as_bytes());
    let (status, answer) = again.unwrap();
    assert_ne!(status, 200, "{answer}");
    assert_eq!(nodes[0].sql("SELECT 7"), "SequenceNumber: 1\n7\n");
}

#[test]
fn a_key_with_another_request_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("CREATE TABLE t (a)");
    let post = |node: &Node, path: &str, body: &str| {
        let key = "Idempotency-Key: k\r\n";
        node.request("POST", path, key, body.as_bytes()).unwrap()
    };
    let first = post(&node, "/sql", "INSERT INTO t VALUES (1)");
    assert_eq!(first.0, 200, "{}", first.1);
    let other = post(&node, "/db/execute", r#"["INSERT INTO t VALUES (2)"]"#);
    assert_eq!(other.0, 200, "{}", other.1);
    for _ in 0..2 {
        // Each kind of request has keys of its own.
        for (path, body) in [
            ("/sql", "INSERT INTO t VALUES (3)"),
            ("/db/execute", r#"["INSERT INTO t VALUES (3)"]"#),
        ] {
            let (status, reason) = post(&node, path, body);
            assert_eq!(status, 422, "{path}: {reason}");
            assert_eq!(reason.lines().count(), 1, "{reason}");
        }
        assert_eq!(post(&node, "/sql", "INSERT INTO t VALUES (1)"), first);
        node.kill();
        node.restart();
    }
    assert!(query(&node, "strong", "SELECT count(*), max(a) FROM t").contains("[[2,2]]"));
}

#[test]
fn a_loaded_file_that_draws_by_chance_is_the_same_on_all_nodes() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    let path = root.path().join("file");
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite
        .execute_batch("CREATE TABLE t (a, CHECK (random() > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (0)")
        .unwrap();
    drop(sqlite);
    // One of them has drawn before, and knows the schema from elsewhere.
    query(
        &nodes[0],
        "none",
        "SELECT random(), random(), 1 FROM sqlite_schema",
    );
    let file = std::fs::read(&path).unwrap();
    let mut checks = Vec::new();
    for round in 0..4 {
        let (status, answer) = nodes[round % 3]
            .request("POST", "/db/load", "", &file)
            .unwrap();
        assert_eq!(status, 200, "{answer}");
        checks.push(answer);
        nodes[1].sql("CREATE TABLE IF NOT EXISTS t (a, CHECK (random() > 0))");
        nodes[2].sql(
            "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 200) INSERT OR IGNORE INTO t SELECT n FROM r",
        );
        let sql = "SELECT count(*), sum(a), group_concat(a) FROM t";
        let strip = |answer: String| answer.split("\"values\"").nth(1).map(str::to_owned);
        let found = nodes
            .iter()
            .map(|node| strip(query(node, "linearizable", sql)));
        let found: Vec<Option<String>> = found.collect();
        assert!(
            found[0].is_some() && found.iter().all(|f| *f == found[0]),
            "{found:?}"
        );
    }
    // The checks drew by chance as well, and nobody but the cluster knows how; nobody is in doubt.
    for node in &nodes {
        assert!(
            node.get("/cluster/status")
                .contains("\"standing\":\"sound\""),
            "{checks:?}"
        );
    }
}

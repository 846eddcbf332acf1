//! Members that move, that are removed, and what a node says of itself: `/readyz` is 200 only where a
//! request would be answered.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::net::TcpListener;
use std::path::Path;

use common::{Node, eventually};

/// A cluster of `count` nodes whose words can be looked at.
fn cluster(root: &Path, count: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for place in 0..count {
        let join = nodes
            .first()
            .map(|first| format!("--join={}", first.address));
        let more: Vec<&str> = join.as_deref().into_iter().collect();
        let folder = root.join(place.to_string());
        nodes.push(Node::start_logged(&folder, "127.0.0.1:0", &more));
    }
    for node in &nodes {
        node.wait_for_members(count);
    }
    nodes
}

fn ready(node: &Node) -> (u16, String) {
    node.request("GET", "/readyz", "", b"").unwrap()
}

/// Waits until the node says that it is not ready, for this reason.
fn wait_until_unready(node: &Node, reason: &str) {
    eventually(|| {
        let (status, text) = ready(node);
        status == 503 && text.contains(reason)
    });
}

fn wait_until_ready(node: &Node) {
    eventually(|| {
        ready(node)
            == (
                200,
                "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok".to_owned(),
            )
    });
}

/// Has `through` take the node with this address out.
fn remove(through: &Node, address: &str) {
    let body = format!(r#"{{"id": "{address}"}}"#);
    let path = "/cluster/remove?timeout=60s";
    let (status, text) = through.request("POST", path, "", body.as_bytes()).unwrap();
    assert_eq!(status, 200, "{text}");
}

#[test]
fn a_live_member_that_is_removed_says_so_and_is_not_ready() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    wait_until_ready(&nodes[2]);
    remove(&nodes[0], &nodes[2].address);
    wait_until_unready(&nodes[2], "removed from its cluster");
    eventually(|| nodes[2].log().contains("has been removed from its cluster"));
    assert!(nodes[2].get("/metrics").contains("level4_removed 1"));
    let (status, _) = nodes[2].request("POST", "/sql", "", b"SELECT 1").unwrap();
    assert_eq!(status, 503);
    assert_eq!(ready(&nodes[0]).0, 200);
    // Nor does it come back by itself, though it was once started with --join.
    nodes[0].wait_for_members(2);
    assert!(!nodes[2].log().contains("member of its cluster again"));
}

#[test]
fn a_member_removed_while_it_was_down_is_told_so_and_joins_again_where_it_may() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    // With --join among its old arguments, it is let in.
    nodes[2].kill();
    remove(&nodes[0], &nodes[2].address);
    nodes[0].sql("INSERT INTO t VALUES (2)");
    nodes[2].restart();
    eventually(|| nodes[2].log().contains("has been removed from its cluster"));
    eventually(|| nodes[2].log().contains("a member of its cluster again"));
    nodes[0].wait_for_members(3);
    wait_until_ready(&nodes[2]);
    assert!(nodes[2].sql("SELECT sum(a) FROM t").ends_with("\n3\n"));
    // The founder has none, and has to be told.
    nodes[0].kill();
    remove(&nodes[1], &nodes[0].address);
    nodes[0].restart();
    wait_until_unready(&nodes[0], "removed from its cluster");
    assert!(nodes[0].log().contains("start it with --join"));
    nodes[0].kill();
    let join = format!("--join={}", nodes[1].address);
    nodes[0].add_argument(&join);
    nodes[0].restart();
    nodes[1].wait_for_members(3);
    wait_until_ready(&nodes[0]);
    assert!(nodes[0].sql("SELECT sum(a) FROM t").ends_with("\n3\n"));
}

#[test]
fn a_node_that_moved_tells_its_new_address() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    for place in [1, 0] {
        let old = nodes[place].address.clone();
        nodes[place].kill();
        // Nobody else is to get the old port meanwhile.
        let _port = TcpListener::bind(&old);
        nodes[place].listen_at("127.0.0.1:0");
        nodes[place].restart();
        let new = nodes[place].address.clone();
        assert_ne!(old, new);
        for node in &nodes {
            eventually(|| {
                let status = node.get("/cluster/status");
                status.contains(&format!("\"{new}\"")) && !status.contains(&format!("\"{old}\""))
            });
            node.wait_for_members(3);
        }
        assert!(nodes[place].log().contains("telling it the new address"));
        assert!(nodes[place].sql("SELECT a FROM t").ends_with("\n1\n"));
    }
}

#[test]
fn without_a_majority_nobody_is_ready() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    for node in &nodes {
        wait_until_ready(node);
    }
    nodes[1].kill();
    nodes[2].kill();
    eventually(|| ready(&nodes[0]).0 == 503);
    let (status, text) = nodes[0]
        .request("GET", "/readyz?noleader", "", b"")
        .unwrap();
    assert_eq!((status, text.as_str()), (200, "[+]node ok"));
    nodes[1].restart();
    wait_until_ready(&nodes[0]);
    wait_until_ready(&nodes[1]);
}

#[test]
fn a_node_that_belongs_nowhere_or_has_parted_is_not_ready() {
    let root = tempfile::tempdir().unwrap();
    let nowhere = "--join=127.0.0.1:1";
    let waiting = Node::start_with(&root.path().join("0"), "127.0.0.1:0", &[nowhere]);
    wait_until_unready(&waiting, "no member of a cluster yet");
    let folder = root.path().join("1");
    let mut node = Node::start(&folder, "127.0.0.1:0", None);
    wait_until_ready(&node);
    node.kill();
    // As an earlier run noted.
    std::fs::write(folder.join("parted"), "1\n").unwrap();
    node.restart();
    wait_until_unready(&node, "parted from the majority's at index 1");
}

#[test]
fn an_address_that_is_still_held_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let folder = root.path().to_owned();
    let starting = std::thread::spawn({
        let address = address.clone();
        move || Node::start_logged(&folder.join("0"), &address, &[])
    });
    // It has looked once it has made its folder, or will look when the address is free.
    eventually(|| root.path().join("0").exists());
    drop(held);
    assert_eq!(
        starting.join().unwrap().sql("SELECT 1"),
        "SequenceNumber: 0\n1\n"
    );
}

//! Nodes that die, crawl, come back, or have their disk damaged; masters that forget.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::common::{Cluster, Master, oracle, results, write_tree};
use level3::Endpoint;
use serde_json::Value;
use tempfile::TempDir;

/// A tree that spreads over all shards.
fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    write_tree(
        tree.path(),
        (0..12).map(|at| (format!("file-{at}"), format!("needle {at}\nother\n"))),
    );
    tree
}

/// The files of a node's shard with this ending.
fn files(cluster: &Cluster, node: u32, shard: u32, ending: &str) -> Vec<PathBuf> {
    let dir = cluster.node_dir(node).join(format!("shard-{shard}"));
    let items = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    items
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect()
}

/// Everything in the tree is found.
fn assert_whole(cluster: &Cluster, tree: &Path) {
    assert_eq!(cluster.master.find(b"needle"), oracle(tree, b"needle"));
}

#[test]
fn a_dead_node_leaves_a_marked_gap_and_comes_back() {
    let tree = tree();
    let mut cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    assert_eq!(cluster.master.find(b"needle").len(), 12);
    cluster.stop_node(2);
    let (status, json) = cluster.master.json("/?q=needle");
    assert_eq!(
        (status, &json["partial"]),
        (200, &Value::Bool(true)),
        "{json}"
    );
    assert_eq!(results(&json).len(), 8);
    assert!(
        json["missing"][0].as_str().unwrap().contains("shard 2"),
        "{json}"
    );
    let (_, json) = cluster.master.json("/search?q=needle");
    assert_eq!(json["partial"], Value::Bool(true), "{json}");
    assert_eq!(cluster.master.json("/healthcheck").0, 502);
    assert_eq!(cluster.master.json("/isIndexed").0, 502);
    cluster.start_node(2);
    assert_whole(&cluster, tree.path());
    assert_eq!(cluster.master.json("/healthcheck").0, 200);
}

#[test]
fn a_node_that_lost_its_disk_is_filled_again_without_being_asked() {
    let tree = tree();
    let mut cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    cluster.stop_node(3);
    fs::remove_dir_all(cluster.node_dir(3)).unwrap();
    cluster.start_node(3);
    cluster
        .master
        .until("/isIndexed", |status, _| status == 200);
    assert_whole(&cluster, tree.path());
}

#[test]
fn a_new_master_serves_what_the_nodes_hold() {
    let tree = tree();
    let mut cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    cluster.master = Master::start(cluster.config.clone());
    assert_eq!(cluster.master.json("/isIndexed").0, 200);
    assert_whole(&cluster, tree.path());
}

#[test]
fn a_master_that_was_asked_before_its_nodes_were_there_keeps_its_word() {
    let tree = tree();
    let data = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(3, |config| config.data = Some(data.path().to_owned()));
    cluster.stop_node(1);
    let (status, _) = cluster
        .master
        .json(&format!("/index?path={}", tree.path().display()));
    assert_eq!(status, 200);
    // The master goes away in the middle of the job; its successor reads what was asked.
    cluster.master = Master::start(cluster.config.clone());
    cluster.start_node(1);
    cluster
        .master
        .until("/isIndexed", |status, _| status == 200);
    assert_whole(&cluster, tree.path());
}

/// Damages every file of a shard's folder in turn, by a flipped bit, by cutting it short and by
/// removing it. Whatever it is, the node must notice, and the shard must be rebuilt.
#[test]
fn damage_is_noticed_and_repaired() {
    let tree = tree();
    let mut cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    for ending in [".index", ".text", "manifest"] {
        for damage in ["flip", "cut", "remove", "foreign"] {
            cluster.stop_node(1);
            let [path] = files(&cluster, 1, 1, ending).try_into().unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                "flip" => bytes[middle] ^= 1,
                "cut" => bytes.truncate(middle),
                "foreign" => bytes = b"\x7fELF and so on, written by somebody else".repeat(5),
                _ => {}
            }
            if damage == "remove" {
                fs::remove_file(&path).unwrap();
            } else {
                fs::write(&path, &bytes).unwrap();
            }
            cluster.start_node(1);
            // The first answers may be incomplete, but then they say so.
            let answer = cluster.master.until("/?q=needle", |status, json| {
                assert_eq!(status, 200, "{json}");
                json.get("partial").is_none()
            });
            assert_eq!(
                results(&answer),
                oracle(tree.path(), b"needle"),
                "{damage} {ending}"
            );
        }
    }
}

#[test]
fn what_a_killed_update_left_behind_is_ignored_and_swept() {
    let tree = tree();
    let mut cluster = Cluster::start(1, |_| {});
    cluster.master.index(tree.path());
    cluster.stop_node(1);
    let dir = cluster.node_dir(1).join("shard-1");
    // A segment that was being written and a manifest that was not yet renamed.
    fs::write(dir.join("00000077.text"), "half a seg").unwrap();
    fs::write(dir.join("00000077.index"), "").unwrap();
    fs::write(dir.join("manifest.new"), "level3 man").unwrap();
    cluster.start_node(1);
    assert_whole(&cluster, tree.path());
    assert!(!dir.join("00000077.text").exists() && !dir.join("00000077.index").exists());
    write_tree(tree.path(), [("file-0", "needle twice\nneedle\n")]);
    cluster.master.index(tree.path());
    assert_whole(&cluster, tree.path());
}

#[test]
fn replicas_answer_for_the_dead() {
    let tree = tree();
    let mut cluster = Cluster::start(3, |config| config.replicas = 2);
    cluster.master.index(tree.path());
    for dead in 1..=3 {
        cluster.stop_node(dead);
        for _ in 0..3 {
            assert_eq!(
                cluster.master.find(b"needle"),
                oracle(tree.path(), b"needle")
            );
        }
        let (_, found) = cluster.master.json("/search?q=needle");
        assert_eq!(found["results"].as_array().unwrap().len(), 12);
        cluster.start_node(dead);
    }
}

/// A node that takes requests and answers none: the other replica must be asked.
#[test]
fn a_silent_replica_is_hedged() {
    let tree = tree();
    let cluster = Cluster::start(2, |config| config.replicas = 2);
    cluster.master.index(tree.path());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mute = thread::spawn(move || {
        // Holds connections open, and reads them empty, until one of them asks it to end.
        let mut open: Vec<TcpStream> = Vec::new();
        for stream in silent.incoming() {
            let mut stream = stream.unwrap();
            let mut start = [0; 1];
            if stream.read(&mut start).unwrap() == 1 && start == *b"!" {
                return;
            }
            open.push(stream);
        }
    });
    let mut config = cluster.config.clone();
    config.nodes[0] = Endpoint::Tcp(address.to_string());
    config.node_timeout = crate::common::PATIENCE * 10;
    let master = Master::start(config);
    assert_eq!(master.find(b"needle"), oracle(tree.path(), b"needle"));
    drop(master);
    TcpStream::connect(address)
        .unwrap()
        .write_all(b"!")
        .unwrap();
    mute.join().unwrap();
}

/// A node that ends in the middle of a streamed answer.
#[test]
fn an_answer_that_breaks_off_is_marked() {
    let tree = tree();
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    let liar = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = cluster.config.clone();
    config.nodes[1] = Endpoint::Tcp(liar.local_addr().unwrap().to_string());
    let node = thread::spawn(move || {
        for stream in liar.incoming() {
            let mut stream = stream.unwrap();
            let (kind, _) = level3::wire::read_frame(&mut stream).unwrap().unwrap();
            if kind == level3::wire::Kind::Query {
                let items = br#","cut:1""#;
                level3::wire::write_frame(&mut stream, level3::wire::Kind::Items, items).unwrap();
                return;
            }
        }
    });
    let master = Master::start(config);
    let (status, json) = master.json("/?q=needle");
    node.join().unwrap();
    assert_eq!(
        (status, &json["partial"]),
        (200, &Value::Bool(true)),
        "{json}"
    );
    assert!(
        json["missing"][0].as_str().unwrap().contains("shard 2"),
        "{json}"
    );
    assert!(results(&json).contains(&"cut:1".to_owned()), "{json}");
}

#[test]
fn strangers_at_a_nodes_door_do_no_harm() {
    let tree = tree();
    let cluster = Cluster::start(1, |_| {});
    cluster.master.index(tree.path());
    let Endpoint::Tcp(address) = cluster.config.nodes[0].clone() else {
        unreachable!()
    };
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x00\x00\x00\x00\x04",
        b"\xff\xff\xff\xff\x02",
        b"",
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(noise).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Closed, perhaps with a reset, perhaps behind an error frame: anything but a hang.
        drop(stream.read_to_end(&mut answer));
    }
    assert_eq!(cluster.master.find(b"needle").len(), 12);
}

#[test]
fn a_watched_tree_is_followed() {
    let tree = tree();
    let cluster = Cluster::start(2, |config| config.watch = true);
    cluster.master.index(tree.path());
    let follows = || {
        let expected = oracle(tree.path(), b"needle");
        cluster.master.until("/?q=needle", |status, json| {
            status == 200 && results(json) == expected
        });
    };
    write_tree(tree.path(), [("new/folder/file", "a new needle\n")]);
    follows();
    write_tree(
        tree.path(),
        [("new/folder/file", "nothing\nneedle at last\n")],
    );
    follows();
    fs::remove_file(tree.path().join("file-3")).unwrap();
    fs::rename(tree.path().join("file-4"), tree.path().join("renamed")).unwrap();
    follows();
}

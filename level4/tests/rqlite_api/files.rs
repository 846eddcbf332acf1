//! SQLite files that are longer than an entry of the log: they go through it in pieces.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use super::common::{Node, eventually};
use super::{get, post, send, single};

/// Bytes of a piece.
const PIECE: usize = 8 << 20;
/// More than two pieces.
const ROWS: usize = 20_000;

/// A file of 20 MB in this folder.
fn a_file(folder: &Path) -> Vec<u8> {
    let path = folder.join("file");
    let file = rusqlite::Connection::open(&path).unwrap();
    let fill = format!(
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO t SELECT i, randomblob(900) FROM n"
    );
    file.execute_batch(&fill).unwrap();
    drop(file);
    std::fs::read(path).unwrap()
}

/// A request of which the body is still to come, of `length` bytes.
fn begin(node: &Node, path: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(&node.address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn own_copy(node: &Node) -> Vec<u8> {
    super::backup(node, "noleader")
}

fn applied(node: &Node) -> u64 {
    let status = get(node, "/cluster/status");
    status["applied_index"].as_u64().unwrap()
}

#[test]
fn a_long_file_comes_to_all_nodes_whatever_happens_to_them_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = a_file(folder.path());
    let start = |number: usize, more: &[&str]| {
        let home = folder.path().join(number.to_string());
        Node::start_with(&home, "127.0.0.1:0", more)
    };
    // The second one has its database in memory.
    let mut nodes = vec![start(0, &["--on-disk"])];
    eventually(|| send(&nodes[0], "GET", "/readyz", "", "").0 == 200);
    let join = format!("--join={}", nodes[0].address);
    nodes.push(start(1, &[&join]));
    nodes.push(start(2, &[&join, "--on-disk"]));
    nodes[0].wait_for_members(3);
    post(&nodes[0], "/db/execute", r#"["CREATE TABLE u (a)"]"#);
    let mut stream = begin(&nodes[0], "/db/load", bytes.len());
    let before = applied(&nodes[0]);
    stream.write_all(&bytes[..10_000_000]).unwrap();
    eventually(|| applied(&nodes[0]) > before);
    // Pieces are in snapshots; in what is noted since; and in the log.
    for at in [1, 2] {
        eventually(|| send(&nodes[at], "POST", "/snapshot", "", "").0 != 503);
        nodes[at].kill();
        nodes[at].restart();
    }
    // Nobody sees any of it.
    let tables = "/db/query?q=SELECT+name+FROM+sqlite_schema";
    assert_eq!(
        get(&nodes[0], tables)["results"][0]["values"],
        json!([["u"]])
    );
    stream.write_all(&bytes[10_000_000..]).unwrap();
    let said = answer(stream);
    assert!(said.ends_with("{\"results\":[]}"), "{said}");
    for node in &nodes {
        eventually(|| own_copy(node) == bytes);
    }
    // One more after it, at another node, with a key; a retry changes nothing.
    post(&nodes[1], "/db/execute", r#"["DELETE FROM t"]"#);
    let load = |node: &Node| {
        let key = "Idempotency-Key: once\r\n";
        node.request("POST", "/db/load", key, &bytes).unwrap()
    };
    assert_eq!(load(&nodes[2]), (200, "{\"results\":[]}".to_owned()));
    post(&nodes[1], "/db/execute", r#"["DELETE FROM t WHERE a > 1"]"#);
    assert_eq!(load(&nodes[1]), (200, "{\"results\":[]}".to_owned()));
    let count = get(&nodes[2], "/db/query?q=SELECT+count(*)+FROM+t");
    assert_eq!(count["results"][0]["values"], json!([[1]]));
}

#[test]
fn of_a_long_file_that_is_none_or_breaks_off_nothing_stays() {
    let (folder, node) = single();
    let bytes = a_file(folder.path());
    let boot = |bytes: &[u8]| node.request("POST", "/boot", "", bytes).unwrap();
    assert_eq!(boot(&bytes), (200, String::new()));
    let whole = own_copy(&node);
    let (status, reason) = boot(&bytes[..bytes.len() / 2]);
    assert_eq!(status, 400, "{reason}");
    assert!(reason.contains("SQLite database"), "{reason}");
    let load = |bytes: &[u8]| node.request("POST", "/db/load", "", bytes).unwrap();
    let (status, reason) = load(&bytes[..bytes.len() / 2]);
    assert!(
        status == 200 && reason.contains("SQLite database"),
        "{reason}"
    );
    // One that needs a WAL is refused before anything is sent on.
    let mut wal = bytes.clone();
    wal[18..20].copy_from_slice(&[2, 2]);
    let before = applied(&node);
    assert_eq!(load(&wal).0, 400);
    assert_eq!(applied(&node), before);
    // A client goes: what came of its file is taken back by another entry.
    let mut stream = begin(&node, "/db/load", bytes.len());
    stream.write_all(&bytes[..9_000_000]).unwrap();
    eventually(|| applied(&node) > before);
    drop(stream);
    eventually(|| applied(&node) > before + 1);
    assert!(own_copy(&node) == whole);
    // A database in memory has less room.
    let mut stream = begin(&node, "/db/load", 2 << 30);
    stream.write_all(&bytes[..PIECE]).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    drop(stream);
    // The next one finds its turn.
    eventually(|| load(&bytes) == (200, "{\"results\":[]}".to_owned()));
    assert!(own_copy(&node) == bytes);
}

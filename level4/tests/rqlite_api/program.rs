//! The program `rqlited`, by rqlite's command line.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use super::common::{eventually, request, signal};

/// A running `rqlited`.
struct Rqlited {
    child: Child,
    address: String,
}

impl Rqlited {
    fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rqlited"))
            .args(["-http-addr", "127.0.0.1:0"])
            .args(flags)
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, address }
    }

    /// SIGTERM, and its end.
    fn terminate(&mut self) {
        signal(self.child.id(), "TERM");
        assert!(self.child.wait().unwrap().success());
    }

    fn get(&self, path: &str) -> Json {
        let (_, text) = request(&self.address, "GET", path, "", b"").unwrap();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn execute(&self, sql: &str) -> Json {
        let body = format!("[{}]", Json::from(sql));
        let (_, text) = request(&self.address, "POST", "/db/execute", "", body.as_bytes()).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Rqlited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens at. Another process may take one before it is used.
fn free_ports<const N: usize>() -> [String; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().to_string())
}

#[test]
fn three_nodes_that_expect_each_other_found_one_cluster() {
    let root = tempfile::tempdir().unwrap();
    let ports: [String; 3] = free_ports();
    let join = ports.join(",");
    // They say where they listen only once they know who founds.
    let starting: Vec<_> = (0..3)
        .map(|place| {
            let (folder, port, join) = (
                root.path().join(place.to_string()),
                ports[place].clone(),
                join.clone(),
            );
            std::thread::spawn(move || {
                let id = format!("n{place}");
                let flags = [
                    "-node-id",
                    &id,
                    "-raft-addr",
                    &port,
                    "-join",
                    &join,
                    "-bootstrap-expect",
                    "3",
                    "-raft-snap=1024",
                    "-raft-remove-shutdown",
                    "-raft-cluster-remove-shutdown=true",
                ];
                Rqlited::start(&folder, &flags)
            })
        })
        .collect();
    let mut nodes: Vec<Rqlited> = starting
        .into_iter()
        .map(|node| node.join().unwrap())
        .collect();
    eventually(|| {
        nodes.iter().all(|node| {
            node.get("/nodes")
                .as_object()
                .is_some_and(|all| all.len() == 3)
        })
    });
    let made = nodes[2].execute("CREATE TABLE t (a)");
    assert_eq!(made["results"][0]["error"], Json::Null, "{made}");
    let all = nodes[1].get("/nodes");
    assert_eq!(all["n0"]["addr"], ports[0].as_str(), "{all}");
    let id = nodes[1].get("/status?key=store");
    assert_eq!(id["node_id"], "n1", "{id}");
    let path = nodes[1].get("/status?key=store.sqlite3.path");
    let path = path.as_str().unwrap_or_default();
    assert!(path.ends_with("/database/pages"), "{path}");
    // One that leaves is no member any more, and one that is removed ends.
    nodes[0].terminate();
    eventually(|| {
        nodes[1]
            .get("/nodes")
            .as_object()
            .is_some_and(|all| all.len() == 2)
    });
    let (status, told) = request(
        &nodes[1].address,
        "DELETE",
        "/remove",
        "",
        br#"{"id": "n2"}"#,
    )
    .unwrap();
    assert_eq!(status, 200, "{told}");
    eventually(|| nodes[2].child.try_wait().unwrap().is_some());
}

/// A name that leads nowhere for a while must not make a second cluster.
#[test]
fn a_cluster_that_is_to_be_discovered_is_not_founded_because_nobody_is_found() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("d");
    let flags = ["-http-addr", "127.0.0.1:0", "-raft-addr", "127.0.0.1:0"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_rqlited"))
        .args(flags)
        .args([
            "-disco-mode",
            "dns",
            "-disco-config",
            r#"{"name": "nobody.invalid"}"#,
        ])
        .arg(&folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let waits = |line: &String| line.contains("nobody.invalid leads to no node yet");
    let waiting = said.lines().map_while(Result::ok).find(waits);
    signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
    assert!(waiting.is_some());
    assert!(!folder.join("log").exists() && !folder.join("node").exists());
}

#[test]
fn flags_that_cannot_be_kept_are_refused_with_one_line() {
    for (flags, told) in [
        (
            &["-extensions-path", "x", "d"][..],
            "-extensions-path: replicas would differ",
        ),
        (&["-nonsense", "d"], "-nonsense: rqlited has no such flag"),
        (&[], "DATADIR: name one folder"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_rqlited"))
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(told) && said.lines().count() == 1, "{said}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_rqlited"))
        .arg("-version")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"rqlited level4-"));
}

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
        assert!(line.starts_with("rqlited: node "), "said {line:?}");
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
    let [http] = free_ports();
    // They say where they listen only once they know who founds.
    let start = |place: usize| {
        let (folder, port, join) = (
            root.path().join(place.to_string()),
            ports[place].clone(),
            join.clone(),
        );
        let http = if place == 0 { &http } else { "127.0.0.1:0" }.to_owned();
        std::thread::spawn(move || {
            let id = format!("n{place}");
            let flags = [
                "-node-id",
                &id,
                "-http-addr",
                &http,
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
    };
    let mut starting = vec![start(0)];
    // Until then its clients hear that it is there.
    let ask = |method, path, body: &[u8]| request(&http, method, path, "", body);
    eventually(|| {
        ask("GET", "/status?key=store", b"").is_ok_and(|one| one.1.contains("\"open\":false"))
    });
    let is_ready = |path| ask("GET", path, b"").unwrap().0;
    assert_eq!(
        (is_ready("/readyz?noleader"), is_ready("/readyz")),
        (200, 503)
    );
    assert_eq!(is_ready("/nodes"), 503);
    let refused = ask("POST", "/db/execute", br#"["CREATE TABLE t (a)"]"#).unwrap();
    assert_eq!(refused.1, "{\"results\":[],\"error\":\"store not open\"}\n");
    starting.extend([start(1), start(2)]);
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

/// What rqlite's own tests wait for.
#[test]
fn a_node_saves_its_state_as_often_as_it_is_told_to() {
    let root = tempfile::tempdir().unwrap();
    let flags = [
        "-raft-addr",
        "127.0.0.1:0",
        "-raft-snap",
        "5",
        "-raft-snap-int",
        "20ms",
    ];
    let node = Rqlited::start(&root.path().join("0"), &flags);
    let store = || node.get("/debug/vars?key=store")["store"].clone();
    for number in 0..6 {
        let sql = format!("CREATE TABLE t{number} (a)");
        eventually(|| node.execute(&sql)["results"][0]["error"].is_null());
    }
    eventually(|| store()["num_snapshots"].as_u64() >= Some(1));
    assert_eq!(store()["num_user_snapshots"], 0);
    let kept = node.get("/status?key=store");
    assert_eq!(
        (&kept["snapshot_threshold"], &kept["snapshot_interval"]),
        (&5.into(), &"20ms".into())
    );
    eventually(|| node.get("/status?key=store.snapshot_store")["dir_size"].as_u64() > Some(0));
    // That peers prove nothing is no news to rqlite's users.
    let text = |path| request(&node.address, "GET", path, "", b"").unwrap().1;
    assert_eq!(text("/readyz?noleader"), "[+]node ok");
    assert_eq!(
        text("/readyz?sync"),
        "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n[+]db ok"
    );
}

#[test]
fn foreign_keys_are_checked_where_that_is_wanted() {
    let root = tempfile::tempdir().unwrap();
    for (place, flags, kept) in [
        (0, vec!["-fk=false"], "disabled"),
        (1, vec!["-fk"], "enabled"),
        (2, vec![], "enabled"),
    ] {
        let folder = root.path().join(place.to_string());
        let flags = [vec!["-raft-addr", "127.0.0.1:0"], flags].concat();
        let node = Rqlited::start(&folder, &flags);
        let failed = |path: &str, sql: &str| {
            let body = Json::from(vec![sql]).to_string();
            let asked = request(&node.address, "POST", path, "", body.as_bytes()).unwrap();
            let answer: Json = serde_json::from_str(&asked.1).unwrap_or_default();
            answer["results"][0]["error"].as_str() == Some("FOREIGN KEY constraint failed")
        };
        let made = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)";
        eventually(|| node.execute(made)["results"][0]["error"].is_null());
        for path in ["/db/execute", "/db/execute?transaction", "/db/request"] {
            assert_eq!(
                failed(path, "INSERT INTO c VALUES (7)"),
                place > 0,
                "{path}"
            );
        }
        assert!(failed(
            "/db/request",
            "PRAGMA foreign_keys = ON; INSERT INTO c VALUES (8)"
        ));
        assert_eq!(
            node.get("/status?key=store.db_conf")["fk_constraints"],
            kept
        );
    }
}

/// What rqlite 8.26 gave at /db/backup.
const BACKUP: &[u8] = include_bytes!("rqlite.sqlite");

#[test]
fn a_backup_of_rqlite_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let node = Rqlited::start(folder.path(), &["-raft-addr", "127.0.0.1:0"]);
    eventually(|| {
        request(&node.address, "GET", "/readyz", "", b"").is_ok_and(|answer| answer.0 == 200)
    });
    // It says that it has a WAL.
    assert_eq!(BACKUP[18..20], [2, 2]);
    for (path, said) in [("/boot", ""), ("/db/load", "{\"results\":[]}")] {
        let answer = request(&node.address, "POST", path, "", BACKUP).unwrap();
        assert_eq!(answer, (200, said.to_owned()), "{path}");
        let rows = node.get("/db/query?q=SELECT+*+FROM+people");
        let expected = serde_json::json!({"results": [{
            "columns": ["id", "name", "born"],
            "types": ["integer", "text", "date"],
            "values": [[1, "Ada", "1815-12-10T00:00:00Z"], [2, "Grace", "1906-12-09T00:00:00Z"]],
        }]});
        assert_eq!(rows, expected);
        let inserted = node.execute("INSERT INTO people (name) VALUES ('Barbara')");
        assert_eq!(inserted["results"][0]["last_insert_id"], 3);
    }
}

//! Changes of rows, told to others.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value as Json, json};

use super::common::{Node, cluster_with, eventually};
use super::doors::Authority;

/// What a hook does with its requests, in turn.
#[derive(Clone, Copy)]
enum Answer {
    /// Takes it.
    Takes,
    /// Says that something is wrong, and has not taken it.
    Refuses,
    /// Takes it, and hangs up.
    HangsUp,
}

/// A web hook of our own.
struct Hook {
    address: String,
    /// Everything that it took, in order.
    taken: Arc<Mutex<Vec<Json>>>,
}

impl Hook {
    fn start(answers: &'static [Answer]) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), answers, None)
    }

    fn listen(
        listener: TcpListener,
        answers: &'static [Answer],
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let hook = Self {
            address: listener.local_addr().unwrap().to_string(),
            taken: Arc::default(),
        };
        let taken = hook.taken.clone();
        std::thread::spawn(move || {
            let streams = listener.incoming().map_while(Result::ok);
            for (stream, answer) in streams.zip(answers.iter().cycle()) {
                // One that breaks off is the node's to try again.
                let _ = match &tls {
                    None => serve(stream, *answer, &taken),
                    Some(config) => {
                        let tls = ServerConnection::new(config.clone()).unwrap();
                        serve(StreamOwned::new(tls, stream), *answer, &taken)
                    }
                };
            }
        });
        hook
    }

    /// A configuration for it; `more` are further members.
    fn config(&self, path: &Path, more: &Json) -> String {
        config(path, &format!("http://{}/hook", self.address), more)
    }

    /// The changes of each entry, in the order in which entries came first. One that came again has to be the
    /// same.
    fn entries(&self) -> Vec<(u64, Json)> {
        let (mut seen, mut list) = (BTreeMap::new(), Vec::new());
        for envelope in self.taken.lock().unwrap().iter() {
            for group in envelope["payload"].as_array().unwrap() {
                let index = group["index"].as_u64().unwrap();
                match seen.get(&index) {
                    None => {
                        seen.insert(index, group.clone());
                        list.push((index, group["events"].clone()));
                    }
                    Some(before) => assert_eq!(before, group),
                }
            }
        }
        list
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

fn config(path: &Path, endpoint: &str, more: &Json) -> String {
    let mut config = json!({
        "endpoint": endpoint, "service_id": "s", "max_batch_size": 3, "max_batch_delay": 1_000_000,
        "high_watermark_interval": 1_000_000, "transmit_min_backoff": 1_000_000,
    });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    fs::write(path, config.to_string()).unwrap();
    format!("--cdc-config={}", path.display())
}

fn serve(
    stream: impl Read + Write,
    answer: Answer,
    taken: &Mutex<Vec<Json>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let is_hook = line.starts_with("POST /hook HTTP/1.1");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut stream = reader.into_inner();
    let mut say = |status| {
        let head = "Connection: close\r\nContent-Length: 0";
        write!(stream, "HTTP/1.1 {status} X\r\n{head}\r\n\r\n")?;
        stream.flush()
    };
    if !is_hook || matches!(answer, Answer::Refuses) {
        return say(500);
    }
    let envelope = serde_json::from_slice(&body).unwrap();
    taken.lock().unwrap().push(envelope);
    if matches!(answer, Answer::HangsUp) {
        return Ok(());
    }
    say(202)
}

fn leads(node: &Node) -> bool {
    node.get("/status?key=store.raft.state").trim() == "\"Leader\""
}

fn standing(node: &Node) -> Json {
    serde_json::from_str(&node.get("/status?key=cdc")).unwrap()
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.get("/metrics");
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("level4_cdc_{name} ")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn changes_reach_a_web_hook_that_fails_whoever_leads() {
    let root = tempfile::tempdir().unwrap();
    let hook = Hook::start(&[
        Answer::Takes,
        Answer::Refuses,
        Answer::Takes,
        Answer::HangsUp,
    ]);
    let flag = hook.config(&root.path().join("config"), &json!({}));
    let mut nodes = cluster_with(root.path(), 3, |_| vec![flag.clone()]);
    eventually(|| {
        nodes
            .iter()
            .all(|node| standing(node)["highwater_mark"] != json!(0))
    });
    nodes[0].sql("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)");
    let insert = |node: &Node, id: u32| {
        node.sql(&format!("INSERT INTO t VALUES ({id}, 'a{id}', x'00ff')"));
    };
    for id in 0..12 {
        insert(&nodes[id as usize % 3], id);
    }
    let leader = nodes.iter().position(leads).unwrap();
    nodes[leader].kill();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for id in 12..24 {
        insert(&nodes[others[id as usize % 2]], id);
    }
    nodes[leader].restart();
    // Undone, failed, and nothing at all.
    nodes[others[0]].sql(
        "BEGIN; INSERT INTO t VALUES (99, 1, 1); ROLLBACK; INSERT INTO t VALUES (0, 1, 1); SELECT 1",
    );
    nodes[others[0]].sql("UPDATE t SET a = 1.5, b = NULL WHERE id = 3; DELETE FROM t WHERE id = 4");
    eventually(|| hook.entries().len() == 25);
    let entries = hook.entries();
    assert!(entries.is_sorted_by_key(|(index, _)| *index), "{entries:?}");
    let after = |id: u32| json!({"id": id, "a": format!("a{id}"), "b": "AP8="});
    let mut inserted: Vec<Json> = entries[..24]
        .iter()
        .map(|(_, events)| events.clone())
        .collect();
    inserted.sort_by_key(|events| events[0]["after"]["id"].as_u64());
    for (id, events) in (0..24).zip(inserted) {
        let mut expected =
            json!([{"op": "INSERT", "table": "t", "new_row_id": id, "after": after(id)}]);
        if id == 0 {
            // As rqlite leaves out what is 0.
            expected[0].as_object_mut().unwrap().remove("new_row_id");
        }
        assert_eq!(events, expected);
    }
    assert_eq!(
        entries[24].1,
        json!([
            {"op": "UPDATE", "table": "t", "old_row_id": 3, "new_row_id": 3,
             "before": after(3), "after": {"id": 3, "a": 1.5, "b": null}},
            {"op": "DELETE", "table": "t", "old_row_id": 4, "before": after(4)},
        ])
    );
    {
        let taken = hook.taken.lock().unwrap();
        assert_eq!(taken[0]["service_id"], "s");
        assert!(taken[0]["payload"][0]["commit_timestamp"].as_u64().unwrap() > 1_700_000_000_000);
        assert!(
            taken
                .iter()
                .all(|one| one["payload"].as_array().unwrap().len() <= 3)
        );
    }
    // All know how far it was, and nobody begins anew.
    let last = json!(entries[24].0);
    eventually(|| {
        nodes
            .iter()
            .all(|node| standing(node)["highwater_mark"] == last)
    });
    assert!(
        nodes
            .iter()
            .all(|node| standing(node)["fifo"]["length"] == 0)
    );
    for node in &mut nodes {
        node.kill();
    }
    let before = hook.count();
    for node in &mut nodes {
        node.restart();
    }
    nodes[0].sql("INSERT INTO t VALUES (100, 1, 1)");
    eventually(|| hook.entries().len() == 26);
    let taken = hook.taken.lock().unwrap();
    let again = taken[before..]
        .iter()
        .flat_map(|one| one["payload"].as_array().unwrap());
    assert!(
        again
            .into_iter()
            .all(|group| group["index"].as_u64() > last.as_u64())
    );
}

#[test]
fn what_waits_outlives_its_process_in_memory_and_on_disk() {
    for form in [None, Some("--on-disk")] {
        let root = tempfile::tempdir().unwrap();
        // Nobody answers there.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let path = root.path().join("config");
        let more = json!({"transmit_retry_policy": 1, "transmit_max_backoff": 20_000_000,
            "table_filter": "^t", "row_ids_only": true});
        let flag = config(&path, &format!("http://{address}/hook"), &more);
        let mut arguments = vec![flag.as_str()];
        arguments.extend(form);
        let mut node = Node::start_logged(&root.path().join("0"), "127.0.0.1:0", &arguments);
        node.sql("CREATE TABLE t (a); CREATE TABLE other (a)");
        eventually(|| standing(&node)["is_leader"] == json!(true));
        eventually(|| standing(&node)["highwater_mark"] != json!(0));
        for id in 1..4 {
            node.sql(&format!(
                "INSERT INTO t VALUES ({id}); INSERT INTO other VALUES (1)"
            ));
        }
        assert_eq!(node.request("POST", "/snapshot", "", b"").unwrap().0, 200);
        node.sql("INSERT INTO t VALUES (4)");
        eventually(|| metric(&node, "failures_total") > 2);
        assert_eq!(metric(&node, "queued_entries"), 4);
        assert_eq!(node.log().matches("changes are not sent to").count(), 1);
        node.kill();
        let hook = Hook::listen(TcpListener::bind(address).unwrap(), &[Answer::Takes], None);
        node.restart();
        eventually(|| hook.entries().len() == 4);
        let events: Vec<Json> = hook
            .entries()
            .into_iter()
            .map(|(_, events)| events)
            .collect();
        let expected = |id| json!([{"op": "INSERT", "table": "t", "new_row_id": id}]);
        assert_eq!(events, (1..5).map(expected).collect::<Vec<_>>());
        eventually(|| metric(&node, "queued_entries") == 0);
    }
}

#[test]
fn a_hook_may_speak_tls_and_what_cannot_be_used_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::new(&root.path().join("certs"));
    authority.sign("hook");
    let cert = CertificateDer::from_pem_file(authority.path("hook-cert")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.path("hook-key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = Hook::listen(listener, &[Answer::Takes], Some(Arc::new(tls)));
    let endpoint = format!("https://{}/hook", hook.address);
    let path = root.path().join("config");
    for (number, tls) in [
        json!({"ca_cert_file": authority.path("ca"), "server_name": "localhost"}),
        json!({"insecure_skip_verify": true, "server_name": "elsewhere"}),
    ]
    .iter()
    .enumerate()
    {
        let flag = config(&path, &endpoint, &json!({"tls": tls}));
        let node = Node::start_with(
            &root.path().join(number.to_string()),
            "127.0.0.1:0",
            &[&flag],
        );
        eventually(|| standing(&node)["highwater_mark"] != json!(0));
        let before = hook.count();
        node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
        eventually(|| hook.count() > before);
    }
    // Who cannot be believed is told nothing; and what was tried often enough is dropped.
    let other = Authority::new(&root.path().join("others"));
    let flag = config(
        &path,
        &endpoint,
        &json!({"tls": {"ca_cert_file": other.path("ca")}, "transmit_max_retries": 1}),
    );
    let node = Node::start_logged(&root.path().join("2"), "127.0.0.1:0", &[&flag]);
    eventually(|| standing(&node)["highwater_mark"] != json!(0));
    let before = hook.count();
    node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    eventually(|| node.log().contains("are dropped after 1 more tries"));
    assert_eq!(hook.count(), before);
    let counters: Json = serde_json::from_str(&node.get("/debug/vars")).unwrap();
    assert_eq!(counters["cdc.service"]["dropped_failed_to_send"], json!(1));
    drop(node);
    let wrong = |name: &str, more: &Json| config(&root.path().join(name), "http://h", more);
    for (flag, told) in [
        (
            "--cdc-config=ftp://h".to_owned(),
            "ftp://h is neither a URL",
        ),
        (
            wrong("filter", &json!({"table_filter": "("})),
            "unclosed group",
        ),
        (
            wrong("delay", &json!({"max_batch_delay": "1s"})),
            "a value is not of the kind",
        ),
        ("--cdc-config=/dev/zero".to_owned(), "more than 16 MiB"),
    ] {
        let refused = Command::new(env!("CARGO_BIN_EXE_level4"))
            .args(["-l", "127.0.0.1:0", &flag])
            .output()
            .unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(told), "{said}");
    }
}

#[test]
fn a_leader_that_sends_nothing_keeps_changes_until_there_is_no_room() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("config");
    let flag = config(&path, "stdout", &json!({"max_queue_bytes": 65_536}));
    let folder = root.path().join("0");
    let mut node = Node::start_with(&folder, "127.0.0.1:0", &[&flag]);
    eventually(|| standing(&node)["highwater_mark"] != json!(0));
    node.sql("CREATE TABLE t (a)");
    assert_eq!(node.terminate(), Some(0));
    let node = Node::start_logged(&folder, "127.0.0.1:0", &[]);
    node.sql("INSERT INTO t VALUES (zeroblob(50000))");
    assert_eq!(metric(&node, "queued_entries"), 1);
    node.sql("INSERT INTO t VALUES (zeroblob(50000))");
    eventually(|| node.log().contains("changes of rows are not kept any more"));
    eventually(|| metric(&node, "queued_entries") == 0 && metric(&node, "delivered_index") == 0);
}

#[test]
fn lines_on_stdout_do_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rqlited"))
        .args(["-http-addr", "127.0.0.1:0", "-raft-addr", "127.0.0.1:0"])
        .args(["-cdc-config", "stdout"])
        .arg(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.rsplit(' ').next().unwrap().to_owned();
    let get = |path: &str| super::common::request(&address, "GET", path, "", b"");
    eventually(|| {
        get("/status?key=cdc.highwater_mark")
            .is_ok_and(|(_, text)| !matches!(text.trim(), "0" | "{}"))
    });
    let sql = br#"["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"]"#;
    super::common::request(&address, "POST", "/db/execute", "", sql).unwrap();
    let line: Json = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(line["payload"][0]["events"][0]["after"], json!({"a": 1}));
    assert!(line.get("service_id").is_none());
    let _ = child.kill();
    let _ = child.wait();
}

/// Nobody listens to a connection that is dropped at once.
#[test]
fn a_hook_that_never_answers_is_given_up() {
    let root = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let flag = config(
        &root.path().join("config"),
        &format!("http://{address}/hook"),
        &json!({"transmit_timeout": 30_000_000}),
    );
    let node = Node::start_with(&root.path().join("0"), "127.0.0.1:0", &[&flag]);
    eventually(|| standing(&node)["highwater_mark"] != json!(0));
    node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    let silent: Vec<TcpStream> = listener.incoming().take(3).map(Result::unwrap).collect();
    // Writes do not wait for it.
    node.sql("INSERT INTO t VALUES (2)");
    assert_eq!(metric(&node, "queued_entries"), 2);
    drop(silent);
}

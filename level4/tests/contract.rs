//! The contract on the real binary: the 2014 interface, bad input, restarts, membership.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Node, cluster, eventually};
use std::process::Command;

fn number(answer: &str) -> u64 {
    let line = answer.lines().next().unwrap();
    line.strip_prefix("SequenceNumber: ")
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn five_nodes_on_unix_sockets_answer_in_one_order() {
    let root = tempfile::Builder::new().prefix("l4").tempdir().unwrap();
    let folder = |place: usize| root.path().join(format!("n{place}"));
    for place in 0..5 {
        std::fs::create_dir(folder(place)).unwrap();
        for peer in (0..5).filter(|&peer| peer != place) {
            // What the simulator does with sockets, without its delays.
            std::os::unix::fs::symlink(
                folder(peer).join(format!("node{peer}.sock")),
                folder(place).join(format!("node{peer}.sock")),
            )
            .unwrap();
        }
    }
    let start = |place: usize| {
        let join = (place > 0).then_some("./node0.sock");
        Node::start(&folder(place), &format!("./node{place}.sock"), join)
    };
    let mut nodes: Vec<Node> = (0..5).map(start).collect();
    let boot = nodes[3].sql("CREATE TABLE t (a); INSERT INTO t VALUES (0);");
    assert_eq!(boot, "SequenceNumber: 0\n");
    for round in 1..=20u64 {
        let node = &nodes[round as usize % 5];
        let answer = node.sql(&format!("UPDATE t SET a = a + {round}; SELECT * FROM t;"));
        assert_eq!(
            answer,
            format!("SequenceNumber: {round}\n{}\n", round * (round + 1) / 2)
        );
    }
    // The first node comes back with the arguments it always had, and founds nothing.
    nodes[0].kill();
    assert_eq!(number(&nodes[2].sql("SELECT 1")), 21);
    nodes[0].restart();
    assert_eq!(nodes[0].sql("SELECT a FROM t"), "SequenceNumber: 22\n210\n");
    assert_eq!(nodes[4].terminate(), Some(0));
}

#[test]
fn killing_everybody_loses_nothing_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (a)");
    for value in 0..30 {
        nodes[value % 3].sql(&format!("INSERT INTO t VALUES ({value})"));
    }
    nodes.iter_mut().for_each(Node::kill);
    nodes.iter_mut().for_each(Node::restart);
    for (place, node) in nodes.iter().enumerate() {
        let expected = format!("SequenceNumber: {}\n30|435\n", 31 + place);
        assert_eq!(node.sql("SELECT count(*), sum(a) FROM t"), expected);
    }
}

#[test]
fn a_key_is_executed_once_across_nodes_and_restarts() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (a)");
    let insert = |node: &Node| {
        node.request(
            "POST",
            "/sql",
            "Idempotency-Key: k1\r\n",
            b"INSERT INTO t VALUES (1)",
        )
        .unwrap()
    };
    let first = insert(&nodes[1]);
    nodes[1].kill();
    assert_eq!(insert(&nodes[2]), first);
    nodes[1].restart();
    assert_eq!(insert(&nodes[1]), first);
    assert_eq!(
        nodes[0].sql("SELECT count(*) FROM t"),
        "SequenceNumber: 2\n1\n"
    );
}

#[test]
fn bad_input_gets_one_clear_line() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    let node = &nodes[1];
    let post =
        |path: &str, headers: &str, body: &[u8]| node.request("POST", path, headers, body).unwrap();
    assert_eq!(post("/sql", "", b"").0, 400);
    let (status, reason) = post("/sql", "", b"SELECT '\xff'");
    assert_eq!(
        (status, reason.as_str()),
        (400, "the body is not UTF-8: bad byte at offset 8\n")
    );
    assert_eq!(post("/sql?timeout=soon", "", b"SELECT 1").0, 400);
    assert_eq!(post("/sql", "Idempotency-Key: \r\n", b"SELECT 1").0, 400);
    assert_eq!(post("/db/execute", "", b"not json").0, 400);
    assert_eq!(post("/db/execute", "", b"[1]").0, 400);
    assert_eq!(post("/db/load", "", b"\xff\xfe").0, 400);
    assert_eq!(post("/cluster/remove", "", b"{}").0, 400);
    assert_eq!(post("/cluster/remove", "", br#"{"id": "nobody"}"#).0, 404);
    assert_eq!(node.request("GET", "/sql", "", b"").unwrap().0, 405);
    assert_eq!(node.request("GET", "/nowhere", "", b"").unwrap().0, 404);
    let body = vec![b' '; 65 << 20];
    // The node may hang up on a body that it will not read to its end.
    let oversized = node.request("POST", "/sql", "", &body);
    assert!(oversized.is_none_or(|(status, _)| status == 413));
    // None of that took a number.
    assert_eq!(node.sql("SELECT 1"), "SequenceNumber: 0\n1\n");
}

#[test]
fn without_a_quorum_a_request_waits_or_says_that_it_may_be_executed() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (a)");
    nodes[1].kill();
    nodes[2].kill();
    let body = b"INSERT INTO t VALUES (1)";
    let (status, text) = nodes[0]
        .request("POST", "/sql?timeout=300ms", "", body)
        .unwrap();
    assert_eq!(status, 503);
    assert!(text.contains("may still be executed"), "{text}");
    let (status, _) = nodes[0]
        .request("GET", "/db/query?q=SELECT+1&timeout=300ms", "", b"")
        .unwrap();
    assert_eq!(status, 503);
    let (status, _) = nodes[0]
        .request("GET", "/db/query?q=SELECT+1&level=none", "", b"")
        .unwrap();
    assert_eq!(status, 200);
    nodes[1].restart();
    eventually(|| nodes[1].sql("SELECT count(*) FROM t").ends_with("\n1\n"));
}

#[test]
fn a_wiped_node_joins_as_new_and_a_removed_one_is_out() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE t (a); INSERT INTO t VALUES (7);");
    nodes[2].kill();
    std::fs::remove_dir_all(root.path().join("2")).unwrap();
    nodes[2].restart();
    nodes[2].wait_for_members(3);
    assert!(nodes[2].sql("SELECT a FROM t").ends_with("\n7\n"));
    let body = format!(r#"{{"id": "{}"}}"#, nodes[1].address);
    let (status, text) = nodes[0]
        .request("POST", "/cluster/remove", "", body.as_bytes())
        .unwrap();
    assert_eq!(status, 200, "{text}");
    nodes[0].wait_for_members(2);
    nodes[1].kill();
    nodes[0].sql("INSERT INTO t VALUES (8)");
}

#[test]
fn rqlites_interface_creates_fills_and_queries_through_any_node() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    let post = |place: usize, path: &str, body: &str| {
        nodes[place]
            .request("POST", path, "", body.as_bytes())
            .unwrap()
            .1
    };
    let created = post(
        1,
        "/db/execute",
        r#"["CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"]"#,
    );
    assert_eq!(created, r#"{"results":[{}]}"#);
    let body =
        r#"[["INSERT INTO t (name) VALUES (?)", "fiona"], "INSERT INTO nowhere VALUES (1)"]"#;
    assert_eq!(
        post(2, "/db/execute?transaction", body),
        r#"{"results":[{"last_insert_id":1,"rows_affected":1},{"error":"no such table: nowhere"}]}"#
    );
    assert_eq!(
        nodes[0].get("/db/query?q=SELECT+count(*)+AS+n+FROM+t&associative"),
        r#"{"results":[{"types":{"n":"integer"},"rows":[{"n":0}]}]}"#
    );
    post(
        0,
        "/db/execute",
        r#"[["INSERT INTO t (name) VALUES (:name)", {"name": "gdb"}]]"#,
    );
    for (place, level) in [(0, "weak"), (1, "linearizable"), (2, "strong")] {
        assert_eq!(
            post(
                place,
                &format!("/db/query?level={level}"),
                r#"["SELECT * FROM t"]"#
            ),
            r#"{"results":[{"columns":["id","name"],"types":["integer","text"],"values":[[1,"gdb"]]}]}"#
        );
    }
    assert!(post(1, "/db/query", r#"["DELETE FROM t"]"#).contains("error"));
    let timed = nodes[2].get("/db/query?q=SELECT+1&timings");
    assert!(timed.contains("\"time\":"), "{timed}");
    let (status, reason) = nodes[0]
        .request("GET", "/db/backup?fmt=csv", "", b"")
        .unwrap();
    assert_eq!(status, 400, "{reason}");
    assert_eq!(
        nodes[1].get("/readyz"),
        "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok"
    );
    assert!(nodes[1].get("/metrics").contains("level4_members 3"));
    assert!(nodes[1].get("/status").contains("\"leader\""));
}

#[test]
fn replicas_agree_on_what_sqlite_draws_and_on_local_time() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    nodes[0].sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at);\
         INSERT INTO t VALUES (9223372036854775807, '');\
         INSERT INTO t (at) VALUES (datetime(0, 'unixepoch', 'localtime')), (random());\
         CREATE TABLE c AS SELECT 1 a, 2 a, 3 a, 4 a, 5 a, 6 a",
    );
    let everything = "SELECT id, at FROM t UNION ALL SELECT 0, sql FROM sqlite_schema";
    let answers: Vec<String> = nodes
        .iter()
        .map(|node| {
            // Linearizable, so that it is there, and from this node's own copy.
            let body = format!(r#"["{everything}"]"#);
            node.request("POST", "/db/query", "", body.as_bytes())
                .unwrap()
                .1
        })
        .collect();
    assert!(answers[0].contains("1970-01-01 00:00:00"), "{}", answers[0]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

#[test]
fn deep_recursion_in_sql_ends_no_node() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    let sql = "SELECT replace(hex(zeroblob(25000)), '00', 'a') \
               LIKE replace(hex(zeroblob(24999)), '00', '%a') || 'b'";
    assert_eq!(node.sql(sql).lines().next(), Some("SequenceNumber: 0"));
    assert_eq!(node.sql("SELECT 1"), "SequenceNumber: 1\n1\n");
}

#[test]
fn a_backup_can_be_loaded() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (1);");
    let other = tempfile::tempdir().unwrap();
    let copy = Node::start(other.path(), "127.0.0.1:0", None);
    let file = other.path().join("backup");
    let url = format!("http://{}/db/backup", node.address);
    let fetched = Command::new("curl")
        .args(["-sSo", &file.to_string_lossy(), &url])
        .status();
    if !fetched.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no curl here");
        return;
    }
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(
        copy.request("POST", "/db/load", "", &bytes).unwrap().1,
        r#"{"results":[]}"#
    );
    assert!(copy.sql("SELECT a FROM t").ends_with("\n1\n"));
    let (_, loaded) = copy
        .request("POST", "/db/load", "", b"INSERT INTO t VALUES (2);")
        .unwrap();
    assert!(loaded.contains("rows_affected"), "{loaded}");
}

#[test]
fn damage_in_the_log_is_refused_with_file_and_offset() {
    let root = tempfile::tempdir().unwrap();
    let mut node = Node::start(root.path(), "127.0.0.1:0", None);
    for _ in 0..5 {
        node.sql("SELECT 'a statement long enough to be found again'");
    }
    node.kill();
    let file = root.path().join("log/log-00000000000000000001");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let reason = refusal(root.path());
    assert!(
        reason.contains("log-00000000000000000001 is damaged at offset"),
        "{reason}"
    );
}

/// What a node says that does not start in this folder.
fn refusal(folder: &std::path::Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_level4"))
        .args(["-l", "127.0.0.1:0", "-d"])
        .arg(folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_log_without_the_file_that_says_whose_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("SELECT 1");
    node.kill();
    std::fs::remove_file(root.path().join("node")).unwrap();
    let reason = refusal(root.path());
    assert!(reason.contains("there is a log, but not"), "{reason}");
}

#[test]
fn a_torn_last_write_is_cut_off_and_everything_before_it_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let mut node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("CREATE TABLE t (a)");
    for value in 0..5 {
        node.sql(&format!("INSERT INTO t VALUES ({value})"));
    }
    node.kill();
    let file = root.path().join("log/log-00000000000000000001");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[end - 3..=end].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    // The last write was the last INSERT, which now counts as never acknowledged.
    for sequence in [5, 6] {
        node.restart();
        let expected = format!("SequenceNumber: {sequence}\n4\n");
        assert_eq!(node.sql("SELECT count(*) FROM t"), expected);
        node.kill();
    }
}

/// A small file system, where the test may mount one.
struct SmallDisk<'a>(&'a std::path::Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a std::path::Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "level4-test"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: the node may be on its way out.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn on_a_full_disk_requests_wait_for_room() {
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(root.path(), "24m") else {
        eprintln!("skipped: no small file system can be mounted here");
        return;
    };
    // Room for one segment of the log and a little more, until the ballast goes.
    let ballast = root.path().join("ballast");
    std::fs::write(&ballast, vec![1; 7 << 20]).unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("CREATE TABLE t (a)");
    let insert = format!("INSERT INTO t VALUES ('{}')", "x".repeat(1 << 20));
    let mut acknowledged = 0;
    let timed_out = loop {
        let (status, answer) = node
            .request("POST", "/sql?timeout=2s", "", insert.as_bytes())
            .unwrap();
        if status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 24, "the disk should be full by now");
    };
    assert!(timed_out.contains("may still be executed"), "{timed_out}");
    assert!(acknowledged > 10, "only {acknowledged} rows fitted");
    let ready = |expected: u16, reason: &str| {
        let (status, text) = node.request("GET", "/readyz", "", b"").unwrap();
        status == expected && text.contains(reason)
    };
    eventually(|| ready(503, "disk: full"));
    std::fs::remove_file(&ballast).unwrap();
    // Now the waiting one is written, and the next is taken.
    let answer = node.sql("SELECT count(*) FROM t");
    assert_eq!(
        answer.lines().nth(1),
        Some(&*(acknowledged + 1).to_string())
    );
    eventually(|| ready(200, "[+]leader ok"));
    drop(node);
    drop(disk);
}

#[test]
fn stray_arguments_and_unusable_addresses_end_with_status_1() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_level4"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let stray = run(&["stray"]);
    assert_eq!(stray.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stray.stderr).contains("Usage"));
    assert_eq!(run(&["-l", "127.0.0.1:1:2"]).status.code(), Some(1));
    assert_eq!(run(&["-d", "/proc/nowhere"]).status.code(), Some(1));
}

/// A full stop at the end of a flag's text is left out, also where it is what the text is about.
#[test]
fn help_says_what_the_path_of_a_socket_begins_with() {
    let mut level4 = Command::new(env!("CARGO_BIN_EXE_level4"));
    let help = level4.arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let says = "which begins with . or / [default: 127.0.0.1:4000]";
    assert!(text.contains(says), "{text}");
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn listening_removes_dead_sockets_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let listen = |path: &std::path::Path| {
        Command::new(env!("CARGO_BIN_EXE_level4"))
            .arg("-l")
            .arg(path)
            .arg("-d")
            .arg(root.path().join("other"))
            .output()
            .unwrap()
    };
    let file = root.path().join("precious");
    std::fs::write(&file, "precious").unwrap();
    let refused = listen(&file);
    assert_eq!(refused.status.code(), Some(1));
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(reason.lines().count(), 1, "{reason}");
    assert!(reason.contains("not a socket"), "{reason}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    // One that was killed leaves its socket, and takes it again.
    let path = root.path().join("s.sock");
    let mut node = Node::start(&root.path().join("0"), &path.to_string_lossy(), None);
    assert_eq!(listen(&path).status.code(), Some(1));
    node.kill();
    assert!(path.exists());
    node.restart();
    assert_eq!(node.sql("SELECT 1"), "SequenceNumber: 0\n1\n");
    // At the end only the node's own socket goes.
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(node.terminate(), Some(0));
    assert!(path.exists());
}

#[test]
fn a_folder_belongs_to_one_process_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    let reason = refusal(root.path());
    assert!(
        reason.contains("another process uses this folder"),
        "{reason}"
    );
    assert_eq!(node.sql("SELECT 1"), "SequenceNumber: 0\n1\n");
}

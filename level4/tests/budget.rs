//! Requests made to cost much, on real nodes: each ends with the same answer on all of them, and they go
//! on. No test here asserts a time; what ends nowhere would never end.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Node, cluster, eventually};

/// What has been tried, and its kind.
const COSTLY: [&str; 22] = [
    "WITH RECURSIVE r(n) AS (SELECT zeroblob(1000000) UNION ALL SELECT n FROM r) SELECT sum(length(n)) FROM r",
    "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM r LIMIT 400) \
     SELECT sum(length(replace(hex(zeroblob(8000000)),'0',char(65+x%20)))) FROM r",
    "SELECT length(z) FROM (WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 300) \
     SELECT zeroblob(16000000) AS z FROM r) ORDER BY z",
    "SELECT replace(hex(zeroblob(25000)), '00', 'a') LIKE replace(hex(zeroblob(24999)), '00', '%a') || 'b'",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT count(*) FROM r WHERE printf('%.4000c', 'a') || n LIKE '%' || printf('%.900c', 'a') || 'b'",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT count(*) FROM r WHERE printf('%.4000c', 'a') || n GLOB '*' || printf('%.900c', 'a') || 'b'",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT sum(instr(z, 'ab' || n)) FROM r, (SELECT hex(zeroblob(8000000)) AS z)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT sum(length(trim(z, n || '0'))) FROM r, (SELECT hex(zeroblob(8000000)) AS z)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT sum(length(z) + n) FROM r, (SELECT hex(zeroblob(8000000)) AS z)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT max(z || n) FROM r, (SELECT hex(zeroblob(8000000)) AS z)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT sum(CAST(z || n AS INTEGER)) FROM r, (SELECT hex(zeroblob(8000000)) AS z)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 500) \
     SELECT length(group_concat(z, n)) FROM r, (SELECT hex(zeroblob(100000)) AS z)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 100000) \
     SELECT sum(length(g)) FROM (SELECT group_concat(z) OVER (ROWS 20 PRECEDING) AS g \
     FROM r, (SELECT hex(zeroblob(100000)) AS z))",
    "WITH RECURSIVE r(n) AS (SELECT randomblob(1000) UNION SELECT randomblob(1000) FROM r) SELECT count(*) FROM r",
    "SELECT count(*) FROM (SELECT 1 FROM big a, big b, big c, big d, big e, big f)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT sum((SELECT count(*) FROM big WHERE n > 0)) FROM r",
    "CREATE TEMP TABLE t AS WITH RECURSIVE r(n) AS (SELECT zeroblob(100000) UNION ALL SELECT n FROM r) SELECT n FROM r",
    "INSERT INTO big WITH RECURSIVE r(n) AS (SELECT zeroblob(10000000) UNION ALL SELECT n FROM r LIMIT 100) SELECT n FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) \
     SELECT count(*) FROM r WHERE json_array_length(printf('[%.90000c%d]', ' ', n)) = 1",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT DISTINCT n % 1000000 FROM r ORDER BY 1",
    "SELECT randomblob(16000000), randomblob(16000000), randomblob(16000000), randomblob(16000000), randomblob(16000000)",
];

/// The most memory that a node's process has had, bytes.
fn peak(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn costly_requests_end_alike_on_all_nodes_and_hold_up_nobody_for_ever() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    let fill = "CREATE TABLE big (a); WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000) \
                INSERT INTO big SELECT zeroblob(900) FROM r";
    nodes[0].sql(fill);
    // A tenth of the usual, as three nodes and the test share a machine.
    let tenth = br#"{"steps": 10000000, "memory": 64000000, "answer": 8000000}"#;
    let set = nodes[0]
        .request("POST", "/cluster/budget", "", tenth)
        .unwrap();
    assert_eq!(set.0, 200, "{}", set.1);
    for (place, sql) in COSTLY.iter().enumerate() {
        let answer = nodes[place % 3].sql(sql);
        let is_cheap = place == 3;
        assert_eq!(
            !answer.contains("budget exceeded"),
            is_cheap,
            "{sql}: {answer:.200}"
        );
    }
    let count = nodes[1].sql("SELECT count(*) FROM big");
    assert!(count.ends_with("\n20000\n"), "{count}");
    for node in &nodes {
        assert!(peak(node) < 512 << 20, "{} MiB", peak(node) >> 20);
    }
}

#[test]
fn a_request_with_many_large_answers_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    let one = r#""SELECT zeroblob(157000) FROM (VALUES(1),(2),(3))""#;
    let body = format!("[{}]", [one; 8].join(","));
    let small = node.request("POST", "/cluster/budget", "", br#"{"answer": 1000000}"#);
    assert_eq!(small.unwrap().0, 200);
    for path in ["/db/request", "/db/query"] {
        let (status, text) = node.request("POST", path, "", body.as_bytes()).unwrap();
        assert_eq!(status, 200);
        assert!(
            text.contains("budget exceeded: the answer has more than"),
            "{text:.200}"
        );
    }
    let (_, text) = node
        .request("POST", "/db/request?budget=8", "", body.as_bytes())
        .unwrap();
    assert!(
        !text.contains("budget exceeded"),
        "{:.200}",
        &text[text.len() - 200..]
    );
}

#[test]
fn a_budget_can_be_raised_for_a_request_and_for_the_cluster() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    let post = |node: &Node, path: &str, body: &str| {
        node.request("POST", path, "", body.as_bytes()).unwrap()
    };
    let count = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000) SELECT max(n) FROM r";
    let set = post(&nodes[1], "/cluster/budget", r#"{"steps": 200000}"#);
    assert_eq!(set.0, 200, "{}", set.1);
    assert!(
        nodes[2]
            .sql(count)
            .contains("budget exceeded: the request takes more than 200000 steps")
    );
    let more = post(&nodes[0], "/sql?budget=20", count);
    assert!(more.1.ends_with("\n20000\n"), "{}", more.1);
    assert_eq!(post(&nodes[0], "/sql?budget=0", count).0, 400);
    assert_eq!(post(&nodes[0], "/cluster/budget", r#"{"steps": 1}"#).0, 400);
    // It is kept through a restart, from the log.
    nodes[2].kill();
    nodes[2].restart();
    eventually(|| nodes[2].get("/cluster/budget").contains("\"steps\":200000"));
    assert!(nodes[2].sql(count).contains("budget exceeded"));
}

#[test]
fn a_read_that_nobody_waits_for_ends_and_holds_up_no_write() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    node.sql("CREATE TABLE t (a)");
    let endless =
        "WITH+RECURSIVE+r(n)+AS+(SELECT+1+UNION+ALL+SELECT+n%2B1+FROM+r)+SELECT+max(n)+FROM+r";
    for level in ["none", "weak"] {
        // More of them than there are readers, each allowed to work for days.
        for _ in 0..20 {
            let path = format!("/db/query?level={level}&timeout=20ms&budget=1000&q={endless}");
            assert_eq!(node.request("GET", &path, "", b"").unwrap().0, 503);
        }
        let path = format!("/db/query?level={level}&db_timeout=20ms&budget=1000&q={endless}");
        let (status, text) = node.request("GET", &path, "", b"").unwrap();
        assert_eq!(
            (status, text.contains("query timeout")),
            (200, true),
            "{text}"
        );
        // A client that hangs up.
        for _ in 0..20 {
            use std::io::Write as _;
            let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
            write!(
                stream,
                "GET {} HTTP/1.1\r\nHost: x\r\n\r\n",
                path.replace("db_timeout=20ms&", "")
            )
            .unwrap();
        }
        // All readers are free again, or this would wait for days.
        node.sql("INSERT INTO t VALUES (1)");
        assert!(
            node.get(&format!("/db/query?level={level}&q=SELECT+1"))
                .contains("[[1]]")
        );
    }
}

/// A node that runs out of memory ends, and is equal after its restart: it makes no answer of that.
#[test]
fn a_node_without_memory_ends_and_comes_back_equal() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    nodes[0].sql("CREATE TABLE o (a, n DEFAULT 1)");
    let status = std::fs::read_to_string(format!("/proc/{}/status", nodes[2].id())).unwrap();
    let size = status
        .lines()
        .find(|line| line.starts_with("VmSize:"))
        .unwrap();
    let size: u64 = size.split_whitespace().nth(1).unwrap().parse().unwrap();
    let limit = Some((size + 40_000) * 1024);
    let pid = Pid::from_raw(nodes[2].id() as i32);
    let limits = Rlimit {
        current: limit,
        maximum: limit,
    };
    prlimit(pid, Resource::As, limits).unwrap();
    let inserted = nodes[0].sql(
        "INSERT INTO o (a) SELECT length(z) FROM (WITH RECURSIVE r (n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 3) SELECT zeroblob(16000000) AS z FROM r) ORDER BY z",
    );
    assert_eq!(inserted, "SequenceNumber: 1\n");
    let count = r#"["SELECT count(*) FROM o"]"#;
    let count = |node: &Node| {
        let answer = node.request("POST", "/db/query", "", count.as_bytes());
        answer.unwrap().1
    };
    assert!(count(&nodes[1]).contains("[[3]]"), "{}", count(&nodes[1]));
    eventually(|| nodes[2].has_ended());
    nodes[2].kill();
    nodes[2].restart();
    assert!(count(&nodes[2]).contains("[[3]]"), "{}", count(&nodes[2]));
}

/// The stacks of the threads that compile SQL are large, and all of an address space counts (`ulimit -v`).
#[test]
fn a_node_starts_where_addresses_are_few() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("n.sock").to_str().unwrap().to_owned();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    // The allocator takes 64 MiB of addresses for each thread of the runtime.
    let most_kib = 700_000 + 150_000 * cores;
    let mut node = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -v \"$0\" && exec \"$@\"",
            &most_kib.to_string(),
        ])
        .args([env!("CARGO_BIN_EXE_level4"), "-l", &socket, "-d"])
        .arg(root.path().join("n"))
        .spawn()
        .unwrap();
    let mut answer = None;
    eventually(|| {
        answer = common::request(&socket, "POST", "/sql", "", b"SELECT 1").ok();
        answer.is_some() || node.try_wait().unwrap().is_some()
    });
    let _ended_already = node.kill();
    node.wait().unwrap();
    assert_eq!(answer.unwrap(), (200, "SequenceNumber: 0\n1\n".to_owned()));
}

#[test]
fn so_many_backups_at_a_time_and_no_more() {
    use std::io::{Read as _, Write as _};
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), "127.0.0.1:0", None);
    // Longer than what the system keeps for a client that does not read.
    node.sql(
        "CREATE TABLE t (a); WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 64) \
         INSERT INTO t SELECT zeroblob(1000000) FROM r",
    );
    let begin = || {
        let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
        let head = "GET /db/backup HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        stream
    };
    let mut under_way: Vec<_> = (0..4).map(|_| begin()).collect();
    let (status, text) = node.request("GET", "/db/backup", "", b"").unwrap();
    assert_eq!(status, 503, "{text:.200}");
    assert!(
        text.contains("budget exceeded: 4 backups are under way"),
        "{text}"
    );
    // Writes go on meanwhile, and a backup is as of its beginning.
    node.sql("DELETE FROM t");
    let mut file = Vec::new();
    let mut first = under_way.remove(0);
    first.read_to_end(&mut file).unwrap();
    assert!(file.len() > 64_000_000, "{} bytes", file.len());
    // The places of those who hang up are free, too.
    drop(under_way);
    eventually(|| matches!(node.request("GET", "/db/backup", "", b""), Some((200, _))));
}

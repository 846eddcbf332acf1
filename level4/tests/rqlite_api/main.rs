//! rqlite's interface, field by field, on real nodes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod backups;
#[path = "../../../level3/tests/common/browser.rs"]
mod browser;
mod cdc;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod doors;
mod fields;
mod files;
mod page;
mod program;
mod shell;
mod status;
mod users;

use common::{Node, cluster, eventually};
use serde_json::{Value as Json, json};

const TEXT: &str = "Content-Type: text/plain\r\n";

fn send(node: &Node, method: &str, path: &str, head: &str, body: &str) -> (u16, String) {
    node.request(method, path, head, body.as_bytes()).unwrap()
}

fn post(node: &Node, path: &str, body: &str) -> Json {
    let (status, text) = send(node, "POST", path, "", body);
    assert_eq!(status, 200, "{path} {body}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn get(node: &Node, path: &str) -> Json {
    serde_json::from_str(&node.get(path)).unwrap()
}

fn single() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("0"), "127.0.0.1:0", None);
    eventually(|| send(&node, "GET", "/readyz", "", "").0 == 200);
    (folder, node)
}

#[test]
fn bodies_parameters_and_results_are_rqlites() {
    let (_folder, node) = single();
    let (status, text) = send(
        &node,
        "POST",
        "/db/execute",
        TEXT,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB)",
    );
    assert_eq!((status, text.as_str()), (200, r#"{"results":[{}]}"#));
    let insert = r#"[["INSERT INTO t (a, b) VALUES (?, ?) RETURNING id, a", "x", "x'6869'"],
        ["INSERT INTO t (a, b) VALUES (:a, :b)", {"a": "y", "b": [1, 255]}]]"#;
    assert_eq!(
        post(&node, "/db/execute", insert),
        json!({"results": [
            {"columns": ["id", "a"], "types": ["integer", "text"], "values": [[1, "x"]]},
            {"last_insert_id": 2, "rows_affected": 1},
        ]})
    );
    let blobs = "SELECT typeof(b), b FROM t ORDER BY id";
    let (_, text) = send(&node, "POST", "/db/query?blob_array", TEXT, blobs);
    assert!(
        text.contains(r#"[["blob",[104,105]],["blob",[1,255]]]"#),
        "{text}"
    );
    // What would be executed is what was said.
    let said = "INSERT INTO t (a) VALUES (random())";
    assert_eq!(
        post(&node, "/db/sql", &format!("[\"{said}\"]")),
        json!({"results": [{"original": said, "rewritten": said}]})
    );
    // Nothing is nothing.
    assert_eq!(get(&node, "/db/query"), json!({"results": []}));
    assert_eq!(
        post(&node, "/db/execute", r#"["-- a comment", "SELECT 1"]"#)["results"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for (path, body, reason) in [
        ("/db/execute", "[]", "no statements"),
        ("/db/query", "nonsense", "invalid JSON body"),
        ("/db/request", "{}", "invalid request"),
        ("/db/query?freshness_strict", "[\"SELECT 1\"]", "freshness"),
        ("/db/query?freshness=soon", "[\"SELECT 1\"]", "duration"),
        ("/db/execute?retries=x", "[\"SELECT 1\"]", "number"),
    ] {
        let (status, text) = send(&node, "POST", path, "", body);
        assert_eq!(status, 400, "{path}: {text}");
        assert!(text.contains(reason), "{path}: {text}");
    }
    assert_eq!(send(&node, "GET", "/db/query?q=", "", "").0, 400);
    // Columns by their tables, and whatever level is asked for in whatever case.
    let qualified = get(
        &node,
        "/db/query?level=NONE&qualify_columns&q=SELECT+id,1+FROM+t",
    );
    assert_eq!(qualified["results"][0]["columns"], json!(["t.id", "1"]));
    assert_eq!(
        get(&node, "/db/query?level=whatever&q=SELECT+1")["results"][0]["values"],
        json!([[1]])
    );
    let objects = post(
        &node,
        "/db/request?associative&raft_index",
        r#"["DELETE FROM t WHERE id = 2", "SELECT a FROM t"]"#,
    );
    assert_eq!(
        objects["results"],
        json!([
            {"rows_affected": 1, "rows": null},
            {"types": {"a": "text"}, "rows": [{"a": "x"}]},
        ])
    );
    assert!(objects["raft_index"].as_u64().unwrap() > 1);
    assert_eq!(
        get(
            &node,
            "/db/query?level=none&freshness=1h&freshness_strict&q=SELECT+1"
        )["results"][0]["values"],
        json!([[1]])
    );
}

#[test]
fn pragmas_that_tools_ask_before_anything_else_are_answered() {
    let (_folder, node) = single();
    for pragma in [
        "read_uncommitted",
        "page_size",
        "cache_size",
        "optimize",
        "no_such_thing",
    ] {
        let answer = get(&node, &format!("/db/query?q=PRAGMA+{pragma}"));
        assert_eq!(
            answer["results"][0]["error"],
            Json::Null,
            "{pragma}: {answer}"
        );
    }
    // They look at the schema as it is now.
    for (place, look) in [
        "PRAGMA index_list(u0)",
        "SELECT 0 FROM pragma_index_info('i1')",
    ]
    .iter()
    .enumerate()
    {
        let made =
            format!(r#"["CREATE TABLE u{place} (a)", "CREATE INDEX i{place} ON u{place} (a)"]"#);
        post(&node, "/db/execute", &made);
        let answer = post(&node, "/db/query", &json!([look]).to_string());
        assert_eq!(answer["results"][0]["values"][0][0], 0, "{look}: {answer}");
    }
    for path in ["/db/query", "/db/request"] {
        let answer = post(&node, path, r#"["pragma database_list;"]"#);
        assert_eq!(
            answer["results"][0]["values"],
            json!([[0, "main", ""]]),
            "{path}"
        );
    }
    for pragma in [
        "journal_mode=wal",
        "synchronous=2",
        "wal_checkpoint",
        "query_only=0",
        "data_version",
    ] {
        let answer = post(&node, "/db/execute", &format!("[\"PRAGMA {pragma}\"]"));
        let error = answer["error"]
            .as_str()
            .or(answer["results"][0]["error"].as_str());
        let told = if pragma == "data_version" {
            "not authorized"
        } else {
            "disallowed pragma"
        };
        assert_eq!(error, Some(told), "{pragma}: {answer}");
    }
}

#[test]
fn full_text_and_ranges_can_be_searched() {
    let (_folder, node) = single();
    let made = post(
        &node,
        "/db/execute?transaction",
        r#"["CREATE VIRTUAL TABLE f USING fts5(a)", "INSERT INTO f VALUES ('to be or not'), ('be quick')",
            "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)", "INSERT INTO r VALUES (1, 0, 2), (2, 5, 6)",
            "DELETE FROM f WHERE a = 'be quick'", "INSERT INTO f(f) VALUES ('optimize')"]"#,
    );
    let is_error = |one: &Json| one["error"].is_string();
    assert!(
        !made["results"].as_array().unwrap().iter().any(is_error),
        "{made}"
    );
    for query in [
        "SELECT * FROM pragma_data_version",
        "SELECT count(*) FROM pragma_data_version WHERE schema = 'main'",
        "CREATE VIEW v AS SELECT * FROM pragma_data_version; SELECT * FROM v",
        "PRAGMA main.data_version",
    ] {
        let answer = post(&node, "/db/request", &json!([query]).to_string());
        assert!(is_error(&answer["results"][0]), "{query}: {answer}");
    }
    for query in [
        "SELECT count(*) FROM f WHERE f MATCH 'be'",
        "SELECT id FROM r WHERE x0 < 1 AND x1 > 1",
        "SELECT sqrt(16) / 4 = 1",
    ] {
        for path in ["/db/query?level=none", "/db/query", "/db/request"] {
            let answer = post(&node, path, &json!([query]).to_string());
            assert_eq!(
                answer["results"][0]["values"],
                json!([[1]]),
                "{path}: {query}: {answer}"
            );
        }
    }
}

/// Likewise, where the answer may be that it does not know now.
fn look(node: &Node, path: &str) -> Json {
    serde_json::from_str(&node.get(path)).unwrap_or_default()
}

/// The node that leads as far as it is known, and another one. Soon it may be otherwise.
fn leading_and_following(nodes: &[Node]) -> (&Node, &Node) {
    let mut place = None;
    eventually(|| {
        let leader = look(&nodes[0], "/leader");
        place = nodes.iter().position(|node| leader["addr"] == node.address);
        place.is_some()
    });
    let place = place.unwrap();
    (&nodes[place], &nodes[(place + 1) % nodes.len()])
}

#[test]
fn what_operators_ask_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = cluster(folder.path(), 3);
    let node = &nodes[1];
    post(node, "/db/execute", r#"["CREATE TABLE t (a)"]"#);

    let status = get(node, "/status");
    let raft = &status["store"]["raft"];
    assert_eq!(raft["voter"], true);
    assert_eq!(raft["num_peers"], 2);
    assert!(raft["last_log_index"].as_u64() >= status["store"]["fsm_index"].as_u64());
    assert_eq!(get(node, "/status?key=store.nothing"), json!({}));
    assert!(node.get("/status?pretty").contains("\n    \"store\": {\n"));
    let listed = get(node, "/nodes?ver=2");
    assert_eq!(listed["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(send(node, "OPTIONS", "/db/execute", "", "").0, 200);

    // Nothing new since the last one, or something. A new leader's first entry is something, too.
    let saved = || get(node, "/status?key=store.raft.last_snapshot_index").as_u64();
    assert_eq!(send(node, "POST", "/snapshot", "", "").0, 200);
    let first = saved();
    assert!(first > Some(0));
    eventually(|| send(node, "POST", "/snapshot", "", "").0 == 204);
    post(node, "/db/execute", r#"["INSERT INTO t VALUES (1)"]"#);
    assert_eq!(
        send(node, "POST", "/snapshot?trailing_logs=0", "", "").0,
        200
    );
    assert!(saved() > first);
    assert_eq!(post(node, "/reap", "")["snapshots_reaped"], 0);
    let counters = get(node, "/debug/vars?key=http");
    assert!(counters["http"]["user_snapshots"].as_u64() >= Some(3));
    let boot = send(node, "POST", "/boot", "", "SQLite format 3\0");
    assert_eq!(boot.0, 503, "{}", boot.1);
}

#[test]
fn clients_find_the_leader_and_operators_choose_another() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = cluster(folder.path(), 3);
    let state = |node: &Node| look(node, "/status?key=store.raft.state");
    eventually(|| {
        let (leading, following) = leading_and_following(&nodes);
        state(leading) == "Leader" && state(following) == "Follower"
    });
    // Sent to the leader by those who are asked to; answered at once by those who are not.
    let ask = "/db/query?redirect&q=SELECT+1";
    eventually(|| {
        let (leading, following) = leading_and_following(&nodes);
        let location = format!("location: http://{}{ask}", leading.address);
        let (sent, there) = (head(following, ask), head(leading, ask));
        let served_by = format!("x-rqlite-served-by: {}", leading.address);
        sent.0 == 301
            && sent.1.contains(&location)
            && there.0 == 200
            && there.1.contains("x-rqlite-version: level4-")
            && there.1.contains(&served_by)
    });
    // Somebody else leads, and whoever does not lead cannot stop.
    for (wish, status) in [("{\"id\": 7}", 400), ("{\"id\": \"7\"}", 500)] {
        assert_eq!(send(&nodes[0], "POST", "/leader?wait", "", wish).0, status);
    }
    eventually(|| {
        let (leading, following) = leading_and_following(&nodes);
        let id = look(following, "/status?key=store.node_id");
        let wish = json!({ "id": id }).to_string();
        let (status, _) = send(leading, "POST", "/leader?wait", "", &wish);
        status == 200 && look(leading, "/leader")["id"] == id
    });
    eventually(|| {
        let (_, following) = leading_and_following(&nodes);
        send(following, "POST", "/leader?wait", "", "").0 == 500
            && send(following, "POST", "/leader", "", "").0 == 200
    });
}

/// Status, head and body of an answer, as one who knows no later protocol gets it.
fn fetch(node: &Node, path: &str) -> (u16, String, Vec<u8>) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let body = answer.split_off(end.unwrap() + 4);
    let head = String::from_utf8(answer).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, body)
}

fn head(node: &Node, path: &str) -> (u16, String) {
    let (status, head, _) = fetch(node, path);
    (status, head)
}

/// Of a backup that has to work.
fn backup(node: &Node, query: &str) -> Vec<u8> {
    let (status, _, body) = fetch(node, &format!("/db/backup?{query}"));
    assert_eq!(status, 200, "{query}");
    body
}

#[test]
fn queued_writes_are_executed_in_their_order() {
    let (_folder, node) = single();
    post(&node, "/db/execute", r#"["CREATE TABLE t (a)"]"#);
    let mut last = 0;
    for number in 0..300 {
        let insert = format!("[\"INSERT INTO t VALUES ({number})\", \"nonsense\"]");
        let answer = post(&node, "/db/execute?queue", &insert);
        assert_eq!(answer["results"], json!([]));
        let sequence = answer["sequence_number"].as_u64().unwrap();
        assert!(sequence > last);
        last = sequence;
    }
    // Nothing to do but to wait for all of them.
    post(&node, "/db/execute?queue&wait", "[]");
    let answer = get(&node, "/db/query?q=SELECT+count(*),sum(a=rowid-1)+FROM+t");
    assert_eq!(answer["results"][0]["values"], json!([[300, 300]]));
    let counters = get(&node, "/debug/vars?key=http");
    assert_eq!(counters["http"]["queued_executions"], 301);
    assert_eq!(counters["http"]["queued_executions_ok"], 301);
    assert_eq!(get(&node, "/status?key=http.queue._default.length"), 0);
    for (path, body) in [
        ("/db/execute?queue", "[]"),
        ("/db/execute?queue&wait", "nonsense"),
    ] {
        assert_eq!(send(&node, "POST", path, "", body).0, 400);
    }
}

#[test]
fn a_file_boots_a_node_that_is_alone() {
    let (_folder, node) = single();
    let path = tempfile::NamedTempFile::new().unwrap();
    let file = rusqlite::Connection::open(path.path()).unwrap();
    file.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (7)")
        .unwrap();
    drop(file);
    let bytes = std::fs::read(path.path()).unwrap();
    let boot = |bytes: &[u8]| node.request("POST", "/boot", "", bytes).unwrap();
    assert_eq!(boot(&bytes), (200, String::new()));
    assert_eq!(
        get(&node, "/db/query?q=SELECT+a+FROM+t")["results"][0]["values"],
        json!([[7]])
    );
    let (status, reason) = boot(b"nonsense");
    assert!(status == 503 && reason.contains("too short"), "{reason}");
    for bad in [&b"nonsense of some length"[..], &bytes[..100]] {
        let (status, reason) = boot(bad);
        assert_eq!(status, 400, "{reason}");
        assert!(reason.starts_with("invalid SQLite data"), "{reason}");
    }
    assert_eq!(
        get(&node, "/db/query?q=SELECT+a+FROM+t")["results"][0]["values"],
        json!([[7]])
    );
    let (status, backup) = send(&node, "GET", "/db/backup?fmt=delete&noleader", "", "");
    assert!(status == 200 && backup.starts_with("SQLite format 3"));
}

#[test]
fn backups_come_in_every_form() {
    let (_folder, node) = single();
    let made = r#"["CREATE TABLE t (a)", "INSERT INTO t VALUES ('x'), (zeroblob(500000))", "CREATE TABLE u (b)",
        "DELETE FROM t WHERE a <> 'x'"]"#;
    post(&node, "/db/execute", made);
    let text = |query| String::from_utf8(backup(&node, query)).unwrap();
    let sql = text("fmt=sql");
    assert!(
        sql.contains("INSERT INTO \"t\"(\"a\") VALUES('x');\n"),
        "{sql}"
    );
    assert!(
        sql.contains("CREATE TABLE u (b);\n") && sql.ends_with("COMMIT;\n"),
        "{sql}"
    );
    let one = text("fmt=sql&tables=u");
    assert!(
        !one.contains("CREATE TABLE t") && one.contains("CREATE TABLE u"),
        "{one}"
    );
    // It can be loaded as it is.
    assert_eq!(
        post(&node, "/db/execute", r#"["DROP TABLE t", "DROP TABLE u"]"#)["results"],
        json!([{}, {}])
    );
    let loaded = post(&node, "/db/load", &sql);
    assert_eq!(loaded["results"][0]["error"], Json::Null, "{loaded}");
    assert_eq!(
        get(&node, "/db/query?q=SELECT+a+FROM+t")["results"][0]["values"],
        json!([["x"]])
    );
    let (whole, vacuumed) = (backup(&node, ""), backup(&node, "vacuum"));
    assert!(vacuumed.starts_with(b"SQLite format 3") && vacuumed.len() <= whole.len());
    let (zipped, mut file) = (backup(&node, "compress"), Vec::new());
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&zipped[..]), &mut file).unwrap();
    assert_eq!(file, whole);
    for (query, reason) in [
        ("fmt=csv", "fmt=csv is not"),
        ("tables=t", "fmt=sql only"),
        ("fmt=sql&tables=none", "no such table: none"),
        ("fmt=sql&vacuum", "not for fmt=sql"),
    ] {
        let (status, text) = send(&node, "GET", &format!("/db/backup?{query}"), "", "");
        assert_eq!(status, 400, "{query}: {text}");
        assert!(text.contains(reason), "{query}: {text}");
    }
}

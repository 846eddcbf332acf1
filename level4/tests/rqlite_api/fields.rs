//! What clients may compare byte by byte, and what they may not send.

use serde_json::json;

use super::common::{Node, cluster, eventually};
use super::{get, leading_and_following, look, post, send, single};

#[test]
fn indented_answers_are_as_go_writes_them() {
    let (_folder, node) = single();
    post(
        &node,
        "/db/execute",
        r#"["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)", "INSERT INTO t VALUES (1, 'x')"]"#,
    );
    let ask = |path| send(&node, "POST", path, "", r#"["SELECT * FROM t"]"#).1;
    assert_eq!(
        ask("/db/query?pretty"),
        r#"{
    "results": [
        {
            "columns": [
                "id",
                "a"
            ],
            "types": [
                "integer",
                "text"
            ],
            "values": [
                [
                    1,
                    "x"
                ]
            ]
        }
    ]
}"#
    );
    assert_eq!(
        ask("/db/query?associative"),
        r#"{"results":[{"types":{"id":"integer","a":"text"},"rows":[{"id":1,"a":"x"}]}]}"#
    );
}

#[test]
fn what_is_no_value_is_refused_everywhere_and_paths_may_end_with_a_slash() {
    let (_folder, node) = single();
    for parameter in [
        "timeout=soon",
        "freshness=1x",
        "db_timeout=x",
        "linearizable_timeout=",
        "retries=many",
        "trailing_logs=1.5",
        "q=",
        "freshness_strict",
    ] {
        for (method, path) in [
            ("GET", "/status"),
            ("GET", "/nodes"),
            ("GET", "/readyz"),
            ("GET", "/db/backup"),
            ("POST", "/db/execute"),
            ("POST", "/snapshot"),
        ] {
            let (status, told) = send(
                &node,
                method,
                &format!("{path}?{parameter}"),
                "",
                "[\"SELECT 1\"]",
            );
            let name = parameter.split('=').next().unwrap();
            assert!(
                status == 400 && told.contains(name),
                "{path}?{parameter}: {status} {told}"
            );
        }
    }
    for path in [
        "/status/",
        "/nodes/?timeout=500000us",
        "/readyz/",
        "/db/query/?q=SELECT+1",
    ] {
        let (status, told) = send(&node, "GET", path, "", "");
        assert_eq!(status, 200, "{path}: {told}");
    }
}

#[test]
fn a_node_that_is_gone_is_told_of_and_so_is_that_nobody_leads() {
    let root = tempfile::tempdir().unwrap();
    let mut nodes = cluster(root.path(), 3);
    let voters = || {
        look(&nodes[0], "/nodes?ver=2")["nodes"]
            .as_array()
            .map(Vec::len)
    };
    eventually(|| voters() == Some(3));
    for node in get(&nodes[0], "/nodes?ver=2")["nodes"].as_array().unwrap() {
        assert!(
            node["time"].is_number() && node["time_s"].is_string(),
            "{node}"
        );
    }
    // Who is removed goes without a word.
    let wanted = |body: &str| send(&nodes[0], "DELETE", "/remove", "", body);
    assert_eq!(wanted(r#"{"id": "x", "more": 1}"#).0, 400);
    let (leading, _) = leading_and_following(&nodes);
    let other = nodes
        .iter()
        .position(|node| node.address != leading.address)
        .unwrap();
    let address = nodes[other].address.clone();
    nodes[other].kill();
    let last = nodes
        .iter()
        .position(|node| node.address != address)
        .unwrap();
    let lost = || {
        let all = look(&nodes[last], "/nodes?ver=2");
        let all = all["nodes"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|node| node["addr"] == address.as_str())
    };
    eventually(|| {
        lost().is_some_and(|node| node["reachable"] == false && node["error"].is_string())
    });
    let body = json!({ "id": address }).to_string();
    assert_eq!(
        send(&nodes[last], "DELETE", "/remove", "", &body),
        (200, String::new())
    );
    // Two are left; one alone has no leader, and says so before its client has lost patience.
    nodes.remove(other);
    nodes[1].kill();
    let (status, told) = send(
        &nodes[0],
        "POST",
        "/db/execute",
        "",
        r#"["CREATE TABLE t (a)"]"#,
    );
    assert_eq!(status, 503);
    assert!(told.starts_with("leader not found"), "{told}");
}

#[test]
fn files_may_be_longer_than_other_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start_with(&folder.path().join("0"), "127.0.0.1:0", &["--max-body=1"]);
    eventually(|| send(&node, "GET", "/readyz", "", "").0 == 200);
    let path = folder.path().join("file");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(3000000))")
        .unwrap();
    drop(file);
    let bytes = std::fs::read(&path).unwrap();
    let ask = |path: &str, body: &[u8]| node.request("POST", path, "", body).unwrap();
    assert_eq!(
        ask("/db/load", &bytes),
        (200, "{\"results\":[]}".to_owned())
    );
    let sql = format!("INSERT INTO t VALUES ('{}')", "x".repeat(2_000_000));
    assert_eq!(
        ask("/db/execute", json!([sql]).to_string().as_bytes()).0,
        413
    );
    let loaded = post(&node, "/db/load", &sql);
    assert_eq!(loaded["results"][0]["rows_affected"], 1, "{loaded}");
    let lengths = get(&node, "/db/query?q=SELECT+length(a)+FROM+t");
    assert_eq!(
        lengths["results"][0]["values"],
        json!([[3_000_000], [2_000_000]])
    );
}

//! Names and passwords (`--auth`): who may do what, by rqlite's permissions.
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::common::{Node, eventually, signal};

const USERS: &str = r#"[
    {"username": "root", "password": "r", "perms": ["all"]},
    {"username": "reader", "password": "see:me", "perms": ["query", "status"]},
    {"username": "writer", "password": "w", "perms": ["execute"]},
    {"username": "hashed", "password": "$2b$04$abcdefghijklmnopqrstuuE7Dr5EZ05od5XlLG6SmLbZOM2E6wfLa", "perms": ["query"]},
    {"username": "*", "perms": ["ready"]}
]"#;

fn protected(root: &Path, users: &str) -> Node {
    let file = root.join("users.json");
    std::fs::write(&file, users).unwrap();
    let auth = format!("--auth={}", file.display());
    Node::start_logged(&root.join("node"), "127.0.0.1:0", &[&auth])
}

/// The status of a request by a user, or by nobody.
fn ask(node: &Node, user: Option<&str>, method: &str, path: &str, body: &str) -> u16 {
    let shown = user.map_or_else(String::new, |user| {
        format!("Authorization: Basic {}\r\n", BASE64.encode(user))
    });
    let answer = node.request(method, path, &shown, body.as_bytes());
    answer.unwrap().0
}

#[test]
fn everybody_may_what_the_file_says_and_no_more() {
    let root = tempfile::tempdir().unwrap();
    let node = protected(root.path(), USERS);
    eventually(|| ask(&node, None, "GET", "/readyz", "") == 200);
    let make = r#"["CREATE TABLE t (a)"]"#;
    let row = r#"["INSERT INTO t VALUES (1)"]"#;
    let (root_user, reader, writer) = (Some("root:r"), Some("reader:see:me"), Some("writer:w"));
    assert_eq!(ask(&node, writer, "POST", "/db/execute", make), 200);
    let tries = [
        (writer, "POST", "/db/execute", row, 200),
        (writer, "GET", "/db/query?q=SELECT+1", "", 401),
        (writer, "POST", "/db/request", row, 401),
        (writer, "POST", "/sql", "SELECT 1", 401),
        (writer, "GET", "/status", "", 401),
        (reader, "GET", "/db/query?q=SELECT+1", "", 200),
        (reader, "GET", "/db/query?q=SELECT+1&level=none", "", 200),
        (reader, "POST", "/db/execute", row, 401),
        (reader, "POST", "/db/execute?queue", row, 401),
        (reader, "GET", "/db/backup", "", 401),
        (reader, "POST", "/db/load", "SELECT 1", 401),
        (reader, "GET", "/nodes", "", 200),
        (reader, "GET", "/metrics", "", 200),
        (reader, "POST", "/cluster/budget", "{}", 401),
        (reader, "POST", "/cluster/skip?index=1", "", 401),
        (reader, "DELETE", "/remove", r#"{"id": "x"}"#, 401),
        (reader, "POST", "/snapshot", "", 401),
        (reader, "POST", "/leader", "", 401),
        (Some("reader:see"), "GET", "/db/query?q=SELECT+1", "", 401),
        (Some("*:"), "GET", "/db/query?q=SELECT+1", "", 401),
        (None, "GET", "/db/query?q=SELECT+1", "", 401),
        (None, "GET", "/db/execute/", "", 401),
        (root_user, "GET", "/db/execute/", "", 405),
        (root_user, "GET", "/db/nothing", "", 404),
        (None, "GET", "/db/%71uery?q=SELECT+1", "", 401),
        (None, "HEAD", "/db/backup", "", 401),
        (None, "OPTIONS", "/db/execute", "", 200),
        (root_user, "POST", "/sql", "SELECT 1", 200),
        (root_user, "GET", "/db/backup", "", 200),
        (root_user, "GET", "/cluster/status", "", 200),
        (
            Some("hashed:see:me"),
            "GET",
            "/db/query?q=SELECT+1",
            "",
            200,
        ),
        (Some("hashed:see"), "GET", "/db/query?q=SELECT+1", "", 401),
    ];
    for (user, method, path, body, status) in tries {
        assert_eq!(
            ask(&node, user, method, path, body),
            status,
            "{user:?} {method} {path}"
        );
    }
    let shown = format!("Authorization: Basic {}\r\n", BASE64.encode("root:r"));
    let (_, status) = node
        .request("GET", "/status?key=http", &shown, b"")
        .unwrap();
    assert!(status.contains("\"auth\":\"enabled\""), "{status}");
    let (_, counters) = node.request("GET", "/debug/vars", &shown, b"").unwrap();
    let refused = tries.iter().filter(|one| one.4 == 401).count();
    let counted = format!("\"auth_fail\":{refused},");
    assert!(counters.contains(&counted), "{counters}");
}

#[test]
fn users_are_read_again_and_what_is_no_list_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let node = protected(root.path(), USERS);
    let reads = |user| {
        ask(
            &node,
            Some(user),
            "GET",
            "/db/query?q=SELECT+1&level=none",
            "",
        )
    };
    let file = root.path().join("users.json");
    assert_eq!(reads("reader:see:me"), 200);
    std::fs::write(&file, "nonsense").unwrap();
    signal(node.id(), "HUP");
    eventually(|| node.log().contains("the earlier ones stay in force"));
    assert_eq!(reads("reader:see:me"), 200);
    std::fs::write(&file, USERS.replace("see:me", "new")).unwrap();
    signal(node.id(), "HUP");
    eventually(|| reads("reader:new") == 200);
    assert_eq!(reads("reader:see:me"), 401);
    drop(node);
    std::fs::write(&file, r#"[{"username": "a", "perms": ["fly"]}]"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_level4"))
        .args(["-l", "127.0.0.1:0"])
        .arg(format!("--auth={}", file.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("users.json: unknown variant `fly`"), "{said}");
}

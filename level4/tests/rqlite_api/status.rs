//! What dashboards read: `/status` and `/debug/vars`.

use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::common::{Node, eventually};
use super::{backup, get, look, post, send, single};

/// As Go writes a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn of(node: &Node, key: &str) -> Json {
    look(node, &format!("/status?key={key}"))
}

fn vars(node: &Node, key: &str) -> Json {
    look(node, &format!("/debug/vars?key={key}"))[key].clone()
}

fn execute(node: &Node, sql: &str) {
    let done = post(node, "/db/execute", &json!([sql]).to_string());
    assert_eq!(done["results"][0]["error"], Json::Null, "{done}");
}

/// Waits until a time is told that is later than `before`, doing something each time.
fn later(node: &Node, key: &str, before: &Json, mut act: impl FnMut()) {
    eventually(|| {
        act();
        // Of one length, so that the later one is the greater.
        of(node, key).as_str() > before.as_str()
    });
}

#[test]
fn the_place_of_the_last_entry_is_told_and_when_it_was_applied() {
    let (_folder, mut node) = single();
    execute(&node, "CREATE TABLE t (a)");
    let all = get(&node, "/status");
    let store = &all["store"];
    let term = of(&node, "store.fsm_term");
    assert!(term.as_u64() > Some(0), "{all}");
    assert_eq!(store["fsm_term"], term);
    assert_eq!(store["raft"]["term"], term);
    let time = &store["fsm_update_time"];
    assert!(time.as_str() > all["node"]["start_time"].as_str(), "{all}");
    let insert = || execute(&node, "INSERT INTO t VALUES (1)");
    later(&node, "store.fsm_update_time", time, insert);
    // Whoever starts again leads in a later term, and its first entry is one of that.
    node.kill();
    node.restart();
    eventually(|| of(&node, "store.fsm_term").as_u64() > term.as_u64());
}

#[test]
fn the_process_and_its_engine_say_what_they_are() {
    let (_folder, node) = single();
    let tasks = || of(&node, "runtime.num_goroutine").as_u64().unwrap();
    let before = tasks();
    assert!(before > 0);
    let _idle: Vec<TcpStream> = (0..30)
        .map(|_| TcpStream::connect(&node.address).unwrap())
        .collect();
    eventually(|| tasks() >= before + 20);
    assert_eq!(of(&node, "http.cluster.timeout"), "3s");
    assert_eq!(of(&node, "store.sqlite3.extensions"), json!([]));
    // There is no file.
    assert_eq!(of(&node, "store.sqlite3.last_modified"), json!({}));
    let asked = get(&node, "/db/query?q=PRAGMA+compile_options");
    let options: Json = asked["results"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[0].clone())
        .collect();
    let known = |option: &Json| {
        let option = option.as_str().unwrap();
        option.starts_with("THREADSAFE=")
    };
    assert!(options.as_array().unwrap().iter().any(known), "{options}");
    eventually(|| of(&node, "store.sqlite3.compile_options") == options);
}

#[test]
fn backups_and_snapshots_are_counted_once_they_are_made() {
    let (_folder, mut node) = single();
    execute(&node, "CREATE TABLE t (a)");
    assert_eq!(get(&node, "/status")["last_backup_time"], Json::Null);
    for (count, query) in [(1, ""), (2, "fmt=sql")] {
        backup(&node, query);
        // The last bytes come before that is noted.
        eventually(|| vars(&node, "store")["num_backups"] == count);
    }
    let time = of(&node, "last_backup_time");
    assert!(
        time.as_str() > of(&node, "node.start_time").as_str(),
        "{time}"
    );
    later(&node, "last_backup_time", &time, || {
        drop(backup(&node, ""));
    });
    let made = vars(&node, "store")["num_backups"].as_u64().unwrap();
    let wrong = "/db/backup?fmt=sql&tables=none";
    assert_eq!(send(&node, "GET", wrong, "", "").0, 400);
    assert_eq!(vars(&node, "store")["num_backups"], made);
    assert_eq!(vars(&node, "http")["backups"], made + 1);

    let restores = |node: &Node| {
        let store = vars(node, "store");
        ["", "_start", "_start_skipped"].map(|end| store[&format!("num_restores{end}")].clone())
    };
    assert_eq!(restores(&node), [0, 0, 0]);
    assert_eq!(of(&node, "store.snapshot_store.snapshots"), json!([]));
    assert_eq!(send(&node, "POST", "/snapshot", "", "").0, 200);
    let kept = of(&node, "store.snapshot_store");
    let folder = Path::new(kept["dir"].as_str().unwrap());
    let [name] = &kept["snapshots"].as_array().unwrap()[..] else {
        panic!("{kept}");
    };
    let file = folder.join(name.as_str().unwrap()).metadata().unwrap();
    assert_eq!(kept["dir_size"], file.len());
    node.kill();
    node.restart();
    eventually(|| restores(&node) == [1, 1, 0]);
    // Nothing of that is to be done here.
    let zero = |part: &Json| part.as_object().unwrap().values().all(|count| *count == 0);
    for part in ["cluster", "uploader", "cdc.service"] {
        let part = vars(&node, part);
        assert!(zero(&part), "{part}");
    }
    assert_eq!(vars(&node, "uploader").as_object().unwrap().len(), 3);
    assert_eq!(vars(&node, "cluster").as_object().unwrap().len(), 2);
}

#[test]
fn a_database_on_disk_says_when_it_was_changed_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start_with(&folder.path().join("0"), "127.0.0.1:0", &["--on-disk"]);
    eventually(|| send(&node, "GET", "/readyz", "", "").0 == 200);
    execute(&node, "CREATE TABLE t (a)");
    let key = "store.sqlite3.last_modified";
    later(&node, key, &of(&node, key), || {
        execute(&node, "INSERT INTO t VALUES (1)");
    });
    node.kill();
    node.restart();
    eventually(|| vars(&node, "store")["num_restores_start_skipped"] == 1);
    assert_eq!(vars(&node, "store")["num_restores"], 0);
}

#[test]
fn who_joins_is_counted_where_that_is_decided() {
    let root = tempfile::tempdir().unwrap();
    let founder = Node::start(&root.path().join("0"), "127.0.0.1:0", None);
    eventually(|| send(&founder, "GET", "/readyz", "", "").0 == 200);
    let joins = |node: &Node| {
        let (store, cluster) = (vars(node, "store"), vars(node, "cluster"));
        let asked = cluster["num_join_req"].as_u64().unwrap();
        (
            store["num_joins"].clone(),
            store["num_removed_before_joins"].clone(),
            asked,
        )
    };
    assert_eq!(joins(&founder), (json!(0), json!(0), 0));
    let join = format!("--join={}", founder.address);
    let more = [join.as_str(), "--nonvoter", "--node-id=r"];
    let reader = Node::start_with(&root.path().join("1"), "127.0.0.1:0", &more);
    eventually(|| {
        let (joined, removed, asked) = joins(&founder);
        (joined, removed) == (json!(1), json!(0)) && asked > 0
    });
    // The founder decided.
    assert_eq!(vars(&reader, "store")["num_joins"], 0);
    // It comes again without its disk.
    drop(reader);
    let _again = Node::start_with(&root.path().join("2"), "127.0.0.1:0", &more);
    eventually(|| {
        let (joined, removed, _) = joins(&founder);
        (joined, removed) == (json!(2), json!(1))
    });
}

/// Of a node that makes backups by itself, before and after the first one.
pub fn last_upload(node: &Node) -> Option<u64> {
    let told = of(node, "auto_backups");
    let (time, index) = (&told["last_upload_time"], &told["last_index"]);
    let is_made = time.as_str().unwrap() != NEVER;
    let index = index.as_u64().unwrap();
    assert_eq!(is_made, index > 0, "{told}");
    is_made.then_some(index)
}

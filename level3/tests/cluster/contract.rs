//! The 2014 contract, asked over HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Cluster, encode, get, oracle, results, write_tree};
use serde_json::json;

#[test]
fn every_matching_line_is_listed_once() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    write_tree(
        root,
        [
            ("start", &b"needle at the start\nnothing\n"[..]),
            ("end", b"nothing\nat the end needle"),
            ("twice/here", b"needle and needle\n\nneedle\n"),
            ("quote\"d \\ \u{e9}", b"needle\n"),
            ("upper", b"NEEDLE\n"),
            ("empty", b""),
            (".hidden", b"needle\n"),
            (".git/config", b"needle\n"),
            ("binary", b"needle\0\n"),
            ("latin1", b"needle \xe9\n"),
        ],
    );
    fs::write(root.join("large"), vec![b'n'; (1 << 20) + 1]).unwrap();
    std::os::unix::fs::symlink(root.join("start"), root.join("link")).unwrap();
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(root);
    assert_eq!(
        cluster.master.find(b"needle"),
        [
            "end:2",
            "quote\"d \\ \u{e9}:1",
            "start:1",
            "twice/here:1",
            "twice/here:3"
        ]
    );
    for needle in [
        &b"n"[..],
        b"ne",
        b" ",
        b"e\n",
        b"the end needle",
        b"no such thing",
        b"\xc3",
        b"\xff",
    ] {
        assert_eq!(
            cluster.master.find(needle),
            oracle(root, needle),
            "{needle:?}"
        );
    }
    let (_, status) = cluster.master.json("/status");
    let left_out: u64 = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["state"]["shards"][0]["rejected"].as_u64().unwrap())
        .sum();
    assert_eq!(left_out, 3, "{status}");
}

#[test]
fn bad_requests_get_a_status_and_a_reason() {
    let cluster = Cluster::start(2, |_| {});
    let long = format!("/?q={}", "a".repeat(20_000));
    let long_path = format!("/index?path=/tmp/{}", "a".repeat(5_000));
    for (target, expected) in [
        ("/", 400),
        ("/?q=", 400),
        ("/?other=1", 400),
        ("/index", 400),
        ("/index?path=", 400),
        ("/index?path=/no/such/folder", 404),
        ("/index?path=/etc/hostname", 400),
        ("/index?path=/etc/hostname/below", 404),
        ("/index?path=/etc%00", 404),
        (&long_path, 404),
        ("/isIndexed", 502),
        ("/?q=needle", 502),
        ("/nothing", 404),
        ("/search", 400),
        ("/search?q=", 400),
        ("/search?q=(&regex=true", 400),
        ("/search?q=(%5cw{100}){1000}&regex=true", 400),
        ("/search?q=a&path=[", 400),
        ("/search?q=a&limit=-1", 400),
        ("/search?q=a&limit=1000000", 400),
        ("/search?q=a&regex=perhaps", 400),
        ("/search?q=%ff", 400),
        (&long, 414),
    ] {
        let (status, body) = cluster.master.json(target);
        assert_eq!(
            (status, &body["success"]),
            (expected, &json!(false)),
            "{target}: {body}"
        );
        assert!(
            body["error"]
                .as_str()
                .is_some_and(|error| !error.is_empty() && !error.contains('\n')),
            "{target}: {body}"
        );
    }
    assert_eq!(cluster.master.json("/healthcheck").0, 200);
}

#[test]
fn a_browser_gets_the_page_and_a_program_does_not() {
    let cluster = Cluster::start(1, |_| {});
    let (status, page) = get(cluster.master.address, "/", "text/html,*/*");
    assert_eq!(status, 200);
    let page = String::from_utf8(page).unwrap();
    let assets: Vec<&str> = page
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert!(assets.len() >= 2, "{page}");
    for asset in assets {
        assert_eq!(get(cluster.master.address, asset, "*/*").0, 200, "{asset}");
    }
    assert_eq!(get(cluster.master.address, "/assets/other", "*/*").0, 404);
}

#[test]
fn an_unreadable_folder_stops_nothing() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(
        tree.path(),
        [("good", "needle\n"), ("locked/file", "needle\n")],
    );
    let locked = tree.path().join("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let may_read = fs::read_dir(&locked).is_ok();
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    let found = cluster.master.find(b"needle");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    if may_read {
        // The superuser reads everything.
        assert_eq!(found, ["good:1", "locked/file:1"]);
    } else {
        assert_eq!(found, ["good:1"]);
        let (_, status) = cluster.master.json("/status");
        assert_eq!(
            status["jobs"]["unreadable"],
            json!([["locked", "unreadable"]])
        );
    }
}

#[test]
fn large_answers_are_streamed_whole() {
    let tree = tempfile::tempdir().unwrap();
    for file in 0..40 {
        let lines: Vec<String> = (0..4000)
            .map(|line| format!("line {line} of {file}\n"))
            .collect();
        fs::write(tree.path().join(format!("file-{file}")), lines.concat()).unwrap();
    }
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    let (status, json) = cluster.master.json("/?q=line");
    assert_eq!(status, 200);
    // Lines of a file are in order even before sorting.
    let mut last = std::collections::HashMap::new();
    for item in json["results"].as_array().unwrap() {
        let (file, line) = item.as_str().unwrap().split_once(':').unwrap();
        let line: u32 = line.parse().unwrap();
        assert_eq!(line, last.insert(file.to_owned(), line).unwrap_or(0) + 1);
    }
    assert_eq!(results(&json).len(), 160_000);
    assert_eq!(cluster.master.find(b"3999 of 7"), ["file-7:4000"]);
}

#[test]
fn connections_are_kept_and_answers_come_in_turn() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("a", "one\ntwo\n")]);
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    let mut stream = TcpStream::connect(cluster.master.address).unwrap();
    stream
        .set_read_timeout(Some(crate::common::PATIENCE))
        .unwrap();
    for needle in ["one", "two", "three", "one"] {
        stream
            .write_all(format!("GET /?q={needle} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"]}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let lines = String::from_utf8(answer).unwrap().matches("a:").count();
        assert_eq!(lines, usize::from(needle != "three"), "{needle}");
    }
}

#[test]
fn the_needle_is_decoded() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("a", "x + y\n100% & more\n")]);
    let cluster = Cluster::start(1, |_| {});
    cluster.master.index(tree.path());
    for (query, found) in [
        ("x+%2B", true),
        ("x%20%2b", true),
        ("100%25", true),
        ("x+++y", false),
    ] {
        let (_, json) = cluster.master.json(&format!("/?q={query}"));
        assert_eq!(!results(&json).is_empty(), found, "{query}");
    }
    assert_eq!(cluster.master.find("100% & more".as_bytes()), ["a:2"]);
    assert_eq!(encode(b"a %"), "a%20%25");
}

//! One request, or one broken node, does not stop the others: budgets, and who may ask.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use common::{Cluster, encode, oracle, request, results, write_tree};
use level3::Endpoint;
use serde_json::{Value, json};
use tempfile::TempDir;

fn tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let files = (0..12).map(|at| (format!("file-{at:02}"), format!("needle {at}\nother\n")));
    write_tree(tree.path(), files);
    tree
}

#[test]
fn expressions_that_used_to_stop_the_master_are_answered_or_refused() {
    let tree = tree();
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    let nested = |depth: usize| format!("{}needle{}", "(?:".repeat(depth), ")+".repeat(depth));
    let letters: String = (0..8000_u32)
        .map(|at| char::from(b'a' + (at * at % 23) as u8))
        .collect();
    let expressions = |count: u32| {
        let each = (0..count).map(|at| format!(r"/\w{{60}}x{at}|needle/"));
        each.collect::<Vec<_>>().join(" ")
    };
    let (few, many) = (expressions(2), expressions(60));
    let braces = format!("{}a{}", "{".repeat(250), "}".repeat(250));
    for (target, expected) in [
        (
            format!("q={}&regex=true", encode(nested(22).as_bytes())),
            200,
        ),
        (
            format!("q={}&regex=true", encode(nested(40).as_bytes())),
            200,
        ),
        (
            format!("q={}&regex=true", encode(nested(120).as_bytes())),
            200,
        ),
        (format!("q={letters}&ignore_case=true"), 200),
        (format!("q=(?i){letters}&regex=true"), 200),
        (format!("q=a&path={}", encode(braces.as_bytes())), 400),
        (
            format!("q=a&path={}", encode("{a,b}".repeat(100).as_bytes())),
            200,
        ),
        ("q=(?:(?:a{1000}){1000}){1000}&regex=true".to_owned(), 400),
        ("q=%5cpL{1000}&regex=true".to_owned(), 400),
        // Each of them is within its budget.
        (format!("query={}", encode(many.as_bytes())), 400),
        (format!("query={}", encode(few.as_bytes())), 200),
    ] {
        let (status, json) = cluster.master.json(&format!("/search?{target}"));
        assert_eq!(status, expected, "{target}: {json}");
        assert!(json.get("partial").is_none(), "{json}");
        if status == 400 {
            let error = json["error"].as_str().unwrap();
            assert!(error.contains("too costly"), "{error}");
        } else if target.contains("needle") {
            assert_eq!(json["results"].as_array().unwrap().len(), 12, "{json}");
        }
    }
    assert_eq!(cluster.master.json("/healthcheck").0, 200);
}

/// An expression that is slow on this text however it is searched: each byte is a new state.
const SLOW: &str = "x|(?:a|b)(?:a|b){4000}[c]";

/// A first file that matches at once, and others that take for ever.
fn slow_tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("0-first", "x\n")]);
    let mut random = 1_u32;
    let mut letter = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if random >> 16 & 1 == 0 { 'a' } else { 'b' }
    };
    for at in 0..144 {
        let line: String = (0..500_000).map(|_| letter()).collect();
        write_tree(
            tree.path(),
            [(format!("line-{at}"), format!("{line}c\n{line}"))],
        );
    }
    tree
}

#[test]
fn a_search_ends_with_its_time_even_within_a_line_and_keeps_what_it_found() {
    let tree = slow_tree();
    // As by default, a node may be silent no longer than a search may take.
    let limit = Duration::from_secs(3);
    let cluster = Cluster::start(2, |config| {
        (config.search_time_limit, config.node_timeout) = (limit, limit);
    });
    cluster.master.index(tree.path());
    let (status, json) = cluster
        .master
        .json(&format!("/search?regex=true&q={}", encode(SLOW.as_bytes())));
    assert_eq!(
        (status, &json["timed_out"], &json["partial"]),
        (200, &json!(true), &json!(true)),
        "{json}"
    );
    assert_eq!(json["missing"], json!([]), "no node was silent");
    assert_eq!(json["results"][0]["file"], "0-first", "{}", json["missing"]);
}

#[test]
fn a_client_that_hangs_up_ends_the_work_on_the_nodes() {
    let tree = slow_tree();
    let cluster = Cluster::start(1, |config| {
        config.search_time_limit = common::PATIENCE * 60;
    });
    cluster.master.index(tree.path());
    let mut client = TcpStream::connect(cluster.master.address).unwrap();
    let query = encode(SLOW.as_bytes());
    let head = format!("GET /search?regex=true&q={query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let searching = |wanted: u64| {
        cluster.master.until("/status", |_, status| {
            status["nodes"][0]["state"]["searching"] == wanted
        });
    };
    searching(1);
    drop(client);
    searching(0);
}

/// Takes connections, and says nothing.
struct Mute {
    address: String,
    open: std::thread::JoinHandle<usize>,
}

impl Mute {
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = std::thread::spawn(move || {
            let mut open: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut start = [0; 1];
                if stream.read(&mut start).unwrap() == 1 && start == *b"!" {
                    break;
                }
                open.push(stream);
            }
            open.len()
        });
        Self { address, open }
    }

    fn stop(self) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"!").unwrap();
        self.open.join().unwrap();
    }
}

#[test]
fn a_frozen_node_costs_the_first_query_its_time_and_the_next_ones_nothing() {
    let tree = tree();
    let mut cluster = Cluster::start(2, |config| {
        config.node_timeout = Duration::from_millis(400);
        config.search_time_limit = Duration::from_millis(400);
    });
    cluster.master.index(tree.path());
    let Endpoint::Tcp(address) = cluster.config.nodes[1].clone() else {
        unreachable!()
    };
    cluster.stop_node(2);
    let mute = Mute::start(&address);
    let missing = |json: &Value| json["missing"][0].as_str().unwrap_or_default().to_owned();
    // Whoever notices first, a query or the keeper: from then on nobody waits for it any more.
    let (_, json) = cluster.master.json("/?q=needle");
    assert!(missing(&json).contains("shard 2"), "{json}");
    for target in ["/?q=needle", "/search?q=needle", "/?q=other"] {
        for _ in 0..50 {
            let (status, json) = cluster.master.json(target);
            assert_eq!((status, &json["partial"]), (200, &json!(true)), "{json}");
            assert!(missing(&json).ends_with("does not answer"), "{json}");
        }
    }
    mute.stop();
    cluster.start_node(2);
    let whole = cluster.master.until("/?q=needle", |status, json| {
        status == 200 && json.get("partial").is_none()
    });
    assert_eq!(results(&whole), oracle(tree.path(), b"needle"));
}

#[test]
fn a_file_of_a_node_that_answers_does_not_wait_for_one_that_is_frozen() {
    let tree = tree();
    // For longer than the test waits.
    let mut cluster = Cluster::start(2, |config| config.node_timeout = Duration::from_hours(1));
    cluster.master.index(tree.path());
    let Endpoint::Tcp(address) = cluster.config.nodes[1].clone() else {
        unreachable!()
    };
    cluster.stop_node(2);
    let (_, json) = cluster.master.json("/?q=needle");
    let held = results(&json);
    assert!(!held.is_empty() && held.len() < oracle(tree.path(), b"needle").len());
    let mute = Mute::start(&address);
    for place in held {
        let path = place.split(':').next().unwrap();
        let (status, text) = cluster.master.get(&format!("/file?path={path}"));
        assert_eq!(status, 200);
        assert_eq!(text, std::fs::read(tree.path().join(path)).unwrap());
    }
    mute.stop();
}

#[test]
fn a_folder_does_not_wait_for_a_node_that_is_frozen() {
    let tree = tree();
    // For longer than the test waits.
    let mut cluster = Cluster::start(2, |config| config.node_timeout = Duration::from_hours(1));
    cluster.master.index(tree.path());
    let Endpoint::Tcp(address) = cluster.config.nodes[1].clone() else {
        unreachable!()
    };
    let files = |json: &Value| json["files"].as_array().unwrap().len();
    let (status, whole) = cluster.master.json("/tree");
    assert_eq!((status, whole.get("partial")), (200, None), "{whole}");
    assert_eq!(files(&whole), 12);
    cluster.stop_node(2);
    let mute = Mute::start(&address);
    for _ in 0..2 {
        let (status, json) = cluster.master.json("/tree");
        assert_eq!((status, &json["partial"]), (200, &json!(true)), "{json}");
        assert!(files(&json) > 0 && files(&json) < 12, "{json}");
        let missing = json["missing"][0].as_str().unwrap();
        assert!(missing.contains("shard 2"), "{json}");
    }
    // A file that may be on the silent node is missing, and nobody says that there is none.
    let (status, json) = cluster.master.json("/file?path=nowhere");
    assert_eq!(status, 502, "{json}");
    assert!(
        json["error"].as_str().unwrap().contains("shard 2"),
        "{json}"
    );
    mute.stop();
}

#[test]
fn pages_beyond_the_first_are_what_comes_next() {
    let tree = tempfile::tempdir().unwrap();
    let files = (0..30).map(|at| (format!("file-{at:02}"), "needle\nno\n".repeat(at % 7)));
    write_tree(tree.path(), files);
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(tree.path());
    let places = |json: &Value| -> Vec<String> {
        let hits = json["results"].as_array().unwrap();
        hits.iter()
            .map(|hit| format!("{}:{}", hit["file"].as_str().unwrap(), hit["line"]))
            .collect()
    };
    let (_, all) = cluster.master.json("/search?q=needle");
    assert_eq!(places(&all).len(), oracle(tree.path(), b"needle").len());
    let mut paged = Vec::new();
    loop {
        let target = format!("/search?q=needle&limit=4&offset={}", paged.len());
        let (status, json) = cluster.master.json(&target);
        assert_eq!(status, 200, "{json}");
        paged.extend(places(&json));
        if json["more"] == json!(false) {
            break;
        }
        assert_eq!(places(&json).len(), 4);
    }
    assert_eq!(paged, places(&all));
}

#[test]
fn what_is_too_long_gets_a_status_and_a_reason() {
    let cluster = Cluster::start(1, |_| {});
    for length in [20_000, 70_000, 300_000, 2_000_000] {
        let target = format!("/?q={}", "a".repeat(length));
        let answer = request(cluster.master.address, "GET", &target, &[]);
        assert!(
            [414, 431].contains(&answer.status),
            "{length}: {}",
            answer.status
        );
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["success"], json!(false), "{json}");
        assert!(json["error"].as_str().unwrap().contains("long"), "{json}");
    }
}

#[test]
fn other_peoples_pages_are_kept_out() {
    let tree = tree();
    let cluster = Cluster::start(1, |config| {
        config.allow_hosts = vec!["code.example".to_owned()];
    });
    let address = cluster.master.address;
    let index = format!(
        "/index?path={}",
        encode(tree.path().to_str().unwrap().as_bytes())
    );
    let own = address.to_string();
    let own_origin = format!("http://{own}");
    let ask = |method: &str, target: &str, headers: &[(&str, &str)]| {
        let answer = request(address, method, target, headers);
        assert_eq!(
            answer.header("x-content-type-options").as_deref(),
            Some("nosniff")
        );
        answer.status
    };
    // A name that an attacker has resolve to this host.
    assert_eq!(
        ask("GET", "/?q=needle", &[("Host", "evil.example:9090")]),
        403
    );
    assert_eq!(ask("GET", &index, &[("Host", "evil.example:9090")]), 403);
    // An image, a form and a form without a referrer on a page of another site.
    let cross = ("Sec-Fetch-Site", "cross-site");
    let image = [
        cross,
        ("Sec-Fetch-Mode", "no-cors"),
        ("Sec-Fetch-Dest", "image"),
    ];
    assert_eq!(ask("GET", &index, &image), 403);
    assert_eq!(
        ask("GET", &index, &[("Referer", "http://evil.example/")]),
        403
    );
    assert_eq!(
        ask("POST", &index, &[("Origin", "http://evil.example"), cross]),
        403
    );
    assert_eq!(ask("POST", &index, &[("Origin", "null")]), 403);
    assert_eq!(
        ask(
            "GET",
            "/search?q=needle",
            &[("Origin", "http://evil.example")]
        ),
        403
    );
    let (_, status) = cluster.master.json("/status");
    assert_eq!(
        status["jobs"]["root"],
        Value::Null,
        "none of these has set off indexing"
    );
    // Our own page, and a program.
    let page = [
        ("Host", own.as_str()),
        ("Origin", &own_origin),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    assert_eq!(ask("POST", &index, &page), 200);
    assert_eq!(ask("GET", &index, &[]), 200);
    assert_eq!(ask("GET", "/status", &[("Host", "code.example")]), 200);
    assert_eq!(ask("DELETE", "/index", &[]), 405);
}

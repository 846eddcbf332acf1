//! Several roots: each is indexed, answered from, followed and removed by itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{Cluster, Master, encode, oracle, request, results, write_tree};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// Files whose text names them; they spread over all shards.
fn tree(name: &str, files: usize) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let file = |at| {
        (
            format!("src/{name}-{at}.c"),
            format!("needle {name} {at}\n"),
        )
    };
    write_tree(tree.path(), (0..files).map(file));
    tree
}

/// Indexes a folder under a name and waits until it is ready.
fn index(master: &Master, path: &Path, name: &str) {
    let path = encode(path.to_str().unwrap().as_bytes());
    let (status, json) = master.json(&format!("/index?path={path}&name={name}"));
    assert_eq!((status, &json), (200, &json!({"success": true})));
    let ready = format!("/isIndexed?name={name}");
    master.until(&ready, |status, _| status == 200);
}

/// Root and file of each result, in their order.
fn places(json: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hits = json["results"].as_array().unwrap().iter();
    hits.map(|hit| (text(&hit["root"]), text(&hit["file"])))
        .collect()
}

/// The answer to a query, which must be whole.
fn search(master: &Master, query: &str) -> Value {
    let (status, json) = master.json(&format!("/search?{query}"));
    assert_eq!(status, 200, "{query}: {json}");
    assert!(json.get("partial").is_none(), "{query}: {json}");
    json
}

fn delete(master: &Master, target: &str) -> (u16, Value) {
    let answer = request(master.address, "DELETE", target, &[]);
    let json = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, json)
}

fn names(master: &Master) -> Vec<String> {
    let (_, json) = master.json("/roots");
    let roots = json["roots"].as_array().unwrap().iter();
    roots
        .map(|root| root["name"].as_str().unwrap().to_owned())
        .collect()
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: still not");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn queries_ask_all_roots_or_those_that_they_name() {
    let (plain, linux, bsd) = (tree("plain", 3), tree("linux", 5), tree("bsd", 4));
    let cluster = Cluster::start(2, |_| {});
    let master = &cluster.master;
    master.index(plain.path());
    index(master, linux.path(), "linux");
    index(master, bsd.path(), "bsd");
    // The contract knows the unnamed root only.
    assert_eq!(master.find(b"needle"), oracle(plain.path(), b"needle"));
    assert_eq!(places(&search(master, "q=needle")).len(), 3);
    for (query, expected) in [
        ("needle", &["", "bsd", "linux"][..]),
        ("needle root:linux", &["linux"]),
        ("needle root:l*,BSD", &["bsd", "linux"]),
        ("needle -root:linux", &["", "bsd"]),
        ("needle root:\"\"", &[""]),
        ("file:-1 root:bsd", &["bsd"]),
    ] {
        let query = format!("query={}", encode(query.as_bytes()));
        let mut roots: Vec<_> = places(&search(master, &query))
            .into_iter()
            .map(|(root, _)| root)
            .collect();
        roots.dedup();
        assert_eq!(roots, expected, "{query}");
    }
    let whole = search(master, "query=needle&count=true");
    let counts = json!([{"name": "linux", "count": 5}, {"name": "bsd", "count": 4}, {"name": "", "count": 3}]);
    assert_eq!(whole["facets"]["roots"], counts, "{whole}");
    assert_eq!(whole["totals"]["lines"], json!(12), "{whole}");
    // Pages of all sizes are parts of the whole, in the order of roots and paths.
    let whole = places(&whole);
    assert!(whole.is_sorted());
    for limit in [1, 2, 5, 12] {
        for offset in [0, 1, 3, 4, 7, 11, 12] {
            let page = search(
                master,
                &format!("query=needle&limit={limit}&offset={offset}"),
            );
            let expected: Vec<_> = whole.iter().skip(offset).take(limit).cloned().collect();
            assert_eq!(places(&page), expected, "{offset} {limit}");
            assert_eq!(
                page["more"],
                json!(offset + limit < 12),
                "{offset} {limit}: {page}"
            );
        }
    }
    let best = places(&search(master, "query=linux-2&sort=best"));
    assert!(
        best.is_empty(),
        "the name of a file is no text of it: {best:?}"
    );
    assert_eq!(
        master.get("/file?root=bsd&path=src/bsd-1.c"),
        (200, b"needle bsd 1\n".to_vec())
    );
    assert_eq!(master.json("/file?root=linux&path=src/bsd-1.c").0, 404);
    assert_eq!(
        master.json("/tree?root=linux&path=src").1["files"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(names(master), ["", "bsd", "linux"]);
    let (_, one) = master.json("/roots/linux");
    let path = linux.path().canonicalize().unwrap();
    assert_eq!(
        (&one["path"], &one["indexing"]),
        (&json!(path), &json!(false)),
        "{one}"
    );
}

#[test]
fn what_is_wrong_with_a_name_is_said() {
    let tree = tree("a", 2);
    let cluster = Cluster::start(1, |_| {});
    let master = &cluster.master;
    index(master, tree.path(), "linux");
    let path = encode(tree.path().to_str().unwrap().as_bytes());
    for name in ["", "..", "a%2fb", ".git", "%ff", &"x".repeat(65), "a%20b"] {
        let (status, json) = master.json(&format!("/index?path={path}&name={name}"));
        assert_eq!(
            (status, &json["success"]),
            (400, &json!(false)),
            "{name}: {json}"
        );
        assert!(json["error"].as_str().unwrap().contains("name"), "{json}");
    }
    assert_eq!(master.json(&format!("/index?path={path}&ignore=hg")).0, 400);
    for (target, expected) in [
        ("/roots/nowhere", 404),
        ("/roots/a%2fb", 400),
        ("/roots/%ff", 400),
        ("/roots/", 400),
        ("/roots", 400),
        ("/roots/linux/more", 404),
    ] {
        let (status, json) = delete(master, target);
        assert_eq!(
            (status, &json["success"]),
            (expected, &json!(false)),
            "{target}: {json}"
        );
        assert!(
            json["error"]
                .as_str()
                .is_some_and(|error| !error.is_empty()),
            "{json}"
        );
    }
    for target in [
        "/roots/nowhere",
        "/isIndexed?name=nowhere",
        "/file?path=a&root=nowhere",
    ] {
        assert_eq!(master.json(target).0, 404, "{target}");
    }
    // Without an unnamed root, the contract's queries have nothing to answer from.
    assert_eq!(master.json("/?q=needle").0, 502);
    assert_eq!(master.json("/isIndexed").0, 502);
    let (status, json) = master.json("/search?query=needle%20root:bsd");
    assert_eq!((status, &json["position"]), (400, &json!(12)), "{json}");
    assert!(json["error"].as_str().unwrap().contains("linux"), "{json}");
    // A page of someone else's removes nothing.
    for mark in [
        ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
    ] {
        let answer = request(master.address, "DELETE", "/roots/linux", &[mark]);
        assert_eq!(answer.status, 403, "{mark:?}");
    }
    assert_eq!(
        request(master.address, "POST", "/roots/linux", &[]).status,
        405
    );
    assert_eq!(names(master), ["linux"]);
    assert_eq!(
        search(master, "query=needle")["results"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_removed_root_is_gone_from_answers_and_disks_even_if_a_node_was_away() {
    let (plain, linux, data) = (
        tree("plain", 4),
        tree("linux", 4),
        tempfile::tempdir().unwrap(),
    );
    let mut cluster = Cluster::start(2, |config| config.data = Some(data.path().join("master")));
    cluster.master.index(plain.path());
    index(&cluster.master, linux.path(), "linux");
    let folder = |cluster: &Cluster, node| cluster.node_dir(node).join("root-linux");
    assert!(folder(&cluster, 1).exists() && folder(&cluster, 2).exists());
    cluster.stop_node(2);
    assert_eq!(
        delete(&cluster.master, "/roots/linux"),
        (200, json!({"success": true}))
    );
    assert_eq!(delete(&cluster.master, "/roots/linux").0, 404);
    assert_eq!(names(&cluster.master), [""]);
    eventually("removed from node 1", || !folder(&cluster, 1).exists());
    // A new master knows of it, and so the node that comes back does not bring it back.
    cluster.master = Master::start(cluster.config.clone());
    assert!(folder(&cluster, 2).exists());
    cluster.start_node(2);
    eventually("removed from node 2", || !folder(&cluster, 2).exists());
    assert_eq!(names(&cluster.master), [""]);
    assert_eq!(
        cluster.master.find(b"needle"),
        oracle(plain.path(), b"needle")
    );
    // The name can be used again, for another folder.
    let bsd = tree("bsd", 3);
    index(&cluster.master, bsd.path(), "linux");
    let found = places(&search(&cluster.master, "query=needle+root:linux"));
    assert_eq!(found.len(), 3);
    assert!(
        found.iter().all(|(_, file)| file.starts_with("src/bsd")),
        "{found:?}"
    );
}

/// What is known of a removal is known to the nodes, whoever comes back first.
#[test]
fn a_removed_root_stays_removed_though_the_master_keeps_nothing() {
    let (plain, linux) = (tree("plain", 4), tree("linux", 4));
    for is_first in [false, true] {
        let mut cluster = Cluster::start(2, |_| {});
        cluster.master.index(plain.path());
        index(&cluster.master, linux.path(), "linux");
        let folder = |cluster: &Cluster, node| cluster.node_dir(node).join("root-linux");
        cluster.stop_node(2);
        assert_eq!(delete(&cluster.master, "/roots/linux").0, 200);
        eventually("removed from node 1", || !folder(&cluster, 1).exists());
        cluster.stop_node(1);
        cluster.master = Master::start(cluster.config.clone());
        if is_first {
            // The node that was away is the only one that can be asked, so it is believed.
            cluster.start_node(2);
            eventually("taken over", || names(&cluster.master) == ["", "linux"]);
            cluster.start_node(1);
        } else {
            cluster.start_node(1);
            eventually("taken over", || names(&cluster.master) == [""]);
            cluster.start_node(2);
        }
        eventually("removed from node 2", || !folder(&cluster, 2).exists());
        eventually("removed", || names(&cluster.master) == [""]);
        cluster
            .master
            .until("/isIndexed", |status, _| status == 200);
        assert_eq!(
            cluster.master.find(b"needle"),
            oracle(plain.path(), b"needle")
        );
        // Asked for again, it stays, whatever the nodes remember.
        index(&cluster.master, linux.path(), "linux");
        let state = cluster.master.json("/roots/linux").1["state"].clone();
        cluster.master = Master::start(cluster.config.clone());
        assert_eq!(places(&search(&cluster.master, "query=needle")).len(), 8);
        assert_eq!(cluster.master.json("/roots/linux").1["state"], state);
    }
}

#[test]
fn roots_outlive_masters_and_nodes() {
    let (plain, linux) = (tree("plain", 4), tree("linux", 6));
    let mut cluster = Cluster::start(2, |_| {});
    cluster.master.index(plain.path());
    index(&cluster.master, linux.path(), "linux");
    let all = places(&search(&cluster.master, "query=needle"));
    let state = |master: &Master| master.json("/roots/linux").1["state"].clone();
    let before = state(&cluster.master);
    // A master without a data folder learns of them from the nodes, at the first question.
    cluster.master = Master::start(cluster.config.clone());
    assert_eq!(places(&search(&cluster.master, "query=needle")), all);
    assert_eq!(state(&cluster.master), before);
    // A dead node leaves a gap in each of them, which says whose it is.
    cluster.stop_node(2);
    let (status, json) = cluster.master.json("/search?query=needle");
    assert_eq!((status, &json["partial"]), (200, &json!(true)), "{json}");
    let missing = json["missing"].to_string();
    assert!(
        missing.contains("shard 2: ") && missing.contains("shard 2 of root linux: "),
        "{missing}"
    );
    // One that is added now waits for the node, and the others do not wait for it.
    let path = encode(plain.path().to_str().unwrap().as_bytes());
    assert_eq!(
        cluster
            .master
            .json(&format!("/index?path={path}&name=late"))
            .0,
        200
    );
    let (status, json) = cluster.master.json("/search?query=needle");
    assert_eq!(status, 200, "{json}");
    assert!(
        json["missing"].to_string().contains("root late: indexing"),
        "{json}"
    );
    // All of it comes back with the node, even with its disk gone.
    fs::remove_dir_all(cluster.node_dir(2)).unwrap();
    cluster.start_node(2);
    for name in ["linux", "late"] {
        let ready = format!("/isIndexed?name={name}");
        cluster.master.until(&ready, |status, _| status == 200);
    }
    cluster
        .master
        .until("/isIndexed", |status, _| status == 200);
    let now = places(&search(&cluster.master, "query=needle+-root:late"));
    assert_eq!(now, all);
    assert_eq!(
        places(&search(&cluster.master, "query=needle+root:late")).len(),
        4
    );
}

#[test]
fn each_root_is_followed_by_itself() {
    let (plain, linux) = (tree("plain", 2), tree("linux", 2));
    let cluster = Cluster::start(1, |config| {
        config.watch = true;
        config.watch_settle = Duration::from_millis(20);
        config.poll_every = Duration::from_millis(200);
    });
    let master = &cluster.master;
    master.index(plain.path());
    index(master, linux.path(), "linux");
    for round in 0..3 {
        for (tree, query) in [(&plain, "root:\"\""), (&linux, "root:linux")] {
            let token = format!("token{round}");
            fs::write(tree.path().join("src/new"), &token).unwrap();
            let target = format!(
                "/search?query={}",
                encode(format!("{token} {query}").as_bytes())
            );
            master.until(&target, |status, json| {
                status == 200
                    && json["results"]
                        .as_array()
                        .is_some_and(|hits| hits.len() == 1)
            });
        }
    }
    // A root that was removed is not followed back into being.
    assert_eq!(delete(master, "/roots/linux").0, 200);
    fs::write(linux.path().join("src/new"), "after").unwrap();
    fs::write(plain.path().join("src/new"), "after").unwrap();
    let seen = master.until("/search?query=after", |status, json| {
        status == 200
            && json["results"]
                .as_array()
                .is_some_and(|hits| !hits.is_empty())
    });
    assert_eq!(places(&seen), [(String::new(), "src/new".to_owned())]);
    assert_eq!(names(master), [""]);
}

/// A number below `bound`, by SplitMix64.
fn below(random: &mut u64, bound: u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *random;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) % bound
}

#[test]
fn random_changes_of_roots_change_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(2, |_| {});
    let master = &cluster.master;
    let mut random = 7;
    // What each root was when it was indexed last: its files with a token.
    let mut indexed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let folder = |at: u64| dir.path().join(format!("folder-{at}"));
    for at in 0..3 {
        write_tree(&folder(at), [("a/file", "token\n")]);
    }
    for round in 0..60 {
        let name = ["", "a", "b-1"][below(&mut random, 3) as usize];
        let at = below(&mut random, 3);
        match below(&mut random, 5) {
            0 => {
                let file = folder(at).join(format!("a/{}", below(&mut random, 6)));
                drop(fs::remove_file(file));
            }
            1 | 2 => {
                let file = format!("a/{}", below(&mut random, 6));
                write_tree(&folder(at), [(file, format!("token {round}\n"))]);
            }
            3 if !name.is_empty() => {
                let expected = if indexed.remove(name).is_some() {
                    200
                } else {
                    404
                };
                assert_eq!(delete(master, &format!("/roots/{name}")).0, expected);
            }
            _ if name.is_empty() => {
                master.index(&folder(at));
                indexed.insert(name, oracle(&folder(at), b"token"));
            }
            _ => {
                index(master, &folder(at), name);
                indexed.insert(name, oracle(&folder(at), b"token"));
            }
        }
        assert_eq!(names(master), indexed.keys().copied().collect::<Vec<_>>());
        if indexed.is_empty() {
            continue;
        }
        let mut expected: Vec<(String, String)> = Vec::new();
        for (name, files) in &indexed {
            let path = |place: &String| place.split(':').next().unwrap().to_owned();
            expected.extend(files.iter().map(|place| ((*name).to_owned(), path(place))));
        }
        expected.sort();
        assert_eq!(
            places(&search(master, "query=token")),
            expected,
            "round {round}"
        );
        if let Some(files) = indexed.get("") {
            assert_eq!(
                results(&master.json("/?q=token").1),
                *files,
                "round {round}"
            );
        }
    }
}

#[test]
fn a_work_tree_shows_what_is_checked_out_and_leaves_out_what_git_ignores() {
    let tree = tree("a", 3);
    let one = "1111111111111111111111111111111111111111\n";
    write_tree(
        tree.path(),
        [
            (".git/HEAD", "ref: refs/heads/main\n"),
            (".git/refs/heads/main", one),
            (".gitignore", "*.log\nbuild/\n"),
            ("x.log", "needle\n"),
            ("build/out", "needle\n"),
        ],
    );
    let cluster = Cluster::start(2, |config| {
        config.watch = true;
        config.watch_settle = Duration::from_millis(20);
        config.poll_every = Duration::from_millis(200);
    });
    let master = &cluster.master;
    index(master, tree.path(), "all");
    index(master, tree.path(), "tracked&ignore=git");
    let found = |name: &str| places(&search(master, &format!("query=needle+root:{name}"))).len();
    assert_eq!((found("all"), found("tracked")), (5, 3));
    let root = |name: &str| master.json(&format!("/roots/{name}")).1;
    assert_eq!(root("tracked")["ignore"], json!("git"));
    for name in ["all", "tracked"] {
        assert_eq!(root(name)["branch"], json!("main"));
        assert_eq!(root(name)["commit"], json!(one.trim()));
    }
    // Rules and commits are followed too.
    fs::write(tree.path().join(".gitignore"), "*.log\n").unwrap();
    fs::write(tree.path().join(".git/HEAD"), "ref: refs/heads/topic\n").unwrap();
    master.until("/search?query=needle+root:tracked", |status, json| {
        status == 200
            && json["results"]
                .as_array()
                .is_some_and(|hits| hits.len() == 4)
    });
    master.until("/roots/tracked", |_, root| {
        root["branch"] == json!("topic") && root["commit"].is_null()
    });
}

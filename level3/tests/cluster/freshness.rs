//! Answers are never silently stale, and come from one state of one tree: random changes, of the
//! kinds that times of files do not show, against reading every file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{Cluster, encode, oracle, request, results, write_tree};
use serde_json::Value;
use tempfile::TempDir;

/// A tree that changes, and what it changes with.
struct Tree {
    dir: TempDir,
    /// SplitMix64: a failure is repeated by running the test again.
    random: u64,
    version: u32,
}

impl Tree {
    fn new(seed: u64) -> Self {
        let tree = Self {
            dir: tempfile::tempdir().unwrap(),
            random: seed,
            version: 0,
        };
        fs::create_dir_all(tree.root().join("a")).unwrap();
        fs::create_dir_all(tree.dir.path().join("root.new/b")).unwrap();
        tree
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }

    /// Some file; its folder is there.
    fn file(&mut self) -> PathBuf {
        let root = if self.below(4) == 0 {
            "root.new"
        } else {
            "root"
        };
        let folder = ["a", "b", "a/deep"][self.below(3) as usize];
        let folder = self.dir.path().join(root).join(folder);
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("file-{}", self.below(4)))
    }

    /// Text of the same size as any other, and different from all of them.
    fn text(&mut self) -> String {
        self.version += 1;
        format!("token-{:08}\n", self.version)
    }

    /// Swaps two things by renaming them.
    fn swap(&self, one: &Path, other: &Path) {
        let aside = self.dir.path().join("aside");
        if one.exists() && other.exists() && !one.starts_with(other) && !other.starts_with(one) {
            fs::rename(one, &aside).unwrap();
            fs::rename(other, one).unwrap();
            fs::rename(&aside, other).unwrap();
        }
    }

    fn change(&mut self) {
        let (root, dir) = (self.root(), self.dir.path().to_owned());
        match self.below(9) {
            // Twice within one tick of the clock.
            0 | 1 => {
                let path = self.file();
                for _ in 0..2 {
                    fs::write(&path, self.text()).unwrap();
                }
            }
            // With the time of its last change set back.
            2 => {
                let path = self.file();
                let before = fs::metadata(&path).and_then(|meta| meta.modified());
                fs::write(&path, self.text()).unwrap();
                if let Ok(before) = before {
                    let file = fs::File::options().write(true).open(&path).unwrap();
                    file.set_modified(before).unwrap();
                }
            }
            3 => {
                let (one, other) = (self.file(), self.file());
                self.swap(&one, &other);
            }
            4 => self.swap(&root.join("a"), &root.join("b")),
            5 => self.swap(&root, &dir.join("root.new")),
            6 => drop(fs::remove_file(self.file())),
            7 => {
                fs::remove_dir_all(&root).unwrap();
                fs::create_dir_all(root.join("b")).unwrap();
                let path = root.join("b/file-1");
                fs::write(path, self.text()).unwrap();
            }
            _ => drop(fs::remove_dir_all(root.join("b"))),
        }
    }

    fn change_some(&mut self) {
        for _ in 0..=self.below(3) {
            self.change();
        }
    }

    /// Files and their text, as they are.
    fn expected(&self) -> Vec<String> {
        let root = self.root();
        let places = oracle(&root, b"token-");
        let text = |place: String| {
            let path = place.split(':').next().unwrap();
            let text = fs::read_to_string(root.join(path)).unwrap();
            format!("{path} {}", text.trim_end())
        };
        places.into_iter().map(text).collect()
    }
}

/// Files and their text, as they are found.
fn found(json: &Value) -> Vec<String> {
    let hits = json["results"].as_array().unwrap();
    let hit = |hit: &Value| {
        let (file, text) = (hit["file"].as_str().unwrap(), hit["text"].as_str().unwrap());
        format!("{file} {text}")
    };
    let mut found: Vec<String> = hits.iter().map(hit).collect();
    found.sort();
    found
}

#[test]
fn indexing_again_sees_every_change() {
    let cluster = Cluster::start(2, |_| {});
    let mut tree = Tree::new(1);
    for round in 0..600 {
        tree.change_some();
        cluster.master.index(&tree.root());
        let (_, json) = cluster.master.json("/search?q=token-");
        assert_eq!(found(&json), tree.expected(), "round {round}: {json}");
    }
}

/// Follows changes for some rounds without ever asking for the tree to be indexed again.
/// The tree comes along, since a status is one of a folder that is still there.
fn follow(seed: u64, rounds: usize, watch_limit: usize) -> (Cluster, Tree) {
    let cluster = Cluster::start(2, |config| {
        config.watch = true;
        config.watch_limit = watch_limit;
        config.watch_settle = Duration::from_millis(1);
        config.poll_every = Duration::from_millis(20);
    });
    let mut tree = Tree::new(seed);
    cluster.master.index(&tree.root());
    for _ in 0..rounds {
        tree.change_some();
        let expected = tree.expected();
        cluster.master.until("/search?q=token-", |status, json| {
            status == 200 && found(json) == expected
        });
    }
    (cluster, tree)
}

#[test]
fn watching_sees_every_change() {
    let (cluster, _tree) = follow(2, 200, usize::MAX);
    let (_, status) = cluster.master.json("/status");
    assert_eq!(status["watch"]["polled"], 0, "{status}");
}

#[test]
fn polling_where_folders_cannot_be_watched_sees_every_change() {
    let (cluster, _tree) = follow(3, 200, 1);
    cluster.master.until("/status", |_, status| {
        status["watch"]["polled"].as_u64().unwrap() > 0
            && status["watch"]["polled_folders"][0].is_string()
            && status["watch"]["reason"].is_string()
    });
}

#[test]
fn an_answer_is_of_one_tree_and_names_its_state() {
    let trees = ["one", "two"].map(|name| {
        let tree = tempfile::tempdir().unwrap();
        let files = (0..12).map(|at| (format!("{name}-{at}"), "needle\n"));
        write_tree(tree.path(), files);
        tree
    });
    let cluster = Cluster::start(3, |_| {});
    cluster.master.index(trees[0].path());
    let expected = [0, 1].map(|at: usize| oracle(trees[at].path(), b"needle"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut of_tree = std::collections::HashMap::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = request(cluster.master.address, "GET", "/?q=needle", &[]);
                let json: Value = serde_json::from_slice(&answer.body).unwrap();
                let found = results(&json);
                let tree = expected.iter().position(|expected| *expected == found);
                let tree = tree.unwrap_or_else(|| panic!("a mixture: {json}"));
                // A state is of one tree for ever.
                let state = answer.header("x-level3-state").unwrap();
                assert_eq!(*of_tree.entry(state).or_insert(tree), tree);
            }
            of_tree.len()
        });
        for round in 0..30 {
            cluster.master.index(trees[(round + 1) % 2].path());
            let (_, json) = cluster.master.json("/search?q=needle");
            let root = trees[(round + 1) % 2].path().canonicalize().unwrap();
            assert_eq!(json["root"].as_str(), root.to_str(), "{json}");
            assert!(json["state"].is_string(), "{json}");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > 1);
    });
}

/// It would find its own index, and then the index of that, for ever.
#[test]
fn the_data_folder_is_never_indexed() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("file", "needle\n")]);
    let data = tree.path().join("data");
    let cluster = Cluster::start_in(&data, 2, |config| config.data = Some(data.join("master")));
    for _ in 0..3 {
        cluster.master.index(tree.path());
        let (_, json) = cluster
            .master
            .json(&format!("/search?q={}", encode(b"needle")));
        assert_eq!(found(&json), ["file needle"]);
        let (_, json) = cluster.master.json("/search?q=manifest");
        assert_eq!(found(&json), Vec::<String>::new());
    }
}

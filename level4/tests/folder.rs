//! A node's folder is whole or refused: whatever is missing, empty, zeroed or cut in it, the node either
//! has everything that was acknowledged, or ends with one line that says what is wrong and what to do.
//! Never does it found a second cluster, and never does it start with less.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Node;
use level4::consensus::Persist;
use level4::ids::{Index, Term};
use level4::log::{Disk as _, Log, snapshot};
use level4::simulation::SimulatedDisk;
use raft::Storage as _;
use raft::eraftpb::{ConfState, Entry, HardState};

/// What can happen to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    None,
    Missing,
    Empty,
    Zeroed,
    Cut,
}

const DAMAGES: [Damage; 5] = [
    Damage::None,
    Damage::Missing,
    Damage::Empty,
    Damage::Zeroed,
    Damage::Cut,
];

impl Damage {
    /// What is left of a file; `None`: nothing.
    fn apply(self, content: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(content.to_vec()),
            Self::Missing => None,
            Self::Empty => Some(Vec::new()),
            Self::Zeroed => Some(vec![0; content.len()]),
            Self::Cut => Some(content[..content.len() / 2].to_vec()),
        }
    }
}

const LAST: u64 = 16;
const SNAPSHOT: u64 = 6;

/// A log of several small segments, behind a snapshot.
fn log() -> SimulatedDisk {
    let (mut log, _) = Log::open_with(SimulatedDisk::default(), 4096).unwrap();
    log.begin().unwrap();
    for index in 1..=LAST {
        let entry = Entry {
            index,
            term: 1,
            data: vec![index as u8; 700].into(),
            ..Entry::default()
        };
        let hard_state = HardState {
            term: 1,
            commit: index,
            ..HardState::default()
        };
        log.append(&[Persist {
            entries: vec![entry],
            hard_state: Some(hard_state),
            ..Persist::default()
        }])
        .unwrap();
        if index == SNAPSHOT + 2 {
            let state = vec![5; 300].into();
            let at = Index::new(SNAPSHOT);
            let snapshot = snapshot::assemble(at, Term::new(1), ConfState::default(), state);
            log.save_snapshot(&snapshot).unwrap();
            log.compact(at).unwrap();
        }
    }
    log.into_disk()
}

#[test]
fn every_combination_of_damage_to_the_log_is_recovered_from_or_refused() {
    let whole = log();
    let files = whole.list().unwrap();
    assert!(files.len() >= 4, "{files:?}");
    let combinations = DAMAGES.len().pow(files.len() as u32);
    let (mut recovered, mut refused) = (0, 0);
    for combination in 0..combinations {
        let mut disk = whole.clone();
        let mut story = Vec::new();
        let mut rest = combination;
        for file in &files {
            let damage = DAMAGES[rest % DAMAGES.len()];
            rest /= DAMAGES.len();
            let left = damage.apply(&whole.read(file).unwrap());
            disk.replace(file, left);
            story.push((file, damage));
        }
        match Log::open_with(disk, 4096) {
            // The node says that it had a log.
            Ok((_, found)) if found.is_new => {
                assert!(found.snapshot.is_none());
                refused += 1;
            }
            Ok((_, found)) => {
                let base = found.log.first_index().unwrap() - 1;
                let has_base = found.snapshot.map_or(0, |s| s.get_metadata().index) == base;
                let last = found.log.last_index().unwrap();
                assert!(has_base && last == LAST, "{last} after {story:?}");
                assert!(base == SNAPSHOT || base == 0, "{base} after {story:?}");
                recovered += 1;
            }
            Err(error) => {
                let line = error.to_string();
                assert!(line.contains("restore"), "{line}");
                refused += 1;
            }
        }
    }
    assert!(recovered >= 1 && refused > combinations / 2);
}

/// How a node ends that does not start from `folder`; `None`: it starts.
fn refusal(folder: &Path) -> Option<String> {
    refusal_with(folder, &[])
}

fn refusal_with(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_level4"))
        .args(arguments)
        .args(["-l", "127.0.0.1:0", "-d"])
        .arg(folder)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    if line.contains("listens at") {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    Some(String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_founder_with_a_damaged_folder_never_founds_a_second_cluster() {
    let root = tempfile::tempdir().unwrap();
    let original = root.path().join("original");
    let mut node = Node::start(&original, "127.0.0.1:0", None);
    node.sql("CREATE TABLE t (a)");
    node.sql("INSERT INTO t VALUES (1), (2), (3)");
    node.kill();
    let log_file = "log/log-00000000000000000001";
    for node_file in DAMAGES {
        for log in DAMAGES {
            for whole_log_folder in [false, true] {
                let folder = root.path().join("case");
                let _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(folder.join("log")).unwrap();
                for (file, damage) in [("node", node_file), (log_file, log)] {
                    let content = fs::read(original.join(file)).unwrap();
                    if let Some(left) = damage.apply(&content) {
                        fs::write(folder.join(file), left).unwrap();
                    }
                }
                if whole_log_folder {
                    fs::remove_dir_all(folder.join("log")).unwrap();
                }
                let story = format!("node {node_file:?}, log {log:?}, folder {whole_log_folder}");
                let nothing_left =
                    node_file == Damage::Missing && (whole_log_folder || log == Damage::Missing);
                let is_whole =
                    node_file == Damage::None && log == Damage::None && !whole_log_folder;
                if is_whole {
                    let node = Node::start(&folder, "127.0.0.1:0", None);
                    assert!(node.sql("SELECT count(*) FROM t").ends_with("\n3\n"));
                } else if nothing_left {
                    // As if nobody had ever been here: nothing can know better.
                    assert_eq!(refusal(&folder), None, "{story}");
                } else {
                    let line = refusal(&folder).expect(&story);
                    assert_eq!(line.lines().count(), 1, "{story}: {line}");
                    assert!(line.contains("restore"), "{story}: {line}");
                }
            }
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The files of a database on disk: the pages are needed as far as the snapshot refers to them; all else is
/// made anew.
#[test]
fn a_damaged_database_on_disk_is_rebuilt_or_refused() {
    let root = tempfile::tempdir().unwrap();
    let original = root.path().join("original");
    let mut node = Node::start_with(&original, "127.0.0.1:0", &["--on-disk"]);
    node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)");
    node.sql("CREATE TABLE u AS SELECT zeroblob(60000) AS a");
    let (status, saved) = node.request("POST", "/snapshot", "", b"").unwrap();
    assert_eq!(status, 200, "{saved}");
    node.sql("INSERT INTO t VALUES (3)");
    node.kill();
    let changes = |name: &str| name.starts_with("changes-");
    let names = fs::read_dir(original.join("database")).unwrap();
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| changes(name)), "{names:?}");
    let (mut started, mut refused) = (0, 0);
    for pages in DAMAGES {
        for rest in DAMAGES {
            for boot in [Damage::None, Damage::Missing, Damage::Zeroed] {
                let folder = root.path().join("case");
                let _ = fs::remove_dir_all(&folder);
                copy_folder(&original, &folder);
                for name in &names {
                    let damage = match name.as_str() {
                        "pages" => pages,
                        "boot" => boot,
                        _ => rest,
                    };
                    let file = folder.join("database").join(name);
                    match damage.apply(&fs::read(&file).unwrap()) {
                        Some(left) => fs::write(file, left).unwrap(),
                        None => fs::remove_file(file).unwrap(),
                    }
                }
                let story = format!("pages {pages:?}, changes {rest:?}, boot {boot:?}");
                if pages == Damage::None {
                    let node = Node::start_with(&folder, "127.0.0.1:0", &["--on-disk"]);
                    let answer =
                        node.sql("SELECT count(*), sum(a), (SELECT length(a) FROM u) FROM t");
                    assert!(answer.ends_with("\n3|6|60000\n"), "{story}: {answer}");
                    started += 1;
                } else {
                    let lines = refusal_with(&folder, &["--on-disk"]).expect(&story);
                    let last = lines.lines().last().unwrap();
                    assert!(last.contains("restore"), "{story}: {lines}");
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((started, refused), (15, 60));
    // The pages are read into memory as well as used where they are, and back again.
    for (arguments, place) in [
        (&[][..], ":memory:"),
        (&["--memory", "--on-disk"], "/database/pages"),
        (&["--on-disk", "--memory"], ":memory:"),
        (&["--on-disk"], "/database/pages"),
    ] {
        let mut node = Node::start_with(&original, "127.0.0.1:0", arguments);
        let path = node.get("/status?key=store.sqlite3.path");
        assert!(path.trim().ends_with(&format!("{place}\"")), "{path}");
        assert!(node.sql("SELECT sum(a) FROM t").ends_with("\n6\n"));
        node.sql("UPDATE u SET a = zeroblob(70000)");
        let (status, saved) = node.request("POST", "/snapshot", "", b"").unwrap();
        assert_eq!(status, 200, "{saved}");
        node.kill();
    }
}

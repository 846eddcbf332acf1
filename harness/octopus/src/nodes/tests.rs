//! Real processes as nodes: started, frozen, killed, asked to end, and started again.

use super::*;
use crate::workdir::WorkDir;
use std::time::{Duration, Instant};

fn shells(script: &str, root: &WorkDir) -> Nodes {
    let spec = NodeSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        folder: root.path().to_owned(),
    };
    Nodes::new(vec![spec.into()], root.path(), None)
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn log(root: &WorkDir) -> String {
    std::fs::read_to_string(root.path().join("node0.log")).unwrap_or_default()
}

/// The state letter of a process: `T` is stopped.
#[cfg(target_os = "linux")]
fn letter(nodes: &Nodes) -> String {
    let id = nodes.lock(0).processes[0].id();
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap()[..1].to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn a_freeze_really_stops_and_needs_as_many_thaws() {
    let root = WorkDir::temporary().unwrap();
    let nodes = shells("while :; do :; done", &root);
    nodes.start().unwrap();
    nodes.freeze(0).unwrap();
    nodes.freeze(0).unwrap();
    wait_for("stopped", || letter(&nodes) == "T");
    assert_eq!(nodes.state(0), NodeState::Frozen);
    nodes.thaw(0).unwrap();
    assert_eq!(letter(&nodes), "T");
    nodes.thaw(0).unwrap();
    wait_for("running", || letter(&nodes) != "T");
}

#[test]
fn a_murdered_node_comes_back_when_nothing_holds_it() {
    let root = WorkDir::temporary().unwrap();
    let nodes = shells("echo born; trap '' TERM; while :; do sleep 1; done", &root);
    nodes.start().unwrap();
    wait_for("first life", || log(&root).lines().count() == 1);
    nodes.freeze(0).unwrap();
    nodes.kill(&[0]).unwrap();
    assert_eq!(nodes.state(0), NodeState::Killed);
    assert_eq!(nodes.killed(0), 1);
    nodes.revive(&[0]).unwrap();
    assert_eq!(nodes.state(0), NodeState::Killed, "it is still frozen");
    nodes.thaw(0).unwrap();
    wait_for("second life", || log(&root).lines().count() == 2);
    assert!(
        nodes.exited().unwrap().is_empty(),
        "a murder is no exit of its own"
    );
    nodes.stop();
}

#[test]
fn who_is_asked_to_end_may_clean_up_and_comes_back_on_an_empty_disk() {
    let root = WorkDir::temporary().unwrap();
    // Some shells tell on stderr how `sleep` has died.
    let script = "exec 2>/dev/null; trap 'touch left; exit 3' TERM; ls; echo ready; while :; do sleep 0.02; done";
    let folder = root.path().join("home");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("socket"), "").unwrap();
    let plan = NodePlan {
        files: vec![NodeFile {
            path: "conf/own".into(),
            text: "x".to_owned(),
        }],
        ..NodePlan::from(NodeSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            folder: folder.clone(),
        })
    };
    let nodes = Nodes::new(vec![plan], root.path(), None);
    nodes.start().unwrap();
    let first = "conf\nsocket\nready\n";
    wait_for("first life", || log(&root) == first);
    nodes.shut_down(0).unwrap();
    wait_for("its end", || {
        assert!(nodes.exited().unwrap().is_empty(), "it was asked to");
        nodes.state(0) == NodeState::Killed
    });
    assert_eq!(nodes.ended_as_asked(), [0]);
    assert!(nodes.ended_as_asked().is_empty(), "once");
    nodes.revive(&[0]).unwrap();
    let second = first.to_owned() + "conf\nleft\nsocket\nready\n";
    wait_for("second life", || log(&root) == second);
    std::fs::write(folder.join("conf/own"), "changed").unwrap();
    nodes.wipe(0).unwrap();
    assert!(folder.join("left").exists(), "it runs");
    nodes.kill(&[0]).unwrap();
    nodes.wipe(0).unwrap();
    let own = std::fs::read_to_string(folder.join("conf/own"));
    assert_eq!(own.unwrap(), "x");
    nodes.revive(&[0]).unwrap();
    wait_for("third life", || log(&root) == second.clone() + first);
    nodes.stop();
}

#[test]
fn a_program_asks_to_end_and_what_does_not_is_killed_at_the_restart() {
    let root = WorkDir::temporary().unwrap();
    let sh = |script: &str| ProcessSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
        user: None,
    };
    let plan = NodePlan {
        processes: vec![sh("trap '' TERM; echo born; while :; do sleep 0.02; done")],
        stop: StopBy::Command(Box::new(sh("echo please"))),
        ..NodePlan::in_folder(root.path().to_owned())
    };
    let nodes = Nodes::new(vec![plan], root.path(), None);
    nodes.start().unwrap();
    wait_for("first life", || log(&root) == "born\n");
    nodes.shut_down(0).unwrap();
    wait_for("a word", || log(&root) == "born\nplease\n");
    nodes.exited().unwrap();
    assert!(nodes.is_ending(0));
    nodes.revive(&[0]).unwrap();
    wait_for("second life", || log(&root) == "born\nplease\nborn\n");
    assert_eq!(
        (nodes.now(0).incarnation, nodes.state(0)),
        (2, NodeState::Running)
    );
    nodes.stop();
}

#[test]
fn an_exit_of_its_own_is_seen_even_with_status_zero() {
    let root = WorkDir::temporary().unwrap();
    let nodes = shells("echo bye; exit 0", &root);
    nodes.start().unwrap();
    wait_for("exit", || !nodes.exited().unwrap().is_empty());
    nodes.kill(&[0]).unwrap();
    nodes.revive(&[0]).unwrap();
    assert_eq!(nodes.state(0), NodeState::Exited);
    nodes.stop();
    assert_eq!(log(&root), "bye\n");
}

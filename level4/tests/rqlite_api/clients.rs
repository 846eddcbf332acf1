//! Client libraries made for rqlite, unchanged: `.ci/run` installs them. Skipped, with a message, where
//! they are not.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::single;

/// Where `.ci/run` installs them.
fn installed(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/clients")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there, so clients made for rqlite were not tried",
        path.display()
    );
    None
}

fn try_out(mut command: Command, script: &str) {
    let (_folder, node) = single();
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(script);
    let output = command.arg(script).arg(&node.address).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.ends_with("done\n"),
        "{said}{complained}"
    );
}

#[test]
fn pyrqlite_and_sqlalchemy_work() {
    if let Some(python) = installed("python/bin/python") {
        try_out(Command::new(python), "pyrqlite_and_sqlalchemy.py");
    }
}

#[test]
fn rqlite_js_works() {
    if let Some(modules) = installed("node_modules") {
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules);
        try_out(node, "rqlite.js");
    }
}

/// All that the dialect can do: what it cannot, whatever the server, stands in `limits.txt`.
#[test]
fn sqlalchemys_own_tests_of_dialects_pass() {
    let Some(pytest) = installed("python/bin/pytest") else {
        return;
    };
    let (folder, node) = single();
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/suite");
    let output = Command::new(pytest)
        .current_dir(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-q", "--tb=line", "-p", "no:cacheprovider", "--rootdir"])
        .arg(&suite)
        .arg("-c")
        .arg(suite.join("setup.cfg"))
        .arg(format!("--dburi=rqlite+pyrqlite://{}/", node.address))
        .arg(suite.join("test_suite.py"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = said.lines().rev().find_map(|line| {
        let (before, _) = line.split_once(" passed")?;
        before.rsplit(' ').next()?.parse::<u32>().ok()
    });
    assert!(output.status.success() && passed >= Some(300), "{said}");
}

//! Building our own solutions with cargo. One call builds as many as are wanted, side by side; what
//! was built once in this process is not asked for again.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use octopus::interrupt;

/// The programs that this process has built, by package.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The program of a package, built now if it was not yet.
pub(super) fn program(workspace: &Path, package: &str) -> Result<PathBuf> {
    packages(workspace, &[package.to_owned()])?;
    let built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let program = built.get(package).cloned();
    program.with_context(|| format!("cargo built {package}, but named no program"))
}

/// Builds packages with cargo, whose progress goes to stderr. Where their programs are, cargo tells
/// by itself, wherever the target folder is.
pub(super) fn packages(workspace: &Path, packages: &[String]) -> Result<()> {
    let missing: Vec<&String> = {
        let built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        packages
            .iter()
            .filter(|name| !built.contains_key(*name))
            .collect()
    };
    if missing.is_empty() {
        return Ok(());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release"]);
    for package in &missing {
        command.args(["--package", package]);
    }
    let mut child = command
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo to build our solution")?;
    let mut programs = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read what cargo says")?;
            programs.extend(executable(&line));
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    interrupt::check()?;
    let names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
    ensure!(
        status.success(),
        "cargo could not build {}",
        names.join(", ")
    );
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.extend(programs);
    Ok(())
}

/// The program that a line of cargo's messages announces, with its name.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_program = message["reason"] == "compiler-artifact"
        && target["kind"].as_array()?.iter().any(|kind| kind == "bin");
    let name = target["name"].as_str().filter(|_| is_program)?;
    Some((name.to_owned(), message["executable"].as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_taken_from_cargos_messages() {
        let message = r#"{"reason": "compiler-artifact", "target": {"name": "level0",
            "kind": ["bin"]}, "executable": "/elsewhere/release/level0"}"#;
        let expected = ("level0".to_owned(), "/elsewhere/release/level0".into());
        assert_eq!(executable(message), Some(expected));
        assert_eq!(executable(&message.replace("bin", "lib")), None);
        assert_eq!(executable("Compiling level0"), None);
    }
}

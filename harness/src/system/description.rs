//! The file that describes a system, as it is written. Fields that nobody knows are errors.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    duration,
    workload::{DriverKind, Kind},
};

/// How long a system may take until it is ready, unless it says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A system as its file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// It in a line.
    pub about: String,
    /// How many nodes it has, unless told otherwise.
    #[serde(default = "three")]
    pub nodes: u16,
    /// How clients speak to it.
    pub driver: Option<DriverKind>,
    /// What they can ask of it, the usual first.
    #[serde(default)]
    pub workloads: Vec<Kind>,
    /// Which package of Debian has which program.
    #[serde(default)]
    pub packages: BTreeMap<String, String>,
    /// Variables of all processes, with templates.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The number of the user that everything runs as; ours, if none is given.
    pub user: Option<u32>,
    /// Whether nodes start all at once, or each when the one before is ready.
    #[serde(default)]
    pub start: Start,
    /// The processes of a node, in the order of their start.
    #[serde(rename = "process")]
    pub processes: Vec<Process>,
    /// Files in the nodes' folders; several for the same path are joined.
    #[serde(default, rename = "file")]
    pub files: Vec<File>,
    /// When a node is ready.
    pub ready: Option<Ready>,
}

/// How nodes start.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// All at once.
    #[default]
    Together,
    /// Each when the one before it is ready.
    InTurn,
}

/// A process of a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The program and its arguments, with templates.
    pub command: Vec<String>,
    /// The nodes that have it; all, if none are named.
    #[serde(default)]
    pub on: Option<Vec<usize>>,
}

/// A file in a node's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path below the folder.
    pub path: String,
    /// What it says, with templates.
    pub text: String,
    /// The nodes that have it; all, if none are named.
    #[serde(default)]
    pub on: Option<Vec<usize>>,
}

/// When a node is ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// When it takes connections at this port.
    pub port: Option<u16>,
    /// When this command, run on its machine in its folder, succeeds; with templates.
    pub command: Option<Vec<String>>,
    /// How long that may take.
    #[serde(default = "ready_within", deserialize_with = "a_duration")]
    pub within: Duration,
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// It is no TOML, has fields that nobody knows, or says nothing that can be run.
    pub fn read(text: &str) -> Result<Self> {
        let description: Self = toml::from_str(text)?;
        ensure!(
            (1..=50).contains(&description.nodes),
            "nodes has to be from 1 to 50"
        );
        ensure!(!description.processes.is_empty(), "there is no [[process]]");
        let is_empty = |process: &Process| process.command.is_empty();
        ensure!(
            !description.processes.iter().any(is_empty),
            "a [[process]] has an empty command"
        );
        for file in &description.files {
            let stays =
                !file.path.starts_with('/') && !file.path.split('/').any(|part| part == "..");
            ensure!(
                stays,
                "the file {} is not below the node's folder",
                file.path
            );
        }
        ensure!(
            description.workloads.is_empty() || description.driver.is_some(),
            "workloads need a driver"
        );
        Ok(description)
    }

    /// The programs that it runs, each once.
    pub fn programs(&self) -> Vec<&str> {
        let own = self
            .processes
            .iter()
            .filter_map(|process| process.command.first());
        let mut programs: Vec<&str> = own
            .chain(self.packages.keys())
            .map(String::as_str)
            .collect();
        programs.sort_unstable();
        programs.dedup();
        programs
    }
}

/// Whether something is on a node.
pub(super) fn is_on(on: Option<&Vec<usize>>, node: usize) -> bool {
    on.is_none_or(|nodes| nodes.contains(&node))
}

fn three() -> u16 {
    3
}

fn ready_within() -> Duration {
    READY_WITHIN
}

fn a_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    duration::parse(&text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", Description::read(text).unwrap_err())
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_reason() {
        let base = "about = 'x'\n[[process]]\ncommand = ['true']\n";
        let description = Description::read(base).unwrap();
        assert_eq!(
            (description.nodes, description.programs()),
            (3, vec!["true"])
        );
        assert!(refused(&format!("colour = 'red'\n{base}")).contains("unknown field `colour`"));
        assert!(refused("about = 'x'\nprocess = []").contains("no [[process]]"));
        assert!(refused(&format!("nodes = 0\n{base}")).contains("from 1 to 50"));
        assert!(
            refused(&format!("{base}[[file]]\npath = '../x'\ntext = ''")).contains("not below")
        );
        assert!(refused(&format!("{base}[ready]\nport = 1\nwithin = '5'")).contains("5s"));
        assert!(refused("about = ").contains("line 1"));
    }
}

//! The file that describes a system, as it is written. Fields that nobody knows are errors.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use octopus::Signal;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::template;
use crate::{
    duration,
    workload::{DriverKind, Kind},
};

/// How long a system may take until it is ready, unless it says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether a node is well, unless it says otherwise, and at most.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
const LEAST_EVERY: Duration = Duration::from_millis(50);

/// How long the end of a node may take, unless it says otherwise.
const STOP_WITHIN: Duration = Duration::from_secs(10);

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
    /// What `--set` changes, with the usual values: `{NAME}` stands for it in commands, files and variables.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
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
    /// When a node that runs is well.
    pub health: Option<Health>,
    /// How a node is asked to end.
    pub stop: Option<Stop>,
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
    pub on: Option<Vec<usize>>,
    /// The nodes that do not have it.
    #[serde(default)]
    pub not_on: Vec<usize>,
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
    pub on: Option<Vec<usize>>,
    /// The nodes that do not have it.
    #[serde(default)]
    pub not_on: Vec<usize>,
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

/// When a node is well.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// When it takes connections at this port.
    pub port: Option<u16>,
    /// When this command, run on its machine in its folder, succeeds; with templates.
    pub command: Option<Vec<String>>,
    /// How often that is looked at.
    #[serde(default = "health_every", deserialize_with = "a_duration")]
    pub every: Duration,
}

/// How a node is asked to end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The signal that all its processes get; SIGTERM, if there is no command either.
    pub signal: Option<SignalName>,
    /// A command that is run on its machine in its folder, by its user; with templates.
    pub command: Option<Vec<String>>,
    /// How long its end may take when the run is over.
    #[serde(default = "stop_within", deserialize_with = "a_duration")]
    pub within: Duration,
}

/// Signals that ask programs to end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum SignalName {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl SignalName {
    /// The signal.
    pub fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Hup => Signal::HUP,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
        }
    }
}

impl Process {
    /// Whether a node has it.
    pub fn is_on(&self, node: usize) -> bool {
        is_on(self.on.as_ref(), &self.not_on, node)
    }
}

impl File {
    /// Whether a node has it.
    pub fn is_on(&self, node: usize) -> bool {
        is_on(self.on.as_ref(), &self.not_on, node)
    }
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// It is no TOML, has fields that nobody knows, or says nothing that can be run.
    pub fn read(text: &str) -> Result<Self> {
        let description: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            anyhow!("line {line}: {}", error.message().replace('\n', " "))
        })?;
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
        for name in description.parameters.keys() {
            let is_fine = name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            ensure!(
                is_fine && !template::NAMES.contains(&name.as_str()),
                "a parameter cannot be called {name}"
            );
        }
        if let Some(health) = &description.health {
            ensure!(
                health.port.is_some() || health.command.is_some(),
                "[health] needs a port or a command"
            );
            ensure!(
                health.every >= LEAST_EVERY,
                "[health]: every is at least {LEAST_EVERY:?}"
            );
        }
        if let Some(stop) = &description.stop {
            ensure!(
                stop.signal.is_none() || stop.command.is_none(),
                "[stop] has a signal and a command: one of them asks"
            );
        }
        for (name, command) in description.looks_and_stop() {
            ensure!(
                command.is_none_or(|command| !command.is_empty()),
                "{name} has an empty command"
            );
        }
        ensure!(
            description.workloads.is_empty() || description.driver.is_some(),
            "workloads need a driver"
        );
        description.check_templates()?;
        Ok(description)
    }

    /// Refuses names in braces that are nearly known.
    fn check_templates(&self) -> Result<()> {
        let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
        let check = |place: &str, text: &str| {
            template::check(text, &known).map_err(|why| anyhow!("{place}: {why}"))
        };
        for (name, value) in &self.environment {
            check(&format!("[environment] {name}"), value)?;
        }
        for file in &self.files {
            check(&format!("the file {}", file.path), &file.text)?;
        }
        let processes = self.processes.iter();
        let processes = processes.map(|process| ("a [[process]]", Some(&process.command)));
        for (place, command) in processes.chain(self.looks_and_stop()) {
            let mut words = command.into_iter().flatten();
            words.try_for_each(|word| check(place, word))?;
        }
        Ok(())
    }

    /// The commands that are run beside the processes.
    fn looks_and_stop(&self) -> [(&'static str, Option<&Vec<String>>); 3] {
        let ready = self.ready.as_ref();
        let health = self.health.as_ref();
        let stop = self.stop.as_ref();
        [
            ("[ready]", ready.and_then(|ready| ready.command.as_ref())),
            (
                "[health]",
                health.and_then(|health| health.command.as_ref()),
            ),
            ("[stop]", stop.and_then(|stop| stop.command.as_ref())),
        ]
    }

    /// Gives parameters other values, and puts them all where they belong.
    ///
    /// # Errors
    /// There is none of a name.
    pub fn set(&mut self, values: &[(String, String)]) -> Result<()> {
        for (name, value) in values {
            let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            let parameter = self.parameters.get_mut(name);
            parameter
                .with_context(|| format!("no parameter {name}: {known}"))?
                .clone_from(value);
        }
        let parameters = std::mem::take(&mut self.parameters);
        let fill = |text: &mut String| {
            for (name, value) in &parameters {
                *text = text.replace(&format!("{{{name}}}"), value);
            }
        };
        let commands = [
            self.ready.as_mut().and_then(|ready| ready.command.as_mut()),
            self.health
                .as_mut()
                .and_then(|health| health.command.as_mut()),
            self.stop.as_mut().and_then(|stop| stop.command.as_mut()),
        ];
        let processes = self.processes.iter_mut();
        let processes = processes.map(|process| &mut process.command);
        let words = processes.chain(commands.into_iter().flatten()).flatten();
        let files = self.files.iter_mut().map(|file| &mut file.text);
        words
            .chain(files)
            .chain(self.environment.values_mut())
            .for_each(fill);
        self.parameters = parameters;
        Ok(())
    }

    /// The programs that it runs, each once.
    pub fn programs(&self) -> Vec<&str> {
        let own = self
            .processes
            .iter()
            .filter_map(|process| process.command.first());
        let others = self.looks_and_stop().into_iter();
        let others = others.filter_map(|(_, command)| command?.first());
        let mut programs: Vec<&str> = own
            .chain(others)
            .chain(self.packages.keys())
            .map(String::as_str)
            .collect();
        programs.sort_unstable();
        programs.dedup();
        programs
    }
}

/// Whether something is on a node.
fn is_on(on: Option<&Vec<usize>>, not_on: &[usize], node: usize) -> bool {
    on.is_none_or(|nodes| nodes.contains(&node)) && !not_on.contains(&node)
}

fn three() -> u16 {
    3
}

fn health_every() -> Duration {
    HEALTH_EVERY
}

fn stop_within() -> Duration {
    STOP_WITHIN
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

    #[test]
    fn parameters_stand_where_they_are_named() {
        let text = "about = 'x'\n[parameters]\nmode = 'slow'\nlevel = '3'\n[environment]\nMODE = '{mode}'\n\
                    [[process]]\ncommand = ['x', '--{mode}={level}', '{id}']\n\
                    [[file]]\npath = 'f'\ntext = '{level} {mode} {other}'\n";
        let mut description = Description::read(text).unwrap();
        let mode = [("mode".to_owned(), "fast".to_owned())];
        description.set(&mode).unwrap();
        assert_eq!(description.processes[0].command, ["x", "--fast=3", "{id}"]);
        assert_eq!(description.files[0].text, "3 fast {other}");
        assert_eq!(description.environment["MODE"], "fast");
        let unknown = [("speed".to_owned(), "9".to_owned())];
        let refused = description.set(&unknown).unwrap_err().to_string();
        assert_eq!(refused, "no parameter speed: it has level, mode");
    }

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
        assert!(
            refused(&format!("colour = 'red'\n{base}"))
                .starts_with("line 1: unknown field `colour`")
        );
        assert!(refused("about = 'x'\nprocess = []").contains("no [[process]]"));
        assert!(refused(&format!("nodes = 0\n{base}")).contains("from 1 to 50"));
        assert!(
            refused(&format!("{base}[[file]]\npath = '../x'\ntext = ''")).contains("not below")
        );
        assert!(refused(&format!("{base}[ready]\nport = 1\nwithin = '5'")).contains("5s"));
        assert!(refused("about = ").contains("line 1"));
        let with = |text: &str| refused(&format!("{base}{text}"));
        assert!(with("[health]\nevery = '1s'").contains("a port or a command"));
        assert!(with("[health]\nport = 1\nevery = '1ms'").contains("at least 50ms"));
        assert!(with("[stop]\nsignal = 'KILL'").contains("unknown variant `KILL`"));
        assert!(with("[stop]\nsignal = 'INT'\ncommand = ['x']").contains("one of them"));
        assert!(with("[parameters]\nip = 'x'").contains("called ip"));
        assert!(
            with("[environment]\nX = '{host}{dirr}'")
                .contains("[environment] X: {dirr} is not known: is {dir}")
        );
        assert!(
            with("[stop]\ncommand = ['x', '{peers:{Host}}']").contains("[stop]: {Host} is not")
        );
        assert!(with("[ready]\ncommand = []").contains("[ready] has an empty command"));
    }
}

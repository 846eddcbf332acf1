//! The complete settings of a run, taken from the command line as it was parsed: every flag of the
//! command with its value, given or default, so that a new flag cannot be forgotten in a result.
//!
//! In JSON a switch is `true` or `false`, a number a number, an option without a value `null`, and
//! all else is text as it is written on the command line. Seeds are text as well: most readers of
//! JSON keep integers as floats, and would round a seed above 2^53 to another one.
//!
//! The same list gives the command that replays a case: the one function for all levels.

use std::{any::TypeId, ffi::OsStr};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use serde_json::{Map, Value};

/// Flags that say where results go; a replay must not overwrite them.
const OUTPUTS: [&str; 7] = [
    "json", "root", "write", "events", "report", "history", "ctl",
];

/// What the solution gets, after `--`.
const ARGUMENTS: &str = "arguments";

/// One flag of the command.
#[derive(Clone, Debug)]
struct Setting {
    /// Its long name.
    name: String,
    value: Value,
    /// Its values as they were given on the command line; empty for a default.
    given: Vec<String>,
    is_switch: bool,
}

/// The settings of one run of a command.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The program and the command: `harness level0`.
    words: Vec<String>,
    flags: Vec<Setting>,
    /// What follows `--`.
    arguments: Vec<String>,
}

impl Settings {
    /// The settings of the innermost command that was called. `program` is how the harness itself
    /// was called.
    pub fn new(program: &str, command: &Command, matches: &ArgMatches) -> Self {
        let mut settings = Self {
            words: vec![program.to_owned()],
            ..Self::default()
        };
        let (mut command, mut matches) = (command, matches);
        while let Some((name, inner)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name) else {
                break;
            };
            settings.words.push(name.to_owned());
            (command, matches) = (found, inner);
        }
        for argument in command.get_arguments() {
            settings.add(argument, matches);
        }
        settings
    }

    fn add(&mut self, argument: &Arg, matches: &ArgMatches) {
        let id = argument.get_id().as_str();
        let values: Vec<String> = match matches.try_get_raw(id) {
            Ok(values) => values.into_iter().flatten().map(shown).collect(),
            Err(_) => return,
        };
        let was_given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let Some(name) = argument.get_long() else {
            if argument.is_last_set() {
                self.arguments.clone_from(&values);
                let value = values.into_iter().map(Value::String).collect();
                self.flags.push(Setting {
                    name: ARGUMENTS.to_owned(),
                    value: Value::Array(value),
                    given: Vec::new(),
                    is_switch: false,
                });
            }
            return;
        };
        if ["json", "live", "no-history", "help", "version"].contains(&name) {
            return;
        }
        let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
        let value = match argument.get_action() {
            ArgAction::SetTrue => Value::Bool(values.first().is_some_and(|value| value == "true")),
            ArgAction::Append => values.iter().cloned().map(Value::String).collect(),
            _ => values
                .last()
                .map_or(Value::Null, |text| typed(name, argument, text)),
        };
        self.flags.push(Setting {
            name: name.to_owned(),
            value,
            given: if was_given { values } else { Vec::new() },
            is_switch,
        });
    }

    /// The same settings, some of which a stage of a ladder has set: they are not repeated in the
    /// command that judges the case again. `flags` are written as on the command line.
    #[must_use]
    pub fn set_by_stage(mut self, flags: &[&str]) -> Self {
        let is_named = |flag: &&str, name: &str| {
            let rest = flag
                .strip_prefix("--")
                .and_then(|flag| flag.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        for setting in &mut self.flags {
            if flags.iter().any(|flag| is_named(flag, &setting.name)) {
                setting.given.clear();
            }
        }
        self
    }

    /// How the harness itself was called.
    pub fn program(&self) -> &str {
        self.words.first().map_or("harness", String::as_str)
    }

    /// All settings by name, `-` written `_`; `chosen` replaces what the flags left open.
    pub fn json(&self, chosen: &[(&'static str, Value)]) -> Map<String, Value> {
        let all = self
            .flags
            .iter()
            .map(|setting| (&*setting.name, &setting.value));
        let chosen = chosen.iter().map(|(name, value)| (*name, value));
        all.chain(chosen)
            .map(|(name, value)| (name.replace('-', "_"), value.clone()))
            .collect()
    }

    /// The command line that judges a case again, quoted for a shell; `chosen` as in
    /// [`json`](Self::json). Empty if no command was called.
    pub fn replay(&self, chosen: &[(&'static str, Value)]) -> String {
        if self.words.is_empty() {
            return String::new();
        }
        let mut words = self.words.clone();
        for setting in &self.flags {
            if OUTPUTS.contains(&&*setting.name) {
                continue;
            }
            let flag = format!("--{}", setting.name);
            let replaced = chosen.iter().find(|(name, _)| *name == setting.name);
            let values = match replaced.and_then(|(_, value)| text(value)) {
                Some(value) => vec![value],
                None => setting.given.clone(),
            };
            match values.as_slice() {
                [] => {}
                _ if setting.is_switch => words.push(flag),
                values => words.extend(values.iter().map(|value| format!("{flag}={value}"))),
            }
        }
        if !self.arguments.is_empty() {
            words.push("--".to_owned());
            words.extend(self.arguments.iter().cloned());
        }
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        quoted.join(" ")
    }
}

fn shown(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// A value as JSON, by the type that the flag has.
fn typed(name: &str, argument: &Arg, text: &str) -> Value {
    if name == "seed" {
        return text.into();
    }
    let kind = argument.get_value_parser().type_id();
    let is = |known: TypeId| kind == known;
    if is(TypeId::of::<bool>()) {
        return text
            .parse::<bool>()
            .map_or_else(|_| text.into(), Value::from);
    }
    let is_number = [
        TypeId::of::<f64>(),
        TypeId::of::<u64>(),
        TypeId::of::<u32>(),
        TypeId::of::<u16>(),
        TypeId::of::<usize>(),
        TypeId::of::<i64>(),
    ]
    .into_iter()
    .any(is);
    let number = match (text.parse::<u64>(), text.parse::<f64>()) {
        (Ok(whole), _) if whole < 1 << 53 => Some(Value::from(whole)),
        (Err(_), Ok(number)) => Some(Value::from(number)),
        _ => None,
    };
    number.filter(|_| is_number).unwrap_or_else(|| text.into())
}

/// A chosen value as it is written on the command line; none of what is no single value.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A word as a shell reads it back.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Args, Parser, Subcommand};
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    #[command(name = "harness")]
    struct Cli {
        #[arg(long, global = true)]
        json: Option<String>,
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(Subcommand)]
    enum Sub {
        Level7(Level7),
    }

    #[derive(Args)]
    struct Level7 {
        #[arg(long)]
        seed: Option<i64>,
        #[arg(long, default_value = "30s", value_parser = crate::duration::parse)]
        duration: std::time::Duration,
        #[arg(short = 'c', long, default_value_t = 5)]
        nodes: u16,
        #[arg(long)]
        case: Vec<String>,
        #[arg(long)]
        check_replicas: bool,
        #[arg(long)]
        root: Option<String>,
        #[arg(long)]
        intensity: Option<f64>,
        #[arg(long)]
        user: Option<String>,
        #[arg(last = true)]
        arguments: Vec<OsString>,
    }

    fn settings(line: &str) -> Settings {
        let command = {
            use clap::CommandFactory;
            let mut command = Cli::command();
            command.build();
            command
        };
        let matches = command
            .clone()
            .try_get_matches_from(line.split(' '))
            .unwrap();
        Settings::new("target/release/harness", &command, &matches)
    }

    #[test]
    fn every_flag_is_in_the_settings_with_its_value() {
        let settings = settings("harness level7 -c 3 --check-replicas --user 007 -- -x");
        let expected = json!({
            "seed": "9007199254740993", "duration": "30s", "nodes": 3, "case": [],
            "check_replicas": true, "root": null, "intensity": null, "user": "007",
            "arguments": ["-x"],
        });
        let chosen = [("seed", "9007199254740993".into())];
        assert_eq!(Value::Object(settings.json(&chosen)), expected);
    }

    #[test]
    fn a_replay_has_what_was_given_and_what_was_drawn_but_no_outputs() {
        let line =
            "harness level7 -c 3 --json out --root r --case a --case b --intensity 0.5 -- -x it's";
        let settings = settings(line);
        assert_eq!(
            settings.replay(&[("case", "b c".into())]),
            r"target/release/harness level7 --nodes=3 '--case=b c' --intensity=0.5 -- -x 'it'\''s'"
        );
        assert_eq!(
            settings.replay(&[("seed", "-7".into())]),
            "target/release/harness level7 --seed=-7 --nodes=3 --case=a --case=b --intensity=0.5 \
             -- -x 'it'\\''s'"
        );
    }

    #[test]
    fn a_switch_has_no_value() {
        let settings = settings("harness level7 --check-replicas");
        assert_eq!(
            settings.replay(&[]),
            "target/release/harness level7 --check-replicas"
        );
    }
}

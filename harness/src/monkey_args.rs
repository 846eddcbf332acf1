//! The flags by which commands choose monkeys: `--enable-NAME-monkey[=true|false]` for each, as in
//! 2014, and what scales them all.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use octopus::{Intensity, Monkey, MonkeySettings, Script};

use crate::duration;

/// Flags about monkeys.
#[derive(Clone, Debug, Default)]
pub struct MonkeyArgs {
    settings: MonkeySettings,
    /// Those that the flags name, rather than the defaults.
    named: BTreeSet<Monkey>,
    disk_bytes: Option<u64>,
    scripts: Vec<Script>,
}

/// How long a script may take, unless told otherwise.
const SCRIPT_WITHIN: &str = "10s";

impl MonkeyArgs {
    /// What the flags say.
    pub fn settings(&self) -> &MonkeySettings {
        &self.settings
    }

    /// Whether the flags name this monkey as one that acts.
    pub fn asks_for(&self, monkey: Monkey) -> bool {
        self.named.contains(&monkey) && self.settings.enabled.contains(&monkey)
    }

    /// Size of each node's own file system, if it is to have one.
    ///
    /// # Errors
    /// The fulldisk monkey has nothing to fill.
    pub fn disk_bytes(&self) -> Result<Option<u64>> {
        if self.settings.enabled.contains(&Monkey::Fulldisk) && self.disk_bytes.is_none() {
            bail!("the fulldisk monkey needs disks of limited size: add --disk-mb N (needs root)");
        }
        Ok(self.disk_bytes)
    }

    /// The scripts that acts run by their names.
    pub fn scripts(&self) -> &[Script] {
        &self.scripts
    }

    /// Whether what is to be run can be run.
    ///
    /// # Errors
    /// The script monkey has nothing to run.
    pub fn check(&self) -> Result<()> {
        if self.settings.enabled.contains(&Monkey::Script) && self.scripts.is_empty() {
            bail!("the script monkey needs a script: add --act-script NAME=COMMAND");
        }
        Ok(())
    }
}

const HEADING: &str = "Monkeys";

impl Args for MonkeyArgs {
    fn augment_args(mut command: Command) -> Command {
        for monkey in Monkey::ALL {
            let state = if monkey.on_by_default() { "on" } else { "off" };
            command = command.arg(
                Arg::new(monkey.flag())
                    .long(monkey.flag())
                    .value_name("BOOL")
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .action(ArgAction::Set)
                    .overrides_with(monkey.flag())
                    .value_parser(value_parser!(bool))
                    .hide_possible_values(true)
                    .help_heading(HEADING)
                    .help(format!("{} (default: {state})", what(monkey))),
            );
        }
        command
            .arg(
                Arg::new("monkeys")
                    .long("monkeys")
                    .value_name("NAMES")
                    .help_heading(HEADING)
                    .help("Only these, separated by commas; `all`, `none`, `default`"),
            )
            .arg(number(
                "intensity",
                "Always act at this intensity, 0 to 1 (default: a wave of 30 s)",
            ))
            .arg(number(
                "monkey-offset",
                "Scale the times before the first acts [default: 1]",
            ))
            .arg(number(
                "monkey-gap",
                "Scale the mean times between acts [default: 1]",
            ))
            .arg(
                Arg::new("act-script")
                    .long("act-script")
                    .value_name("NAME=COMMAND")
                    .value_parser(named_command)
                    .action(ArgAction::Append)
                    .help_heading(HEADING)
                    .help("A shell's command that acts run by its name; may be given several times")
                    .long_help(
                        "A shell's command that acts run by its name; may be given several times\n\n\
                         Its monkey is on then. With machines it runs on the clients', in the run's folder, and finds \
                         OCTOPUS_SCRIPT (its name), OCTOPUS_RUN (the how manieth time, from 1), OCTOPUS_DRAW (a \
                         number of the seed's, to choose by) and OCTOPUS_NODES in its environment. What it prints is \
                         in the log.",
                    ),
            )
            .arg(
                Arg::new("act-script-within")
                    .long("act-script-within")
                    .value_name("DURATION")
                    .value_parser(duration::parse)
                    .default_value(SCRIPT_WITHIN)
                    .help_heading(HEADING)
                    .help("How long such a command may take; then it is killed"),
            )
            .arg(
                Arg::new("disk-mb")
                    .long("disk-mb")
                    .value_name("MB")
                    .value_parser(value_parser!(u64).range(1..1_000_000))
                    .help_heading(HEADING)
                    .help("Give each node a file system of this size (needs root)"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for MonkeyArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(names) = matches.get_one::<String>("monkeys") {
            self.settings.enabled = named(names).map_err(|message| {
                clap::Error::raw(clap::error::ErrorKind::InvalidValue, message)
            })?;
            if !matches!(names.as_str(), "all" | "default") {
                self.named.clone_from(&self.settings.enabled);
            }
        }
        for monkey in Monkey::ALL {
            match matches.get_one::<bool>(monkey.flag()) {
                Some(true) => {
                    self.settings.enabled.insert(monkey);
                    self.named.insert(monkey);
                }
                Some(false) => {
                    self.settings.enabled.remove(&monkey);
                }
                None => {}
            }
        }
        let within = matches.get_one::<Duration>("act-script-within").copied();
        for (name, command) in matches
            .get_many::<(String, String)>("act-script")
            .into_iter()
            .flatten()
        {
            if self.scripts.iter().any(|script| script.name == *name) {
                let message = format!("--act-script: there are two of the name {name}\n");
                return Err(clap::Error::raw(
                    clap::error::ErrorKind::ValueValidation,
                    message,
                ));
            }
            self.scripts.push(Script {
                name: name.clone(),
                command: command.clone(),
                within: within.unwrap_or_default(),
            });
            self.settings.scripts.push(name.clone());
        }
        let is_switched = matches.get_one::<bool>(Monkey::Script.flag()).is_some();
        if !self.scripts.is_empty() && !is_switched {
            self.settings.enabled.insert(Monkey::Script);
        }
        let number = |name| matches.get_one::<f64>(name).copied();
        if let Some(intensity) = number("intensity") {
            self.settings.intensity = Intensity::Fixed(intensity);
        }
        self.settings.offset_scale = number("monkey-offset").unwrap_or(self.settings.offset_scale);
        self.settings.gap_scale = number("monkey-gap").unwrap_or(self.settings.gap_scale);
        self.disk_bytes = matches
            .get_one::<u64>("disk-mb")
            .map(|mb| mb << 20)
            .or(self.disk_bytes);
        Ok(())
    }
}

fn number(name: &'static str, help: &'static str) -> Arg {
    let parse = move |text: &str| -> Result<f64, String> {
        let most = if name == "intensity" { 1.0 } else { 1000.0 };
        match text.parse::<f64>() {
            Ok(value) if (0.0..=most).contains(&value) => Ok(value),
            _ => Err(format!("a number from 0 to {most} is needed")),
        }
    };
    Arg::new(name)
        .long(name)
        .value_name("X")
        .value_parser(parse)
        .help_heading(HEADING)
        .help(help)
}

fn named(names: &str) -> Result<BTreeSet<Monkey>, String> {
    match names {
        "all" => {
            return Ok(Monkey::ALL
                .into_iter()
                .filter(|monkey| monkey.is_for_everybody())
                .collect());
        }
        "none" => return Ok(BTreeSet::new()),
        "default" => return Ok(MonkeySettings::default().enabled),
        _ => {}
    }
    names
        .split(',')
        .map(|name| {
            Monkey::by_name(name.trim()).ok_or_else(|| {
                let known: Vec<_> = Monkey::ALL.iter().map(|monkey| monkey.name()).collect();
                format!(
                    "--monkeys: there is no {name} monkey; there are {}\n",
                    known.join(", ")
                )
            })
        })
        .collect()
}

/// `NAME=COMMAND`.
fn named_command(text: &str) -> Result<(String, String), String> {
    let (name, command) = text
        .split_once('=')
        .ok_or("it is written NAME=COMMAND, as in grow='./add.sh'")?;
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || !name.chars().all(is_fine) {
        return Err(format!(
            "\"{name}\" is no name: letters, digits, - and _ are"
        ));
    }
    if command.trim().is_empty() {
        return Err(format!("{name} has no command"));
    }
    Ok((name.to_owned(), command.to_owned()))
}

/// What a monkey does, in a line.
pub fn what(monkey: Monkey) -> &'static str {
    match monkey {
        Monkey::Latency => "Links get new latencies",
        Monkey::Jitter => "Links get new jitters",
        Monkey::Lagsplit => "Links across a partition get slow",
        Monkey::Link => "Single links go down",
        Monkey::Netsplit => "Links across a partition go down",
        Monkey::Unneighborly => "A link of every node goes down",
        Monkey::Freeze => "Nodes are stopped for a while",
        Monkey::Murder => "Nodes are killed and started again",
        Monkey::Spof => "Each node once is cut off until the others make progress",
        Monkey::Oneway => "One direction of a link loses everything",
        Monkey::Bandwidth => "Links carry only a few KB a second",
        Monkey::Reconnect => "All connections of a node break",
        Monkey::Fulldisk => "A node's disk is full; needs --disk-mb",
        Monkey::Blackout => "All nodes are killed at once and started again",
        Monkey::Restart => "Nodes are asked to end and started again",
        Monkey::Wipe => "Nodes are killed, lose their files, and are started again",
        Monkey::Crash => "A minority of the nodes is killed for good",
        Monkey::Script => "Scripts are run; on with --act-script",
        Monkey::Clock => "Nodes find another monotonic clock at a restart; needs machines",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<MonkeyArgs, clap::Error> {
        let command = MonkeyArgs::augment_args(Command::new("x").no_binary_name(true));
        let words = line.split(' ').filter(|word| !word.is_empty());
        MonkeyArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn monkeys_are_switched_one_by_one_and_in_sets() {
        let line = "--enable-murder-monkey --enable-spof-monkey=false --intensity 0.5";
        let settings = parse(line).unwrap().settings;
        assert!(settings.enabled.contains(&Monkey::Murder));
        assert!(!settings.enabled.contains(&Monkey::Spof));
        assert_eq!(settings.intensity, Intensity::Fixed(0.5));
        let few = parse("--monkeys none --enable-link-monkey=true")
            .unwrap()
            .settings;
        assert_eq!(few.enabled.into_iter().collect::<Vec<_>>(), [Monkey::Link]);
        let two = parse("--monkeys link,freeze").unwrap().settings;
        assert_eq!(two.enabled.len(), 2);
    }

    #[test]
    fn scripts_have_names_and_switch_their_monkey_on() {
        let args = parse("--monkeys none --act-script grow=./a=b --act-script-within 2s").unwrap();
        assert_eq!(args.settings.scripts, ["grow"]);
        assert!(args.settings.enabled.contains(&Monkey::Script));
        let [script] = args.scripts() else { panic!() };
        assert_eq!(script.command, "./a=b");
        assert_eq!(script.within, Duration::from_secs(2));
        let off = parse("--act-script grow=x --enable-script-monkey=false").unwrap();
        assert!(!off.settings.enabled.contains(&Monkey::Script));
        assert!(parse("--enable-script-monkey").unwrap().check().is_err());
        assert!(off.check().is_ok());
        let all = parse("--monkeys all").unwrap().settings.enabled;
        assert!(all.contains(&Monkey::Restart) && !all.contains(&Monkey::Wipe));
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [
            "--monkeys gorilla",
            "--intensity 2",
            "--intensity nan",
            "--monkey-gap -1",
            "--enable-spof-monkey=maybe",
            "--disk-mb 0",
            "--act-script grow",
            "--act-script a.b=c",
            "--act-script grow=",
            "--act-script a=b --act-script a=c",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(
            parse("--enable-fulldisk-monkey")
                .unwrap()
                .disk_bytes()
                .is_err()
        );
    }
}

//! Go-style flags (`-seed 7`, `-enable-murder-monkey=true`), accepted beside our own.
//!
//! The tools of 2014 were written with Go's `flag` package, which takes a single dash before a
//! long name. Names that the command line knows as long options get their second dash here;
//! everything after a bare `--` belongs to the solution and stays as it is.

use std::{collections::HashSet, ffi::OsString};

/// Rewrites Go-style flags of `arguments` into those that `command` parses.
pub fn normalise<I>(command: &clap::Command, arguments: I) -> Vec<OsString>
where
    I: IntoIterator<Item = OsString>,
{
    let mut known = HashSet::new();
    collect_long_names(command, &mut known);
    let mut ours = true;
    let rewrite = |argument: OsString| {
        ours &= argument != "--";
        let Some(text) = argument.to_str().filter(|_| ours) else {
            return argument;
        };
        let Some(flag) = text.strip_prefix('-').filter(|flag| !flag.starts_with('-')) else {
            return argument;
        };
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        if known.contains(name) {
            format!("-{text}").into()
        } else {
            argument
        }
    };
    arguments.into_iter().map(rewrite).collect()
}

fn collect_long_names(command: &clap::Command, names: &mut HashSet<String>) {
    for argument in command.get_arguments() {
        // A long name of one letter would be ambiguous with the short flag.
        let long = argument
            .get_long_and_visible_aliases()
            .into_iter()
            .flatten();
        names.extend(long.filter(|name| name.len() > 1).map(str::to_owned));
    }
    for sub in command.get_subcommands() {
        collect_long_names(sub, names);
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn rewritten(line: &str) -> String {
        let level4 = Command::new("level4")
            .arg(Arg::new("seed").long("seed"))
            .arg(Arg::new("murder").long("enable-murder-monkey"))
            .arg(Arg::new("solution").long("solution").short('r'));
        let command = Command::new("harness").subcommand(level4);
        let arguments = line.split(' ').map(OsString::from);
        normalise(&command, arguments)
            .join(" ".as_ref())
            .into_string()
            .unwrap()
    }

    #[test]
    fn long_names_get_their_second_dash() {
        assert_eq!(
            rewritten("harness level4 -seed 7 -enable-murder-monkey=true -r ./x"),
            "harness level4 --seed 7 --enable-murder-monkey=true -r ./x"
        );
    }

    #[test]
    fn unknown_names_values_and_the_solutions_arguments_stay() {
        let same = "harness level4 --seed -7 -sedd 1 -- -seed 7";
        assert_eq!(rewritten(same), same);
    }
}

//! `harness new`: writes a starter kit and says how to go on.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{default_folder, find, languages};
use crate::{console, level_arg, solution::find_program};

/// Writes a small, slow solution to begin with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness new level0 --lang python            into the folder level0-python
  harness new level4 --lang go mine && cd mine && harness test")]
pub struct Args {
    /// The level: `level0` to `level4`
    #[arg(value_name = "LEVEL", value_parser = level_arg::parse)]
    level: u8,

    /// The language: python, shell, node, ruby, c, rust, go, java (not every level has them all)
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<String>,

    /// The folder, which must be empty or not there [default: levelN-LANGUAGE]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the kit that the flags name.
pub fn run(args: &Args) -> Result<()> {
    let level = args.level;
    let Some(language) = &args.lang else {
        let languages = languages(level).join(", ");
        anyhow::bail!("--lang is missing; for level {level} there are {languages}");
    };
    let kit = find(level, language)?;
    let folder = args.dir.clone().unwrap_or_else(|| default_folder(kit));
    kit.write(&folder)?;
    let shown = folder.display();
    console::print(&format!(
        "A slow solution to level {level} in {} lies in {shown}.\n\n\
         \x20   cd {shown}\n    harness test                # build it and judge the first stage\n\
         \x20   harness describe level{level}     # the problem",
        kit.language
    ));
    let missing = kit.needs().iter();
    let missing: Vec<&str> = missing
        .copied()
        .filter(|name| find_program(Path::new(name)).is_err())
        .collect();
    if !missing.is_empty() {
        console::log(&format!(
            "harness: it needs {}, not found on the PATH",
            missing.join(" and ")
        ));
    }
    Ok(())
}

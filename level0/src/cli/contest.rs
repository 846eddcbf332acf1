//! The flags of the contest's program, and of what has been added to it.

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgGroup, CommandFactory, Parser};
use level0::{Job, Markers, Report};
use std::num::NonZero;
use std::path::PathBuf;

/// Mark the words of a document that a dictionary does not know.
///
/// A word is a run of bytes other than space and newline. It is known if, with its ASCII letters
/// turned to lower case, it equals a line of the dictionary. The document is written unchanged but
/// for <> around each unknown word.
#[derive(Parser)]
#[command(name = "level0", version, after_help = EXAMPLES)]
#[command(group(ArgGroup::new("report").args(["color", "count", "list", "distinct"])))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, and they exclude one another"
)]
struct Cli {
    /// Dictionary, one entry a line [default: the built-in Webster's Second]
    #[arg(value_name = "DICTIONARY")]
    dictionary: Option<PathBuf>,

    /// Dictionary, one entry a line; may be repeated, a word is known if any of them has it
    #[arg(short, long = "dictionary", value_name = "FILE")]
    dictionaries: Vec<PathBuf>,

    /// Document [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Where to write; must not be a file that is read [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Mark unknown words red with ANSI escape sequences instead of <>
    #[arg(long)]
    color: bool,

    /// Print only two numbers: words, unknown words
    #[arg(long)]
    count: bool,

    /// Print each distinct unknown word once, in first-seen order
    ///
    /// Spellings count: Foo and foo are two words. Of a word longer than 64 KiB the first 64 KiB are
    /// printed.
    #[arg(long)]
    list: bool,

    /// Print only the number of distinct unknown words
    #[arg(long)]
    distinct: bool,

    /// Check the spelling of texts instead: see level0 --prose --help
    #[arg(long)]
    prose: bool,

    /// Threads for a document of more than 512 KiB [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
}

const EXAMPLES: &str = "\
Examples:
  level0 < letter.txt                            mark words that Webster's Second lacks
  level0 /usr/share/dict/words < letter.txt      use another dictionary
  level0 -d words.txt -d names.txt --list -i letter.txt
  level0 --color -i letter.txt | less -R
  level0 --prose --lang en_GB README.md docs     check the spelling of texts

Exit status: 0 done (also if the output was closed early), 2 a file or a flag is wrong.";

/// The job that the command line asks for; ends the program after `--help` or on a wrong flag, and
/// says so if the flag is one that `is_for_prose`.
pub fn parse(is_for_prose: impl Fn(&str) -> bool) -> Job {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string);
        let name = flag.as_deref().unwrap_or_default();
        if error.kind() == ErrorKind::UnknownArgument && is_for_prose(name) {
            let message = format!("'{name}' needs --prose");
            Cli::command()
                .error(ErrorKind::MissingRequiredArgument, message)
                .exit();
        }
        error.exit()
    });
    let report = if cli.count {
        Report::Count
    } else if cli.list {
        Report::List
    } else if cli.distinct {
        Report::Distinct
    } else if cli.color {
        Report::Document(Markers::RED)
    } else {
        Report::Document(Markers::ANGLE_BRACKETS)
    };
    Job {
        dictionaries: cli.dictionary.into_iter().chain(cli.dictionaries).collect(),
        input: cli.input,
        output: cli.output,
        report,
        threads: cli.threads,
    }
}

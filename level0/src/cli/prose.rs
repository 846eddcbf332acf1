//! The flags of `level0 --prose`.

use clap::{CommandFactory, Parser, ValueEnum};
use level0::prose::{Diacritics, Format, Job, Report, Selection};
use std::num::NonZero;
use std::path::PathBuf;

/// Check the spelling of texts: print each word that no dictionary knows, with its place.
///
/// A word is what Unicode says it is (UAX #29), with inner apostrophes and hyphens. Case does not
/// count in word lists, nor does a possessive 's; of an unknown hyphenated word the unknown parts are
/// reported. Web and mail addresses, paths, names of files and numbers are no words.
///
/// A text can say what is not to be reported, in a comment or wherever it likes:
/// level0:ignore-line, level0:ignore-next-line, level0:ignore-start … level0:ignore-end, and
/// level0:words foo bar for words that are right from there on.
#[derive(Parser)]
#[command(name = "level0 --prose", version, after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Cli {
    /// Texts, and folders of texts; - is standard input [default: standard input]
    ///
    /// Of a folder those files are read that git would take: no hidden ones, none that .gitignore,
    /// .ignore or .level0ignore names, and none with zero bytes.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Check texts (what makes this help this help)
    #[arg(long, required = true)]
    prose: bool,

    /// A word list, or a hunspell dictionary (.dic or .aff); may be repeated
    /// [default: the built-in Webster's Second, of 1934]
    #[arg(
        short,
        long = "dictionary",
        value_name = "FILE",
        help_heading = "Words"
    )]
    dictionaries: Vec<PathBuf>,

    /// Use the system's hunspell dictionary, such as en_GB; may be repeated
    ///
    /// It is looked for in the folders of $DICPATH, /usr/share/hunspell and /usr/share/myspell.
    #[arg(long = "lang", value_name = "LANG", help_heading = "Words")]
    languages: Vec<String>,

    /// The list of your own words [default: .level0.txt here or above, and in the home directory]
    #[arg(long, value_name = "FILE", help_heading = "Words")]
    personal: Option<PathBuf>,

    /// Add a word to that list first; may be repeated. Without PATH that is all
    #[arg(long, value_name = "WORD", help_heading = "Words")]
    add: Vec<String>,

    /// Ignore diacritics: naive and naïve are one word
    #[arg(long, help_heading = "Words")]
    fold: bool,

    /// Take camelCase and snake_case apart; parts of fewer than four letters are not looked up
    #[arg(long, help_heading = "Words")]
    code: bool,

    /// Of folders, take only files that match; with ! before it, leave out those that do
    #[arg(short, long = "glob", value_name = "GLOB", help_heading = "Files")]
    globs: Vec<String>,

    /// Hidden files of folders, too
    #[arg(long, help_heading = "Files")]
    hidden: bool,

    /// Files of folders that ignore files name, too
    #[arg(long, help_heading = "Files")]
    no_ignore: bool,

    /// The form of the report
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Report"
    )]
    format: FormatName,

    /// Print each distinct unknown word once, with how often it stands there
    ///
    /// The most frequent come first. With --format json as one object a line.
    #[arg(long, conflicts_with = "count", help_heading = "Report")]
    list: bool,

    /// Print only two numbers: words, unknown words
    #[arg(long, help_heading = "Report")]
    count: bool,

    /// Print up to N words that may have been meant
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u8).range(0..=20), help_heading = "Report")]
    suggest: u8,

    /// Exit with 1 if there is an unknown word
    #[arg(long, help_heading = "Report")]
    check: bool,

    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
}

const EXAMPLES: &str = "\
Examples:
  level0 --prose --lang en_GB letter.txt              unknown words with their places
  level0 --prose --lang en_GB --suggest 3 < letter.txt
  level0 --prose --lang en_US --code -g '*.rs' src    the comments and names of a program
  level0 --prose --lang en_GB --list docs | head      the most frequent unknown words
  level0 --prose --add Kubernetes                     a word of your own
  level0 --prose --lang en_GB --check --format github README.md docs

Exit status: 0 done (also if the output was closed early), 1 with --check if a word is unknown,
2 if a file or a flag is wrong; the other files are reported all the same.";

#[derive(Clone, Copy, ValueEnum, Default)]
enum FormatName {
    /// file:line:column: word
    #[default]
    Plain,
    /// One JSON object a line
    Json,
    /// Annotations of a pull request, by GitHub's workflow commands
    Github,
    /// SARIF 2.1.0
    Sarif,
}

/// The job, and what its result means for the exit code.
pub struct Invocation {
    /// What is to be done.
    pub job: Job,
    /// An unknown word makes the program fail.
    pub check: bool,
}

/// Whether `flag`, as it stands on a command line, is one of these.
pub fn knows_flag(flag: &str) -> bool {
    let command = Cli::command();
    let mut flags = command.get_arguments();
    flags.any(|known| {
        let is_long = known
            .get_long()
            .is_some_and(|long| flag.strip_prefix("--") == Some(long));
        is_long
            || known
                .get_short()
                .is_some_and(|short| flag == format!("-{short}"))
    })
}

/// What the command line asks for; ends the program after `--help` or on a wrong flag.
pub fn parse() -> Invocation {
    let cli = Cli::parse();
    let format = match cli.format {
        FormatName::Plain => Format::Plain,
        FormatName::Json => Format::Json,
        FormatName::Github => Format::Github,
        FormatName::Sarif => Format::Sarif,
    };
    if (cli.list && !matches!(format, Format::Plain | Format::Json))
        || (cli.count && format != Format::Plain)
    {
        let message = "--list can be plain or json, --count only plain";
        Cli::command()
            .error(clap::error::ErrorKind::ArgumentConflict, message)
            .exit();
    }
    let report = if cli.list {
        Report::List
    } else if cli.count {
        Report::Count
    } else {
        Report::Findings
    };
    let job = Job {
        paths: cli.paths,
        selection: Selection {
            globs: cli.globs,
            hidden: cli.hidden,
            ignored: cli.no_ignore,
        },
        dictionaries: cli.dictionaries,
        languages: cli.languages,
        personal: cli.personal,
        add: cli.add,
        diacritics: if cli.fold {
            Diacritics::Ignored
        } else {
            Diacritics::Kept
        },
        code: cli.code,
        report,
        format,
        suggest: usize::from(cli.suggest),
        threads: cli.threads,
    };
    Invocation {
        job,
        check: cli.check,
    }
}

//! The command line.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use level1::{Backend, Choice, Device, GpuError, KernelError, Style, Team, Worker};
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

/// Mines gitcoins: matches git commits with small ids and pushes them to the server.
#[derive(Debug, Parser)]
#[command(
    version,
    override_usage = "level1 <COMMAND> [OPTIONS] …\n       level1 <URL> <USER>",
    after_help = "Without a command, level1 URL USER mines one coin as in 2014.\n\nExamples:\n  \
        level1 https://ann:TOKEN@localhost:8080/level1.git ann   Mine one coin\n  \
        level1 mine --coins 0 ctf@host:level1 ann                Mine until interrupted\n  \
        level1 search --repo . --amend --prefix c0ffee           Give HEAD's commit a vanity id\n  \
        git cat-file commit HEAD | level1 search --below 000001 > object\n  \
        level1 bench                                             Measure this machine"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the process's arguments. Where the first is neither an option nor a command, it is
    /// the classic miner's URL.
    pub fn from_process() -> Self {
        Self::parse_from(with_command(std::env::args_os().collect()))
    }
}

/// The arguments with `mine` put in front of the classic form.
fn with_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_command = |text: &str| {
        text == "help"
            || Cli::command()
                .get_subcommands()
                .any(|command| command.get_name() == text)
    };
    let is_classic = arguments.get(1).is_some_and(|first| {
        first
            .to_str()
            .is_none_or(|text| !text.starts_with('-') && !is_command(text))
    });
    if is_classic {
        arguments.insert(1, "mine".into());
    }
    arguments
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mine coins on a gitcoin server
    Mine(MineArgs),
    /// Match a nonce for a commit: no server, no clone
    Search(SearchArgs),
    /// Measure the hash rate of each backend
    Bench(BenchArgs),
    /// List the graphics processors, with their hash rates
    Devices(DeviceArgs),
    /// Run git, and end it when this process's parent ends
    #[command(name = RUN_GIT, hide = true, disable_help_flag = true)]
    RunGit {
        /// Git's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// The hidden command's name.
pub const RUN_GIT: &str = "run-git";

#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// How to hash: the best that the processor can do, or the one named
    ///
    /// 'auto' begins with the most capable instruction set, compares all of them each minute, and
    /// changes over to one that is a tenth faster. Built with a kernel for graphics processors, it
    /// uses the first one as well, if that is worth it; 'gpu' uses nothing else.
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = backend_parser())]
    pub backend: BackendChoice,
    /// Which graphics processor, by its number in 'level1 devices' [default: the first]
    #[arg(long, value_name = "N")]
    pub device: Option<usize>,
    /// Number of threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
pub struct MineArgs {
    /// What to clone: anything 'git clone' takes
    pub url: String,
    /// The name whose ledger entry goes up
    pub user: String,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// How many coins to mine; 0 means until interrupted
    ///
    /// With 0, no fault of the network and no restart of the server ends the run. A commit found
    /// while the server is away is kept in the clone's .git/level1/find and pushed first, by this
    /// run or the next.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub coins: u64,
    /// Author and committer of the commits [default: 'USER <gitcoin@example.com>']
    #[arg(long, value_name = "'NAME <MAIL>'", value_parser = author)]
    pub author: Option<String>,
    /// How often to ask the server whether its head has moved, in seconds
    ///
    /// The search goes on meanwhile.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub refresh: Duration,
    /// How long the server may take to answer a fetch or a push, in seconds
    ///
    /// After that it is told once that the server is silent; the search goes on.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
    /// Where the clone is or goes [default: ./PATH for host:PATH, else the URL's last component]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// How to put the nonce into the commit [default: see --help]
    ///
    /// 'line' adds a line 'Nonce: …' to the message, among its trailers if there are any. 'space'
    /// is invisible: spaces and tabs behind the message, or, in a signed commit, behind the
    /// signature, which stays valid. 'header' adds a header that git does not show, to commits that
    /// are not signed. Without the option it is 'line', but 'space' where the commit is signed or
    /// has no message.
    #[arg(long, value_name = "STYLE")]
    pub style: Option<StyleName>,
    /// Take HEAD's commit of this repository instead of one from standard input
    ///
    /// Any folder of it will do.
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// Write the match into the repository and move HEAD to it instead of printing it
    #[arg(long, requires = "repo")]
    pub amend: bool,
    #[command(flatten)]
    pub workers: WorkerArgs,
}

/// The styles by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StyleName {
    Line,
    Space,
    Header,
}

impl From<StyleName> for Style {
    fn from(name: StyleName) -> Self {
        match name {
            StyleName::Line => Self::Line,
            StyleName::Space => Self::Space,
            StyleName::Header => Self::Header,
        }
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TargetArgs {
    /// Match an id that begins with these hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub prefix: Option<String>,
    /// Match an id whose text is less than this difficulty, such as 000001
    #[arg(long, value_name = "HEX")]
    pub below: Option<String>,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Measure this backend only, beside the 'sha1' crate
    #[arg(long, value_name = "NAME", value_parser = backend_parser())]
    pub backend: Option<BackendChoice>,
    /// Measure with the nonce where 'search --style' puts it; 'mine' takes a line
    #[arg(long, value_name = "STYLE", default_value = "line")]
    pub style: StyleName,
    /// Measure on 1 and on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// How long a measurement counts, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub seconds: Duration,
    /// How often each is measured, in turn with the others; the best counts
    #[arg(long, value_name = "N", default_value = "3")]
    pub rounds: NonZeroUsize,
}

#[derive(Debug, Args)]
pub struct DeviceArgs {
    /// Try many ways to cut the work for one device, with the hash rate of each
    #[arg(long)]
    pub sweep: bool,
    /// Which device to sweep [default: the first]
    #[arg(long, value_name = "N", requires = "sweep")]
    pub device: Option<usize>,
    /// How long each way is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub seconds: Duration,
}

/// A backend by name, or the best.
#[derive(Clone, Copy, Debug)]
pub enum BackendChoice {
    Auto,
    Named(Backend),
    Gpu,
}

impl WorkerArgs {
    pub fn team(&self) -> Result<Team, KernelError> {
        let cpu = |backend| Worker::cpu(backend, threads(self.threads));
        match self.backend {
            BackendChoice::Named(backend) => Ok(Team::fixed(cpu(backend).into())),
            BackendChoice::Gpu => Ok(Team::fixed(gpu(self.device)?.into())),
            BackendChoice::Auto => {
                let choice = Choice::new(Backend::by_capability());
                let threads = threads(self.threads);
                let workers =
                    crate::commands::devices::join(choice.current(), threads, self.device)?;
                Ok(Team::choosing(&workers, choice))
            }
        }
    }
}

/// The graphics processor with this number, or the first.
pub fn gpu(index: Option<usize>) -> Result<Worker, GpuError> {
    Ok(Worker::Gpu(Arc::new(Device::open(index)?)))
}

/// The number asked for, or one for each processor.
pub fn threads(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked
        .or_else(|| available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

fn backend_parser() -> impl TypedValueParser<Value = BackendChoice> {
    let names = Backend::ALL.map(Backend::name);
    PossibleValuesParser::new(["auto", "gpu"].into_iter().chain(names)).map(|name| {
        let named = Backend::ALL
            .into_iter()
            .find(|backend| backend.name() == name);
        match named {
            Some(backend) => BackendChoice::Named(backend),
            None if name == "gpu" => BackendChoice::Gpu,
            None => BackendChoice::Auto,
        }
    })
}

/// The longest interval: a day.
const SECONDS_MAX: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("not a number of seconds above 0 and up to 86400".to_owned()),
    }
}

fn author(text: &str) -> Result<String, String> {
    let parts = text
        .split_once(" <")
        .and_then(|(name, rest)| Some((name, rest.strip_suffix('>')?)));
    let forbidden = |c: char| matches!(c, '<' | '>') || c.is_control();
    match parts {
        Some((name, mail))
            if !name.trim().is_empty()
                && !name.contains(forbidden)
                && !mail.contains(|c: char| forbidden(c) || c.is_whitespace()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("an author looks like 'Name <mail@example.com>'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_classic_form_is_mine() {
        let parse = |line: &str| {
            Cli::try_parse_from(with_command(line.split(' ').map(OsString::from).collect()))
        };
        let Ok(Cli {
            command: Command::Mine(mine),
        }) = parse("level1 host:level1 ann")
        else {
            panic!("not taken for mine");
        };
        assert_eq!(
            (mine.url.as_str(), mine.user.as_str()),
            ("host:level1", "ann")
        );
        assert!(matches!(
            parse("level1 bench"),
            Ok(Cli {
                command: Command::Bench(_)
            })
        ));
        assert!(parse("level1 host:level1").is_err());
        assert!(parse("level1").is_err());
    }

    #[test]
    fn authors_are_checked() {
        assert!(author("Ann Example <ann@example.com>").is_ok());
        for text in [
            "Ann", "<ann@b>", "A <b", "A <b> c", "A\n <b>", "A <<b>", "A <b c>",
        ] {
            assert!(author(text).is_err(), "{text}");
        }
    }
}

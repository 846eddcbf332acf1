//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use level3::Endpoint;

const EXAMPLES: &str = "\
Examples:
  level3 start-servers                     everything on this machine, ports 9090 to 9093
  curl 'http://127.0.0.1:9090/index?path=/usr/src/linux'
  curl 'http://127.0.0.1:9090/?q=mutex_lock'
  level3 start-servers --data /var/lib/level3 --watch
                                           keep the index, and follow changes
  level3 start-servers --listen unix:/run/user/1000/level3
  curl --unix-socket /run/user/1000/level3 'http://localhost/?q=mutex_lock'
                                           for those who may open that file
  level3 --id 1 --listen 0.0.0.0:9091      a node for a master on another host
  level3 --master --nodes a:9091,b:9091    that master";

const SEARCH_EXAMPLES: &str = "\
Examples:
  level3 search mutex_lock file:kernel/ -file:*.h
  level3 search '\"static inline\"' '/\\bu(8|16)\\b/' lang:c
  level3 search --best sched_init          definitions first
  level3 search file:Makefile              files by their names";

/// Instant code search: a master and the nodes that it shards the text over.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to run, if it is all servers at once.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub role: Role,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a master and its nodes, log their lines, and stop them together.
    #[command(alias = "cluster", after_help = EXAMPLES)]
    StartServers(Settings),
    /// Ask the master, and print what it finds as ripgrep does.
    ///
    /// Ends with status 0 if something was found, 1 if not, and 2 if the answer is not whole or
    /// there is none.
    #[command(after_help = SEARCH_EXAMPLES)]
    Search(Search),
}

/// What to look for, and how to show it.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line that do not depend on each other"
)]
pub struct Search {
    /// The query: words, "quoted texts", /expressions/ and filters such as file:*.c; a line must
    /// match them all. Behind `--` it may begin with a `-`.
    #[arg(required = true, value_name = "QUERY")]
    pub query: Vec<String>,
    /// The master: http://HOST:PORT or unix:PATH.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub server: String,
    /// Take words for expressions.
    #[arg(short = 'e', long)]
    pub regex: bool,
    /// Print definitions and files whose name matches first.
    #[arg(long)]
    pub best: bool,
    /// Print N lines around each hit, up to 20.
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    pub context: usize,
    /// Print at most N lines that match [default: all, up to about 100000].
    #[arg(short = 'm', long, value_name = "N", value_parser = limit)]
    pub limit: Option<usize>,
    /// Print only the names of files.
    #[arg(short = 'l', long)]
    pub files_with_matches: bool,
    /// Print the column of the first match too.
    #[arg(long)]
    pub column: bool,
    /// Print the path in front of each line on a terminal too.
    #[arg(long)]
    pub no_heading: bool,
    /// When to use colours; `auto` is on a terminal, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub color: When,
}

/// Lines that the master gives at most: a whole page behind the largest offset.
pub const MAX_LINES: usize = 110_000;

/// A number of lines that can be asked for.
fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MAX_LINES) => Ok(number),
        _ => Err(format!("expected a number from 1 to {MAX_LINES}")),
    }
}

/// When to do something that is for people.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

/// What a single server is.
#[derive(Debug, Args)]
pub struct Role {
    /// Run the master.
    #[arg(long, conflicts_with = "id")]
    pub master: bool,
    /// Run node N, counting from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub id: Option<u32>,
    /// Accepted for the sake of 2014's scripts; means nothing.
    #[arg(long, hide = true)]
    pub server: bool,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub die_with_parent: bool,
}

#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Port of the master; node N has the Nth port behind it.
    #[arg(long, value_name = "P", default_value_t = 9090, value_parser = clap::value_parser!(u16).range(1..=64000))]
    pub base_port: u16,
    /// Where this server listens: HOST:PORT or unix:PATH; with start-servers, where the master
    /// does [default: 127.0.0.1 and the port that --base-port gives].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Endpoint>,
    /// Folder for the index, kept between runs. Without it a private folder is used and removed
    /// at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The master's nodes: HOST:PORT or unix:PATH each [default: three on this machine].
    /// The nodes of start-servers all run here.
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    pub nodes: Vec<Endpoint>,
    /// Keep each shard on R nodes. The master asks the fastest, and another one when it is slow.
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub replicas: u8,
    /// In git work trees, leave out what `.gitignore` files and `.git/info/exclude` name. A request
    /// can say so itself: /index?path=…&ignore=git, or ignore=nothing.
    #[arg(long)]
    pub gitignore: bool,
    /// Index again when files change.
    #[arg(long)]
    pub watch: bool,
    /// Watch at most N folders and poll the others. The system has a limit of its own
    /// (`fs.inotify.max_user_watches`), beyond which folders are polled as well.
    #[arg(long, value_name = "N", requires = "watch")]
    pub watch_limit: Option<usize>,
    /// Also answer requests for this host name, such as http://NAME:9090/. By default only
    /// `localhost`, loopback addresses and the host of --listen are answered, so that no web page
    /// can read files under a name of its own. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Address that opens a file in your editor, for the page's links: {path} stands for the file,
    /// {line} and {column} for the place. For example, vscode://file/{path}:{line} or
    /// idea://open?file={path}&line={line}.
    #[arg(long, value_name = "URL", value_parser = editor_url)]
    pub editor_url: Option<String>,
    /// Seconds after which a node that says nothing counts as missing.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub node_timeout: u64,
    /// Seconds that a search by expression may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub search_time_limit: u64,
}

/// Nodes of a cluster if nothing else is said, as in 2014.
const NODES: u16 = 3;

impl Settings {
    /// The nodes' addresses.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        if !self.nodes.is_empty() {
            return self.nodes.clone();
        }
        (1..=NODES).map(|node| self.local(node)).collect()
    }

    /// The address on this machine of node N, or of the master for 0.
    pub fn local(&self, node: u16) -> Endpoint {
        Endpoint::Tcp(format!("127.0.0.1:{}", self.base_port.saturating_add(node)))
    }

    /// The master's settings.
    pub fn master_config(&self) -> level3::Config {
        level3::Config {
            nodes: self.endpoints(),
            replicas: self.replicas.into(),
            data: self.data.clone(),
            ignore: if self.gitignore {
                level3::Ignore::Git
            } else {
                level3::Ignore::Nothing
            },
            watch: self.watch,
            watch_limit: self.watch_limit.unwrap_or(usize::MAX),
            allow_hosts: self.allow_host.clone(),
            editor_url: self.editor_url.clone(),
            node_timeout: Duration::from_secs(self.node_timeout),
            search_time_limit: Duration::from_secs(self.search_time_limit),
            ..level3::Config::new(Vec::new())
        }
    }
}

/// Checks an address for `--editor-url`. Links of the page run no scripts.
fn editor_url(url: &str) -> Result<String, String> {
    let (scheme, _) = url
        .split_once(':')
        .ok_or("an address starts with a scheme, such as vscode:")?;
    let is_name = scheme
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    if !is_name || !scheme.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Err("an address starts with a scheme, such as vscode:".to_owned());
    }
    if ["javascript", "data", "vbscript"]
        .iter()
        .any(|bad| scheme.eq_ignore_ascii_case(bad))
    {
        return Err(format!("{scheme}: opens no editor"));
    }
    if !url.contains("{path}") {
        return Err("{path} is missing".to_owned());
    }
    Ok(url.to_owned())
}

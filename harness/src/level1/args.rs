//! The flags of `harness level1` and its commands.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Subcommand, ValueEnum};

use super::{
    bots::BotSettings,
    difficulty::Difficulty,
    player_name::{self, NameError},
};
use crate::{duration, solution::SolutionArgs};

/// Judges a level 1 solution, run as `SOLUTION URL USERNAME`: one accepted coin passes.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  harness level1
  harness level1 --solution harness/examples/level1.py --difficulty 001
  harness level1 --bots 0 --difficulty 0000001 -- --threads 1
  harness level1 serve --listen 0.0.0.0:8014 --dir game --player ada --player bob
  harness level1 round --minutes 5 --player ada --player 'bob=target/release/level1'"
)]
pub struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    #[command(flatten)]
    pub(super) play: PlayArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve a chain over HTTP, for players on this or other machines
    Serve(ServeArgs),
    /// Play timed rounds with a ranking and Elo ratings
    Round(RoundArgs),
    /// Print the results that a game's file has: as tables, CSV or JSON
    Results(ResultsArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct PlayArgs {
    #[command(flatten)]
    pub solution: SolutionArgs,

    /// What a commit's id must be less than, in hex digits
    #[arg(long, value_name = "HEX", default_value = "000001")]
    pub difficulty: Difficulty,

    #[command(flatten)]
    pub bots: BotArgs,

    /// The solution's name in the ledger
    #[arg(long, value_name = "NAME", default_value = "player", value_parser = name)]
    pub user: String,

    /// How often the chain is replaced by a fresh one, in seconds; 0 for never
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub replace_every: Duration,

    /// What happens just before the solution's first push: nothing, a rival's `coin`, or another
    /// `chain`
    #[arg(long, value_name = "SURPRISE")]
    pub before_push: Option<Surprise>,

    /// How many coins the solution has to land; it is run again whenever it ends
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub coins: u32,

    /// Stop a solution that has no coin after this long, such as `2m`
    #[arg(long, value_name = "DURATION", default_value = "2m",
        value_parser = duration::parse)]
    pub time_limit: Duration,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// What makes the solution's first push come too late, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Surprise {
    /// A rival lands a coin.
    Coin,
    /// The chain is replaced by one without common history.
    Chain,
}

#[derive(Debug, clap::Args)]
pub(super) struct BotArgs {
    /// Number of bots that mine against the players
    #[arg(long = "bots", value_name = "N", default_value = "3")]
    count: usize,

    /// Mean time between two coins of one bot, in seconds
    #[arg(long = "bot-interval", value_name = "SECONDS", default_value = "20",
        value_parser = positive_seconds)]
    interval: Duration,
}

impl BotArgs {
    pub(super) const fn settings(&self) -> BotSettings {
        BotSettings {
            count: self.count,
            interval: self.interval,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Players clone and push with the URL that is printed for them; it holds their token. The scoreboard
is the server's front page. Plain HTTP: put a proxy with TLS in front where that matters.")]
pub(super) struct ServeArgs {
    /// Where to listen; a port of 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8014")]
    pub listen: SocketAddr,

    /// Keep the chain and the players in this folder, and go on with what is there (default: a
    /// temporary folder)
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// What a commit's id must be less than, in hex digits; for a new chain
    #[arg(long, value_name = "HEX", default_value = "000001")]
    pub difficulty: Difficulty,

    #[command(flatten)]
    pub bots: BotArgs,

    /// Let this player in; may be repeated
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub player: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A player with a command is run here, as `COMMAND URL NAME`, again and again in a folder of its own;
the command is split at spaces. For a player without one, a URL with its token is printed.

Every coin is in the file of --db when it has landed. Ctrl-C ends a round early: its result is booked
and shown, and the exit status is 130. After the last round, where it ends the wait of --linger, the
exit status is 0.

Examples:
  harness level1 round --player ada --player bob --listen 0.0.0.0:8014
  harness level1 round --minutes 5 --rounds 12 --pause 1m --freeze 1m --player ada --player bob
  harness level1 round --minutes 3 --bots 2 --player 'me=target/release/level1' --linger 10m")]
pub(super) struct RoundArgs {
    /// Length of a round
    #[arg(long, value_name = "MINUTES", default_value = "15", value_parser = minutes)]
    pub minutes: Duration,

    /// Number of rounds, one after the other; 0 for until interrupted
    #[arg(long, value_name = "N", default_value = "1")]
    pub rounds: u64,

    /// Who takes part; may be repeated
    #[arg(long, value_name = "NAME[=COMMAND]", required = true)]
    pub player: Vec<PlayerArg>,

    /// Where to listen; a port of 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8014")]
    pub listen: SocketAddr,

    /// The file that keeps players, ratings and results
    #[arg(long, value_name = "FILE", default_value = "gitcoin.sqlite")]
    pub db: PathBuf,

    /// Bonus points for every player with at least one coin in a round
    #[arg(long, value_name = "N", default_value = "50")]
    pub points: u64,

    /// Mean time between two coins of the whole field, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = positive_seconds)]
    pub coin_interval: Duration,

    /// The longest measurement of the field's rate, in seconds, when a player's is not known
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = positive_seconds)]
    pub warm_up: Duration,

    /// Use this difficulty instead of one that follows from the field's rate
    #[arg(long, value_name = "HEX")]
    pub difficulty: Option<Difficulty>,

    /// Number of bots that mine against the players; they are not rated
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub bots: usize,

    /// Mean time between two coins of one bot, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = positive_seconds)]
    pub bot_interval: Duration,

    /// Show no more coins on the scoreboard in the last part of a round, such as `3m`
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    pub freeze: Duration,

    /// Time between two rounds, with a countdown on the scoreboard
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub pause: Duration,

    /// Keep the scoreboard up after the last round (default: until Ctrl-C on a terminal, else 0s)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub linger: Option<Duration>,

    /// Run in this folder and leave it behind (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

impl RoundArgs {
    pub(super) const fn bots(&self) -> BotSettings {
        BotSettings {
            count: self.bots,
            interval: self.bot_interval,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Tokens are not printed. A file may be read while a game is played with it.

Examples:
  harness level1 results --db gitcoin.sqlite
  harness level1 results --format csv >results.csv
  harness level1 results --format json --coins --round 3")]
pub(super) struct ResultsArgs {
    /// The file of the game
    #[arg(long, value_name = "FILE", default_value = "gitcoin.sqlite")]
    pub db: PathBuf,

    /// What is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,

    /// This round only
    #[arg(long, value_name = "N")]
    pub round: Option<u64>,

    /// Every coin: in CSV instead of the results, in JSON beside them
    #[arg(long)]
    pub coins: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// A line for each player of each round.
    Csv,
    /// All of it.
    Json,
}

/// A player of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlayerArg {
    pub name: String,
    /// The words of the command that mines for it here.
    pub command: Option<Vec<String>>,
}

impl std::str::FromStr for PlayerArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (player, command) = match text.split_once('=') {
            Some((player, command)) => (player, Some(command)),
            None => (text, None),
        };
        let words = |command: &str| command.split_whitespace().map(str::to_owned).collect();
        let command: Option<Vec<String>> = command.map(words);
        if command.as_ref().is_some_and(Vec::is_empty) {
            return Err("there is no command after the `=`".into());
        }
        Ok(Self {
            name: name(player).map_err(|error| error.to_string())?,
            command,
        })
    }
}

fn name(text: &str) -> Result<String, NameError> {
    player_name::check(text)?;
    Ok(text.to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse();
    let number: f64 = number.map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("it must be more than 0".into()),
        duration => Ok(duration),
    }
}

/// The longest round: longer ones are slips of the hand.
const ROUND_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

fn minutes(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "not a number of minutes".to_owned())?;
    let duration = Duration::try_from_secs_f64(number * 60.0).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) {
        return Err("a round lasts a second at least".into());
    }
    if duration > ROUND_MAX {
        return Err("a round lasts 30 days at most".into());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_may_have_a_command() {
        let player: PlayerArg = "ada l=./miner  --threads 1=x".parse().unwrap();
        assert_eq!(player.name, "ada l");
        assert_eq!(player.command.unwrap(), ["./miner", "--threads", "1=x"]);
        assert_eq!("bob".parse::<PlayerArg>().unwrap().command, None);
        for bad in ["", "=x", "a/b", "bob=", "bob= ", "bot-1", "-x=y", ".", " "] {
            assert!(bad.parse::<PlayerArg>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_positive_numbers() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        assert_eq!(seconds("20s").unwrap(), Duration::from_secs(20));
        assert_eq!(minutes("0.5").unwrap(), Duration::from_secs(30));
        for bad in ["", "-1", "x", "nan", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
            assert!(minutes(bad).is_err(), "{bad:?}");
        }
        assert!(positive_seconds("0").is_err());
        assert!(minutes("1e17").is_err());
    }
}

//! Level 1: gitcoin. A coin is a commit whose id is small enough, on top of the chain's head,
//! that raises one's own entry of the ledger by one, pushed before anybody else pushes one.
//!
//! From the inside out:
//!
//! - [`object`], [`ledger`], [`difficulty`] are the chain's values, and [`rules`] says what a push
//!   may do to them; [`pkt_line`], [`receive`] and [`pack`] read a push; all without I/O. [`judge`]
//!   asks the rules about the objects of a push and of a repository;
//! - [`git`] calls git, [`repository`] is the server's side of a chain, where pushes are judged and
//!   land, and [`journal`] is what it leaves behind for the game;
//! - [`server`] is the game over HTTP, [`scoreboard`] what it shows; [`bots`] mine, by the plain
//!   [`search`];
//! - [`rounds`] are timed games with a ranking, and the book that players and results are kept in;
//! - `play`, `serve` and `rounds` are the commands; [`player_name`] says who may take part.

mod args;
pub mod bots;
pub mod difficulty;
pub mod git;
pub mod journal;
pub mod judge;
pub mod ledger;
pub mod object;
mod output;
pub mod pack;
pub mod pkt_line;
mod play;
pub mod player_name;
pub mod receive;
pub mod repository;
pub mod rounds;
pub mod rules;
pub mod scoreboard;
pub mod search;
mod serve;
pub mod server;

use anyhow::Result;

pub use args::Args;
use args::Command;

use crate::report::Report;

/// Judges a solution, or runs the command that the flags name.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    match &args.command {
        None => play::run(&args.play, report),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Round(args)) => rounds::run(args),
        Some(Command::Results(args)) => rounds::results(args),
    }
}

/// 128 random bits in hex digits: a token, or what makes a chain unlike every other.
fn nonce() -> String {
    format!("{:032x}", rand::random::<u128>())
}

//! Rounds: everybody mines on the same fresh chain for a time; most coins win.
//!
//! [`book`] keeps players, coins and results, [`elo`] rates, [`export`] makes files of it;
//! `warm_up` measures what the field can do, `field` runs the miners that are run here, and the
//! `referee` plays the rounds. Whatever can fail is tried before the first round.

pub mod book;
pub mod elo;
pub mod export;
mod field;
mod referee;
mod results;
mod warm_up;

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    net::TcpListener,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    args::RoundArgs,
    repository::Repository,
    server::{Server, Site, shown},
};
use crate::console;
use book::{Book, Records};
use field::Field;
use octopus::{WorkDir, interrupt};
use referee::Referee;
pub(super) use results::run as results;

/// The repository's name, as in 2014.
const NAME: &str = "current-round";

/// Plays the rounds.
pub(super) fn run(args: &RoundArgs) -> Result<()> {
    check(args)?;
    let commands = field::find_commands(&args.player)?;
    let mut book = Book::open(&args.db)?;
    let mut players = Vec::new();
    for player in &args.player {
        players.push(book.join(&player.name)?);
    }
    for number in book.unfinished()? {
        let round = book.settle(number)?;
        console::print(&format!(
            "round {number}: its host was gone before its end; booked with the coins that landed\n{}",
            referee::table(&round.results)
        ));
    }
    let workdir = WorkDir::new(args.root.as_deref())?;
    let repository = Repository::create(
        &workdir.path().join("server").join(NAME),
        &warm_up::genesis(warm_up::FIRST_HASHES),
    )?;
    let tokens = players
        .into_iter()
        .map(|player| (player.name, player.token));
    let site = Site::new(repository.clone(), "Gitcoin rounds", tokens)
        .with_records(Records::open(&args.db)?);
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let server = Server::start(listener, site)?;
    let address = shown(server.address());
    console::print(&format!("scoreboard: http://{address}/"));
    for player in args.player.iter().filter(|player| player.command.is_none()) {
        let url = server.site().url(server.address(), Some(&player.name));
        console::print(&format!("{}: {url}", player.name));
    }
    let mut referee = Referee {
        args,
        repository,
        server: &server,
        field: Field::new(commands, &server, &workdir.path().join("players")),
        book,
    };
    let mut left = args.rounds;
    loop {
        let is_last = left == 1;
        referee.round(is_last)?;
        interrupt::check()?;
        if is_last {
            break;
        }
        left = left.saturating_sub(1);
        if interrupt::wait_for(args.pause) {
            return Ok(());
        }
    }
    linger(args.linger, &address);
    Ok(())
}

/// What the flags cannot say of themselves alone.
fn check(args: &RoundArgs) -> Result<()> {
    let mut names = BTreeSet::new();
    for player in &args.player {
        ensure!(
            names.insert(&player.name),
            "--player {} is given twice",
            player.name
        );
    }
    ensure!(
        args.freeze < args.minutes,
        "--freeze {} hides a whole round of {}",
        humantime::format_duration(args.freeze),
        humantime::format_duration(args.minutes)
    );
    Ok(())
}

/// Keeps the scoreboard up for as long as that; for who sits at the terminal, until Ctrl-C. Every
/// round has its result by then, so that Ctrl-C interrupts nothing.
fn linger(time: Option<Duration>, address: &str) {
    let until_stopped = time.is_none() && io::stdout().is_terminal();
    let time = time.unwrap_or_default();
    if until_stopped {
        console::log(&format!(
            "level 1: the result stays at http://{address}/ until Ctrl-C"
        ));
        interrupt::wait();
        interrupt::answered();
    } else if time > Duration::ZERO {
        console::log(&format!(
            "level 1: the result stays at http://{address}/ for {}",
            humantime::format_duration(time)
        ));
        if interrupt::wait_for(time) {
            interrupt::answered();
        }
    }
}

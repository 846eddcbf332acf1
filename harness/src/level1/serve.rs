//! A chain for anybody to mine on, until interrupted.

use std::{collections::BTreeSet, fs, net::TcpListener, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    args::ServeArgs,
    bots::Bots,
    repository::{Genesis, Repository},
    rounds::book::Book,
    server::{Server, Site, shown},
};
use crate::console;
use octopus::{WorkDir, interrupt};

/// How often the chain is looked at while nobody pushes.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until interrupted.
pub(super) fn run(args: &ServeArgs) -> Result<()> {
    let mut names = BTreeSet::new();
    for name in &args.player {
        ensure!(names.insert(name), "--player {name} is given twice");
    }
    let workdir = WorkDir::temporary()?;
    let home = args.dir.as_deref().unwrap_or(workdir.path());
    fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
    let book = Book::open(&home.join("gitcoin.sqlite"))?;
    for name in &args.player {
        book.join(name)?;
    }
    let players = book.records().players()?;
    ensure!(
        !players.is_empty(),
        "nobody could push: name a player with --player NAME"
    );
    let dir = home.join("level1");
    let repository = if dir.exists() {
        Repository::open(&dir)?
    } else {
        Repository::create(&dir, &Genesis::single_player(args.difficulty.clone()))?
    };
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let tokens = players
        .iter()
        .map(|player| (player.name.clone(), player.token.clone()));
    let site = Site::new(repository.clone(), "Gitcoin", tokens);
    let server = Server::start(listener, site)?;
    console::print(&format!("scoreboard: http://{}/", shown(server.address())));
    for player in &players {
        let url = server.site().url(server.address(), Some(&player.name));
        console::print(&format!("{}: {url}", player.name));
    }
    let _bots = Bots::start(&repository, args.bots.settings())?;
    while !interrupt::wait_for(LOOK) {
        repository.check()?;
    }
    Ok(())
}

//! `level1 mine`, and the classic form without a subcommand.

use super::progress::{Progress, time};
use super::{interrupt_flag, interrupted_exit, run_git};
use crate::cli::MineArgs;
use anyhow::{Context, Result};
use level1::{
    CloneDir, Coin, Head, Observer, Plan, Player, Status, Upstream, classic_dir, mine,
    without_secrets,
};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub fn run(args: &MineArgs) -> Result<ExitCode> {
    let player = Player::new(&args.user)?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => classic_dir(&args.url)?,
    };
    // Before anything is cloned: a backend this processor lacks is a mistake in the call.
    let team = args.workers.team()?;
    team.workers().kernels()?;
    let interrupted = interrupt_flag()?;
    run_git::prepare();

    let (clone, head) = match begin(args, &dir, &interrupted) {
        Err(_) if interrupted.load(Ordering::Acquire) => return Ok(interrupted_exit()),
        begun => begun?,
    };
    let mut screen = Screen {
        progress: Progress::new(),
    };
    screen.progress.note(&format!(
        "mining for {} on {} in {}: difficulty {}, {}",
        player.name(),
        head.id,
        dir.display(),
        head.difficulty,
        team.workers(),
    ));
    let author = args.author.clone();
    let plan = Plan {
        author: author.unwrap_or_else(|| format!("{} <gitcoin@example.com>", player.name())),
        player,
        team,
        coins: args.coins,
        refresh: args.refresh,
        network: args.timeout,
    };
    let summary = mine(clone.repository(), head, &plan, &interrupted, &mut screen)?;
    if summary.lost_races > 0 || summary.coins != 1 {
        let (coins, lost) = (summary.coins, summary.lost_races);
        screen
            .progress
            .note(&format!("{coins} coins, {lost} races lost"));
    }
    // Mining until interrupted ends well when interrupted.
    let unfinished = summary.interrupted && args.coins != 0;
    Ok(if unfinished {
        interrupted_exit()
    } else {
        ExitCode::SUCCESS
    })
}

/// The clone, and the server's head; nothing is left of a clone that is no chain.
fn begin(args: &MineArgs, dir: &Path, stop: &Arc<AtomicBool>) -> Result<(CloneDir, Head)> {
    let clone = CloneDir::obtain(&args.url, dir, stop).with_context(|| {
        let url = without_secrets(&args.url);
        format!("no clone of {url} in {}", dir.display())
    })?;
    let repository = clone.repository().with_stop(stop);
    let fetched = Upstream::new(&repository).fetch();
    let head = fetched.inspect_err(|_| clone.discard())?.head;
    Ok((clone, head))
}

struct Screen {
    progress: Progress,
}

impl Observer for Screen {
    fn searching(&mut self, status: &Status<'_>) {
        let Status { head, tried, coins } = *status;
        self.progress.update(tried, |rate| {
            let expected = time(head.target.expected_hashes() / rate.max(1.0));
            format!(
                "a coin every {expected}, {coins} coins so far, head {:.12}",
                head.id
            )
        });
    }

    fn coin(&mut self, coin: &Coin) {
        let rate = coin.tried as f64 / coin.searched.as_secs_f64().max(1e-9) / 1e6;
        let took = time(coin.took.as_secs_f64());
        self.progress.aside(|| {
            // A closed standard output is no reason to stop mining.
            let _ = writeln!(
                io::stdout(),
                "coin {}: {} in {took}, {rate:.1} MH/s",
                coin.number,
                coin.id
            );
        });
    }

    fn note(&mut self, note: &str) {
        self.progress.note(note);
    }
}

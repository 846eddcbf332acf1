//! The single-player game: a server, bots, and a solution that has to land one coin.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    args::{PlayArgs, Surprise},
    bots::{BOT_PREFIX, Bots, Miner, Step},
    journal::{Event, Reader},
    nonce,
    output::{self, Relay},
    repository::{Genesis, Repository},
    server::{Server, Site},
};
use crate::{
    console, live_feed,
    noise::Watch,
    report::{CaseResult, Failure, Report, Unit},
    solution::{Solution, cannot_run},
    solution_log,
};
use octopus::{ProcessGroup, WorkDir, interrupt};

/// The difficulty of 2014.
const CONTEST_DIFFICULTY: &str = "000001";

/// How often the game looks at the journal and at the solution.
const TICK: Duration = Duration::from_millis(20);

/// How long a solution that has its coin may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// How many nonces a rival tries before it looks again whether the head has moved.
const RIVAL_NONCES: u64 = 1 << 16;

/// Plays one game and reports it.
pub(super) fn run(args: &PlayArgs, report: &mut Report) -> Result<()> {
    let solution = Solution::find(1, &args.solution)?;
    let mut workdir = WorkDir::new(args.root.as_deref())?;
    let game = Game::start(args, workdir.path())?;
    let watch = Watch::start();
    let played = game.play(&solution)?;
    let noise = watch.stop();
    let case = format!(
        "difficulty {}, {} bots",
        args.difficulty,
        args.bots.settings().count
    );
    let mut result = CaseResult::new(1, case, &solution, Unit::Coins)
        .scored(f64::from(played.coins), None)
        .under(noise);
    if args.difficulty.to_string().as_str() > CONTEST_DIFFICULTY {
        result = result.remark(format!("difficulty {}", args.difficulty));
    }
    if args.bots.settings().count == 0 {
        result = result.remark("no bots");
    }
    if args.coins > 1 {
        result = result.figure("coins_wanted", args.coins);
    }
    if let Some(coin) = &played.coin {
        game.repository
            .audit(coin.commit.parse()?)
            .context("the chain that the coin landed on is damaged")?;
        result = result.figure("time_to_coin_s", coin.after.as_secs_f64());
    }
    let begun = game.server.site().attempts(&args.user);
    result = result
        .figure("pushes_begun", begun)
        .figure(
            "pushes_refused",
            begun.saturating_sub(u64::from(played.coins)),
        )
        .figure("bot_coins", played.bot_coins)
        .figure("chains", played.chains);
    for (rule, count) in &played.refused {
        result = result.figure(&format!("refused_{rule}"), *count);
    }
    if let Some(rate) = played.rate_mh_s {
        result = result.figure("rate_mh_s", rate);
    }
    if let Some(failure) = played.failure {
        let kept = workdir.keep().display();
        console::log(&format!("level 1: the run's files are kept in {kept}"));
        result = result.fail(failure);
    }
    report.add(report.staged(result));
    Ok(())
}

/// A running server with a user that may push to it.
struct Game<'a> {
    args: &'a PlayArgs,
    folder: &'a Path,
    repository: Repository,
    server: Server,
}

/// How far a game is.
struct Progress {
    journal: Reader,
    start: Instant,
    /// When the chain was replaced last.
    replaced: Instant,
}

impl Progress {
    fn start(repository: &Repository) -> Self {
        let start = Instant::now();
        Self {
            journal: Reader::new(repository.dir()),
            start,
            replaced: start,
        }
    }
}

/// What came of a game.
#[derive(Default)]
struct Played {
    /// The first of the solution's coins.
    coin: Option<Coin>,
    coins: u32,
    bot_coins: u64,
    /// Pushes of the solution that a rule refused, by rule.
    refused: BTreeMap<String, u64>,
    last_refusal: Option<String>,
    /// Chains that were played on, the first one included.
    chains: u64,
    rate_mh_s: Option<f64>,
    failure: Option<Failure>,
}

struct Coin {
    after: Duration,
    commit: String,
}

impl<'a> Game<'a> {
    fn start(args: &'a PlayArgs, folder: &'a Path) -> Result<Self> {
        let genesis = Genesis::single_player(args.difficulty.clone());
        let repository = Repository::create(&folder.join("server/level1"), &genesis)?;
        let site = Site::new(
            repository.clone(),
            "Level 1",
            [(args.user.clone(), nonce())],
        );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
        Ok(Self {
            args,
            folder,
            repository,
            server: Server::start(listener, site)?,
        })
    }

    /// The solution, to be run in a folder of its own after so many coins.
    fn command(&self, solution: &Solution, coins: u32) -> Result<Command> {
        let folder = match coins {
            0 => self.folder.join("solution"),
            coins => self.folder.join(format!("solution-after-{coins}")),
        };
        fs::create_dir_all(&folder).context("cannot make the solution's folder")?;
        solution.link_neighbours(&folder)?;
        let url = self
            .server
            .site()
            .url(self.server.address(), Some(&self.args.user));
        let mut command = solution.command([&url, &self.args.user]);
        set_up_git(&mut command, &self.args.user);
        command.current_dir(folder).stdin(Stdio::null());
        Ok(command)
    }

    /// Sees to it that the first push comes too late, if that is wanted.
    fn prepare_surprise(&self) {
        let Some(surprise) = self.args.before_push else {
            return;
        };
        let repository = self.repository.clone();
        let genesis = Genesis::single_player(self.args.difficulty.clone());
        self.server.site().surprise(Box::new(move || {
            match surprise {
                Surprise::Coin => {
                    let name = format!("{BOT_PREFIX}rival");
                    let mut rival = Miner::new(&name, &repository);
                    while rival.step(RIVAL_NONCES)? != Step::Landed {
                        interrupt::check()?;
                    }
                }
                Surprise::Chain => {
                    repository.replace(&genesis)?;
                    console::log("level 1: the chain is replaced by a fresh one");
                }
            }
            Ok(())
        }));
    }

    fn play(&self, solution: &Solution) -> Result<Played> {
        let mut command = self.command(solution, 0)?;
        let settings = self.args.bots.settings();
        console::log(&format!(
            "level 1: difficulty {}, {} bots with a coin every {} s each, user {}",
            self.args.difficulty,
            settings.count,
            settings.interval.as_secs_f64(),
            self.args.user
        ));
        self.prepare_surprise();
        let bots = Bots::start(&self.repository, settings)?;
        let mut bots = Some(bots);
        let mut played = Played {
            chains: 1,
            ..Played::default()
        };
        let mut game = Progress::start(&self.repository);
        let tail = loop {
            let relay =
                Relay::start(&mut command).context("cannot make a pipe for the solution")?;
            let mut group = ProcessGroup::spawn(&mut command)
                .map_err(|error| cannot_run(&solution.program, &error))?;
            // It holds the pipe's other end, too.
            drop(command);
            let coins = played.coins;
            let ended = self.watch(&mut group, &mut game, &mut played)?;
            let is_over = played.coins >= self.args.coins;
            if is_over || played.coins == coins {
                drop(bots.take());
            }
            if played.coins == coins {
                played.failure = Some(self.failure(ended, &played));
            } else if ended.is_none() && group.wait_for(GRACE)?.is_none() && is_over {
                console::log("level 1: the solution goes on after its coin; it is stopped");
            }
            group.terminate(Duration::from_secs(1))?;
            interrupt::check()?;
            if is_over || played.failure.is_some() {
                break relay.tail();
            }
            command = self.command(solution, played.coins)?;
        };
        played.rate_mh_s = output::last_rate(&tail);
        played.failure = played.failure.map(|failure| {
            failure
                .said(solution_log::lines_of(tail.as_bytes()))
                .hint("an easier chain (--difficulty 0001) and no bots (--bots 0) show whether it is slow or wrong.")
        });
        Ok(played)
    }

    /// Waits for a coin; returns the solution's status if it has ended.
    fn watch(
        &self,
        group: &mut ProcessGroup,
        game: &mut Progress,
        played: &mut Played,
    ) -> Result<Option<ExitStatus>> {
        let coins = played.coins;
        loop {
            let status = group.wait_for(TICK)?;
            interrupt::check()?;
            self.repository.check()?;
            for line in game.journal.read()? {
                self.note(line.event, game.start, played);
            }
            let late = game.start.elapsed() >= self.args.time_limit;
            if played.coins > coins || status.is_some() || late {
                return Ok(status);
            }
            let every = self.args.replace_every;
            if every > Duration::ZERO && game.replaced.elapsed() >= every {
                game.replaced = Instant::now();
                let genesis = Genesis::single_player(self.args.difficulty.clone());
                self.repository.replace(&genesis)?;
                played.chains += 1;
                console::log("level 1: the chain is replaced by a fresh one");
            }
        }
    }

    fn note(&self, event: Event, start: Instant, played: &mut Played) {
        live_feed::tell("chain", &event);
        match event {
            Event::Landed { name, commit, .. } if name == self.args.user => {
                console::log(&format!("level 1: {name} landed a coin: {commit}"));
                played.coins += 1;
                played.coin.get_or_insert(Coin {
                    after: start.elapsed(),
                    commit,
                });
            }
            Event::Landed { name, balance, .. } => {
                played.bot_coins += 1;
                console::log(&format!("level 1: {name} landed a coin and has {balance}"));
            }
            Event::Refused {
                pusher,
                rule,
                message,
            } => {
                if pusher.as_ref() == Some(&self.args.user) {
                    *played.refused.entry(rule).or_default() += 1;
                    played.last_refusal = Some(message);
                }
            }
            Event::Replaced { .. } => {}
        }
    }

    fn failure(&self, ended: Option<ExitStatus>, played: &Played) -> Failure {
        let (kind, what) = if let Some(status) = ended {
            let what = format!("the solution ended without a coin ({status})");
            ("exit_status", what)
        } else {
            let limit = humantime::format_duration(self.args.time_limit);
            (
                "time_limit",
                format!("no coin after {limit} (--time-limit)"),
            )
        };
        let failure = if ended.is_some() {
            Failure::new
        } else {
            Failure::slow
        };
        let last = played.last_refusal.as_ref();
        let last = last.map_or_else(String::new, |last| format!("\nthe last refusal: {last}"));
        failure(kind, what + &last)
    }
}

/// The environment in which any miner can use git: a name to commit under, no questions, and no
/// proxy on the way to this machine.
pub(super) fn set_up_git(command: &mut Command, name: &str) {
    let mail = format!("{}@localhost", name.replace(' ', "."));
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), name);
        command.env(format!("GIT_{role}_EMAIL"), &mail);
    }
    for variable in ["no_proxy", "NO_PROXY"] {
        let others = std::env::var(variable).unwrap_or_default();
        command.env(variable, format!("127.0.0.1,localhost,{others}"));
    }
    command.env("GIT_TERMINAL_PROMPT", "0");
}

//! Rounds: everybody mines on the same fresh chain for a time; most coins win.
//!
//! The difficulty is set so that the whole field lands a coin every few seconds. What the field
//! can do is known from each player's last round, or else measured in a warm-up on chains that
//! become harder until pushing no longer takes most of the time.

pub mod book;
pub mod elo;

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{
    args::{PlayerArg, RoundArgs},
    difficulty::Difficulty,
    journal::{Event, Reader},
    play::set_up_git,
    repository::{Genesis, Repository},
    scoreboard::{RatingLine, RoundInfo},
    server::{Server, Site, Standing, shown},
};
use crate::console;
use book::{Book, Ranked};
use octopus::{ProcessGroup, WorkDir, interrupt};

/// The repository's name, as in 2014.
const NAME: &str = "current-round";

/// How often the referee looks at the journal and at the miners run here.
const TICK: Duration = Duration::from_millis(50);

/// How long after the end the ledger is read: a push that was judged just in time has landed then.
const SETTLING: Duration = Duration::from_secs(1);

/// A miner that failed is started again after this long.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The first warm-up chain's mean hashes a coin: a few seconds for a shell miner, nothing for others.
const WARM_UP_HASHES: f64 = 1024.0;

/// By how much a chain of the warm-up is harder than the one before.
const WARM_UP_GROWTH: f64 = 16.0;

/// A warm-up chain is hard enough when a coin takes this many times as long as on the first chain,
/// where finding takes no time and noticing, fetching and pushing take all of it.
const HARD_ENOUGH: f64 = 2.5;

/// Coins that show whether a chain of the warm-up is hard enough.
const LOOK_COINS: u64 = 3;

/// Coins that measure the rate on the chain that is: a standard error of a quarter.
const MEASURE_COINS: u64 = 16;

/// What a round is played at when nobody landed a coin in the warm-up: the level's difficulty.
const FALLBACK_HASHES: f64 = 16_777_216.0;

/// Plays the rounds.
pub(super) fn run(args: &RoundArgs) -> Result<()> {
    let mut book = Book::open(&args.db)?;
    let mut players = Vec::new();
    for player in &args.player {
        players.push(book.join(&player.name)?);
    }
    let workdir = WorkDir::new(args.root.as_deref())?;
    let repository = Repository::create(
        &workdir.path().join("server").join(NAME),
        &warm_up_genesis(WARM_UP_HASHES),
    )?;
    let tokens = players
        .into_iter()
        .map(|player| (player.name, player.token));
    let site = Site::new(repository.clone(), "Gitcoin rounds", tokens);
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let server = Server::start(listener, site)?;
    console::print(&format!("scoreboard: http://{}/", shown(server.address())));
    let mut field = Field::new(&args.player, &server, &workdir.path().join("players"))?;
    let mut referee = Referee {
        args,
        repository,
        server: &server,
        field: &mut field,
    };
    let mut played = 0;
    while args.rounds == 0 || played < args.rounds {
        referee.round(&mut book)?;
        played += 1;
    }
    Ok(())
}

fn warm_up_genesis(hashes: f64) -> Genesis {
    Genesis::single_player(Difficulty::of_expected_hashes(hashes))
}

struct Referee<'a> {
    args: &'a RoundArgs,
    repository: Repository,
    server: &'a Server,
    field: &'a mut Field,
}

impl Referee<'_> {
    fn round(&mut self, book: &mut Book) -> Result<()> {
        self.show(None, book)?;
        let difficulty = self.difficulty(book)?;
        let number = book.next_round()?;
        let start = SystemTime::now();
        let duration = self.args.minutes;
        let points = self.args.points;
        let genesis = Genesis::round(number, points, start, duration, difficulty.clone());
        self.repository.replace(&genesis)?;
        let start_s = start.duration_since(UNIX_EPOCH)?.as_secs();
        let info = RoundInfo {
            number,
            start_s,
            end_s: start_s + duration.as_secs(),
            bonus_points: points,
        };
        console::log(&format!(
            "level 1: round {number} begins, {} long, difficulty {difficulty}",
            humantime::format_duration(Duration::from_secs(duration.as_secs()))
        ));
        self.show(Some(info.clone()), book)?;
        self.mine_until(|_| SystemTime::now() >= UNIX_EPOCH + Duration::from_secs(info.end_s))?;
        thread::sleep(SETTLING);
        let head = self.repository.head()?;
        self.repository.audit(head)?;
        let ledger = self.repository.ledger(head)?;
        let names = self.args.player.iter().map(|player| &player.name);
        let ranking = book.finish(&book::Round {
            number,
            start_s,
            duration_s: duration.as_secs(),
            difficulty: difficulty.to_string(),
            coins: names
                .map(|name| (name.clone(), ledger.balance(name)))
                .collect(),
            bonus: points,
            hashes_per_coin: difficulty.expected_hashes(),
        })?;
        console::print(&format!("round {number}\n{}", table(&ranking)));
        self.show(None, book)
    }

    /// Updates the scoreboard.
    fn show(&self, round: Option<RoundInfo>, book: &Book) -> Result<()> {
        let ratings = book.players()?.iter().map(RatingLine::from).collect();
        self.server.site().set_standing(Standing { round, ratings });
        Ok(())
    }

    fn difficulty(&mut self, book: &Book) -> Result<Difficulty> {
        if let Some(difficulty) = &self.args.difficulty {
            return Ok(difficulty.clone());
        }
        let mut known = Some(0.0);
        for player in &self.args.player {
            let rate = book.last_rate(&player.name)?;
            known = known.zip(rate).map(|(sum, rate)| sum + rate);
        }
        let rate = match known {
            Some(rate) if rate > 0.0 => Some(rate),
            _ => self.warm_up()?,
        };
        let hashes = if let Some(rate) = rate {
            console::log(&format!(
                "level 1: the field hashes at {:.3} MH/s",
                rate / 1e6
            ));
            rate * self.args.coin_interval.as_secs_f64()
        } else {
            console::log(
                "level 1: nobody landed a coin in the warm-up; the level's difficulty it is",
            );
            FALLBACK_HASHES
        };
        Ok(Difficulty::of_expected_hashes(hashes))
    }

    /// Measures the hashes a second of everybody who mines now; `None` if no coin landed.
    fn warm_up(&mut self) -> Result<Option<f64>> {
        let limit = self.args.warm_up;
        console::log(&format!(
            "level 1: warm-up of at most {} s: start your miners",
            limit.as_secs_f64()
        ));
        let end = Instant::now() + limit;
        let mut hashes = WARM_UP_HASHES;
        let mut measured = Measured::default();
        while Instant::now() < end {
            self.repository.replace(&warm_up_genesis(hashes))?;
            // From the first coin on: before it, the miners had to notice the new chain.
            let mut first = None;
            let mut coins = 0;
            let mut interval = None;
            self.mine_until(|landed| {
                coins += landed;
                if let (Some(since), 2..) = (first, coins) {
                    interval = Some(seconds_since(since) / (coins - 1) as f64);
                } else if coins > 0 {
                    first.get_or_insert_with(Instant::now);
                }
                let looked = coins > LOOK_COINS && !measured.is_hard_enough(interval);
                looked || coins > MEASURE_COINS || Instant::now() >= end
            })?;
            let Some(interval) = interval else { break };
            if measured.take(hashes, interval) {
                break;
            }
            hashes *= WARM_UP_GROWTH;
        }
        Ok(measured.rate)
    }

    /// Keeps the miners going until `done`, which is told how many coins landed since last time.
    fn mine_until(&mut self, mut done: impl FnMut(u64) -> bool) -> Result<()> {
        let mut journal = Reader::from_now(self.repository.dir());
        loop {
            interrupt::check()?;
            self.field.keep_going()?;
            let mut landed = 0;
            for line in journal.read()? {
                if let Event::Landed { name, balance, .. } = line.event {
                    landed += 1;
                    console::log(&format!("level 1: {name} has {balance}"));
                }
            }
            if done(landed) {
                return Ok(());
            }
            thread::sleep(TICK);
        }
    }
}

fn seconds_since(then: Instant) -> f64 {
    then.elapsed().as_secs_f64()
}

/// What the chains of a warm-up have told so far.
#[derive(Debug, Default)]
struct Measured {
    /// Seconds a coin takes apart from finding it: the shortest mean interval seen.
    overhead: Option<f64>,
    /// Hashes a second of the whole field.
    rate: Option<f64>,
}

impl Measured {
    fn is_hard_enough(&self, interval: Option<f64>) -> bool {
        let (Some(overhead), Some(interval)) = (self.overhead, interval) else {
            return false;
        };
        interval >= HARD_ENOUGH * overhead
    }

    /// Takes in a chain's mean interval between coins; whether no harder chain is needed.
    fn take(&mut self, hashes: f64, interval: f64) -> bool {
        let enough = self.is_hard_enough(Some(interval));
        let finding = if enough {
            interval - self.overhead.unwrap_or_default()
        } else {
            // Mostly overhead: the rate is at least this.
            interval
        };
        self.rate = Some(hashes / finding);
        self.overhead = Some(self.overhead.map_or(interval, |least| least.min(interval)));
        enough
    }
}

fn table(ranking: &[Ranked]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_header(["rank", "player", "coins", "bonus", "rating", "change"]);
    for line in ranking {
        table.add_row([
            line.rank.to_string(),
            line.name.clone(),
            line.coins.to_string(),
            line.points.to_string(),
            format!("{:.0}", line.rating_after),
            format!("{:+.1}", line.rating_after - line.rating_before),
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The miners that are run here.
struct Field {
    miners: Vec<Miner>,
}

impl Field {
    /// Prepares the players that have a command, and prints the others' URLs.
    fn new(players: &[PlayerArg], server: &Server, dir: &Path) -> Result<Self> {
        let mut miners = Vec::new();
        for (number, player) in players.iter().enumerate() {
            let url = server.site().url(server.address(), Some(&player.name));
            let Some(words) = &player.command else {
                console::print(&format!("{}: {url}", player.name));
                continue;
            };
            let mut words = words.clone();
            if let Some(program) = words.first_mut().filter(|program| program.contains('/')) {
                let path = fs::canonicalize(&*program)
                    .with_context(|| format!("player {}: cannot find {program}", player.name))?;
                *program = path.to_string_lossy().into_owned();
            }
            miners.push(Miner {
                name: player.name.clone(),
                words,
                url,
                dir: dir.join(number.to_string()),
                runs: 0,
                group: None,
                next_start: Instant::now(),
            });
        }
        Ok(Self { miners })
    }

    fn keep_going(&mut self) -> Result<()> {
        self.miners.iter_mut().try_for_each(Miner::keep_going)
    }
}

/// A player's command, started again whenever it ends: classic miners stop after one coin.
struct Miner {
    name: String,
    words: Vec<String>,
    url: String,
    dir: PathBuf,
    runs: u64,
    group: Option<ProcessGroup>,
    next_start: Instant,
}

impl Miner {
    fn keep_going(&mut self) -> Result<()> {
        if let Some(group) = &mut self.group {
            let Some(status) = group.try_wait()? else {
                return Ok(());
            };
            self.group = None;
            if !status.success() {
                self.next_start = Instant::now() + RESTART_PAUSE;
                console::log(&format!(
                    "level 1: the miner of {} ended with {status}",
                    self.name
                ));
            }
        }
        if Instant::now() >= self.next_start {
            self.group = Some(self.start()?);
        }
        Ok(())
    }

    /// Starts the command in a fresh folder, since a classic miner clones into it.
    fn start(&mut self) -> Result<ProcessGroup> {
        let folder = self.dir.join(format!("run{}", self.runs));
        if self.runs > 0 {
            let last = self.dir.join(format!("run{}", self.runs - 1));
            fs::remove_dir_all(&last)
                .with_context(|| format!("cannot remove {}", last.display()))?;
            // The next name is free again only if the numbers go on.
        }
        self.runs += 1;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let log = File::create(self.dir.join("output.log"))?;
        let (program, arguments) = self.words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        set_up_git(&mut command, &self.name);
        command
            .args(arguments)
            .args([&self.url, &self.name])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        ProcessGroup::spawn(&mut command)
            .with_context(|| format!("player {}: cannot run {program}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_tells_finding_from_pushing() {
        // A field of 5 MH/s that needs 0.4 s a coin for everything else.
        let interval = |hashes: f64| 0.4 + hashes / 5e6;
        let mut measured = Measured::default();
        let mut hashes = WARM_UP_HASHES;
        let mut chains = 1;
        while !measured.take(hashes, interval(hashes)) {
            hashes *= WARM_UP_GROWTH;
            chains += 1;
        }
        assert_eq!(chains, 4);
        let rate = measured.rate.unwrap();
        assert!((rate / 5e6 - 1.0).abs() < 1e-3, "{rate}");
    }
}

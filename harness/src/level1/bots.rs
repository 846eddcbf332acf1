//! Bots: slow miners that really find their commits.
//!
//! A bot hashes at exactly the rate at which a coin takes the wanted interval on average, and
//! pushes what it finds like everybody else. Such a search has no memory: a bot that loses a race
//! has lost nothing, so each of them lands a coin every interval on average, as long as the
//! machine can hash that fast.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::{
    difficulty::Difficulty,
    git::Object,
    judge::{Judge, Refusal},
    ledger::Ledger,
    object::{self, ObjectId},
    repository::{Brought, Repository},
    rules::{BRANCH, LEDGER_FILE, RefUpdate, Violation},
    search::Search,
};
use crate::console;

/// How long a bot sleeps when it has hashed enough; also how late it may see a moved head.
const NAP: Duration = Duration::from_millis(10);

/// The most nonces in one go: about a millisecond, so that a bot stops promptly.
const SLICE: u64 = 1 << 15;

/// The most hashing time that a bot may make up for; more means that the machine is too slow.
const BACKLOG_MAX: Duration = Duration::from_secs(2);

/// What every bot's name begins with, and no player's.
pub const BOT_PREFIX: &str = "bot-";

/// A pause after trouble with git, so that it does not repeat at once.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// A search on top of a certain head.
struct Work {
    head: ObjectId,
    difficulty: Difficulty,
    ledger: Object,
    tree: Object,
    search: Search,
}

/// What a step of a miner came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing found yet.
    Searching,
    /// A coin landed.
    Landed,
    /// A coin was found, but somebody else's push was faster, or the round's end was.
    TooLate,
}

/// A miner for the server's own use: what it finds is judged like everybody's, but it needs no
/// clone and no connection.
pub struct Miner {
    name: String,
    server: Repository,
    work: Option<Work>,
}

impl Miner {
    /// A miner for `name`.
    pub fn new(name: &str, server: &Repository) -> Self {
        Self {
            name: name.to_owned(),
            server: server.clone(),
            work: None,
        }
    }

    /// The difficulty of the head that is being mined on.
    fn difficulty(&self) -> Option<&Difficulty> {
        self.work.as_ref().map(|work| &work.difficulty)
    }

    /// Turns to the current head and tries this many nonces; pushes a find.
    pub fn step(&mut self, nonces: u64) -> Result<Step> {
        let head = self.server.head()?;
        let mut work = match self.work.take() {
            Some(work) if work.head == head => work,
            _ => self.prepare(head)?,
        };
        let Some(commit) = work.search.run(&work.difficulty, nonces) else {
            self.work = Some(work);
            return Ok(Step::Searching);
        };
        if self.push(work, commit)? {
            Ok(Step::Landed)
        } else {
            Ok(Step::TooLate)
        }
    }

    fn prepare(&self, head: ObjectId) -> Result<Work> {
        let mut judge = Judge::new(self.server.git().clone())?;
        let (mut tree, _) = judge.tree(head)?;
        let ledger = judge
            .file(head, LEDGER_FILE)?
            .context("the chain has no ledger")?;
        let mut ledger = Ledger::parse(&ledger.content)?;
        ledger.raise(&self.name)?;
        let ledger = Object::new("blob", ledger.to_string().into_bytes());
        for entry in &mut tree {
            if entry.name == LEDGER_FILE.as_bytes() {
                entry.id = ledger.id;
            }
        }
        let tree = Object::new("tree", object::write_tree(&tree));
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let person = format!("{0} <{0}@localhost> {seconds} +0000", self.name);
        Ok(Work {
            head,
            difficulty: judge.difficulty(head)?,
            ledger,
            search: Search::new(tree.id, head, &person, rand::random()),
            tree,
        })
    }

    /// Brings a find to the server; `false` if the head had moved, or the round was over.
    fn push(&self, work: Work, commit: Vec<u8>) -> Result<bool> {
        let commit = Object::new("commit", commit);
        let update = RefUpdate {
            old: work.head,
            new: commit.id,
            name: BRANCH.to_owned(),
        };
        let objects = [work.ledger, work.tree, commit];
        match self
            .server
            .receive(&[update], Brought::Objects(&objects), &self.name)
        {
            Ok(_) => Ok(true),
            Err(Refusal::Violation(Violation::Stale(_) | Violation::RoundOver)) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// How many bots there are and how often each lands a coin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BotSettings {
    /// The number of bots.
    pub count: usize,
    /// The mean time between two coins of one bot.
    pub interval: Duration,
}

/// Bots at work. Dropping the value stops them and waits for them.
#[must_use = "dropping the bots stops them"]
pub struct Bots {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Bots {
    /// Starts bots called `bot-1`, `bot-2`, …
    pub fn start(server: &Repository, settings: BotSettings) -> Result<Self> {
        let mut bots = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for number in 1..=settings.count {
            let name = format!("{BOT_PREFIX}{number}");
            let miner = Miner::new(&name, server);
            let stop = Arc::clone(&bots.stop);
            let bot = thread::Builder::new().name(name);
            let bot = bot.spawn(move || mine(miner, settings.interval, &stop));
            bots.threads.push(bot.context("cannot start a bot")?);
        }
        Ok(bots)
    }
}

impl Drop for Bots {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A bot that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn mine(mut miner: Miner, interval: Duration, stop: &AtomicBool) {
    let mut pace = Pace::new(interval);
    let mut said = String::new();
    while !stop.load(Ordering::Relaxed) {
        let nonces = pace.due(Instant::now(), miner.difficulty());
        if nonces == 0 && miner.difficulty().is_some() {
            thread::sleep(NAP);
            continue;
        }
        match miner.step(nonces) {
            Ok(_) => {}
            // The chain may be replaced while the bot reads it; what lasts is said once.
            Err(error) => {
                let text = format!("{error:#}");
                if text != said && !stop.load(Ordering::Relaxed) {
                    console::log(&format!("level 1: {}: {text}", miner.name));
                }
                said = text;
                thread::sleep(TROUBLE_PAUSE);
            }
        }
    }
}

/// How many nonces are due, so that a coin takes the interval on average.
struct Pace {
    interval: Duration,
    last: Option<Instant>,
    /// Time that is not hashed yet.
    backlog: Duration,
}

impl Pace {
    const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            backlog: Duration::ZERO,
        }
    }

    /// The nonces that are due now; none before the difficulty is known.
    fn due(&mut self, now: Instant, difficulty: Option<&Difficulty>) -> u64 {
        let passed = self.last.map_or(Duration::ZERO, |last| now - last);
        self.last = Some(now);
        self.backlog = (self.backlog + passed).min(BACKLOG_MAX);
        let Some(difficulty) = difficulty else {
            return 0;
        };
        let rate = difficulty.expected_hashes() / self.interval.as_secs_f64();
        let nonces = ((self.backlog.as_secs_f64() * rate) as u64).min(SLICE);
        self.backlog = self
            .backlog
            .saturating_sub(Duration::from_secs_f64(nonces as f64 / rate));
        nonces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_hashes_a_coins_worth_in_an_interval() {
        let difficulty: Difficulty = "000001".parse().unwrap();
        let mut pace = Pace::new(Duration::from_secs(20));
        let start = Instant::now();
        let mut nonces = pace.due(start, Some(&difficulty));
        for step in 1..=2000 {
            nonces += pace.due(start + step * NAP, Some(&difficulty));
        }
        let share = nonces as f64 / difficulty.expected_hashes();
        assert!((share - 1.0).abs() < 0.01, "{share}");
    }

    #[test]
    fn time_to_make_up_for_is_bounded() {
        let difficulty: Difficulty = "0001".parse().unwrap();
        let mut pace = Pace::new(Duration::from_secs(1));
        let start = Instant::now();
        pace.due(start, Some(&difficulty));
        let late = start + Duration::from_secs(3600);
        let mut nonces = 0;
        loop {
            match pace.due(late, Some(&difficulty)) {
                0 => break,
                due => nonces += due,
            }
        }
        let backlog = BACKLOG_MAX.as_secs_f64() * difficulty.expected_hashes();
        assert!((nonces as f64 / backlog - 1.0).abs() < 0.01, "{nonces}");
    }
}

//! The miner: search, push, start again on whatever head the server has then.
//!
//! The clone's branch and files do not move before a coin has been accepted; a commit is pushed by
//! its id. While threads search, [`Upstream::watch`] looks whether the head has moved, and a moved
//! head halts them at once.

use crate::chain::{Head, HeadError, NextCommit};
use crate::git::{GitError, Push, Repository};
use crate::job::{Job, Match};
use crate::kernel::KernelError;
use crate::ledger::Player;
use crate::object_id::ObjectId;
use crate::template::CommitTemplate;
use crate::upstream::{BRANCH, Event, Fetched, Report, Upstream, UpstreamError};
use crate::workers::{Control, Outcome, Workers, search};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// What to mine, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who gets the coins.
    pub player: Player,
    /// Author and committer of the commits, as `Name <mail>`.
    pub author: String,
    /// How to search.
    pub workers: Workers,
    /// How many coins to mine; 0 is as many as possible.
    pub coins: u64,
    /// How often to look whether the server's head has moved.
    pub refresh: Duration,
}

/// What the miner tells while it works.
pub trait Observer {
    /// Called several times a second during a search.
    fn searching(&mut self, status: &Status<'_>);
    /// A coin was accepted.
    fn coin(&mut self, coin: &Coin);
    /// Something happened that its user should know.
    fn note(&mut self, note: &str);
}

/// Where a search stands.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// The head mined on.
    pub head: &'a Head,
    /// Nonces tried so far, in all searches.
    pub tried: u64,
    /// Coins accepted so far.
    pub coins: u64,
}

/// An accepted coin.
#[derive(Clone, Copy, Debug)]
pub struct Coin {
    /// Which coin of this run it is, from 1.
    pub number: u64,
    /// The commit.
    pub id: ObjectId,
    /// Time since the last coin, or since mining began: searching, pushing and lost races.
    pub took: Duration,
    /// Nonces tried in that time.
    pub tried: u64,
    /// The part of that time spent searching.
    pub searched: Duration,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Coins accepted.
    pub coins: u64,
    /// Finds that came too late, because the head had moved.
    pub lost_races: u64,
    /// Whether the run was interrupted before it had its coins.
    pub interrupted: bool,
}

/// Why mining ended without its coins.
#[derive(Debug, Error)]
pub enum MineError {
    /// There is no head to mine on.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// No processor can do what was asked for.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The server does not take a commit, and not because it was late.
    #[error("the server refused the push: {0}")]
    Refused(String),
    /// The server does not answer.
    #[error("cannot push: {0}")]
    Unreachable(String),
    /// Git gave an object another id than this program did.
    #[error("git names the new {kind} {git}, this program {ours}")]
    OtherId {
        /// The object's type.
        kind: &'static str,
        /// Git's id.
        git: ObjectId,
        /// Ours.
        ours: ObjectId,
    },
    /// All nonces were tried.
    #[error("none of 2^64 nonces meets the difficulty")]
    Exhausted,
}

impl From<HeadError> for MineError {
    fn from(error: HeadError) -> Self {
        Self::Upstream(UpstreamError::Head(error))
    }
}

/// How often a push is tried while the server's head stays where it is: its reference may be
/// locked for a moment by somebody else's push.
const PUSHES: u32 = 3;

/// How often a server that does not answer is tried, each time after twice as long a wait.
const CALLS: u32 = 5;

/// The first of those waits.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// What became of a match.
enum Submission {
    Accepted,
    /// The head has moved to another commit.
    Stale(Box<Fetched>),
}

/// Mines in `repository`, from `head`, which was just fetched, until the plan is fulfilled or
/// `interrupted` is set.
pub fn mine(
    repository: &Repository,
    head: Head,
    plan: &Plan,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Summary, MineError> {
    let upstream = Upstream::new(repository);
    upstream.set_mined_on(head.id);
    let control = Control::default();
    let (report_sender, reports) = mpsc::channel();
    let (end_sender, end) = mpsc::channel();
    thread::scope(|scope| {
        let (upstream, control) = (&upstream, &control);
        scope.spawn(move || {
            upstream.watch(plan.refresh, &end, &report_sender, || control.halt());
        });
        let mut run = Run {
            repository,
            upstream,
            plan,
            control,
            reports: &reports,
            interrupted,
            observer,
            head,
            fetched_at: None,
            summary: Summary::default(),
            trouble: String::new(),
        };
        let result = run.mine_coins();
        // This ends the watch, after the fetch it may be in.
        drop(end_sender);
        let last = (run.summary.coins > 0).then_some(run.head.id);
        if let Some(Err(error)) = last.map(|id| repository.check_out(BRANCH, id)) {
            let dir = repository.dir().display();
            run.observer.note(&format!(
                "the coins are on the server, but {dir} stays: {error}"
            ));
        }
        result.map(|()| run.summary)
    })
}

/// The state of a run.
struct Run<'a> {
    repository: &'a Repository,
    upstream: &'a Upstream<'a>,
    plan: &'a Plan,
    control: &'a Control,
    reports: &'a Receiver<Report>,
    interrupted: &'a AtomicBool,
    observer: &'a mut dyn Observer,
    head: Head,
    /// When the head was fetched, until mining on it begins.
    fetched_at: Option<Instant>,
    summary: Summary,
    /// The last trouble reported, so that a lasting one is reported once.
    trouble: String,
}

impl Run<'_> {
    fn mine_coins(&mut self) -> Result<(), MineError> {
        let mut started = Instant::now();
        let mut searched = Duration::ZERO;
        let mut tried_before = self.control.tried();
        while self.plan.coins == 0 || self.summary.coins < self.plan.coins {
            if self.interrupted.load(Ordering::Acquire) {
                self.summary.interrupted = true;
                return Ok(());
            }
            // In this order: a halt after the reports have been read is kept for the search.
            self.control.resume();
            self.take_reports()?;
            let next =
                self.head
                    .next_commit(&self.plan.player, &self.plan.author, unix_seconds())?;
            let search_started = Instant::now();
            let end = self.search(&next)?;
            searched += search_started.elapsed();
            match end {
                Outcome::Halted => {}
                Outcome::Exhausted => return Err(MineError::Exhausted),
                Outcome::Found(found) => match self.land(&found, &next)? {
                    Submission::Accepted => {
                        self.summary.coins += 1;
                        self.observer.coin(&Coin {
                            number: self.summary.coins,
                            id: found.id,
                            took: started.elapsed(),
                            tried: self.control.tried() - tried_before,
                            searched,
                        });
                        self.adopt(Head {
                            id: found.id,
                            tree: next.tree,
                            ledger: next.ledger,
                            ..self.head.clone()
                        });
                        (started, searched) = (Instant::now(), Duration::ZERO);
                        tried_before = self.control.tried();
                    }
                    Submission::Stale(fetched) => {
                        self.summary.lost_races += 1;
                        self.observer
                            .note("push refused, somebody was faster; starting again");
                        self.follow(*fetched);
                    }
                },
            }
        }
        Ok(())
    }

    fn adopt(&mut self, head: Head) {
        self.upstream.set_mined_on(head.id);
        self.head = head;
    }

    /// Goes over to a head that somebody else made.
    fn follow(&mut self, fetched: Fetched) {
        self.fetched_at = Some(fetched.at);
        self.adopt(fetched.head);
    }

    /// Takes what the watch has reported about heads no older than the one mined on.
    fn take_reports(&mut self) -> Result<(), MineError> {
        let changes = self.upstream.changes();
        let mut moved = None;
        for report in self
            .reports
            .try_iter()
            .filter(|report| report.changes == changes)
        {
            match report.event {
                Event::Moved(fetched) => {
                    self.trouble.clear();
                    moved = Some(*fetched);
                }
                Event::Unusable(error) => return Err(error.into()),
                Event::Trouble(error) => {
                    let trouble = error.to_string();
                    if trouble != self.trouble {
                        self.observer.note(&format!("{trouble}; mining on"));
                        self.trouble = trouble;
                    }
                }
            }
        }
        if let Some(fetched) = moved {
            self.follow(fetched);
        }
        Ok(())
    }

    fn search(&mut self, next: &NextCommit) -> Result<Outcome, MineError> {
        // Seeds differ between runs and heads, so that two miners try different commits.
        let seed = RandomState::new().hash_one(self.head.id);
        let template = CommitTemplate::new(&next.commit, seed);
        let job = Job::new(template, self.head.target);
        if let Some(at) = self.fetched_at.take() {
            let (head, delay) = (self.head.id, at.elapsed().as_secs_f64() * 1e3);
            self.observer
                .note(&format!("mining on {head}, {delay:.1} ms after its fetch"));
        }
        let (head, control, coins) = (&self.head, self.control, self.summary.coins);
        let (observer, interrupted) = (&mut self.observer, self.interrupted);
        let mut watch = || {
            for note in control.take_notes() {
                observer.note(&note);
            }
            observer.searching(&Status {
                head,
                tried: control.tried(),
                coins,
            });
            if interrupted.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        Ok(search(&job, &self.plan.workers, control, &mut watch)?)
    }

    /// Writes the match's objects and pushes, as often as there is hope.
    fn land(&self, found: &Match, next: &NextCommit) -> Result<Submission, MineError> {
        self.write("blob", &next.ledger, ObjectId::of("blob", &next.ledger))?;
        self.write(
            "tree",
            next.tree.content(),
            ObjectId::of("tree", next.tree.content()),
        )?;
        self.write("commit", &found.commit, found.id)?;
        let (mut pushes, mut calls, mut wait) = (0, 0, FIRST_WAIT);
        loop {
            let failure = match self.repository.push(found.id, BRANCH)? {
                Push::Accepted => return Ok(Submission::Accepted),
                Push::Refused(words) => {
                    pushes += 1;
                    MineError::Refused(words)
                }
                Push::Unreachable(words) => {
                    calls += 1;
                    MineError::Unreachable(words)
                }
            };
            match self.upstream.fetch() {
                // An answer can be lost after the push has been accepted.
                Ok(fetched) if fetched.head.id == found.id => return Ok(Submission::Accepted),
                Ok(fetched) if fetched.head.id != self.head.id => {
                    return Ok(Submission::Stale(Box::new(fetched)));
                }
                Ok(_) => {}
                Err(UpstreamError::Git(_)) => calls += 1,
                Err(error) => return Err(error.into()),
            }
            if pushes >= PUSHES || calls >= CALLS || self.interrupted.load(Ordering::Acquire) {
                return Err(failure);
            }
            if calls > 0 {
                thread::sleep(wait);
                wait *= 2;
            }
        }
    }

    fn write(&self, kind: &'static str, content: &[u8], ours: ObjectId) -> Result<(), MineError> {
        let git = self.repository.write(kind, content)?;
        if git == ours {
            Ok(())
        } else {
            Err(MineError::OtherId { kind, git, ours })
        }
    }
}

/// Seconds since 1970; a clock set before then counts as then.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

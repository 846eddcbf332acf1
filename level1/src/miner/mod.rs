//! The miner: search, push, start again on whatever head the server has then.
//!
//! The clone's branch and files do not move before a coin has been accepted; a commit is pushed by
//! its id. While threads search, [`Upstream::watch`] looks whether the head has moved, and a moved
//! head halts them at once.

mod run;
mod submit;

use crate::chain::{Head, HeadError};
use crate::git::{GitError, Repository};
use crate::kept::KeptFile;
use crate::kernel::KernelError;
use crate::ledger::Player;
use crate::object_id::ObjectId;
use crate::upstream::{BRANCH, Upstream, UpstreamError};
use crate::workers::{Control, Team};
use run::Run;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// What to mine, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who gets the coins.
    pub player: Player,
    /// Author and committer of the commits, as `Name <mail>`.
    pub author: String,
    /// Who searches.
    pub team: Team,
    /// How many coins to mine; 0 is as many as possible, whatever happens to the network.
    pub coins: u64,
    /// How often to look whether the server's head has moved.
    pub refresh: Duration,
    /// How long a fetch or a push may take.
    pub network: Duration,
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
    #[error("cannot push: {words}; the next run will try {id} again")]
    Unreachable {
        /// What git said.
        words: String,
        /// The commit that is kept.
        id: ObjectId,
    },
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

/// Mines in `repository`, from `head`, which was just fetched, until the plan is fulfilled or
/// `interrupted` is set.
pub fn mine(
    repository: &Repository,
    head: Head,
    plan: &Plan,
    interrupted: &Arc<AtomicBool>,
    observer: &mut dyn Observer,
) -> Result<Summary, MineError> {
    let repository = &repository.with_limits(plan.network, &[interrupted]);
    // What the watch is doing is of no use once mining has ended, for whatever reason.
    let over = Arc::new(AtomicBool::new(false));
    let watched = repository.with_limits(plan.network, &[interrupted, &over]);
    let upstream = Upstream::new(repository);
    upstream.set_mined_on(head.id);
    let control = Control::default();
    let (report_sender, reports) = mpsc::channel();
    let (end_sender, end) = mpsc::channel();
    thread::scope(|scope| {
        let (upstream, control, watched) = (&upstream, &control, &watched);
        scope.spawn(move || {
            let alarm = || control.halt();
            upstream.watch(watched, plan.refresh, &end, &report_sender, alarm);
        });
        let kept = KeptFile::of(repository);
        let result = kept.map_err(MineError::from).and_then(|kept| {
            let mut run = Run::new(repository, upstream, plan, control, &reports, kept, head);
            let result = run.mine_coins(interrupted, observer);
            let last = (run.summary.coins > 0).then_some(run.head.id);
            if let Some(Err(error)) = last.map(|id| repository.check_out(BRANCH, id)) {
                let dir = repository.dir().display();
                observer.note(&format!(
                    "the coins are on the server, but {dir} stays: {error}"
                ));
            }
            result.map(|()| run.summary)
        });
        // This ends the watch, and the fetch it may be in.
        over.store(true, Ordering::Release);
        drop(end_sender);
        result
    })
}

//! Bringing a match to the server, as often as there is hope.

use super::run::Run;
use super::{MineError, Observer};
use crate::chain::NextCommit;
use crate::git::{GitError, Push};
use crate::job::Match;
use crate::kept::KeptMatch;
use crate::object_id::ObjectId;
use crate::upstream::{BRANCH, Fetched, UpstreamError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a push is tried while the server's head stays where it is: its reference may be
/// locked for a moment by somebody else's push.
const PUSHES: u32 = 3;

/// How often a server that does not answer is tried by a run that is to end after some coins.
const CALLS: u32 = 5;

/// How long to wait after a server has not answered; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest of those waits: a server that is back should not wait for its miners.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What became of a match.
pub(super) enum Submission {
    Accepted,
    /// The head has moved to another commit.
    Stale(Box<Fetched>),
    /// The program is to end; the match is kept.
    Interrupted,
}

impl Run<'_> {
    /// Pushes a match whose objects are in the clone.
    pub fn submit(
        &self,
        kept: &KeptMatch,
        interrupted: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Submission, MineError> {
        let (mut pushes, mut calls, mut next_wait) = (0, 0, FIRST_WAIT);
        let mut is_silent = false;
        loop {
            let failure = match self.repository.push(kept.id, BRANCH) {
                Ok(Push::Accepted) => return Ok(Submission::Accepted),
                Ok(Push::Refused(words)) => {
                    pushes += 1;
                    MineError::Refused(words)
                }
                Ok(Push::Unreachable(words)) => {
                    calls += 1;
                    if !is_silent {
                        is_silent = true;
                        observer.note(&format!("cannot push: {words}; trying again"));
                    }
                    MineError::Unreachable { words, id: kept.id }
                }
                Err(GitError::Stopped(_)) => return Ok(self.left(kept, observer)),
                Err(error) => return Err(error.into()),
            };
            match self.upstream.fetch() {
                // An answer can be lost after the push has been accepted.
                Ok(fetched) if fetched.head.id == kept.id => return Ok(Submission::Accepted),
                Ok(fetched) if fetched.head.id != kept.parent => {
                    return Ok(Submission::Stale(Box::new(fetched)));
                }
                Ok(_) => {}
                Err(UpstreamError::Git(_)) => calls += 1,
                Err(error) => return Err(error.into()),
            }
            if interrupted.load(Ordering::Acquire) {
                return Ok(self.left(kept, observer));
            }
            if pushes >= PUSHES || (calls >= CALLS && self.plan.coins > 0) {
                return Err(failure);
            }
            if calls > 0 {
                wait(next_wait, interrupted);
                next_wait = (next_wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    fn left(&self, kept: &KeptMatch, observer: &mut dyn Observer) -> Submission {
        let (id, path) = (kept.id, self.kept.path().display());
        observer.note(&format!("{id} is kept in {path}; the next run pushes it"));
        Submission::Interrupted
    }

    /// Writes the objects of a match into the clone, and has git name them.
    pub fn write_objects(&self, found: &Match, next: &NextCommit) -> Result<(), MineError> {
        let tree = next.tree.content();
        self.write("blob", &next.ledger, ObjectId::of("blob", &next.ledger))?;
        self.write("tree", tree, ObjectId::of("tree", tree))?;
        self.write("commit", &found.commit, found.id)
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

/// Waits so long, or until an interrupt.
pub(super) fn wait(duration: Duration, interrupted: &AtomicBool) {
    const LOOK: Duration = Duration::from_millis(20);
    let started = Instant::now();
    while !interrupted.load(Ordering::Acquire) {
        let left = duration.saturating_sub(started.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK));
    }
}

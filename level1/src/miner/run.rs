//! A run: from head to head, until there are enough coins.

use super::submit::{Submission, wait};
use super::{Coin, MineError, Observer, Plan, Status, Summary};
use crate::chain::{Head, NextCommit};
use crate::git::Repository;
use crate::job::{Job, Match};
use crate::kept::{KeptFile, KeptMatch};
use crate::object_id::ObjectId;
use crate::template::CommitTemplate;
use crate::upstream::{Event, Fetched, Report, Upstream, UpstreamError};
use crate::workers::{Control, Outcome, Team, search};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The state of a run.
pub(super) struct Run<'a> {
    pub repository: &'a Repository,
    pub upstream: &'a Upstream<'a>,
    pub plan: &'a Plan,
    control: &'a Control,
    reports: &'a Receiver<Report>,
    /// Reports about heads that came during a search.
    heads: Vec<Report>,
    pub kept: KeptFile,
    team: Team,
    pub head: Head,
    /// When the head was fetched, until mining on it begins.
    fetched_at: Option<Instant>,
    pub summary: Summary,
    effort: Effort,
}

/// What has been spent since the last coin.
struct Effort {
    started: Instant,
    searched: Duration,
    tried_before: u64,
}

impl<'a> Run<'a> {
    pub fn new(
        repository: &'a Repository,
        upstream: &'a Upstream<'a>,
        plan: &'a Plan,
        control: &'a Control,
        reports: &'a Receiver<Report>,
        kept: KeptFile,
        head: Head,
    ) -> Self {
        Self {
            repository,
            upstream,
            plan,
            control,
            reports,
            heads: Vec::new(),
            kept,
            team: plan.team.clone(),
            head,
            fetched_at: None,
            summary: Summary::default(),
            effort: Effort::begin(control),
        }
    }

    pub fn mine_coins(
        &mut self,
        interrupted: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(), MineError> {
        self.try_kept(interrupted, observer)?;
        while self.plan.coins == 0 || self.summary.coins < self.plan.coins {
            if interrupted.load(Ordering::Acquire) {
                self.summary.interrupted = true;
                return Ok(());
            }
            // In this order: a halt after the reports have been read is kept for the search.
            self.control.resume();
            self.take_reports(observer)?;
            let next =
                self.head
                    .next_commit(&self.plan.player, &self.plan.author, unix_seconds())?;
            let search_started = Instant::now();
            let end = self.search(&next, interrupted, observer)?;
            self.effort.searched += search_started.elapsed();
            match end {
                Outcome::Halted => {}
                Outcome::Exhausted => return Err(MineError::Exhausted),
                Outcome::Found(found) => self.submit_found(&found, next, interrupted, observer)?,
            }
        }
        Ok(())
    }

    fn submit_found(
        &mut self,
        found: &Match,
        next: NextCommit,
        interrupted: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(), MineError> {
        self.write_objects(found, &next)?;
        let kept = KeptMatch {
            id: found.id,
            parent: self.head.id,
            player: self.plan.player.clone(),
        };
        // Without a file the match is lost with this process only.
        if let Err(error) = self.kept.keep(&kept) {
            observer.note(&error.to_string());
        }
        match self.submit(&kept, interrupted, observer)? {
            Submission::Accepted => {
                self.coin(found.id, observer);
                self.adopt(Head {
                    id: found.id,
                    tree: next.tree,
                    ledger: next.ledger,
                    ..self.head.clone()
                });
            }
            Submission::Stale(fetched) => {
                self.summary.lost_races += 1;
                observer.note("push refused, somebody was faster; starting again");
                self.follow(*fetched);
            }
            // The loop sees that by itself.
            Submission::Interrupted => {}
        }
        Ok(())
    }

    /// Tries the match that an earlier run has left behind.
    fn try_kept(
        &mut self,
        interrupted: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(), MineError> {
        let Some(kept) = self.kept.read() else {
            return Ok(());
        };
        if kept.id == self.head.id {
            observer.note(&format!("an earlier run's match {} was accepted", kept.id));
            self.kept.forget();
            return Ok(());
        }
        if kept.parent != self.head.id {
            observer.note(&format!("an earlier run's match {} was overtaken", kept.id));
            self.kept.forget();
            return Ok(());
        }
        let is_there = self.repository.read(&[&kept.id.to_string()])?;
        if kept.player != self.plan.player || is_there.iter().any(Option::is_none) {
            return Ok(());
        }
        observer.note(&format!("pushing an earlier run's match {}", kept.id));
        match self.submit(&kept, interrupted, observer) {
            Ok(Submission::Accepted) => {
                self.coin(kept.id, observer);
                let fetched = self.fetch_patiently(interrupted)?;
                if let Some(fetched) = fetched {
                    self.follow(fetched);
                }
            }
            Ok(Submission::Stale(fetched)) => {
                self.summary.lost_races += 1;
                observer.note("an earlier run's match was overtaken");
                self.follow(*fetched);
            }
            Ok(Submission::Interrupted) => {}
            // It was made under other rules; a new one may do better.
            Err(MineError::Refused(words)) => {
                observer.note(&format!("an earlier run's match was refused: {words}"));
                self.kept.forget();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Fetches until there is an answer, or an interrupt.
    fn fetch_patiently(&self, interrupted: &AtomicBool) -> Result<Option<Fetched>, UpstreamError> {
        while !interrupted.load(Ordering::Acquire) {
            match self.upstream.fetch() {
                Err(UpstreamError::Git(_)) => wait(self.plan.refresh, interrupted),
                fetched => return fetched.map(Some),
            }
        }
        Ok(None)
    }

    fn coin(&mut self, id: ObjectId, observer: &mut dyn Observer) {
        self.kept.forget();
        self.summary.coins += 1;
        observer.coin(&Coin {
            number: self.summary.coins,
            id,
            took: self.effort.started.elapsed(),
            tried: self.control.tried() - self.effort.tried_before,
            searched: self.effort.searched,
        });
        self.effort = Effort::begin(self.control);
    }

    fn adopt(&mut self, head: Head) {
        self.upstream.set_mined_on(head.id);
        self.head = head;
    }

    /// Goes over to a head that somebody else made.
    fn follow(&mut self, fetched: Fetched) {
        // Whatever was found on the old one is of no use any more.
        self.kept.forget();
        self.fetched_at = Some(fetched.at);
        self.adopt(fetched.head);
    }

    /// Takes what the watch has reported, of heads those no older than the one mined on.
    fn take_reports(&mut self, observer: &mut dyn Observer) -> Result<(), MineError> {
        let (changes, reports) = (self.upstream.changes(), self.reports);
        tell(reports, &mut self.heads, observer);
        let mut moved = None;
        for report in self.heads.drain(..) {
            match report.event {
                Event::Moved(fetched) if report.changes == changes => moved = Some(*fetched),
                Event::Unusable(error) if report.changes == changes => return Err(error.into()),
                _ => {}
            }
        }
        if let Some(fetched) = moved {
            self.follow(fetched);
        }
        Ok(())
    }

    fn search(
        &mut self,
        next: &NextCommit,
        interrupted: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, MineError> {
        // Seeds differ between runs and heads, so that two miners try different commits.
        let seed = RandomState::new().hash_one(self.head.id);
        let template = CommitTemplate::new(&next.commit.in_a_line(), seed);
        let job = Job::new(template, self.head.target);
        if let Some(at) = self.fetched_at.take() {
            let (head, delay) = (self.head.id, at.elapsed().as_secs_f64() * 1e3);
            observer.note(&format!("mining on {head}, {delay:.1} ms after its fetch"));
        }
        let workers = self.team.workers().clone();
        let (head, control, coins) = (&self.head, self.control, self.summary.coins);
        let (team, heads, reports) = (&mut self.team, &mut self.heads, self.reports);
        let mut watch = || {
            for note in control.take_notes() {
                observer.note(&note);
            }
            tell(reports, heads, observer);
            observer.searching(&Status {
                head,
                tried: control.tried(),
                coins,
            });
            if let Some(backend) = team.look(Instant::now()) {
                observer.note(&format!("going on with {backend}, which is faster now"));
                return ControlFlow::Break(());
            }
            if interrupted.load(Ordering::Acquire) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        Ok(search(&job, &workers, control, &mut watch)?)
    }
}

/// Tells at once what the watch has to say about the server; `heads` get the rest.
fn tell(reports: &Receiver<Report>, heads: &mut Vec<Report>, observer: &mut dyn Observer) {
    for report in reports.try_iter() {
        match report.event {
            Event::Trouble(error) => observer.note(&format!("{error}; mining on")),
            Event::Recovered => observer.note("the server answers again"),
            Event::Moved(_) | Event::Unusable(_) => heads.push(report),
        }
    }
}

impl Effort {
    fn begin(control: &Control) -> Self {
        Self {
            started: Instant::now(),
            searched: Duration::ZERO,
            tried_before: control.tried(),
        }
    }
}

/// Seconds since 1970; a clock set before then counts as then.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

//! How many requests a backend should have in flight, found from the time it takes to answer.
//!
//! Hill climbing by experiments. While the backend is kept full at the accepted limit, the mean
//! latency there is learned; then a slightly different limit is tried, and kept if throughput
//! (limit / latency, by Little's law) gained at least half of what the extra requests would bring a
//! backend with room to spare. A backend that was full already only makes them wait, and shows it
//! by its latency long before its queue overflows: a trial adds one request, or a quarter of the
//! limit when that is more. An experiment that failed is repeated ever more rarely. A backend that fails
//! requests instead of letting them wait is found out from above ([`super::shedding`]).

use super::Seconds;
use super::latency::{Floor, Run, compare};
use super::shedding::{Shedding, Step};
use super::types::Ended;

/// Latency that is always good enough: a queue this short is not worth fighting, and
/// noise of the scheduler drowns the signal below it.
const COMFORT: Seconds = 0.006;

/// First pause after an experiment that failed; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Seconds = 2.0;
const LONGEST_PAUSE: Seconds = 64.0;

/// Samples after which an undecided trial counts as failed, in multiples of the limit.
const PATIENCE: u32 = 32;

/// Deviation from the mean latency, as a part of it, up to which a backend counts as regular.
const REGULAR: f64 = 0.15;

/// Factor by which the latency of a regular backend must change to be called another backend.
const ANOTHER: f64 = 3.0;

/// Latencies in a row that must be alike before a backend is taken at its word that it is regular.
const SURE: u32 = 16;

/// Deviation of these from their mean, as a part of it, from which on requests are called mixed: more than
/// a waiting request or a trial makes of it.
const MIXED: f64 = 0.5;

/// Longest trial, in mean latencies.
const TRIAL: f64 = 16.0;

/// No limit goes beyond this: a backend that wants more is better served by several addresses.
pub const LARGEST: u32 = 4096;

/// What the controller is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At the accepted limit, until it is time for an experiment.
    Settled,
    /// Above the accepted limit, to see whether that brings anything.
    TryMore,
    /// Below it, to see whether that costs anything.
    TryLess,
    /// Below it, to see whether failures stop.
    Shed,
}

/// The limit of one backend. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Limit {
    fixed: bool,
    current: u32,
    accepted: u32,
    phase: Phase,
    /// Latencies at the accepted limit, and at the one on trial.
    accepted_run: Run,
    trial_run: Run,
    /// What a request costs when it does not wait.
    floor: Floor,
    /// The latest latencies, at any limit.
    latest: Run,
    next_trial: Seconds,
    trial_end: Seconds,
    /// Whether the latest experiment was one with less: they take turns.
    tried_less: bool,
    pause: Seconds,
    /// Trials in a row that said nothing but that what was accepted is not known: each doubles the round
    /// in which that is measured.
    voids: u32,
    /// Experiments in a row that failed: each halves the next one's step, which is a quarter at first.
    failures: u32,
    /// What failures say; and those in this trial, and their usual part of all answers.
    shedding: Shedding,
    trial_failures: u32,
    usual_failures: f64,
    /// Whether no experiment failed yet: while growing, each step needs only one full round.
    growing: bool,
}

impl Limit {
    /// A limit that finds itself, from 1 upwards.
    pub fn adaptive() -> Self {
        Self {
            fixed: false,
            current: 1,
            accepted: 1,
            phase: Phase::Settled,
            accepted_run: Run::default(),
            trial_run: Run::default(),
            floor: Floor::default(),
            latest: Run::default(),
            next_trial: 0.0,
            trial_end: 0.0,
            tried_less: false,
            pause: FIRST_PAUSE,
            voids: 0,
            failures: 0,
            shedding: Shedding::default(),
            trial_failures: 0,
            usual_failures: 0.0,
            growing: true,
        }
    }

    /// A limit that stays as given (at least 1).
    pub fn fixed(limit: u32) -> Self {
        let limit = limit.clamp(1, LARGEST);
        Self {
            fixed: true,
            current: limit,
            accepted: limit,
            ..Self::adaptive()
        }
    }

    /// The limit now.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// Whether requests take much the same time each.
    pub fn is_regular(&self) -> bool {
        let run = &self.accepted_run;
        run.count() >= 2 && run.spread() < REGULAR
    }

    /// Whether requests differ so much that a few alike prove nothing.
    fn is_mixed(&self) -> bool {
        self.latest.typical_spread() > MIXED
    }

    /// Whether the end of what the backend can take was not met yet.
    pub fn is_growing(&self) -> bool {
        self.growing && !self.fixed
    }

    /// Whether a latency shows that a regular backend is another one now: no limit that is tried
    /// changes it as much.
    pub fn is_changed_by(&self, latency: Seconds) -> bool {
        let mean = self.accepted_run.mean();
        let usual = mean / ANOTHER..=mean * ANOTHER;
        self.accepted_run.count() >= SURE && self.is_regular() && !usual.contains(&latency)
    }

    /// Learns of a request that was answered.
    pub(super) fn answered(&mut self, ended: Ended) {
        if self.fixed {
            return;
        }
        let Ended {
            now,
            in_flight,
            latency,
        } = ended;
        let step = self.shedding.good(ended);
        self.follow(now, step);
        if self.is_changed_by(latency) && self.phase != Phase::Shed {
            // What was learned is void; the limit may still be right, and is tried soon.
            self.accept(self.accepted, Run::default());
            self.latest = Run::default();
            self.pause = FIRST_PAUSE;
            self.failures = 0;
            self.next_trial = now + FIRST_PAUSE;
        }
        self.floor.add(latency);
        self.latest.add(latency);
        let on_trial = matches!(self.phase, Phase::TryMore | Phase::TryLess);
        if on_trial && now > self.trial_end {
            self.give_up(now);
        }
        // A request that did not find the backend full says nothing about it when full; one that
        // found it fuller (before a limit shrank) says nothing about the new limit.
        if in_flight != self.current {
            return;
        }
        match self.phase {
            Phase::Settled => self.settled(now, latency),
            Phase::TryMore | Phase::TryLess => self.on_trial(now, latency),
            Phase::Shed => {}
        }
    }

    /// Learns of a request that failed at the backend: it was refused, broken off, or answered with a
    /// failure of the server. Its time says nothing, and the request may be what is wrong; but if failures
    /// are more than usual, more in flight is not tried any further.
    pub(super) fn failed(&mut self, ended: Ended) {
        if self.fixed {
            return;
        }
        let Ended { now, in_flight, .. } = ended;
        if in_flight <= self.accepted {
            let step = self.shedding.bad(ended, self.accepted, self.latest.mean());
            self.follow(now, step);
        } else if self.phase == Phase::TryMore {
            self.trial_failures += 1;
            let answers = self.trial_run.count() + self.trial_failures;
            if Shedding::is_more_than_usual(self.usual_failures, self.trial_failures, answers) {
                self.fail(now);
            }
        }
    }

    /// Does what the search from above says.
    fn follow(&mut self, now: Seconds, step: Step) {
        match step {
            Step::Stay => {}
            Step::Try(level) => {
                self.growing = false;
                self.phase = Phase::Shed;
                self.current = level;
            }
            Step::Found(level) => {
                self.accept(level, Run::default());
                self.pause = FIRST_PAUSE;
                self.failures = 0;
                self.next_trial = now;
            }
            Step::Restore(level) => self.accept(level, Run::default()),
        }
    }

    /// Samples that make up one round at a limit: a few more for a trial, since the quick ones of those that
    /// start together are the first to end, and more for going down, since quick ones prove nothing.
    fn round(&self) -> u32 {
        match self.phase {
            Phase::TryLess => 4 * self.current.max(2),
            // Where requests differ, a few quick ones in a row would be taken for a quick backend.
            _ if self.is_mixed() => SURE.max(2 * self.current),
            Phase::Settled if self.growing => self.current << self.voids,
            _ => (2 * self.current.max(2)) << self.voids,
        }
    }

    fn settled(&mut self, now: Seconds, latency: Seconds) {
        self.accepted_run.add(latency);
        if now < self.next_trial || self.accepted_run.count() < self.round() {
            return;
        }
        // Where nothing waits at the backend, less in flight can only mean idle slots: do not try.
        let waits = self.accepted_run.mean() > (1.2 * self.floor.value()).max(COMFORT);
        let less = waits && self.accepted > 1 && !self.tried_less;
        self.tried_less = less;
        let longest = TRIAL * self.accepted_run.mean().max(COMFORT);
        self.trial_end = now + longest;
        let step = ((self.accepted / 4) >> self.failures.min(8)).max(1);
        if less {
            self.phase = Phase::TryLess;
            self.current = self.accepted - step;
        } else {
            self.phase = Phase::TryMore;
            self.current = (self.accepted + step).min(LARGEST);
        }
        self.trial_run = Run::default();
        self.trial_failures = 0;
        self.usual_failures = self.shedding.usual();
    }

    fn on_trial(&mut self, now: Seconds, latency: Seconds) {
        self.trial_run.add(latency);
        // A failure may show before the round is over; a success must stand for a whole one.
        let complete = self.trial_run.count() >= self.round();
        if !complete && self.trial_run.count() < 3 {
            return;
        }
        let mixed = self.is_mixed();
        let (accepted, trial) = compare(&self.accepted_run, &self.trial_run, mixed);
        if accepted.count == 0 && self.accepted_run.count() < SURE {
            // The few before the trial were of another kind: out of a cache, perhaps.
            self.voids += 1;
            self.accept(self.accepted, Run::default());
            self.next_trial = now;
            return;
        }
        // Latency at which half of the proportional gain in throughput is reached.
        let (from, to) = (f64::from(self.accepted), f64::from(self.current));
        let threshold = (accepted.mean * to / f64::midpoint(from, to)).max(match self.phase {
            Phase::TryMore => COMFORT,
            _ => 0.0,
        });
        let error = trial.error(accepted, mixed);
        // For fewer in flight the same threshold reads: throughput fell by less than half of it.
        // Going down by mistake leaves the backend idle, so that takes the stronger proof.
        // So does going up where requests differ much: what is lucky enough once is tried forever.
        let sure = match self.phase {
            _ if mixed => 2.0,
            Phase::TryLess => 1.5,
            _ if accepted.spread() > REGULAR => 2.0,
            _ => 1.0,
        };
        if complete && trial.count > 0 && trial.mean + sure * error <= threshold {
            self.growing &= self.phase == Phase::TryMore;
            self.accept(self.current, self.trial_run.clone());
            self.pause = FIRST_PAUSE;
            self.failures = 0;
            self.voids = 0;
            self.next_trial = now;
        } else if trial.mean - error > threshold {
            if self.phase == Phase::TryLess && !mixed {
                // With fewer beside it a request was no quicker: nothing waits.
                self.floor.raise(trial.mean);
            }
            self.fail(now);
        } else if self.trial_run.count() >= PATIENCE * self.current {
            self.fail(now);
        }
    }

    /// Ends a trial that took too long.
    fn give_up(&mut self, now: Seconds) {
        let mixed = self.is_mixed();
        let (accepted, trial) = compare(&self.accepted_run, &self.trial_run, mixed);
        if trial.count >= 3 && trial.mean > accepted.mean {
            // It brought nothing that shows.
            self.fail(now);
        } else {
            // Demand does not fill the backend to the limit on trial: nothing can be learned, and a
            // limit that nothing reaches would be none.
            self.accept(self.accepted, self.accepted_run.clone());
            self.next_trial = now + TRIAL * self.accepted_run.mean().max(COMFORT);
        }
    }

    fn accept(&mut self, limit: u32, run: Run) {
        self.accepted = limit;
        self.current = limit;
        self.accepted_run = run;
        self.phase = Phase::Settled;
    }

    fn fail(&mut self, now: Seconds) {
        self.growing = false;
        self.failures += 1;
        self.voids = 0;
        self.current = self.accepted;
        self.phase = Phase::Settled;
        self.next_trial = now + self.pause;
        self.pause = (self.pause * 2.0).min(LONGEST_PAUSE);
        // Measure afresh before the next experiment: the backend may have changed by then.
        self.accepted_run = Run::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(now: Seconds, in_flight: u32, latency: Seconds) -> Ended {
        Ended {
            now,
            in_flight,
            latency,
        }
    }

    /// Drives a limit against a backend of `slots` servers kept as full as the limit lets it be, and
    /// returns the largest number in flight and the limit at the end.
    fn drive(slots: usize, service: f64, rounds: usize) -> (u32, u32) {
        let mut limit = Limit::adaptive();
        let mut free = vec![0.0f64; slots];
        let mut flights: Vec<(f64, f64, u32)> = Vec::new();
        let (mut now, mut most) = (0.0f64, 0);
        for _ in 0..rounds {
            while (flights.len() as u32) < limit.current() {
                let server = (0..slots)
                    .min_by(|&a, &b| free[a].total_cmp(&free[b]))
                    .unwrap();
                let end = free[server].max(now) + service;
                free[server] = end;
                flights.push((end, now, flights.len() as u32 + 1));
            }
            most = most.max(flights.len() as u32);
            let first = (0..flights.len())
                .min_by(|&a, &b| flights[a].0.total_cmp(&flights[b].0))
                .unwrap();
            let (end, start, in_flight) = flights.swap_remove(first);
            now = end;
            limit.answered(ended(now, in_flight, now - start));
        }
        (most, limit.current())
    }

    #[test]
    fn finds_the_number_of_servers_and_hardly_exceeds_it() {
        for slots in [1, 2, 3, 8] {
            let (most, end) = drive(slots, 0.075, 2_000);
            assert!(
                most <= slots as u32 + (slots as u32 / 4).max(1),
                "{slots}: reached {most}"
            );
            assert!(
                end >= slots as u32 && end <= most,
                "{slots}: ended at {end}"
            );
        }
    }

    #[test]
    fn a_backend_that_answers_at_once_is_not_held_back() {
        let (_, end) = drive(1, 0.000_02, 20_000);
        assert!(end >= 64, "{end}");
    }

    /// A backend that sheds all beyond `slots`, or fails at random, kept full from a limit on. Returns the
    /// time until the limit is at most `goal`, the limit at the end, and its mean over time.
    fn shed(from: u32, fails: impl Fn(usize, usize) -> bool, goal: u32) -> (Option<f64>, u32, f64) {
        let mut limit = Limit::adaptive();
        limit.accept(from, Run::default());
        limit.growing = false;
        limit.next_trial = FIRST_PAUSE;
        // End, start, in flight with it, whether it fails.
        let mut flights: Vec<(f64, f64, u32, bool)> = Vec::new();
        let (mut now, mut reached, mut sum) = (0.0, None, 0.0);
        for n in 0..20_000 {
            while (flights.len() as u32) < limit.current() {
                let working = flights.iter().filter(|flight| !flight.3).count();
                let fails = fails(n + flights.len(), working);
                let took = if fails { 0.001 } else { 0.075 };
                flights.push((now + took, now, flights.len() as u32 + 1, fails));
            }
            let first = (0..flights.len())
                .min_by(|&a, &b| flights[a].0.total_cmp(&flights[b].0))
                .unwrap();
            let (end, start, in_flight, failed) = flights.swap_remove(first);
            sum += f64::from(limit.accepted) * (end - now);
            now = end;
            if failed {
                limit.failed(ended(now, in_flight, now - start));
            } else {
                limit.answered(ended(now, in_flight, now - start));
            }
            if reached.is_none() && limit.accepted <= goal {
                reached = Some(now);
            }
        }
        (reached, limit.accepted, sum / now)
    }

    #[test]
    fn a_backend_that_sheds_load_is_found_out_within_two_seconds() {
        for (from, slots) in [(20, 2), (20, 1), (20, 18), (64, 20), (3, 2), (2, 1)] {
            let (reached, end, _) = shed(from, |_, working| working >= slots, slots as u32);
            assert!(reached.is_some_and(|at| at < 2.0), "{from}: {reached:?}");
            assert_eq!(end, slots as u32, "{from}");
        }
    }

    #[test]
    fn failures_that_come_of_the_requests_do_not_lower_the_limit() {
        for one_in in [2, 3, 10] {
            // At random, so that no limit falls into step with it.
            let random = |n: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let (_, _, mean) = shed(8, |n, _| random(n).is_multiple_of(one_in), 4);
            assert!(mean >= 7.0, "one in {one_in}: {mean} on average");
        }
        let (_, end, _) = shed(8, |_, _| true, 4);
        assert_eq!(end, 8);
    }

    #[test]
    fn a_fixed_limit_stays() {
        let mut limit = Limit::fixed(3);
        for n in 0..100 {
            limit.answered(ended(f64::from(n) * 1e-9, 3, 0.001));
        }
        for n in 0..100 {
            limit.failed(ended(f64::from(n), 3, 0.001));
        }
        assert_eq!(limit.current(), 3);
    }

    #[test]
    fn a_trial_that_demand_does_not_fill_ends() {
        let mut limit = Limit::adaptive();
        limit.answered(ended(0.0, 1, 0.05));
        assert_eq!(limit.current(), 2);
        for n in 1..100 {
            limit.answered(ended(f64::from(n) * 0.05, 1, 0.05));
            if limit.current() == 1 {
                return;
            }
        }
        panic!("still at {}", limit.current());
    }
}

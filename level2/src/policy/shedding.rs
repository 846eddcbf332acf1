//! Whether a backend fails because it has too much to do: the search for a limit from above.
//!
//! A backend may shed load with 503, with 500, or by closing connections. Faulty requests and faulty
//! code end in the same ways, and a limit that shrank at each of them could be held down by anybody who
//! knows a request that fails. So nothing is concluded from a failure by itself, but from many, by an
//! experiment: half as many are let in, and half of that, until one of two things shows. If failures stop,
//! there were too many, and what was just let in is the limit. If they go on with a single request in
//! flight, they have nothing to do with the load, and all is as before.

use super::Seconds;
use super::types::Ended;

/// Part of the latest answers that must be failures before a search begins.
const MANY: f64 = 0.25;

/// Weight of the newest answer in that part: five failures in a row are many.
const NEWEST: f64 = 1.0 / 16.0;

/// Weight of the newest answer in what is usual.
const NEWEST_USUAL: f64 = 1.0 / 64.0;

/// Usual failures from which on one in a trial proves nothing.
const SOME: f64 = 0.01;

/// Chance at most that so many answers in a row are good by luck.
const LUCK: f64 = 0.01;

/// Good answers in a row that end a search: at least, and at most.
const FEWEST: f64 = 2.0;
const MOST: f64 = 64.0;

/// Longest time for one step of a search, in mean latencies.
const STEP: f64 = 16.0;

/// First pause after a search that found nothing; doubles up to the longest.
const FIRST_PAUSE: Seconds = 2.0;
const LONGEST_PAUSE: Seconds = 64.0;

/// What a search makes of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing new.
    Stay,
    /// Let so many in, to see what comes of it.
    Try(u32),
    /// So many are what the backend can take.
    Found(u32),
    /// The load has nothing to do with it: back to this.
    Restore(u32),
}

/// Failures lately, and the search that they may lead to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shedding {
    /// Failures, as a part of the latest answers.
    share: f64,
    /// The same over a longer time, and how much the next answer counts in it: an even mean at first.
    usual: f64,
    weight: f64,
    search: Option<Search>,
    next: Seconds,
    pause: Seconds,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    /// The limit before.
    before: u32,
    /// The limit of this step, when it began and when it must be over.
    level: u32,
    since: Seconds,
    until: Seconds,
    /// Good answers at that limit, and how many prove it.
    good: u32,
    wanted: u32,
}

impl Shedding {
    /// Failures, as a part of all answers for some time.
    pub fn usual(&self) -> f64 {
        self.usual
    }

    /// Whether more failures than `usual` came among so many answers than chance would bring.
    pub fn is_more_than_usual(usual: f64, failures: u32, answers: u32) -> bool {
        let expected = usual * f64::from(answers);
        let luck = 3.0 * (expected * (1.0 - usual)).sqrt() + f64::from(usual > SOME);
        f64::from(failures) > expected + luck
    }

    /// Learns of a good answer.
    pub fn good(&mut self, ended: Ended) -> Step {
        self.count(0.0);
        let Some(search) = &mut self.search else {
            return Step::Stay;
        };
        search.good += u32::from(search.is_about(ended) && ended.in_flight == search.level);
        let (level, before) = (search.level, search.before);
        if search.good >= search.wanted {
            *self = Self::default();
            Step::Found(level)
        } else if ended.now > search.until {
            // Demand does not fill the backend that far: nothing can be learned.
            self.search = None;
            Step::Restore(before)
        } else {
            Step::Stay
        }
    }

    /// Learns of a failure while this is the limit and requests take that long.
    pub fn bad(&mut self, ended: Ended, limit: u32, mean: Seconds) -> Step {
        self.count(1.0);
        let until = ended.now + STEP * mean.max(ended.latency);
        match &mut self.search {
            None if self.share >= MANY && limit > 1 && ended.now >= self.next => {
                let wanted = LUCK.ln() / (1.0 - self.share).ln();
                self.search = Some(Search {
                    before: limit,
                    level: limit / 2,
                    since: ended.now,
                    until,
                    good: 0,
                    wanted: wanted.ceil().clamp(FEWEST, MOST) as u32,
                });
                Step::Try(limit / 2)
            }
            Some(search) if search.is_about(ended) && search.level > 1 => {
                search.level /= 2;
                (search.since, search.until, search.good) = (ended.now, until, 0);
                Step::Try(search.level)
            }
            Some(search) if search.is_about(ended) => {
                let before = search.before;
                self.search = None;
                self.pause = (2.0 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.next = ended.now + self.pause;
                Step::Restore(before)
            }
            _ => Step::Stay,
        }
    }

    fn count(&mut self, failed: f64) {
        self.share += NEWEST * (failed - self.share);
        self.weight = if self.weight == 0.0 {
            1.0
        } else {
            (self.weight / (1.0 + self.weight)).max(NEWEST_USUAL)
        };
        self.usual += self.weight * (failed - self.usual);
    }
}

impl Search {
    /// Whether a request began at the limit that is tried.
    fn is_about(&self, ended: Ended) -> bool {
        ended.now - ended.latency >= self.since && ended.in_flight <= self.level
    }
}

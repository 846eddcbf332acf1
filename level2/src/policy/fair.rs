//! Max-min fairness in service time: virtual clocks, tags and credit.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) for several servers (SFQ(D); Jin, Chase, Kaur
//! 2004). Each client has a *finish tag*: the service it was charged, in seconds, on the scale of a
//! virtual clock. A request's *start tag* is its client's finish tag, but at most a credit behind the
//! clock; the smallest goes first, and the clock follows the tags of what is served. So the clock runs
//! at the *fair level*: what each client gets that asks for more. Whoever asks for less falls behind
//! it, and is served first.
//!
//! There are two levels. Known clients are flows of their own. Newcomers, whose names may have been
//! made up a moment ago, have a clock among themselves; beside the known they are one flow, the
//! *pool*, as soon as they ask together for more than the known leave.

use super::Seconds;
use super::clients::{Account, MEAN_LIFE, decay};

/// Age from which a client is known.
const KNOWN_AFTER: Seconds = 4.0;

/// Service at the fair level that a quiet client may save up and use at once.
const CREDIT: Seconds = 4.0;

/// The least such credit, in requests, where they take long.
const CREDIT_REQUESTS: f64 = 16.0;

/// The same for a name never seen before, in requests.
pub const NEWCOMER_CREDIT: f64 = 6.0;

/// How far ahead of the clock the asking of a client is remembered: a flood that ends is forgiven
/// when the clock has caught up.
const DEBT: Seconds = 1.0;

/// First requests of new names for which there is credit at once.
const FRESH_CREDIT: f64 = 24.0;

/// Part of the capacity that known light clients and newcomers may ask for together before the
/// newcomers are a crowd: above 1, since a fluctuation is no crowd.
const CROWD: f64 = 1.3;

/// Least pace of the clocks, as a part of an even share. The fair level is at least that share; but the
/// clients that were active lately are not known exactly, and a clock that runs ahead of the service
/// would make floods look light.
const LEAST_PACE: f64 = 0.5;

/// Where the clocks start: no tag is ever negative.
const ORIGIN: Seconds = 1e3;

/// Weight of the newest request in a client's mean service time.
const NEWEST: f32 = 0.25;

/// The level at which a client competes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// A flow of its own.
    Known,
    /// A flow within the pool.
    #[default]
    Newcomer,
}

/// What a client was charged for a request in advance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charge {
    /// Service time it was expected to take, over its client's weight.
    cost: Seconds,
    weight: f64,
    /// Start tag, on the clock of its group.
    pub tag: Seconds,
    pub group: Group,
    fresh: bool,
    light: bool,
}

impl Charge {
    /// Charges a client for a request that is admitted or queued.
    pub fn new(account: &mut Account, cost: Seconds, weight: f64, light: bool) -> Self {
        let charge = Self {
            cost,
            weight,
            tag: account.finish,
            group: account.group,
            fresh: std::mem::take(&mut account.fresh),
            light,
        };
        account.finish += cost;
        account.lead = (account.lead - cost as f32).max(0.0);
        charge
    }

    /// Takes back what a client was charged for a request that is not served after all.
    pub fn refund(self, account: &mut Account) {
        account.finish -= self.cost;
        account.lead += self.cost as f32;
        account.fresh |= self.fresh;
    }

    /// Replaces what was expected of a request by what it took.
    pub fn settle(self, account: &mut Account, took: Seconds) {
        account.finish += took / self.weight - self.cost;
        let weight = if account.cost == 0.0 { 1.0 } else { NEWEST };
        account.cost += weight * (took as f32 - account.cost);
    }
}

/// A sum that decays with [`MEAN_LIFE`].
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    sum: f64,
    updated: Seconds,
}

impl Fading {
    fn at(self, now: Seconds) -> f64 {
        self.sum * decay(now - self.updated)
    }

    fn add(&mut self, now: Seconds, amount: f64) {
        self.sum = self.at(now) + amount;
        self.updated = now;
    }

    /// The sum per second.
    fn rate(self, now: Seconds) -> f64 {
        self.at(now) / MEAN_LIFE
    }
}

/// The clocks. See the module's documentation.
#[derive(Debug)]
pub struct Fair {
    /// Virtual time, by group.
    clocks: [Seconds; 2],
    /// By how much the clocks went on lately.
    progress: [Fading; 2],
    /// Finish tag of the pool, among the known.
    pool: Seconds,
    /// Finish tag of all first requests, among the newcomers.
    fresh: Seconds,
    /// Clients active lately, by group: one for each client, fading while it is silent.
    active: [Fading; 2],
    /// Service that light newcomers asked for lately.
    asked: Fading,
    /// Service that light known clients were given lately.
    given: Fading,
    crowded: bool,
}

impl Fair {
    pub fn new() -> Self {
        Self {
            clocks: [ORIGIN; 2],
            progress: [Fading::default(); 2],
            pool: ORIGIN,
            fresh: 0.0,
            active: [Fading::default(); 2],
            asked: Fading::default(),
            given: Fading::default(),
            crowded: false,
        }
    }

    /// The virtual time of a group.
    pub fn clock(&self, group: Group) -> Seconds {
        self.clocks[group as usize]
    }

    /// Virtual seconds per second, lately.
    pub fn pace(&self, now: Seconds, group: Group) -> f64 {
        self.progress[group as usize].rate(now)
    }

    /// Lets time pass in which `places` were there, and `unused` seconds of service were not taken.
    ///
    /// The clocks go on at least as if all active clients shared evenly, and as if everybody had had
    /// what was unused.
    pub fn pass(&mut self, now: Seconds, span: Seconds, places: f64, unused: Seconds) {
        self.crowded = self.asked.rate(now) + self.given.rate(now) > CROWD * places;
        let known = self.active[Group::Known as usize].at(now).max(1.0);
        let newcomers = self.active[Group::Newcomer as usize].at(now).max(1.0);
        let (pool, each) = if self.crowded {
            (1.0, newcomers)
        } else {
            (newcomers, 1.0)
        };
        let least = LEAST_PACE * places * span / (known + pool);
        let known = self.clock(Group::Known) + least.max(unused);
        self.go_to(now, Group::Known, known);
        let newcomers = self.clock(Group::Newcomer) + (least / each).max(unused);
        self.go_to(now, Group::Newcomer, newcomers);
    }

    /// Makes the tags of a name never seen before.
    pub fn open(&self, account: &mut Account, cost: Seconds) {
        let clock = self.clock(Group::Newcomer);
        account.group = Group::Newcomer;
        account.fresh = true;
        let credit = clock - NEWCOMER_CREDIT * cost;
        account.finish = if self.crowded {
            self.fresh.max(credit)
        } else {
            credit
        };
        account.lead = 0.0;
    }

    /// Makes a client known that has been here long enough.
    pub fn promote(&self, account: &mut Account, now: Seconds) {
        if account.group == Group::Newcomer && now - account.born >= KNOWN_AFTER {
            let lag = self.clock(Group::Known) - self.clock(Group::Newcomer);
            account.group = Group::Known;
            account.finish += lag;
        }
    }

    /// The start tag of a client's next request, and how far its asking is ahead of the clock: not
    /// above 0 for a client that asks for no more than the fair level. `cost` is its expected service
    /// time over the client's weight.
    pub fn ask(
        &mut self,
        now: Seconds,
        account: &mut Account,
        cost: Seconds,
    ) -> (Seconds, Seconds) {
        let clock = self.clock(account.group);
        let lead = account.finish + Seconds::from(account.lead);
        account.finish = account
            .finish
            .max(clock - CREDIT.max(CREDIT_REQUESTS * cost));
        let lead = lead.max(account.finish);
        let after = (lead + cost).min((clock + DEBT).max(account.finish));
        account.lead = (after - account.finish) as f32;
        let fresh = 1.0 - f64::from(std::mem::replace(&mut account.counted, 1.0));
        self.active[account.group as usize].add(now, fresh);
        // Not what one name asks beyond its credit: that is a flood of its own.
        if account.group == Group::Newcomer && f64::from(account.requests) <= NEWCOMER_CREDIT + 1.0
        {
            self.asked.add(now, cost);
        }
        (account.finish, lead - clock)
    }

    /// How far a client's asking is ahead of the clock, as [`ask`](Self::ask) would find it.
    pub fn lead(&self, account: &Account, cost: Seconds) -> Seconds {
        let clock = self.clock(account.group);
        let lead = account.finish + Seconds::from(account.lead);
        lead.max(clock - CREDIT.max(CREDIT_REQUESTS * cost)) - clock
    }

    /// Where a newcomer's tag stands among the known; `ahead` others of the pool go before it.
    pub fn among_known(&self, tag: Seconds, ahead: f64) -> Seconds {
        let clock = self.clock(Group::Known);
        if self.crowded {
            self.pool.max(clock) + ahead
        } else {
            clock + (tag - self.clock(Group::Newcomer)).max(0.0)
        }
    }

    /// The clocks follow a request that goes to a backend.
    pub fn serve(&mut self, now: Seconds, charge: &Charge) {
        match charge.group {
            Group::Known => {
                if charge.light {
                    self.given.add(now, charge.cost * charge.weight);
                }
                self.go_to(now, Group::Known, charge.tag);
            }
            Group::Newcomer => {
                let tag = self.among_known(charge.tag, 0.0);
                self.go_to(now, Group::Known, tag);
                if self.crowded {
                    self.pool = tag + charge.cost;
                }
                self.go_to(now, Group::Newcomer, charge.tag);
                if charge.fresh {
                    let credit = self.clock(Group::Newcomer) - FRESH_CREDIT * charge.cost;
                    self.fresh = self.fresh.max(credit) + charge.cost;
                }
            }
        }
    }

    fn go_to(&mut self, now: Seconds, group: Group, time: Seconds) {
        let clock = &mut self.clocks[group as usize];
        if time > *clock {
            self.progress[group as usize].add(now, time - *clock);
            *clock = time;
        }
    }
}

//! The worlds that a shield can be put into: the contest's, and others to learn from.
//!
//! Each is traffic plus a way for the backends to behave, with demands of its own that are shown
//! before the run. What each is made of stands in `worlds`.

use clap::ValueEnum;

use super::backend::Ailment;
use super::slow::Part;
use super::tally::Tally;
use super::traffic::Traffic;

/// How the load is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Regime {
    /// At most five connections, as in 2014: a closed loop
    #[value(name = "2014")]
    Y2014,
    /// A connection for every request: the flood really comes at its rate
    Open,
}

/// The name of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorldName {
    /// Mice and elephants as in 2014
    Contest,
    /// A hundred legitimate clients all of a sudden
    FlashCrowd,
    /// The contest, with 500 connections that never finish a request
    SlowLoris,
    /// The contest, with elephants that take a new name every five requests
    RotatingNames,
    /// The contest, with one backend away for a third of the time
    BackendDies,
    /// The contest, with one request in five that takes 11 times as long as the others
    MixedCost,
    /// Three clients that stay, below their fair share, beside two floods
    Steady,
    /// Three clients that stay, beside 200 requests a second under ever new names
    SteadyAndNames,
    /// Three clients that stay, one of which uploads, beside 40 connections that never finish a body
    SlowBodies,
    /// Three clients that stay, one of which downloads, beside 40 connections that hardly read an answer
    SlowReaders,
    /// Three clients that stay, beside two floods; one backend answers 500 at once for half of the time
    FailingBackend,
    /// Three clients that stay, beside two floods; all work takes four times as long for half of the time
    BrownOut,
}

/// Connections that never finish a request.
#[derive(Clone, Copy, Debug)]
pub struct SlowCrowd {
    /// What they never finish.
    pub part: Part,
    /// How many there are.
    pub count: usize,
    /// When they come.
    pub from_ms: u64,
}

/// A world ready to be played.
pub struct World {
    /// Who sends what and when.
    pub traffic: Traffic,
    /// Connections that the load generator may open at once.
    pub connection_limit: Option<usize>,
    /// Length in seconds.
    pub seconds: u32,
    /// Answers that the backends could give if they were never idle.
    pub capacity: f64,
    /// The most points for the seed, in the contest.
    pub bound: Option<f64>,
    /// Whether requests say how much work they are.
    pub mixed_cost: bool,
    /// What the backends suffer from, and when.
    pub spells: Vec<Spell>,
    /// Its slow connections.
    pub slow: Option<SlowCrowd>,
    /// What a solution has to do to pass.
    pub demands: Vec<Demand>,
}

/// A time in which a backend is not itself.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    /// Which.
    pub backend: usize,
    /// What it suffers from.
    pub ailment: Ailment,
    /// From when on, in milliseconds from the start.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
}

/// One condition of passing.
pub struct Demand {
    /// The condition in words.
    pub text: String,
    /// Whether a run meets it.
    pub met: Box<dyn Fn(&Tally) -> bool>,
    /// Whether it has to be met by every run, not only by the one with the median score.
    pub forbids_overflow: bool,
}

impl Demand {
    /// A demand in words and as a test.
    pub fn new(text: impl Into<String>, met: impl Fn(&Tally) -> bool + 'static) -> Self {
        Self {
            text: text.into(),
            met: Box::new(met),
            forbids_overflow: false,
        }
    }

    /// That no backend found itself and its queue full.
    pub fn no_overflow() -> Self {
        let demand = Self::new("no backend overflows", |tally| tally.overflows() == 0);
        Self {
            forbids_overflow: true,
            ..demand
        }
    }

    /// That so much of what mice asked for was answered.
    pub fn mice(share: f64) -> Self {
        let text = format!(
            "at least {:.0} % of the mice's requests are answered",
            share * 100.0
        );
        Self::new(text, move |tally| tally.mice_share() >= share)
    }

    /// That the backends worked for so much of the time.
    pub fn busy(share: f64) -> Self {
        let text = format!(
            "the backends work at least {:.0} % of the time",
            share * 100.0
        );
        Self::new(text, move |tally| tally.busy() >= share)
    }
}

//! The monkeys: what goes wrong on the network and among its nodes, and when.
//!
//! `schedule` decides everything beforehand, as a pure function of seed, node count, duration
//! and settings, and returns it as data. `act` carries it out on a running network and its
//! nodes. Only the spof monkey reacts to what happens: it contributes its order of nodes, and the
//! end of each of its acts is a run-time event.

mod act;
mod parse;
mod schedule;
mod settings;

pub use act::{News, Performer, Progress, Stage};
pub use parse::BadSchedule;
pub use schedule::{Act, Schedule, What};
pub use settings::{Intensity, Monkey, MonkeySettings, Pace};

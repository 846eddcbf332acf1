//! The worlds that a shield can be put into: the contest's, and others to learn from.
//!
//! Each is traffic plus a way for the backends to behave, with demands of its own that are shown
//! before the run. Only the contest has points and a bound; the others take the population of the
//! same seed and change one thing.

use clap::ValueEnum;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::population::{BACKENDS, Population, SERVICE_MS, SLOTS};
use super::stay;
use super::tally::Tally;
use super::traffic::{Arrival, Client, ClientIndex, Kind, Traffic};

/// Connections that the load generator of 2014 had at most.
const CONNECTIONS_2014: usize = 5;
/// Slow connections of the world of that name.
const LORISES: usize = 500;
/// Clients of the flash crowd.
const CROWD: usize = 100;
/// Requests that a forged name is used for.
const REQUESTS_A_NAME: usize = 5;
/// Cheap and dear work of the world of mixed cost, in milliseconds; one request in
/// [`DEAR_ONE_IN`] is dear, so that the mean is the contest's 75 ms.
const CHEAP_MS: u64 = 25;
const DEAR_MS: u64 = 275;
const DEAR_ONE_IN: u32 = 5;

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
    /// The backend that is away, and from when to when, in milliseconds.
    pub outage: Option<(usize, u64, u64)>,
    /// Slow connections.
    pub lorises: usize,
    /// What a solution has to do to pass.
    pub demands: Vec<Demand>,
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

    fn mice(share: f64) -> Self {
        let text = format!(
            "at least {:.0} % of the mice's requests are answered",
            share * 100.0
        );
        Self::new(text, move |tally| tally.mice_share() >= share)
    }

    fn busy(share: f64) -> Self {
        let text = format!(
            "the backends work at least {:.0} % of the time",
            share * 100.0
        );
        Self::new(text, move |tally| tally.busy() >= share)
    }
}

impl World {
    /// Builds a world from a seed. Only the contest knows the regime of 2014.
    pub fn build(name: WorldName, regime: Regime, seed: &str, seconds: u32) -> Self {
        let population = Population::draw(seed, seconds);
        let contest = Self {
            traffic: population.traffic(),
            connection_limit: (regime == Regime::Y2014).then_some(CONNECTIONS_2014),
            seconds,
            capacity: population.capacity(),
            bound: None,
            mixed_cost: false,
            outage: None,
            lorises: 0,
            demands: Vec::new(),
        };
        let length_ms = u64::from(seconds) * 1000;
        match name {
            WorldName::Contest => Self {
                bound: Some(population.bound()),
                ..contest
            },
            WorldName::FlashCrowd => Self {
                traffic: flash_crowd(seed, length_ms),
                demands: vec![
                    Demand::no_overflow(),
                    Demand::new(
                        "at least 85 % of what the backends can answer is answered",
                        |t| t.answers() as f64 >= 0.85 * t.capacity.min(t.mice.sent as f64),
                    ),
                    Demand::new(
                        "answers are spread evenly over the crowd (Jain ≥ 0.8)",
                        |t| t.evenness >= 0.8,
                    ),
                ],
                capacity: crowd_capacity(length_ms),
                ..contest
            },
            WorldName::SlowLoris => Self {
                lorises: LORISES,
                demands: vec![Demand::no_overflow(), Demand::mice(0.9)],
                ..contest
            },
            WorldName::RotatingNames => Self {
                traffic: rotate_names(&contest.traffic),
                demands: vec![Demand::no_overflow(), Demand::mice(0.5), Demand::busy(0.8)],
                ..contest
            },
            WorldName::BackendDies => Self {
                outage: Some((1, length_ms * 2 / 5, length_ms * 7 / 10)),
                demands: vec![
                    Demand::no_overflow(),
                    Demand::mice(0.85),
                    Demand::new("the backend that came back is used again", |tally| {
                        tally
                            .backends
                            .iter()
                            .any(|b| b.answered_since_revival > Some(0))
                    }),
                ],
                ..contest
            },
            WorldName::MixedCost => Self {
                traffic: mix_costs(contest.traffic, seed),
                mixed_cost: true,
                demands: vec![Demand::no_overflow(), Demand::mice(0.8), Demand::busy(0.8)],
                ..contest
            },
            WorldName::Steady => Self {
                traffic: stay::beside_floods(&mut stream(seed, 3), length_ms),
                capacity: full_capacity(length_ms),
                demands: vec![
                    Demand::no_overflow(),
                    // 99 in virtual time; here threads are late and the start is learned anew.
                    Demand::mice(0.96),
                    Demand::busy(0.9),
                    Demand::new("the floods share the rest evenly (Jain ≥ 0.97)", |t| {
                        t.flood_evenness >= 0.97
                    }),
                ],
                ..contest
            },
            WorldName::SteadyAndNames => Self {
                traffic: stay::beside_names(&mut stream(seed, 4), length_ms),
                capacity: stay::capacity_beside_names(length_ms),
                // 95 in virtual time for those known for 5 s.
                demands: vec![Demand::no_overflow(), Demand::mice(0.92), Demand::busy(0.8)],
                ..contest
            },
        }
    }
}

/// A generator for what the seed of 2014 does not determine, one stream a purpose.
fn stream(seed: &str, purpose: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    for (at, byte) in seed.bytes().enumerate() {
        key[at % 32] = key[at % 32].rotate_left(3) ^ byte;
    }
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(purpose);
    random
}

/// Five regular clients with four requests a second; between a fifth and four fifths of the time a
/// hundred more with one request a second each, at a moment of their own.
fn flash_crowd(seed: &str, length_ms: u64) -> Traffic {
    let mut random = stream(seed, 1);
    let mut clients = Vec::new();
    let mut arrivals = Vec::new();
    let mut add = |name: String, from_ms: u64, to_ms: u64, period_ms: u64| {
        let client = ClientIndex(clients.len());
        clients.push(Client {
            name,
            kind: Kind::Mouse,
        });
        let phase_us = random.random_range(0..period_ms * 1000);
        let times = (from_ms..to_ms).step_by(period_ms as usize);
        arrivals.extend(times.map(|ms| Arrival::plain(ms * 1000 + phase_us, client)));
    };
    for regular in 0..5 {
        add(format!("regular-{regular}"), 0, length_ms, 250);
    }
    for newcomer in 0..CROWD {
        add(
            format!("newcomer-{newcomer}"),
            length_ms / 5,
            length_ms * 4 / 5,
            1000,
        );
    }
    Traffic::new(clients, arrivals)
}

/// Backends that are never idle.
fn full_capacity(length_ms: u64) -> f64 {
    length_ms as f64 * (BACKENDS * SLOTS) as f64 / SERVICE_MS as f64
}

/// Full backends while the crowd is there, and the regular clients' requests before and after.
fn crowd_capacity(length_ms: u64) -> f64 {
    let full = (BACKENDS * SLOTS) as f64 / SERVICE_MS as f64;
    let regular = 5.0 / 250.0;
    length_ms as f64 * (0.6 * full + 0.4 * regular)
}

/// Gives elephants a new name every few requests.
fn rotate_names(traffic: &Traffic) -> Traffic {
    let mut clients = traffic.clients.clone();
    let mut sent = vec![0_usize; clients.len()];
    let mut current: Vec<ClientIndex> = (0..clients.len()).map(ClientIndex).collect();
    let mut arrivals = traffic.arrivals.clone();
    for arrival in &mut arrivals {
        let original = arrival.client.0;
        if clients[original].kind == Kind::Mouse {
            continue;
        }
        if sent[original] > 0 && sent[original].is_multiple_of(REQUESTS_A_NAME) {
            let name = format!("{}-{}", clients[original].name, sent[original]);
            current[original] = ClientIndex(clients.len());
            clients.push(Client {
                name,
                kind: Kind::Elephant,
            });
        }
        sent[original] += 1;
        arrival.client = current[original];
    }
    Traffic::new(clients, arrivals)
}

/// Makes one request in five dear and the others cheap.
fn mix_costs(mut traffic: Traffic, seed: &str) -> Traffic {
    let mut random = stream(seed, 2);
    for arrival in &mut traffic.arrivals {
        let dear = random.random_ratio(1, DEAR_ONE_IN);
        arrival.cost_ms = Some(if dear { DEAR_MS } else { CHEAP_MS });
    }
    traffic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_name_is_used_for_five_requests_and_mice_keep_theirs() {
        let plain = Population::draw("seed", 20).traffic();
        let rotated = rotate_names(&plain);
        assert_eq!(rotated.sent(Kind::Mouse), plain.sent(Kind::Mouse));
        assert_eq!(rotated.sent(Kind::Elephant), plain.sent(Kind::Elephant));
        let mut uses = vec![0; rotated.clients.len()];
        for arrival in &rotated.arrivals {
            uses[arrival.client.0] += 1;
        }
        for (client, uses) in rotated.clients.iter().zip(uses) {
            let expected = if client.kind == Kind::Mouse {
                4
            } else {
                REQUESTS_A_NAME
            };
            assert_eq!(uses, expected, "{}", client.name);
        }
    }

    #[test]
    fn mixed_costs_have_the_usual_mean() {
        let traffic = mix_costs(Population::draw("seed", 20).traffic(), "seed");
        let costs: Vec<u64> = traffic.arrivals.iter().filter_map(|a| a.cost_ms).collect();
        assert_eq!(costs.len(), traffic.arrivals.len());
        let mean = costs.iter().sum::<u64>() as f64 / costs.len() as f64;
        assert!((mean - SERVICE_MS as f64).abs() < 8.0, "mean {mean}");
    }

    #[test]
    fn the_crowd_comes_and_goes() {
        let traffic = flash_crowd("seed", 20_000);
        let at = |from: u64, to: u64| {
            let times = traffic.arrivals.iter().map(|a| a.due_us / 1000);
            times.filter(|ms| (from..to).contains(ms)).count()
        };
        assert_eq!(at(0, 4000), 5 * 16);
        let rate = at(6000, 15_000) as f64 / 9.0;
        assert!((rate - 120.0).abs() < 6.0, "{rate} requests a second");
        assert_eq!(at(17_000, 20_000), 5 * 12);
    }
}

//! What each world is made of.
//!
//! The worlds of the contest take its population of the same seed and change one thing; the others have
//! clients of their own that [stay](stay). Demands on these are a little below what is asked in virtual
//! time: here threads are late, and the capacity has to be learned anew.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::backend::Ailment;
use super::population::{BACKENDS, Population, SERVICE_MS, SLOTS};
use super::slow::{self, Part};
use super::stay;
use super::traffic::{Arrival, Client, ClientIndex, Kind, Traffic};
use super::world::{Demand, Regime, SlowCrowd, Spell, World, WorldName};

/// Connections that the load generator of 2014 had at most.
const CONNECTIONS_2014: usize = 5;
/// Connections that never finish a head.
const LORISES: usize = 500;
/// Connections that never finish a body or an answer: ten for each slot.
const LEECHES: usize = 40;
/// Bytes that a mouse uploads with a request, where one does.
const UPLOAD: usize = 20_000;
/// How many times as long work takes in a brown-out.
const BROWN: u32 = 4;
/// Clients of the flash crowd.
const CROWD: usize = 100;
/// Requests that a forged name is used for.
const REQUESTS_A_NAME: usize = 5;
/// Cheap and dear work of the world of mixed cost, in milliseconds; one request in
/// [`DEAR_ONE_IN`] is dear, so that the mean is the contest's 75 ms.
const CHEAP_MS: u64 = 25;
const DEAR_MS: u64 = 275;
const DEAR_ONE_IN: u32 = 5;

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
            spells: Vec::new(),
            slow: None,
            demands: Vec::new(),
        };
        match name {
            WorldName::Contest => Self {
                bound: Some(population.bound()),
                ..contest
            },
            WorldName::FlashCrowd => contest.with_a_crowd(seed),
            WorldName::SlowLoris => Self {
                slow: Some(SlowCrowd {
                    part: Part::Head,
                    count: LORISES,
                    from_ms: 0,
                }),
                demands: vec![Demand::no_overflow(), Demand::mice(0.9)],
                ..contest
            },
            WorldName::RotatingNames => Self {
                traffic: rotate_names(&contest.traffic),
                demands: vec![Demand::no_overflow(), Demand::mice(0.5), Demand::busy(0.8)],
                ..contest
            },
            WorldName::BackendDies => contest.with_an_outage(),
            WorldName::MixedCost => Self {
                traffic: mix_costs(contest.traffic, seed),
                mixed_cost: true,
                demands: vec![Demand::no_overflow(), Demand::mice(0.8), Demand::busy(0.8)],
                ..contest
            },
            WorldName::Steady => contest.of_steady_clients(seed),
            WorldName::SteadyAndNames => contest.of_steady_clients_and_names(seed),
            WorldName::SlowBodies => contest.of_slow_bodies(seed),
            WorldName::SlowReaders => contest.of_slow_readers(seed),
            WorldName::FailingBackend => contest.of_a_failing_backend(seed),
            WorldName::BrownOut => contest.of_a_brown_out(seed),
        }
    }

    fn length_ms(&self) -> u64 {
        u64::from(self.seconds) * 1000
    }

    fn with_a_crowd(self, seed: &str) -> Self {
        let length_ms = self.length_ms();
        Self {
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
            ..self
        }
    }

    fn with_an_outage(self) -> Self {
        let length_ms = self.length_ms();
        Self {
            spells: vec![Spell {
                backend: 1,
                ailment: Ailment::Away,
                from_ms: length_ms * 2 / 5,
                to_ms: length_ms * 7 / 10,
            }],
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
            ..self
        }
    }

    fn of_steady_clients(self, seed: &str) -> Self {
        let length_ms = self.length_ms();
        Self {
            traffic: stay::beside_floods(&mut stream(seed, 3), length_ms, 1.0),
            capacity: full_capacity(length_ms),
            demands: vec![
                Demand::no_overflow(),
                // 99 in virtual time.
                Demand::mice(0.96),
                Demand::busy(0.9),
                even_floods(0.97),
            ],
            ..self
        }
    }

    fn of_steady_clients_and_names(self, seed: &str) -> Self {
        let length_ms = self.length_ms();
        Self {
            traffic: stay::beside_names(&mut stream(seed, 4), length_ms),
            capacity: stay::capacity_beside_names(length_ms),
            // 95 in virtual time for those known for 5 s.
            demands: vec![Demand::no_overflow(), Demand::mice(0.92), Demand::busy(0.8)],
            ..self
        }
    }

    fn of_slow_bodies(self, seed: &str) -> Self {
        let mut traffic = stay::alone(&mut stream(seed, 5), self.length_ms());
        for arrival in &mut traffic.arrivals {
            if arrival.client == ClientIndex(0) {
                arrival.upload = UPLOAD;
            }
        }
        self.of_leeches(Part::Body, traffic)
    }

    fn of_slow_readers(self, seed: &str) -> Self {
        let mut traffic = stay::alone(&mut stream(seed, 6), self.length_ms());
        for arrival in &mut traffic.arrivals {
            if arrival.client == ClientIndex(0) {
                arrival.download = slow::ANSWER;
            }
        }
        self.of_leeches(Part::Answer, traffic)
    }

    /// Mice have room enough; whoever lets a slow client hold a place at a backend has none for them. The
    /// slow ones come when the mice are known: forty newcomers at the very start are a crowd of their own, in
    /// which seven requests a second are more than a fair share, and that is not the question here.
    fn of_leeches(self, part: Part, traffic: Traffic) -> Self {
        Self {
            capacity: traffic.arrivals.len() as f64,
            traffic,
            slow: Some(SlowCrowd {
                part,
                count: LEECHES,
                from_ms: self.length_ms() / 4,
            }),
            demands: vec![Demand::no_overflow(), Demand::mice(0.95)],
            ..self
        }
    }

    /// A backend that answers at once looks like the one with most room. What is left for the others is
    /// one backend; some requests must fail before anybody can know.
    fn of_a_failing_backend(self, seed: &str) -> Self {
        let length_ms = self.length_ms();
        Self {
            traffic: stay::beside_floods(&mut stream(seed, 7), length_ms, 0.5),
            capacity: 0.75 * full_capacity(length_ms),
            spells: vec![Spell {
                backend: 1,
                ailment: Ailment::Failing,
                from_ms: length_ms / 4,
                to_ms: length_ms * 3 / 4,
            }],
            demands: vec![
                Demand::no_overflow(),
                Demand::mice(0.93),
                Demand::busy(0.6),
                Demand::new("at most a tenth as many failures as answers", |t| {
                    t.failures() * 10 <= t.answers()
                }),
            ],
            ..self
        }
    }

    fn of_a_brown_out(self, seed: &str) -> Self {
        let length_ms = self.length_ms();
        let least = 1.0 / f64::from(BROWN);
        let spells = (0..BACKENDS).map(|backend| Spell {
            backend,
            ailment: Ailment::Slow(BROWN),
            from_ms: length_ms / 4,
            to_ms: length_ms * 3 / 4,
        });
        Self {
            traffic: stay::beside_floods(&mut stream(seed, 8), length_ms, least),
            capacity: f64::midpoint(1.0, least) * full_capacity(length_ms),
            spells: spells.collect(),
            demands: vec![
                Demand::no_overflow(),
                Demand::mice(0.93),
                Demand::new(
                    "at least 85 % of what the backends can answer is answered",
                    |t| t.answers() as f64 >= 0.85 * t.capacity,
                ),
                even_floods(0.95),
            ],
            ..self
        }
    }
}

fn even_floods(least: f64) -> Demand {
    Demand::new(
        format!("the floods share the rest evenly (Jain ≥ {least})"),
        move |t| t.flood_evenness >= least,
    )
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

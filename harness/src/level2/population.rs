//! Who sends what and when: the client population of 2014, drawn from the case's seed.
//!
//! Time is cut into rounds of 500 ms. Each round tops the clients up to five and a client lives for
//! two rounds, so all five are replaced together: one *generation* a second. A *mouse* sends two
//! requests a round, an *elephant* fifty. The bound on the score follows from the same draws.

use super::seed_random::SeedRandom;
use super::traffic::{Arrival, Client, ClientIndex, Kind, Traffic};

/// Length of a round in milliseconds.
pub const ROUND_MS: u64 = 500;
/// Clients alive at any time.
pub const CLIENTS: usize = 5;
/// Rounds that a client lives for.
pub const LIFETIME_ROUNDS: usize = 2;
/// Requests that an elephant sends in a round.
pub const ELEPHANT_REQUESTS: u64 = 50;
/// Time between an elephant's requests, in milliseconds.
pub const ELEPHANT_INTERVAL_MS: u64 = 10;
/// Time that a backend works on a request, in milliseconds.
pub const SERVICE_MS: u64 = 75;
/// Backends of the contest.
pub const BACKENDS: usize = 2;
/// Requests that a backend works on at a time.
pub const SLOTS: usize = 2;
/// Requests that may wait at a backend.
pub const ROOM: usize = 4;

/// The letters of client names, in the order and with the spelling of 2014 (`XTZ` at the end).
const NAME_LETTERS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXTZ";
/// Length of a client's name.
const NAME_LENGTH: usize = 48;
/// A type draw above this makes a mouse.
const MOUSE_ABOVE: f64 = 0.4;

/// The clients of a seed, in order of creation, five a generation.
pub struct Population {
    clients: Vec<Member>,
    rounds: usize,
}

/// One drawn client.
struct Member {
    name: String,
    kind: Kind,
    /// Time from a round's start to a mouse's first request. An elephant has drawn one, unused.
    delay_ms: f64,
}

impl Population {
    /// Draws the clients of a run of `seconds`.
    pub fn draw(seed: &str, seconds: u32) -> Self {
        let rounds = seconds as usize * 1000 / ROUND_MS as usize;
        let mut random = SeedRandom::new(seed);
        let clients = (0..rounds / LIFETIME_ROUNDS * CLIENTS)
            .map(|_| Member::draw(&mut random))
            .collect();
        Self { clients, rounds }
    }

    /// The schedule of all requests.
    pub fn traffic(&self) -> Traffic {
        let mut arrivals = Vec::new();
        for (index, member) in self.clients.iter().enumerate() {
            let client = ClientIndex(index);
            for life in 0..LIFETIME_ROUNDS {
                let round = index / CLIENTS * LIFETIME_ROUNDS + life;
                let start_us = round as u64 * ROUND_MS * 1000;
                member.requests_us().for_each(|offset| {
                    arrivals.push(Arrival::plain(start_us + offset, client));
                });
            }
        }
        let clients = self
            .clients
            .iter()
            .map(|m| Client {
                name: m.name.clone(),
                kind: m.kind,
            })
            .collect();
        Traffic::new(clients, arrivals)
    }

    /// Answers that the backends could give in the whole time if they were never idle.
    pub fn capacity(&self) -> f64 {
        self.rounds as f64 * capacity_per_round()
    }

    /// The most that can be had for this seed: every mouse request that still leaves time for its
    /// service is answered, and elephants fill every slot that is left while there are elephants.
    pub fn bound(&self) -> f64 {
        let end_us = self.rounds as u64 * ROUND_MS * 1000;
        let traffic = self.traffic();
        let mice = traffic
            .arrivals
            .iter()
            .filter(|arrival| traffic.client(arrival.client).kind == Kind::Mouse)
            .filter(|arrival| arrival.due_us + SERVICE_MS * 1000 <= end_us)
            .count();
        let answers: f64 = self.clients.chunks(CLIENTS).map(generation_capacity).sum();
        score(mice, answers, self.capacity())
    }
}

/// The points of 2014 for `good` answers to mice and `answers` in all.
pub fn score(good: usize, answers: f64, capacity: f64) -> f64 {
    (good as f64 - (capacity - answers) / 8.0).max(0.01)
}

/// Answers a round that full backends give.
fn capacity_per_round() -> f64 {
    (BACKENDS * SLOTS) as f64 * ROUND_MS as f64 / SERVICE_MS as f64
}

/// Answers that a generation can be given: full backends, or all it asks for when it is mice only.
fn generation_capacity(members: &[Member]) -> f64 {
    let full = capacity_per_round() * LIFETIME_ROUNDS as f64;
    if members.iter().any(|member| member.kind == Kind::Elephant) {
        return full;
    }
    let asked: usize = members
        .iter()
        .map(|m| m.requests_us().count() * LIFETIME_ROUNDS)
        .sum();
    full.min(asked as f64)
}

impl Member {
    /// Fifty draws: 48 for the name, one for the type, one for the delay.
    fn draw(random: &mut SeedRandom) -> Self {
        let name = (0..NAME_LENGTH)
            .map(|_| {
                let letter = (random.next_double() * NAME_LETTERS.len() as f64) as usize;
                char::from(NAME_LETTERS[letter])
            })
            .collect();
        let kind = if random.next_double() > MOUSE_ABOVE {
            Kind::Mouse
        } else {
            Kind::Elephant
        };
        let delay_ms = random.next_double() * ROUND_MS as f64;
        Self {
            name,
            kind,
            delay_ms,
        }
    }

    /// Times of the client's requests within a round, in microseconds from its start.
    fn requests_us(&self) -> impl Iterator<Item = u64> {
        let second = self.delay_ms + (ROUND_MS as f64 - self.delay_ms) / 2.0;
        let mouse = [self.delay_ms, second].map(|ms| (ms * 1000.0).round() as u64);
        let (mouse, elephant) = match self.kind {
            Kind::Mouse => (Some(mouse), None),
            Kind::Elephant => (
                None,
                Some((0..ELEPHANT_REQUESTS).map(|turn| turn * ELEPHANT_INTERVAL_MS * 1000)),
            ),
        };
        mouse
            .into_iter()
            .flatten()
            .chain(elephant.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_USEY: &str = "94fea7af56bdbcb75201fe0377c2904496a6a13f567530d3835509a34ec6aabf";
    const SQSG: &str = "39eb1f3f8e9846e98967ff3c2e40f6fa5bdb8c5d32519f71c409daafe73d2e2c";
    const X9NN: &str = "940e5d1fbd2de4ac59a7e867ff303b96e5de024fabe7aa9c3a41432ae17eba13";

    #[test]
    fn the_first_clients_of_an_original_case_are_those_of_2014() {
        let population = Population::draw(A_USEY, 20);
        let first = &population.clients[0];
        assert_eq!(
            first.name,
            "WNFMDQ7RZNM2NC9OBC5M8POVS0EGWM70QQUU0XIN4RT3XZTT"
        );
        assert_eq!(first.kind, Kind::Mouse);
        assert!(
            (first.delay_ms - 128.254_224).abs() < 1e-6,
            "{}",
            first.delay_ms
        );
        let second = &population.clients[1];
        assert_eq!(
            second.name,
            "A3BN35VE80G9XE5TLX0VL2RR21FHELJURCGWHRTG43PK85XQ"
        );
        assert_eq!(second.kind, Kind::Mouse);
        assert!(
            (second.delay_ms - 72.205_839).abs() < 1e-6,
            "{}",
            second.delay_ms
        );
        assert_eq!(population.clients[2].kind, Kind::Elephant);
        assert_eq!(population.clients.len(), 100);
    }

    #[test]
    fn mouse_requests_and_bounds_of_the_original_cases() {
        for (seed, requests, bound) in
            [(A_USEY, 236, 234.0), (X9NN, 220, 216.0), (SQSG, 252, 235.5)]
        {
            let population = Population::draw(seed, 20);
            let traffic = population.traffic();
            assert_eq!(traffic.sent(Kind::Mouse), requests, "{seed}");
            assert!(
                (population.bound() - bound).abs() < 1e-6,
                "{seed}: {}",
                population.bound()
            );
            assert!((population.capacity() - 1_066.666_666).abs() < 1e-3);
        }
    }

    #[test]
    fn an_elephant_sends_fifty_a_round_and_lives_for_two() {
        let traffic = Population::draw(A_USEY, 20).traffic();
        let elephant = ClientIndex(2);
        let times: Vec<u64> = traffic
            .arrivals
            .iter()
            .filter(|arrival| arrival.client == elephant)
            .map(|arrival| arrival.due_us)
            .collect();
        assert_eq!(times.len(), 100);
        assert_eq!((times[0], times[1], times[99]), (0, 10_000, 990_000));
    }

    #[test]
    fn a_mouse_sends_at_its_delay_and_half_way_to_the_end_of_the_round() {
        let traffic = Population::draw(A_USEY, 20).traffic();
        let times: Vec<u64> = traffic
            .arrivals
            .iter()
            .filter(|arrival| arrival.client == ClientIndex(0))
            .map(|arrival| arrival.due_us)
            .collect();
        assert_eq!(times, [128_254, 314_127, 628_254, 814_127]);
    }

    #[test]
    fn a_score_is_never_below_the_floor() {
        assert!((score(0, 0.0, 1066.0) - 0.01).abs() < 1e-9);
        assert!((score(200, 1066.0, 1066.0) - 200.0).abs() < 1e-9);
    }
}

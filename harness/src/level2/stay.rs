//! Traffic of clients that stay: steady ones beside floods, or beside names that change.
//!
//! The mice of 2014 live for a second, which hides whether a shield is fair to those that come back.
//! Here a few ask at random at a rate well below what water filling leaves them, for the whole run.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::population::{BACKENDS, SERVICE_MS, SLOTS};
use super::traffic::{Arrival, Client, ClientIndex, Kind, Traffic};

/// Clients that stay.
const STEADY: usize = 3;
/// Floods beside them.
const FLOODS: usize = 2;
/// Requests a second of each flood, and of the client whose names change.
const FLOOD_RATE: f64 = 200.0;
/// Part of the level that water filling gives a steady client, that it asks for.
const APPETITE: f64 = 0.8;
/// Requests that a name is used for before the next.
const REQUESTS_A_NAME: usize = 3;
/// Before names begin to change the steady clients are alone for so long, in milliseconds: by then
/// they are no newcomers.
const ACQUAINTANCE_MS: u64 = 5_000;

/// Answers a second that the backends can give.
const RATE: f64 = (BACKENDS * SLOTS) as f64 * 1000.0 / SERVICE_MS as f64;

/// Requests a second of a steady client beside so many others that take all they can get.
fn steady_rate(others: usize) -> f64 {
    APPETITE * RATE / (STEADY + others) as f64
}

/// Steady clients with nobody else who asks for what backends can give: two fifths of it.
pub fn alone(random: &mut ChaCha8Rng, length_ms: u64) -> Traffic {
    let mut crowd = Crowd::new(length_ms);
    crowd.steady(random, 0.4 * RATE / STEADY as f64);
    crowd.traffic()
}

/// Steady clients beside floods. They ask for less than their share of a part of the capacity, the least
/// that is left at any time.
pub fn beside_floods(random: &mut ChaCha8Rng, length_ms: u64, least: f64) -> Traffic {
    let mut crowd = Crowd::new(length_ms);
    crowd.steady(random, steady_rate(FLOODS) * least);
    for client in 0..FLOODS {
        let index = crowd.add(format!("flood-{client}"), Kind::Elephant);
        crowd.regular(random, index, FLOOD_RATE);
    }
    crowd.traffic()
}

/// Steady clients, and after a while one that has a new name every few requests: all its names together
/// are one client's worth.
pub fn beside_names(random: &mut ChaCha8Rng, length_ms: u64) -> Traffic {
    let mut crowd = Crowd::new(length_ms);
    crowd.steady(random, steady_rate(1));
    let period_us = (1e6 / FLOOD_RATE) as u64;
    let times = (ACQUAINTANCE_MS * 1000..length_ms * 1000).step_by(period_us as usize);
    let mut index = ClientIndex(0);
    for (n, due_us) in times.enumerate() {
        if n.is_multiple_of(REQUESTS_A_NAME) {
            index = crowd.add(format!("name-{}", n / REQUESTS_A_NAME), Kind::Elephant);
        }
        crowd.arrivals.push(Arrival::plain(due_us, index));
    }
    crowd.traffic()
}

/// Answers that the backends can give in the world of that traffic if they are never idle while anybody
/// asks for more.
pub fn capacity_beside_names(length_ms: u64) -> f64 {
    let alone_ms = ACQUAINTANCE_MS.min(length_ms) as f64;
    let calm = STEADY as f64 * steady_rate(1) * alone_ms / 1000.0;
    calm + RATE * (length_ms as f64 - alone_ms) / 1000.0
}

/// Clients and their requests, in the making.
struct Crowd {
    length_us: f64,
    clients: Vec<Client>,
    arrivals: Vec<Arrival>,
}

impl Crowd {
    fn new(length_ms: u64) -> Self {
        Self {
            length_us: length_ms as f64 * 1000.0,
            clients: Vec::new(),
            arrivals: Vec::new(),
        }
    }

    fn add(&mut self, name: String, kind: Kind) -> ClientIndex {
        self.clients.push(Client { name, kind });
        ClientIndex(self.clients.len() - 1)
    }

    /// The steady clients, each with so many requests a second.
    fn steady(&mut self, random: &mut ChaCha8Rng, rate: f64) {
        for client in 0..STEADY {
            let index = self.add(format!("steady-{client}"), Kind::Mouse);
            self.poisson(random, index, rate);
        }
    }

    /// Requests at random, independent of one another.
    fn poisson(&mut self, random: &mut ChaCha8Rng, client: ClientIndex, rate: f64) {
        let mut gap = || -(1.0 - random.random::<f64>()).ln() * 1e6 / rate;
        let mut due_us = gap();
        while due_us < self.length_us {
            self.arrivals.push(Arrival::plain(due_us as u64, client));
            due_us += gap();
        }
    }

    /// Requests at even distances.
    fn regular(&mut self, random: &mut ChaCha8Rng, client: ClientIndex, rate: f64) {
        let gap = 1e6 / rate;
        let mut due_us = gap * random.random::<f64>();
        while due_us < self.length_us {
            self.arrivals.push(Arrival::plain(due_us as u64, client));
            due_us += gap;
        }
    }

    fn traffic(self) -> Traffic {
        Traffic::new(self.clients, self.arrivals)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn random() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn steady_clients_ask_for_less_than_the_level_and_floods_for_more_than_there_is() {
        let traffic = beside_floods(&mut random(), 60_000, 1.0);
        let rate = traffic.sent(Kind::Mouse) as f64 / 60.0;
        let expected = 0.8 * RATE * 3.0 / 5.0;
        assert!((rate - expected).abs() < 0.1 * expected, "{rate}");
        assert_eq!(traffic.sent(Kind::Elephant), 2 * 200 * 60);
        let fewer = beside_floods(&mut random(), 60_000, 0.25).sent(Kind::Mouse) as f64 / 60.0;
        assert!((fewer - expected / 4.0).abs() < 0.05 * expected, "{fewer}");
    }

    #[test]
    fn names_change_after_five_seconds_and_every_three_requests() {
        let traffic = beside_names(&mut random(), 20_000);
        let mut uses = vec![0; traffic.clients.len()];
        for arrival in &traffic.arrivals {
            uses[arrival.client.0] += 1;
            if traffic.client(arrival.client).kind == Kind::Elephant {
                assert!(arrival.due_us >= 5_000_000);
            }
        }
        assert_eq!(traffic.sent(Kind::Elephant), 200 * 15);
        assert!(uses[STEADY..].iter().all(|&uses| uses == REQUESTS_A_NAME));
        // A run that ends before has none.
        assert_eq!(beside_names(&mut random(), 3_000).sent(Kind::Elephant), 0);
    }
}

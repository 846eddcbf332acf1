//! Traffic for the worlds: streams of requests at a rate, floods, names that change.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Nanos, Request, SECOND, Tally};

/// How requests of a stream follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At even distances.
    Regular,
    /// At random, independently of one another.
    Poisson,
}

/// Both, to run every world in.
pub const PACES: [Pace; 2] = [Pace::Regular, Pace::Poisson];

/// Requests to be played, put together stream by stream.
#[derive(Debug)]
pub struct Traffic {
    draw: ChaCha8Rng,
    until: f64,
    requests: Vec<Request>,
}

impl Traffic {
    /// Nothing yet. All randomness comes from the seed; streams end after `seconds`.
    pub fn new(seed: u64, seconds: u64) -> Self {
        Self {
            draw: ChaCha8Rng::seed_from_u64(seed),
            until: seconds as f64,
            requests: Vec::new(),
        }
    }

    /// Clients that are judged: each asks `rate` times a second, from `from` on.
    pub fn steady(mut self, clients: usize, rate: f64, pace: Pace, from: f64) -> Self {
        for client in 0..clients {
            self.stream(&format!("steady {client}"), true, rate, pace, from);
        }
        self
    }

    /// Clients that ask 200 times a second each.
    pub fn floods(self, clients: usize, pace: Pace) -> Self {
        self.floods_of(200.0, clients, pace)
    }

    /// Clients that ask so often each.
    pub fn floods_of(mut self, rate: f64, clients: usize, pace: Pace) -> Self {
        for client in 0..clients {
            self.stream(&format!("flood {client}"), false, rate, pace, 0.0);
        }
        self
    }

    /// One client that asks at even distances and calls itself otherwise after every `each` requests.
    pub fn names(mut self, rate: f64, each: u64, from: f64) -> Self {
        let count = ((self.until - from) * rate) as u64;
        self.requests.extend((0..count).map(|n| Request {
            at: nanos(from + n as f64 / rate),
            client: format!("name {}", n / each),
            mouse: false,
        }));
        self
    }

    fn stream(&mut self, client: &str, mouse: bool, rate: f64, pace: Pace, from: f64) {
        let mut at = from;
        let mut first = true;
        loop {
            let uniform = self.draw.random::<f64>();
            at += match pace {
                Pace::Regular if first => uniform / rate,
                Pace::Regular => 1.0 / rate,
                Pace::Poisson => -(1.0 - uniform).ln() / rate,
            };
            first = false;
            if at >= self.until {
                return;
            }
            self.requests.push(Request {
                at: nanos(at),
                client: client.into(),
                mouse,
            });
        }
    }

    /// All requests in order of time.
    pub fn script(mut self) -> Vec<Request> {
        self.requests.sort_by_key(|request| request.at);
        self.requests
    }
}

fn nanos(seconds: f64) -> Nanos {
    (seconds * SECOND as f64) as Nanos
}

/// What the judged clients got in a span of time, and how evenly the others shared the rest.
#[derive(Debug)]
pub struct Report {
    /// Requests of judged clients in the span.
    pub sent: usize,
    /// The part of them that was answered.
    pub answered: f64,
    /// The 99th percentile of their waiting, in milliseconds; over the whole run.
    pub p99_ms: f64,
    /// Answers a second to each flood.
    pub floods: Vec<f64>,
    /// Answers a second to anybody.
    pub total: f64,
}

impl Report {
    /// Looks at what was sent or answered from `from` to `until`, in seconds, and prints it.
    pub fn of(label: &str, script: &[Request], tally: &Tally, from: u64, until: u64) -> Self {
        let span = from * SECOND..until * SECOND;
        let judged = |request: &&Request| request.mouse && span.contains(&request.at);
        let sent = script.iter().filter(judged).count();
        let lost = tally.mouse_losses.iter().filter(|at| span.contains(at));
        let seconds = (until - from) as f64;
        let rate = |name: &str| {
            let answers = tally.answers.iter();
            let own = answers.filter(|(at, client)| span.contains(at) && client.starts_with(name));
            own.count() as f64 / seconds
        };
        let mut names: Vec<&str> = script.iter().map(|r| r.client.as_str()).collect();
        names.retain(|name| name.starts_with("flood "));
        names.sort_unstable();
        names.dedup();
        let report = Self {
            sent,
            answered: 1.0 - lost.count() as f64 / sent.max(1) as f64,
            p99_ms: tally.wait(0.99) as f64 / 1e6,
            floods: names.into_iter().map(rate).collect(),
            total: rate(""),
        };
        println!(
            "{label}: {:.2} % of {} answered, waiting p99 {:.0} ms; floods {:.1?}/s, Jain's index {:.4}; {:.2}/s in all",
            100.0 * report.answered,
            report.sent,
            report.p99_ms,
            report.floods,
            jain(&report.floods),
            report.total,
        );
        report
    }

    /// By how much the floods differ, as a part of their mean.
    pub fn spread(&self) -> f64 {
        let most = self.floods.iter().copied().fold(0.0, f64::max);
        let least = self.floods.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = self.floods.iter().sum::<f64>() / self.floods.len() as f64;
        (most - least) / mean
    }
}

/// Jain's fairness index: 1 when all are equal, 1/n when one has everything.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 {
        1.0
    } else {
        sum * sum / (shares.len() as f64 * squares)
    }
}

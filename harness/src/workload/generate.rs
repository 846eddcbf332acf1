//! What the clients of a built-in workload ask: a function of seed and client.

use history::Step;
use octopus::random::{below, stream};
use rand_chacha::ChaCha12Rng;
use serde::Deserialize;

use super::operation::Operation;

/// The built-in workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Registers that are read, written, and compared and set: linearizable?
    Register,
    /// A set to which elements are added: are all acknowledged ones there at the end?
    Set,
    /// Lists that are appended to and read: one order, and in real time?
    Append,
    /// Accounts between which money moves: is the sum always the same?
    Bank,
    /// A queue: does what was put in come out, once?
    Queue,
    /// Transactions that append to lists and read them: one order, and in real time?
    Transactions,
}

/// The streams of the clients' random numbers begin here, far from those of the monkeys and links.
const STREAMS: u64 = 1 << 40;

/// Operations of one client on a register before it goes to the next: small histories are decided fast.
const OF_ONE_KEY: u64 = 40;

/// Values of registers are few, so that comparing meets what is there.
const VALUES: u64 = 5;

/// How many accounts there are, and what each holds at first.
pub const ACCOUNTS: usize = 5;
pub const BALANCE: i64 = 100;

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::Append => "append",
            Self::Bank => "bank",
            Self::Queue => "queue",
            Self::Transactions => "transactions",
        }
    }

    /// The operations that end it when everything is healed: what they say decides about the rest.
    pub fn last(self, clients: usize) -> Vec<Operation> {
        match self {
            // That it can be read and written again is all that is asked.
            Self::Register => vec![Operation::Write(-1, 1), Operation::Read(-1)],
            Self::Set => vec![Operation::Members; clients.min(3)],
            Self::Append => (0..LISTS).map(Operation::List).collect(),
            Self::Bank => vec![Operation::Accounts],
            // As often as it gives something; see `Clients::finish`.
            Self::Queue => vec![Operation::Take],
            Self::Transactions => {
                let step = |step| Operation::Transaction(vec![step]);
                vec![step(Step::Append(-1, 1)), step(Step::Read(-1))]
            }
        }
    }
}

/// How many lists there are.
const LISTS: i64 = 3;

/// The most steps of a transaction.
const MOST_STEPS: u64 = 4;

/// What one client asks.
#[derive(Debug)]
pub struct Generator {
    kind: Kind,
    rng: ChaCha12Rng,
    client: u64,
    clients: u64,
    asked: u64,
}

impl Generator {
    pub fn new(kind: Kind, seed: u64, client: usize, clients: usize) -> Self {
        Self {
            kind,
            rng: stream(seed, STREAMS + client as u64),
            client: client as u64,
            clients: clients as u64,
            asked: 0,
        }
    }

    /// The next operation.
    pub fn next(&mut self) -> Operation {
        // No two operations of a run have it.
        let fresh = (self.asked * self.clients + self.client) as i64;
        let key = (self.asked / OF_ONE_KEY) as i64;
        self.asked += 1;
        match self.kind {
            Kind::Register => match below(&mut self.rng, 4) {
                0 | 1 => Operation::Read(key),
                2 => Operation::Write(key, fresh),
                _ => {
                    // One of the latest values, so that some swaps succeed.
                    let back = (1 + below(&mut self.rng, VALUES * self.clients)) as i64;
                    Operation::Swap(key, (fresh - back).max(0), fresh)
                }
            },
            Kind::Set => Operation::Add(fresh),
            Kind::Append => {
                let list = below(&mut self.rng, LISTS as u64) as i64;
                match below(&mut self.rng, 4) {
                    0 => Operation::List(list),
                    _ => Operation::Append(list, fresh),
                }
            }
            Kind::Bank => {
                let accounts = ACCOUNTS as u64;
                let from = below(&mut self.rng, accounts);
                let to = (from + 1 + below(&mut self.rng, accounts - 1)) % accounts;
                match below(&mut self.rng, 3) {
                    0 => Operation::Accounts,
                    _ => Operation::Move(
                        from as usize,
                        to as usize,
                        1 + below(&mut self.rng, 20) as i64,
                    ),
                }
            }
            Kind::Transactions => self.transaction(fresh),
            Kind::Queue => match below(&mut self.rng, 2) {
                0 => Operation::Put(fresh),
                _ => Operation::Take,
            },
        }
    }
}

impl Generator {
    /// A few steps on a few lists, which are others after a while, so that lists stay short.
    fn transaction(&mut self, fresh: i64) -> Operation {
        let first = (self.asked / OF_ONE_KEY) as i64 * LISTS;
        let steps = 1 + below(&mut self.rng, MOST_STEPS);
        let step = |place| {
            let key = first + below(&mut self.rng, LISTS as u64) as i64;
            match below(&mut self.rng, 2) {
                0 => Step::Read(key),
                // Steps of one transaction are as different as those of two.
                _ => Step::Append(key, fresh * MOST_STEPS as i64 + place as i64),
            }
        };
        Operation::Transaction((0..steps).map(step).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn values_are_asked_once_and_the_same_seed_asks_the_same() {
        for kind in [
            Kind::Register,
            Kind::Set,
            Kind::Append,
            Kind::Queue,
            Kind::Transactions,
        ] {
            let mut seen = BTreeSet::new();
            let mut swaps = 0;
            for client in 0..3 {
                let mut one = Generator::new(kind, 9, client, 3);
                let mut other = Generator::new(kind, 9, client, 3);
                for _ in 0..500 {
                    let operation = one.next();
                    assert_eq!(operation, other.next());
                    let fresh = match operation {
                        Operation::Write(_, value)
                        | Operation::Add(value)
                        | Operation::Append(_, value)
                        | Operation::Put(value) => value,
                        Operation::Swap(_, from, to) => {
                            assert!(from <= to);
                            swaps += 1;
                            to
                        }
                        Operation::Transaction(steps) => {
                            let elements = steps.iter().filter_map(|step| match step {
                                Step::Append(_, element) => Some(*element),
                                Step::Read(_) => None,
                            });
                            for element in elements {
                                assert!(seen.insert(element), "{element}");
                            }
                            continue;
                        }
                        _ => continue,
                    };
                    assert!(seen.insert(fresh), "{fresh}");
                }
            }
            assert!(seen.len() > 300 && (swaps > 0) == (kind == Kind::Register));
        }
    }
}

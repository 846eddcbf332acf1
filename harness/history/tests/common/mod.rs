//! A store that executes one request after the other, and clients that lose its answers, in virtual
//! time and from a seed. What the clients record is right by construction; the tests plant faults
//! into it.
#![allow(dead_code, reason = "each test uses a part")]

use history::{
    History, OperationId, Time,
    sql_counter::{Answer, SqlCounter, Statement, TABLE_EXISTS, Update},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

pub const PEOPLE: [&str; 3] = ["ann", "bob", "cyd"];

/// An operation as a client records it.
#[derive(Clone, Debug)]
pub struct Record {
    pub statement: Statement,
    /// When it was sent.
    pub attempts: Vec<Time>,
    pub answer: Option<(Time, Answer)>,
}

/// How a world behaves.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Operations besides the boot.
    pub operations: usize,
    /// Requests in all, at most.
    pub attempts: usize,
    /// Operations at one time, at most.
    pub clients: usize,
    /// Updates bring 1 to so many times [`Self::unit`] friends.
    pub most_friends: u64,
    pub unit: u64,
    /// Letters in a word, of the alphabet `ab` below four and of 15 letters else.
    pub word: usize,
    /// Of 100 steps, how many lose something.
    pub losses: u32,
    /// Whether the boot may be sent again.
    pub boot_again: bool,
}

/// A run of some size, in which much is lost.
pub const LOSSY: Shape = Shape {
    operations: 40,
    attempts: 120,
    clients: 6,
    most_friends: 20,
    unit: 1,
    word: 15,
    losses: 25,
    boot_again: true,
};

/// A few requests with much that is equal.
pub const SMALL: Shape = Shape {
    operations: 6,
    attempts: 8,
    clients: 4,
    most_friends: 3,
    unit: 1,
    word: 1,
    losses: 30,
    boot_again: true,
};

pub fn model() -> SqlCounter {
    SqlCounter::new(PEOPLE)
}

pub fn history(records: &[Record]) -> History<Statement, Answer> {
    let mut history = History::default();
    for (process, record) in records.iter().enumerate() {
        let first = record.attempts.first().copied();
        let id = history.invoke(process, record.statement.clone(), first.unwrap_or_default());
        if first.is_none() {
            history.withdraw(id);
        }
        for &sent in record.attempts.iter().skip(1) {
            history.retry(id, sent);
        }
        if let Some((at, answer)) = &record.answer {
            history.answer(id, *at, answer.clone());
        }
    }
    history
}

pub fn index(id: OperationId) -> usize {
    id.index()
}

/// The table as the store keeps it.
#[derive(Clone, Debug, Default)]
pub struct Store {
    rows: Option<Vec<(u64, u64, String)>>,
}

impl Store {
    /// Executes a request; what it prints.
    pub fn execute(&mut self, statement: &Statement) -> Vec<u8> {
        match (statement, &mut self.rows) {
            (Statement::Boot, None) => {
                self.rows = Some(vec![Default::default(); PEOPLE.len()]);
                Vec::new()
            }
            (Statement::Boot, Some(_)) => TABLE_EXISTS.into(),
            (Statement::Update(_), None) => b"Error: near line 1: no such table: ctf3\n".into(),
            (Statement::Update(update), Some(rows)) => {
                let row = &mut rows[update.person];
                row.0 += update.friends;
                row.1 += 1;
                row.2.clone_from(&update.word);
                model().print(rows)
            }
        }
    }
}

/// An operation on its way.
struct Asked {
    record: Record,
    /// What each attempt gave, once it was executed; whether it never will be.
    executed: Vec<Option<Answer>>,
    dropped: Vec<bool>,
    waiting: bool,
}

struct World {
    rng: ChaCha8Rng,
    shape: Shape,
    now: Time,
    store: Store,
    next_number: u64,
    asked: Vec<Asked>,
    sent: usize,
}

/// What clients record of a run.
pub fn run(seed: u64, shape: Shape) -> Vec<Record> {
    let mut world = World {
        rng: ChaCha8Rng::seed_from_u64(seed),
        shape,
        now: 1,
        store: Store::default(),
        next_number: 0,
        asked: Vec::new(),
        sent: 0,
    };
    world.ask(Statement::Boot);
    while world.asked[0].waiting {
        world.step();
    }
    world.now += 1;
    for _ in 0..shape.operations * 20 {
        if world.asked.len() > shape.operations && world.asked.iter().all(|asked| !asked.waiting) {
            break;
        }
        world.step();
    }
    world.asked.into_iter().map(|asked| asked.record).collect()
}

impl World {
    fn ask(&mut self, statement: Statement) {
        let record = Record {
            statement,
            attempts: Vec::new(),
            answer: None,
        };
        self.asked.push(Asked {
            record,
            executed: Vec::new(),
            dropped: Vec::new(),
            waiting: true,
        });
        self.send(self.asked.len() - 1);
    }

    fn send(&mut self, at: usize) {
        self.sent += 1;
        let asked = &mut self.asked[at];
        asked.record.attempts.push(self.now);
        asked.executed.push(None);
        asked.dropped.push(false);
    }

    fn update(&mut self) -> Statement {
        let letters: &[u8] = if self.shape.word < 4 {
            b"ab"
        } else {
            b"abcdefghijkmnpq"
        };
        let letter = |_| char::from(*letters.choose(&mut self.rng).unwrap());
        let word = (0..self.shape.word).map(letter).collect();
        Statement::Update(Update {
            person: self.rng.random_range(0..PEOPLE.len()),
            friends: self.shape.unit * self.rng.random_range(1..=self.shape.most_friends),
            word,
        })
    }

    fn step(&mut self) {
        self.now += self.rng.random_range(0..3);
        let booting = self.asked.len() == 1 && self.asked[0].waiting;
        let waiting: Vec<usize> = (0..self.asked.len())
            .filter(|&at| self.asked[at].waiting)
            .collect();
        if self.rng.random_range(0..100) < self.shape.losses {
            let Some(&at) = waiting.choose(&mut self.rng) else {
                return;
            };
            let may_be_sent = self.sent < self.shape.attempts
                && (self.asked[at].record.statement != Statement::Boot || self.shape.boot_again);
            match self.rng.random_range(0..3) {
                // The client gives up the attempt and sends another.
                0 | 1 if may_be_sent => self.send(at),
                // The client is told nothing to the end of the run.
                2 if !booting => self.asked[at].waiting = false,
                // A request gets lost.
                _ if !booting => {
                    if let Some(dropped) = self.asked[at].dropped.last_mut() {
                        *dropped = true;
                    }
                }
                _ => {}
            }
            return;
        }
        match self.rng.random_range(0..3) {
            0 if !booting
                && waiting.len() < self.shape.clients
                && self.sent < self.shape.attempts
                && self.asked.len() <= self.shape.operations =>
            {
                let statement = self.update();
                self.ask(statement);
            }
            1 => self.answer(&waiting),
            _ => self.execute(),
        }
    }

    /// Executes one of the attempts that are on their way, given up or not.
    fn execute(&mut self) {
        let all = self.asked.iter().enumerate().flat_map(|(at, asked)| {
            let open =
                |&attempt: &usize| asked.executed[attempt].is_none() && !asked.dropped[attempt];
            (0..asked.executed.len())
                .filter(open)
                .map(move |attempt| (at, attempt))
        });
        let all: Vec<(usize, usize)> = all.collect();
        if let Some(&(at, attempt)) = all.choose(&mut self.rng) {
            let asked = &mut self.asked[at];
            let shown = self.store.execute(&asked.record.statement);
            asked.executed[attempt] = Some(Answer {
                number: self.next_number,
                shown,
            });
            self.next_number += 1;
        }
    }

    /// Answers an operation with what any of its attempts gave.
    fn answer(&mut self, waiting: &[usize]) {
        let Some(&at) = waiting.choose(&mut self.rng) else {
            return;
        };
        let asked = &mut self.asked[at];
        let given: Vec<&Answer> = asked.executed.iter().flatten().collect();
        if let Some(&answer) = given.choose(&mut self.rng) {
            asked.record.answer = Some((self.now, answer.clone()));
            asked.waiting = false;
        }
    }
}

/// The answered records, in the order of their numbers.
pub fn in_order(records: &[Record]) -> Vec<usize> {
    let mut answered: Vec<usize> = (0..records.len())
        .filter(|&at| records[at].answer.is_some())
        .collect();
    answered.sort_by_key(|&at| records[at].answer.as_ref().map(|(_, answer)| answer.number));
    answered
}

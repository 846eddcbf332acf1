//! The story of `docs/flood.md`: quiet clients, two floods, somebody new; the same requests at the policy and at a
//! queue in which whoever comes first is served first.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Life, MS, Nanos, Request, SECOND, World, play};

/// Who asks, how often a second, from when until when.
pub struct Asks {
    pub client: &'static str,
    pub rate: u64,
    pub from: Nanos,
    pub until: Nanos,
}

const fn asks(client: &'static str, rate: u64, from: u64, until: u64) -> Asks {
    Asks {
        client,
        rate,
        from: from * SECOND,
        until: until * SECOND,
    }
}

/// Everybody in the story.
pub const CLIENTS: [Asks; 6] = [
    asks("ann", 4, 0, END),
    asks("ben", 4, 0, END),
    asks("cat", 4, 0, END),
    asks("flood 1", 150, FIRST, LAST),
    asks("flood 2", 150, SECOND_FLOOD, LAST),
    asks("dan", 2, NEWCOMER, END),
];

/// The clients that ask for little, and are known when the first flood begins.
pub const QUIET: usize = 3;

/// When what happens, in seconds.
pub const FIRST: u64 = 5;
pub const SECOND_FLOOD: u64 = 8;
pub const NEWCOMER: u64 = 10;
pub const LAST: u64 = 13;
pub const END: u64 = 15;

/// Answers a second that two backends of two places and 75 ms can give.
pub const CAPACITY: f64 = 4.0 / 0.075;

/// Work of a request, places at each of two backends, and how many may wait where the first is served first.
const WORK: Nanos = 75 * MS;
const PLACES: usize = 2;
const WAITING: usize = 50;

/// A request, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Whose it is, in [`CLIENTS`].
    pub client: usize,
    pub life: Life,
    /// Which of its backend's places it had.
    pub place: usize,
}

impl Told {
    /// How long it waited, if it was served.
    pub fn wait(&self) -> Option<Nanos> {
        self.life.backend?;
        Some(self.life.decided? - self.life.came)
    }
}

/// All requests, by the time at which they are sent: somewhere in each of their client's equal parts of a second.
fn script() -> Vec<(usize, Request)> {
    let mut draw = ChaCha8Rng::seed_from_u64(20_140_122);
    let mut script = Vec::new();
    for (index, asks) in CLIENTS.iter().enumerate() {
        let every = SECOND / asks.rate;
        let parts = (asks.from..asks.until).step_by(every as usize);
        script.extend(parts.map(|start| {
            let request = Request {
                at: start + draw.random_range(0..every),
                client: asks.client.into(),
                mouse: index < QUIET,
            };
            (index, request)
        }));
    }
    script.sort_by_key(|(_, request)| request.at);
    script
}

/// The story as the policy has it. Each backend's limit is given, so that only who goes next is of interest.
pub fn fair() -> Vec<Told> {
    let (clients, script): (Vec<_>, Vec<_>) = script().into_iter().unzip();
    let mut world = World {
        records: true,
        // What was sent before the end is answered.
        end: END * SECOND + SECOND,
        ..World::contest(None)
    };
    world.settings.max_in_flight = Some(PLACES as u32);
    let tally = play(&world, &script);
    with_places(clients.into_iter().zip(tally.lives))
}

/// The same requests at a queue of fifty, in the order in which they come; what finds it full is turned away.
pub fn first_come() -> Vec<Told> {
    // When each place comes free, and the starts of those that wait.
    let mut free = [0; 2 * PLACES];
    let mut starts: VecDeque<Nanos> = VecDeque::new();
    let told = script().into_iter().map(|(client, request)| {
        let came = request.at;
        while starts.front().is_some_and(|start| *start <= came) {
            starts.pop_front();
        }
        let mut life = Life {
            came,
            decided: Some(came),
            ..Life::default()
        };
        if starts.len() < WAITING {
            let place = (0..free.len())
                .min_by_key(|place| free[*place])
                .unwrap_or(0);
            let start = free[place].max(came);
            if start > came {
                starts.push_back(start);
            }
            free[place] = start + WORK;
            life.decided = Some(start);
            life.backend = Some(place % 2);
            life.worked = Some(start + WORK);
        }
        (client, life)
    });
    with_places(told)
}

/// Says which place at its backend each request had: the first that was free.
fn with_places(lives: impl Iterator<Item = (usize, Life)>) -> Vec<Told> {
    let mut told: Vec<Told> = lives
        .map(|(client, life)| Told {
            client,
            life,
            place: 0,
        })
        .collect();
    let mut order: Vec<usize> = (0..told.len()).collect();
    order.sort_by_key(|n| told[*n].life.decided);
    let mut free = [[0; PLACES]; 2];
    for n in order {
        let life = told[n].life;
        if let (Some(backend), Some(from), Some(until)) = (life.backend, life.decided, life.worked)
        {
            let places = &mut free[backend];
            let place = (0..PLACES).find(|place| places[*place] <= from);
            told[n].place = place.expect("a backend has no more than its limit");
            places[told[n].place] = until;
        }
    }
    told
}

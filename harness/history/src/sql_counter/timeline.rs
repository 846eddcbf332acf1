//! Answers in the order of their numbers, and the time by which each must have been executed.
//!
//! Requests are executed at moments whose order is that of the numbers. A request is executed after
//! it was sent and before it was answered. So whatever comes before an answer in the order was
//! executed before the earliest end of that answer and all that follow: its *deadline*. Deadlines
//! never decrease, and an order is possible in time exactly if everything in it was sent by its
//! deadline.

use super::{Answer, Statement, TABLE_EXISTS, table};
use crate::{History, OperationId, Time};

/// An answer, read.
#[derive(Debug)]
pub struct Shown<'a> {
    pub id: OperationId,
    pub number: u64,
    /// When it came.
    pub end: Time,
    /// When its operation was sent first; never, for one that was not.
    pub start: Option<Time>,
    pub statement: &'a Statement,
    pub text: &'a [u8],
    /// The table after its execution, if it shows one that it can show.
    pub after: Option<table::Table>,
}

/// All answers, in the order of their numbers.
#[derive(Debug)]
pub struct Answers<'a> {
    pub all: Vec<Shown<'a>>,
    /// Their places, by the index of their operation.
    places: Vec<Option<usize>>,
    covered: bool,
}

impl<'a> Answers<'a> {
    pub fn new(people: &[String], history: &'a History<Statement, Answer>) -> Self {
        let read = |id: OperationId| {
            let operation = history.get(id);
            let answer = operation.answer()?;
            let text = answer.output.shown.as_slice();
            let after = match operation.input {
                Statement::Update(_) => table::read(people, text),
                Statement::Boot => (text.is_empty() || text == TABLE_EXISTS.as_bytes())
                    .then(|| vec![table::Row::default(); people.len()]),
            };
            Some(Shown {
                id,
                number: answer.output.number,
                end: answer.at,
                start: operation.attempts().first().copied(),
                statement: &operation.input,
                text,
                after,
            })
        };
        let mut all: Vec<Shown<'a>> = history.answered().filter_map(read).collect();
        all.sort_by_key(|answer| (answer.number, answer.end));
        let mut places = vec![None; history.operations().len()];
        for (place, answer) in all.iter().enumerate() {
            places[answer.id.index()] = Some(place);
        }
        Self {
            all,
            places,
            covered: is_covered(people.len(), history),
        }
    }

    /// Whether the model speaks of such histories.
    pub fn covered(&self) -> Result<(), String> {
        let why = "the model wants one boot, answered before anything else is asked";
        self.covered.then_some(()).ok_or_else(|| why.to_owned())
    }

    /// Where the answer to an operation stands.
    pub fn place(&self, id: OperationId) -> Option<usize> {
        self.places[id.index()]
    }
}

fn is_covered(people: usize, history: &History<Statement, Answer>) -> bool {
    let mut boots = history
        .operations()
        .filter(|(_, operation)| operation.input == Statement::Boot);
    let booted = boots
        .next()
        .and_then(|(_, boot)| boot.answer())
        .map(|answer| answer.at);
    let follows = |start: Time| booted.is_some_and(|booted| booted <= start);
    boots.next().is_none()
        && history
            .operations()
            .all(|(_, operation)| match &operation.input {
                Statement::Boot => true,
                Statement::Update(update) => {
                    update.person < people
                        && operation.attempts().iter().all(|&start| follows(start))
                }
            })
}

/// Some of the answers, of which alone something is known.
#[derive(Debug)]
pub struct Known<'a> {
    pub answers: &'a Answers<'a>,
    /// Their places, ascending.
    pub places: Vec<usize>,
    /// For each place, known or not, by when all was executed that comes before it or is it.
    deadlines: Vec<Time>,
}

impl<'a> Known<'a> {
    pub fn new(answers: &'a Answers<'a>, ids: &[OperationId]) -> Self {
        let mut places: Vec<usize> = ids.iter().filter_map(|&id| answers.place(id)).collect();
        places.sort_unstable();
        let mut deadlines = vec![Time::MAX; answers.all.len()];
        let mut deadline = Time::MAX;
        let mut left = places.iter().rev().peekable();
        for place in (0..deadlines.len()).rev() {
            if left.next_if_eq(&&place).is_some() {
                deadline = deadline.min(answers.all[place].end);
            }
            deadlines[place] = deadline;
        }
        Self {
            answers,
            places,
            deadlines,
        }
    }

    pub fn get(&self, place: usize) -> &'a Shown<'a> {
        &self.answers.all[place]
    }

    /// The first place before which, or as which, a request can have been executed that was sent
    /// at a time; `None` if it comes after all of them.
    pub fn first_place(&self, sent: Time) -> Option<usize> {
        let place = self.deadlines.partition_point(|&deadline| deadline < sent);
        (place < self.deadlines.len()).then_some(place)
    }

    /// Known answers next to each other in the order.
    pub fn neighbours(&self) -> impl Iterator<Item = (usize, usize)> {
        self.places.windows(2).map(|pair| (pair[0], pair[1]))
    }
}

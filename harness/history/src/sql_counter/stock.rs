//! The attempts that nobody has an answer of, and from which place in the order on each of them can
//! have been executed.
//!
//! An operation that was sent k times may have been executed k times; if it was answered, one of
//! these executions is that of the answer. Which attempt that was is not known, and need not be:
//! an execution is possible at a place if by then enough attempts had been sent. So attempts of the
//! same change are exchangeable *copies*, each available from a place on, and taking one for a place
//! means to take the one that became available last: it leaves those that can be used earlier.
//! (Availability is nested, which makes the exchange argument work: whatever is available at a
//! place is so at all later ones.)

use rustc_hash::FxHashMap;

use super::{Answer, Statement, timeline::Known};
use crate::{History, Operation, OperationId};

/// Exchangeable attempts, by the places from which on they are available, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies(Vec<usize>);

impl Copies {
    pub fn new(mut places: Vec<usize>) -> Self {
        places.sort_unstable();
        Self(places)
    }

    /// How many can have been executed before or as the answer at a place.
    pub fn available(&self, place: usize) -> usize {
        self.0.partition_point(|&from| from <= place)
    }

    /// Takes one for a place, and says from which place on it was available; `None` if none is.
    pub fn take(&mut self, place: usize) -> Option<usize> {
        let last = self.available(place).checked_sub(1)?;
        Some(self.0.remove(last))
    }

    /// Takes it back.
    pub fn put_back(&mut self, from: usize) {
        self.0.insert(self.available(from), from);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn places(&self) -> &[usize] {
        &self.0
    }
}

/// The updates of one person, by what they do.
#[derive(Debug, Default)]
pub struct Updates<'a> {
    pub kinds: Vec<Kind<'a>>,
}

/// Updates that do the same.
#[derive(Debug)]
pub struct Kind<'a> {
    pub friends: u64,
    pub word: &'a str,
    pub copies: Copies,
}

impl Updates<'_> {
    /// What the attempts bring that can have been executed before a place, largest first.
    pub fn candidates(&self, place: usize) -> Vec<u64> {
        let each = |kind: &Kind<'_>| vec![kind.friends; kind.copies.available(place)];
        let mut friends: Vec<u64> = self.kinds.iter().flat_map(each).collect();
        friends.sort_unstable_by(|a, b| b.cmp(a));
        friends
    }
}

/// All of them.
#[derive(Debug)]
pub struct Stock<'a> {
    pub boots: Copies,
    /// By person.
    pub updates: Vec<Updates<'a>>,
}

impl<'a> Stock<'a> {
    pub fn new(history: &'a History<Statement, Answer>, known: &Known<'_>, people: usize) -> Self {
        let mut boots = Vec::new();
        let mut places: Vec<FxHashMap<(u64, &str), Vec<usize>>> =
            (0..people).map(|_| FxHashMap::default()).collect();
        for (id, operation) in history.operations() {
            // Most operations are sent once and answered: nothing is left of them.
            if operation.answer().is_some() && operation.attempts().len() < 2 {
                continue;
            }
            let left = unanswered(id, operation, known);
            match &operation.input {
                Statement::Boot => boots.extend(left),
                Statement::Update(_) if left.is_empty() => {}
                Statement::Update(update) => places[update.person]
                    .entry((update.friends, update.word.as_str()))
                    .or_default()
                    .extend(left),
            }
        }
        let kinds = |kinds: FxHashMap<(u64, &'a str), Vec<usize>>| {
            let kind = |((friends, word), places)| Kind {
                friends,
                word,
                copies: Copies::new(places),
            };
            let mut kinds: Vec<Kind<'a>> = kinds.into_iter().map(kind).collect();
            kinds.sort_unstable_by_key(|kind| (kind.friends, kind.word));
            Updates { kinds }
        };
        Self {
            boots: Copies::new(boots),
            updates: places.into_iter().map(kinds).collect(),
        }
    }
}

/// The places from which on the attempts of an operation are available, less that of its answer.
fn unanswered(
    id: OperationId,
    operation: &Operation<Statement, Answer>,
    known: &Known<'_>,
) -> Vec<usize> {
    let places = operation.attempts().iter();
    let places = places.filter_map(|&sent| known.first_place(sent));
    let mut copies = Copies::new(places.collect());
    // If no attempt was sent by then, one of them was executed all the same.
    if let Some(place) = known.answers.place(id)
        && copies.take(place).is_none()
        && !copies.is_empty()
    {
        copies.0.remove(0);
    }
    copies.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_used_earlier_is_left() {
        let mut copies = Copies::new(vec![7, 1, 4]);
        assert_eq!(copies.available(0), 0);
        assert_eq!(copies.available(4), 2);
        assert_eq!(copies.take(5), Some(4));
        assert_eq!(copies.places(), [1, 7]);
        assert_eq!(copies.take(9), Some(7));
        copies.put_back(4);
        assert_eq!(copies.places(), [1, 4]);
        assert_eq!((copies.take(9), copies.take(9)), (Some(4), Some(1)));
        assert_eq!(copies.take(9), None);
    }
}

//! The search for an order. Calls and answers are a list in the order of time; an operation may come next
//! in the order if nothing that was answered before its call is left. It is lifted out of the list and put back
//! when the rest does not work out.

use rustc_hash::FxHashSet;

use super::Specification;
use crate::{Budget, operations::Time};

/// What it costs to remember a set of operations, beside its words: it takes memory, so that the default budget
/// comes to a few hundred megabytes at most.
const REMEMBERING: u64 = 64;

/// An operation that may take part.
#[derive(Debug)]
pub(super) struct Candidate<'a, I, O> {
    pub start: Time,
    /// None: it may be executed at any later time, or never.
    pub end: Option<Time>,
    pub input: &'a I,
    pub output: Option<&'a O>,
}

/// What a search comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// There is an order.
    Found,
    /// There is none: no attempt gets past the answer of this time.
    Stuck(Time),
    /// The budget is spent.
    Exhausted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Call,
    Answer,
}

/// Places in the list: 0 is its head, entry I is at I + 1.
#[derive(Debug)]
struct List {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl List {
    fn new(entries: usize) -> Self {
        Self {
            next: (1..=entries + 1).collect(),
            previous: std::iter::once(0).chain(0..entries).collect(),
        }
    }

    /// Behind the last one is its end: the length.
    fn end(&self) -> usize {
        self.next.len()
    }

    fn lift(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        if after < self.previous.len() {
            self.previous[after] = before;
        }
    }

    fn put_back(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        if after < self.previous.len() {
            self.previous[after] = place;
        }
    }
}

pub(super) struct Search<'a, S: Specification> {
    specification: &'a S,
    candidates: &'a [Candidate<'a, S::Input, S::Output>],
    /// Of each entry: which candidate, and what happens to it.
    entries: Vec<(usize, Kind)>,
    /// Where the answer to each candidate is in the list.
    answers: Vec<Option<usize>>,
    list: List,
    done: Vec<u64>,
    /// Sets of operations and the states to which they have led.
    seen: FxHashSet<(Vec<u64>, S::State)>,
}

impl<'a, S: Specification> Search<'a, S> {
    pub fn new(specification: &'a S, candidates: &'a [Candidate<'a, S::Input, S::Output>]) -> Self {
        let calls = candidates
            .iter()
            .enumerate()
            .map(|(number, one)| (one.start, 0, number));
        let ends = candidates.iter().enumerate();
        let ends = ends.filter_map(|(number, one)| Some((one.end?, 1, number)));
        // At the same time, a call is before an answer: they overlap.
        let mut timed: Vec<(Time, u8, usize)> = calls.chain(ends).collect();
        timed.sort_unstable();
        let kind = |kind| if kind == 0 { Kind::Call } else { Kind::Answer };
        let entries: Vec<(usize, Kind)> = timed
            .iter()
            .map(|&(_, is, number)| (number, kind(is)))
            .collect();
        let mut answers = vec![None; candidates.len()];
        for (place, &(number, kind)) in entries.iter().enumerate() {
            if kind == Kind::Answer {
                answers[number] = Some(place + 1);
            }
        }
        Self {
            specification,
            candidates,
            list: List::new(entries.len()),
            entries,
            answers,
            done: vec![0; candidates.len().div_ceil(64)],
            seen: FxHashSet::default(),
        }
    }

    pub fn run(mut self, budget: &mut Budget) -> Sought {
        let mut left = self.answers.iter().flatten().count();
        let mut state = self.specification.initial();
        let mut taken: Vec<(usize, S::State)> = Vec::new();
        let mut place = self.list.next[0];
        let mut furthest = 0;
        while left > 0 {
            if budget.spend(1).is_err() {
                return Sought::Exhausted;
            }
            let at_end = place == self.list.end();
            let entry = (!at_end).then(|| self.entries[place - 1]);
            if let Some((number, Kind::Call)) = entry {
                let one = &self.candidates[number];
                let after = self.specification.step(&state, one.input, one.output);
                if after.is_some() && budget.spend(REMEMBERING + self.done.len() as u64).is_err() {
                    return Sought::Exhausted;
                }
                if let Some(after) = after.filter(|after| self.is_new(number, after)) {
                    taken.push((place, std::mem::replace(&mut state, after)));
                    self.list.lift(place);
                    if let Some(answer) = self.answers[number] {
                        self.list.lift(answer);
                        left -= 1;
                    }
                    place = self.list.next[0];
                    continue;
                }
                place = self.list.next[place];
                continue;
            }
            if let Some((number, Kind::Answer)) = entry {
                furthest = furthest.max(self.candidates[number].end.unwrap_or(0));
            }
            // Something answered is left: what was taken last was wrong.
            let Some((last, before)) = taken.pop() else {
                return Sought::Stuck(furthest);
            };
            state = before;
            let (number, _) = self.entries[last - 1];
            self.mark(number);
            if let Some(answer) = self.answers[number] {
                self.list.put_back(answer);
                left += 1;
            }
            self.list.put_back(last);
            place = self.list.next[last];
        }
        Sought::Found
    }

    /// Marks an operation as done, unless that has led to this state before.
    fn is_new(&mut self, number: usize, state: &S::State) -> bool {
        self.mark(number);
        let is_new = self.seen.insert((self.done.clone(), state.clone()));
        if !is_new {
            self.mark(number);
        }
        is_new
    }

    /// Marks an operation as done, or as not done again.
    fn mark(&mut self, number: usize) {
        self.done[number / 64] ^= 1 << (number % 64);
    }
}

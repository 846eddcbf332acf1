//! Linearizability of anything that can be told as a state and steps: registers, in [`register`].
//!
//! [`search`] is complete: it tries every order that agrees with real time (Wing and Gong 1993), and
//! remembers which sets of operations have led to which state before (Lowe 2017). What belongs to different
//! keys is checked apart (Horn and Kroening's P-compositionality): give each key a history of its own.

mod register;
mod search;

use std::hash::Hash;

use crate::{
    Budget,
    check::{Decision, Description, Model, Prepared},
    operations::{History, OperationId},
};

pub use register::{Register, RegisterInput, RegisterOutput};
use search::{Candidate, Search, Sought};

/// What one copy of the data does.
pub trait Specification {
    /// What operations ask for.
    type Input;
    /// What answers say.
    type Output;
    /// The data.
    type State: Clone + Eq + Hash;

    /// The data at the beginning.
    fn initial(&self) -> Self::State;

    /// The data after an operation, if it gives this answer; any answer, if nobody has seen it.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// Of the operations whose answers nobody has seen, those that can matter to the answers that are known: all
    /// others may be taken as never executed. The fewer, the faster.
    fn relevant<'a>(
        &self,
        known: &[(&'a Self::Input, &'a Self::Output)],
        unseen: Vec<(OperationId, &'a Self::Input)>,
    ) -> Vec<OperationId>;

    /// An operation and its answer in words.
    fn told(&self, input: &Self::Input, output: Option<&Self::Output>) -> String;
}

/// The model of a specification: all operations have taken effect at a moment between being sent and being
/// answered; those without an answer at any later moment, or never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linearizable<S>(pub S);

impl<S: Specification> Model for Linearizable<S> {
    type Input = S::Input;
    type Output = S::Output;

    fn prepare<'a>(&'a self, history: &'a History<S::Input, S::Output>) -> Box<dyn Prepared + 'a> {
        Box::new(Read {
            specification: &self.0,
            history,
        })
    }
}

struct Read<'a, S: Specification> {
    specification: &'a S,
    history: &'a History<S::Input, S::Output>,
}

impl<'a, S: Specification> Read<'a, S> {
    fn candidates(&self, known: &[OperationId]) -> Vec<Candidate<'a, S::Input, S::Output>> {
        let mut is_known = vec![false; self.history.operations().len()];
        for id in known {
            is_known[id.index()] = true;
        }
        let mut seen = Vec::new();
        let mut unseen = Vec::new();
        for (id, operation) in self.history.operations() {
            match operation.answer().filter(|_| is_known[id.index()]) {
                Some(answer) => seen.push((&operation.input, &answer.output)),
                None => unseen.push((id, &operation.input)),
            }
        }
        let relevant = self.specification.relevant(&seen, unseen);
        let taken = known.iter().copied().chain(relevant);
        let candidates = taken.filter_map(|id| {
            let operation = self.history.get(id);
            let answer = operation.answer().filter(|_| is_known[id.index()]);
            Some(Candidate {
                start: *operation.attempts().first()?,
                end: answer.map(|answer| answer.at),
                input: &operation.input,
                output: answer.map(|answer| &answer.output),
            })
        });
        candidates.collect()
    }
}

impl<S: Specification> Prepared for Read<'_, S> {
    fn decide(&self, known: &[OperationId], budget: &mut Budget) -> Decision {
        let candidates = self.candidates(known);
        match Search::new(self.specification, &candidates).run(budget) {
            Sought::Found => Decision::Possible,
            Sought::Stuck(at) => Decision::Impossible {
                // What had been answered when no order went on is a contradiction with what came before.
                suspects: vec![self.answered_by(known, at)],
            },
            Sought::Exhausted => Decision::Undecided(
                "the search for an order took more steps than it may".to_owned(),
            ),
        }
    }

    fn describe(&self, core: &[OperationId]) -> Description {
        let told = core.iter().map(|&id| {
            let operation = self.history.get(id);
            let output = operation.answer().map(|answer| &answer.output);
            let words = self.specification.told(&operation.input, output);
            format!("process {} {words}", operation.process)
        });
        let told: Vec<String> = told.collect();
        let message = format!(
            "no order of these operations agrees with their times: {}",
            told.join("; ")
        );
        Description {
            message,
            compare: Vec::new(),
        }
    }
}

impl<S: Specification> Read<'_, S> {
    /// Of these operations, those that were sent before a moment.
    fn answered_by(&self, known: &[OperationId], at: u64) -> Vec<OperationId> {
        let sent = |id: &&OperationId| {
            let attempts = self.history.get(**id).attempts();
            attempts.first().is_some_and(|&start| start <= at)
        };
        known.iter().filter(sent).copied().collect()
    }
}

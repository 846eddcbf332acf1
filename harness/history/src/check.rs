//! The question that is put to a model, and the verdict.
//!
//! A model is asked about *sets of answers*: can these answers, taken by themselves, have been given
//! by one copy of the data? About an answer outside of the set nothing is known any more but what
//! the model says it keeps. Fewer answers are always easier to give, so a smallest set that cannot
//! have been given is a proof that leaves nothing out and contains nothing idle.

use std::cell::Cell;

use crate::{Budget, History, OperationId, minimal};

/// What a system promises.
pub trait Model {
    /// What operations ask for.
    type Input;
    /// What answers say.
    type Output;

    /// Reads a history once, so that many questions about it can be answered fast.
    fn prepare<'a>(
        &'a self,
        history: &'a History<Self::Input, Self::Output>,
    ) -> Box<dyn Prepared + 'a>;
}

/// A history that a model has read.
pub trait Prepared {
    /// Whether these answers, in the order of their operations' ids, can have been given. It must
    /// be monotone: a part of a possible set is possible.
    fn decide(&self, known: &[OperationId], budget: &mut Budget) -> Decision;

    /// Puts into words why answers contradict the model by themselves.
    fn describe(&self, core: &[OperationId]) -> Description;
}

/// What a model says of a set of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They can have been given.
    Possible,
    /// They cannot.
    Impossible {
        /// Parts that are likely to be impossible by themselves, the most telling first.
        suspects: Vec<Vec<OperationId>>,
    },
    /// The model cannot tell; why.
    Undecided(String),
}

/// A contradiction in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What is wrong.
    pub message: String,
    /// Operations that are no part of the proof, but show where the wrong answer comes from.
    pub compare: Vec<OperationId>,
}

/// A proof that the answers are not those of one copy of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong.
    pub message: String,
    /// The operations whose answers contradict the model by themselves, as no part of them does.
    pub operations: Vec<OperationId>,
    /// Operations that show where the wrong answer comes from.
    pub compare: Vec<OperationId>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One copy of the data can have given the answers.
    Right,
    /// It cannot.
    Wrong(Explanation),
    /// Nobody knows; why.
    Undecided(String),
}

/// Checks a history against a model.
pub fn check<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    mut budget: Budget,
) -> Verdict {
    let prepared = model.prepare(history);
    let answers: Vec<OperationId> = history.answered().collect();
    match prepared.decide(&answers, &mut budget) {
        Decision::Possible => Verdict::Right,
        Decision::Undecided(why) => Verdict::Undecided(why),
        Decision::Impossible { suspects } => {
            Verdict::Wrong(explain(prepared.as_ref(), answers, suspects))
        }
    }
}

/// Steps for a whole explanation. One that takes more may keep answers that are idle.
const EXPLAINING_STEPS: u64 = 1_000_000_000;

fn explain(
    prepared: &dyn Prepared,
    answers: Vec<OperationId>,
    suspects: Vec<Vec<OperationId>>,
) -> Explanation {
    let budget = Cell::new(Budget::steps(EXPLAINING_STEPS));
    let impossible = |known: &[OperationId]| {
        let mut known = known.to_vec();
        known.sort_unstable();
        let mut left = budget.get();
        if left.spend(known.len() as u64).is_err() {
            return false;
        }
        let decision = prepared.decide(&known, &mut left);
        budget.set(left);
        matches!(decision, Decision::Impossible { .. })
    };
    let suspects = suspects.into_iter().find(|part| impossible(part));
    let mut operations = minimal::conflict(&suspects.unwrap_or(answers), impossible);
    operations.sort_unstable();
    let Description { message, compare } = prepared.describe(&operations);
    Explanation {
        message,
        operations,
        compare,
    }
}

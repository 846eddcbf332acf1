//! Which backend the processor's threads use: the most capable to begin with, and another once it
//! has been clearly better.
//!
//! A measurement of a moment, on a machine that does other things as well, can be wrong by a
//! factor. So nothing is measured before the start; while threads work, all backends are measured
//! in turn, several times over, and the best of each counts: other work can only slow one down.

use super::{Worker, Workers};
use crate::kernel::Backend;
use std::time::{Duration, Instant};

/// How much better another backend has to be.
const BETTER: f64 = 1.10;

/// How often each backend is measured when they are compared.
const ROUNDS: usize = 5;

/// When backends are compared for the first time, from the start of the work.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How often they are compared from then on.
const NEXT_LOOK: Duration = Duration::from_secs(60);

/// A backend, and those that could take its place.
#[derive(Clone, Debug)]
pub struct Choice {
    candidates: Vec<Backend>,
    current: usize,
}

impl Choice {
    /// Begins with the first of `candidates`, the most capable.
    ///
    /// # Panics
    /// There are none.
    pub fn new(candidates: Vec<Backend>) -> Self {
        assert!(!candidates.is_empty(), "nothing to choose from");
        Self {
            candidates,
            current: 0,
        }
    }

    /// The backend chosen.
    pub fn current(&self) -> Backend {
        self.candidates[self.current]
    }

    /// Compares all by `measure`, which gives the rate of one at this moment, and changes over to
    /// the best if it is a tenth better than the one in use. The new one, if it changed.
    pub fn reconsider(&mut self, measure: &mut dyn FnMut(Backend) -> f64) -> Option<Backend> {
        if self.candidates.len() < 2 {
            return None;
        }
        let mut best = vec![0f64; self.candidates.len()];
        for _ in 0..ROUNDS {
            for (best, &backend) in best.iter_mut().zip(&self.candidates) {
                *best = best.max(measure(backend));
            }
        }
        let fastest = (0..best.len()).max_by(|&x, &y| best[x].total_cmp(&best[y]))?;
        if best[fastest] <= best[self.current] * BETTER {
            return None;
        }
        self.current = fastest;
        Some(self.current())
    }
}

/// Workers whose backend may change while they work.
#[derive(Clone, Debug)]
pub struct Team {
    workers: Workers,
    choice: Option<Choice>,
    next_look: Option<Instant>,
}

impl Team {
    /// Workers that stay as they are.
    pub fn fixed(workers: Workers) -> Self {
        Self {
            workers,
            choice: None,
            next_look: None,
        }
    }

    /// Workers whose threads of the processor use what `choice` says.
    pub fn choosing(workers: &Workers, choice: Choice) -> Self {
        Self {
            workers: workers.with_backend(choice.current()),
            choice: Some(choice),
            next_look: None,
        }
    }

    /// Who works now.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Compares the backends if it is time to. Where another one takes over, a search has to be
    /// started again with the new workers.
    pub fn look(&mut self, now: Instant) -> Option<Backend> {
        let choice = self.choice.as_mut()?;
        let next_look = *self.next_look.get_or_insert(now + FIRST_LOOK);
        if now < next_look {
            return None;
        }
        self.next_look = Some(now + NEXT_LOOK);
        let chosen = choice.reconsider(&mut Backend::measure)?;
        self.workers = self.workers.with_backend(chosen);
        Some(chosen)
    }
}

impl Workers {
    /// The same workers with another backend on the processor's threads.
    fn with_backend(&self, backend: Backend) -> Self {
        Self::new(self.iter().map(|worker| match worker {
            Worker::Cpu { threads, .. } => Worker::cpu(backend, *threads),
            Worker::Gpu(_) => worker.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Backend; 3] = [Backend::Avx2, Backend::ShaNi, Backend::Scalar];

    #[test]
    fn the_most_capable_is_the_first() {
        assert_eq!(Choice::new(ALL.to_vec()).current(), Backend::Avx2);
    }

    #[test]
    fn a_tenth_better_takes_over_and_less_does_not() {
        for (rates, chosen) in [
            ([100.0, 109.0, 5.0], None),
            ([100.0, 110.1, 5.0], Some(Backend::ShaNi)),
            ([100.0, 150.0, 200.0], Some(Backend::Scalar)),
            ([100.0, 5.0, 5.0], None),
            ([0.0, 0.0, 0.0], None),
        ] {
            let mut choice = Choice::new(ALL.to_vec());
            let mut measure =
                |backend| rates[ALL.iter().position(|&other| other == backend).unwrap()];
            assert_eq!(choice.reconsider(&mut measure), chosen, "{rates:?}");
            assert_eq!(choice.reconsider(&mut measure), None, "{rates:?}");
            assert_eq!(choice.current(), chosen.unwrap_or(Backend::Avx2));
        }
    }

    proptest! {
        /// Whatever else the machine does, as long as each backend has its cores to itself once.
        #[test]
        fn other_work_does_not_mislead(
            slow in proptest::collection::vec(proptest::collection::vec(0.01f64..1.0, 3), ROUNDS - 1),
            undisturbed in 0..ROUNDS,
        ) {
            let (mut round, mut at) = (0, 0);
            let mut slow = slow;
            slow.insert(undisturbed, vec![1.0; 3]);
            let mut measure = |backend| {
                let index = ALL.iter().position(|&other| other == backend).unwrap();
                let rate = [100.0, 80.0, 20.0][index] * slow[round][index];
                at += 1;
                if at % ALL.len() == 0 { round += 1; }
                rate
            };
            let mut choice = Choice::new(ALL.to_vec());
            prop_assert_eq!(choice.reconsider(&mut measure), None);
        }
    }

    #[test]
    fn a_team_looks_after_a_second_and_then_each_minute() {
        let one = std::num::NonZeroUsize::MIN;
        let workers = Worker::cpu(Backend::Scalar, one).into();
        let mut team = Team::choosing(&workers, Choice::new(vec![Backend::Scalar]));
        let start = Instant::now();
        for (after_ms, next_ms) in [(0, 1000), (999, 1000), (1000, 61_000), (2000, 61_000)] {
            assert_eq!(team.look(start + Duration::from_millis(after_ms)), None);
            let next = start + Duration::from_millis(next_ms);
            assert_eq!(team.next_look, Some(next));
        }
    }
}

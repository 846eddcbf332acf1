//! Whatever a store does that executes one request after the other is right, however many answers
//! are lost, late, or given to a retry.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{LOSSY, SMALL, Shape, history, model, run};
use history::{Budget, Verdict, check};
use proptest::prelude::*;

fn right(seed: u64, shape: Shape) -> Result<(), TestCaseError> {
    let verdict = check(&model(), &history(&run(seed, shape)), Budget::default());
    prop_assert_eq!(verdict, Verdict::Right);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn serial_executions_are_right(seed in any::<u64>()) {
        right(seed, LOSSY)?;
    }

    #[test]
    fn they_are_if_nothing_tells_requests_apart(seed in any::<u64>()) {
        right(seed, SMALL)?;
    }

    #[test]
    fn they_are_if_most_is_lost(seed in any::<u64>()) {
        right(seed, Shape { losses: 60, ..LOSSY })?;
    }

    #[test]
    fn they_are_if_nothing_is_lost(seed in any::<u64>()) {
        right(seed, Shape { losses: 0, ..LOSSY })?;
    }
}

/// A run of level 4's size under every monkey: nothing of it is left undecided.
#[test]
fn long_runs_in_which_much_is_lost_are_decided() {
    for seed in 0..8 {
        for losses in [1, 3, 10, 20] {
            let shape = Shape {
                operations: 3000,
                attempts: 9000,
                clients: 20,
                most_friends: 100,
                losses,
                ..LOSSY
            };
            let history = history(&run(seed, shape));
            let verdict = check(&model(), &history, Budget::default());
            assert_eq!(verdict, Verdict::Right, "seed {seed}, {losses} % lost");
        }
    }
}

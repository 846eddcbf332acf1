//! Registers: the verdict is that of a search over all orders that knows nothing of lists, memos or pruning.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use history::{
    Budget, History, Linearizable, OperationId, Register, RegisterInput, RegisterOutput, Verdict,
    check,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

type Registers = History<RegisterInput, RegisterOutput>;

fn verdict(history: &Registers) -> Verdict {
    check(&Linearizable(Register), history, Budget::default())
}

/// One operation: what is asked, what was answered, from when to when.
type Seen = (RegisterInput, Option<RegisterOutput>, u64, u64);

fn history(of: &[Seen]) -> Registers {
    let mut history = History::default();
    for (process, (input, output, from, to)) in of.iter().enumerate() {
        let id = history.invoke(process, *input, *from);
        if let Some(output) = output {
            history.answer(id, *to, *output);
        }
    }
    history
}

/// Tries every order of every choice of unanswered operations.
fn brute_force(of: &[Seen]) -> bool {
    fn go(of: &[Seen], left: &mut Vec<usize>, state: Option<i64>) -> bool {
        if left.iter().all(|&one| of[one].1.is_none()) {
            return true;
        }
        for place in 0..left.len() {
            let one = left[place];
            let (input, output, from, _) = of[one];
            // Nobody who is left may have been answered before this one was sent.
            if left
                .iter()
                .any(|&other| of[other].1.is_some() && of[other].3 < from)
            {
                continue;
            }
            let after = match (input, output) {
                (RegisterInput::Read, Some(RegisterOutput::Holds(value))) => {
                    (value == state).then_some(state)
                }
                (RegisterInput::Read, _) => Some(state),
                (RegisterInput::Write(value), _) => Some(Some(value)),
                (RegisterInput::Swap(from, to), Some(RegisterOutput::Swapped(true)) | None) => {
                    (state == Some(from)).then_some(Some(to))
                }
                (RegisterInput::Swap(from, _), _) => (state != Some(from)).then_some(state),
            };
            let Some(after) = after else { continue };
            left.remove(place);
            let works = go(of, left, after);
            left.insert(place, one);
            if works {
                return true;
            }
        }
        false
    }
    go(of, &mut (0..of.len()).collect(), None)
}

/// A few clients that ask a real register, some of whose answers are then lost or changed.
fn small(seed: u64) -> Vec<Seen> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut state: Option<i64> = None;
    let mut seen = Vec::new();
    let mut free = [0_u64; 3];
    for _ in 0..rng.random_range(2..8) {
        let client = rng.random_range(0..free.len());
        let from = free[client] + rng.random_range(0..4);
        let to = from + rng.random_range(0..8);
        free[client] = to + 1;
        let value = rng.random_range(0..3);
        let input = match rng.random_range(0..4) {
            0 | 1 => RegisterInput::Read,
            2 => RegisterInput::Write(value),
            _ => RegisterInput::Swap(value, rng.random_range(0..3)),
        };
        let output = match input {
            RegisterInput::Read => RegisterOutput::Holds(state),
            RegisterInput::Write(value) => {
                state = Some(value);
                RegisterOutput::Written
            }
            RegisterInput::Swap(from, to) => {
                let swaps = state == Some(from);
                state = if swaps { Some(to) } else { state };
                RegisterOutput::Swapped(swaps)
            }
        };
        seen.push((input, rng.random_bool(0.75).then_some(output), from, to));
    }
    if rng.random_bool(0.5) {
        let place = rng.random_range(0..seen.len());
        if let (RegisterInput::Read, Some(_)) = (seen[place].0, seen[place].1) {
            let wrong = rng.random_bool(0.7).then(|| rng.random_range(0..3));
            seen[place].1 = Some(RegisterOutput::Holds(wrong));
        }
    }
    seen
}

#[test]
fn the_verdict_is_that_of_trying_every_order() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..4000 {
        let seen = small(seed);
        let expected = brute_force(&seen);
        match verdict(&history(&seen)) {
            Verdict::Right => assert!(expected, "seed {seed}: {seen:?}"),
            Verdict::Wrong(explanation) => {
                assert!(!expected, "seed {seed}: {seen:?}");
                minimal(seed, &seen, &explanation.operations);
                wrong += 1;
            }
            Verdict::Undecided(why) => panic!("seed {seed}: {why}"),
        }
        right += u32::from(expected);
    }
    assert!(right > 1000 && wrong > 300, "{right} right, {wrong} wrong");
}

/// What explains is a contradiction by itself, and nothing in it is idle.
fn minimal(seed: u64, seen: &[Seen], core: &[OperationId]) {
    let core: Vec<usize> = core.iter().map(|id| id.index()).collect();
    let known = |without: Option<usize>| -> Vec<Seen> {
        let one = |(place, &(input, output, from, to)): (usize, &Seen)| {
            let is_known = core.contains(&place) && Some(place) != without;
            (input, output.filter(|_| is_known), from, to)
        };
        seen.iter().enumerate().map(one).collect()
    };
    assert!(!brute_force(&known(None)), "seed {seed}: {seen:?} {core:?}");
    for &place in &core {
        assert!(
            brute_force(&known(Some(place))),
            "seed {seed}: {place} is idle in {core:?} of {seen:?}"
        );
    }
}

#[test]
fn a_stale_read_is_told() {
    use RegisterInput::{Read, Write};
    use RegisterOutput::{Holds, Written};
    let history = history(&[
        (Write(1), Some(Written), 0, 10),
        (Write(2), Some(Written), 20, 30),
        (Read, Some(Holds(Some(1))), 40, 50),
    ]);
    let Verdict::Wrong(explanation) = verdict(&history) else {
        panic!("the first value is read after the second was written");
    };
    assert!(
        explanation.message.contains("writes 2; process 2 reads 1"),
        "{}",
        explanation.message
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    #[test]
    fn a_long_run_of_many_clients_is_decided(seed: u64, clients in 2_usize..12) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut history = History::default();
        let mut state = None;
        let mut now = 0;
        // Each waits for its moment and then for its answer; a tenth of the answers is lost.
        let mut open: Vec<Option<(OperationId, RegisterInput, Option<RegisterOutput>)>> = vec![None; clients];
        for step in 0..2000 {
            now += 1;
            let client = rng.random_range(0..clients);
            match open[client].take() {
                None => {
                    let input = match rng.random_range(0..3) {
                        0 => RegisterInput::Write(step),
                        1 => RegisterInput::Swap(state.unwrap_or(0), step),
                        _ => RegisterInput::Read,
                    };
                    open[client] = Some((history.invoke(client, input, now), input, None));
                }
                Some((id, input, None)) => {
                    let output = match input {
                        RegisterInput::Read => RegisterOutput::Holds(state),
                        RegisterInput::Write(value) => {
                            state = Some(value);
                            RegisterOutput::Written
                        }
                        RegisterInput::Swap(from, to) => {
                            let swaps = state == Some(from);
                            state = if swaps { Some(to) } else { state };
                            RegisterOutput::Swapped(swaps)
                        }
                    };
                    open[client] = Some((id, input, Some(output)));
                }
                Some((id, _, Some(output))) => {
                    if rng.random_bool(0.9) {
                        history.answer(id, now, output);
                    }
                }
            }
        }
        prop_assert_eq!(verdict(&history), Verdict::Right);
    }
}

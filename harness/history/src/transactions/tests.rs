//! On small histories the verdict is that of trying every order; each kind of circle is called by its name.

use proptest::prelude::*;

use super::*;
use crate::check::Explanation;

type Seen = Option<Vec<i64>>;

/// A transaction: when it was sent and answered, its steps, and what it has read.
#[derive(Clone, Debug)]
struct One {
    from: u64,
    to: u64,
    steps: Vec<Step>,
    end: Option<TransactionOutput>,
}

fn history(all: &[One]) -> History<Vec<Step>, TransactionOutput> {
    let mut history = History::default();
    for (process, one) in all.iter().enumerate() {
        let id = history.invoke(process, one.steps.clone(), one.from);
        if let Some(end) = &one.end {
            history.answer(id, one.to, end.clone());
        }
    }
    history
}

/// What a store that executes one after the other answers.
fn execute(store: &mut [Vec<i64>; 2], steps: &[Step]) -> Vec<Seen> {
    let step = |step: &Step| match *step {
        Step::Append(key, element) => {
            store[key as usize].push(element);
            None
        }
        Step::Read(key) => Some(store[key as usize].clone()),
    };
    steps.iter().map(step).collect()
}

/// Whether any order explains what was read: tries them all.
fn brute_force(all: &[One], done: u32, store: &[Vec<i64>; 2]) -> bool {
    let left = || (0..all.len()).filter(|&place| done & 1 << place == 0);
    let committed = |one: &One| matches!(one.end, Some(TransactionOutput::Committed(_)));
    if !left().any(|place| committed(&all[place])) {
        return true;
    }
    left().any(|place| {
        let one = &all[place];
        // Nobody that is left was answered before it was sent.
        let too_early = left().any(|other| committed(&all[other]) && all[other].to < one.from);
        if too_early || one.end == Some(TransactionOutput::Aborted) {
            return false;
        }
        let mut store = store.clone();
        let outputs = execute(&mut store, &one.steps);
        let fits = match &one.end {
            Some(TransactionOutput::Committed(seen)) => *seen == outputs,
            _ => true,
        };
        fits && brute_force(all, done | 1 << place, &store)
    })
}

fn steps() -> impl Strategy<Value = Vec<(bool, i64)>> {
    prop::collection::vec((any::<bool>(), 0..2_i64), 1..4)
}

/// What may be done to a history: nothing, or a read that is made another one.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Shorten(usize, usize),
    Copy(usize, usize),
    Swap(usize, usize),
}

fn faults() -> impl Strategy<Value = Fault> {
    let two = || (0..6_usize, 0..6_usize);
    prop_oneof![
        Just(Fault::None),
        two().prop_map(|(a, b)| Fault::Shorten(a, b)),
        two().prop_map(|(a, b)| Fault::Copy(a, b)),
        two().prop_map(|(a, b)| Fault::Swap(a, b)),
    ]
}

/// All reads of those that were executed.
fn reads(all: &mut [One]) -> Vec<&mut Vec<i64>> {
    let outputs = all.iter_mut().filter_map(|one| match &mut one.end {
        Some(TransactionOutput::Committed(seen)) => Some(seen),
        _ => None,
    });
    outputs.flatten().flatten().collect()
}

fn spoil(all: &mut [One], fault: Fault) {
    let mut reads = reads(all);
    let count = reads.len();
    if count == 0 {
        return;
    }
    match fault {
        Fault::None => {}
        Fault::Shorten(which, by) => {
            let read = &mut *reads[which % count];
            let length = read.len().saturating_sub(by % 2 + 1);
            read.truncate(length);
        }
        Fault::Copy(from, to) => {
            let copied = reads[from % count].clone();
            *reads[to % count] = copied;
        }
        Fault::Swap(which, place) => {
            let read = &mut *reads[which % count];
            if read.len() > 1 {
                let place = place % (read.len() - 1);
                read.swap(place, place + 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_verdict_is_that_of_trying_every_order(
        shapes in prop::collection::vec((steps(), 0..40_u64, 1..30_u64, 0..8_u8), 1..6),
        order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
        in_time in prop::bool::weighted(0.7),
        fault in faults(),
    ) {
        let mut element = 0;
        let mut all: Vec<One> = shapes.iter().map(|(shape, from, length, _)| One {
            from: *from,
            to: from + length,
            steps: shape.iter().map(|&(appends, key)| {
                element += 1;
                if appends { Step::Append(key, element) } else { Step::Read(key) }
            }).collect(),
            end: None,
        }).collect();
        let mut executed: Vec<usize> = order.into_iter().filter(|&place| place < all.len()).collect();
        if in_time {
            executed.sort_by_key(|&place| all[place].from);
        }
        let mut store: [Vec<i64>; 2] = Default::default();
        for place in executed {
            let fate = shapes[place].3;
            if fate == 0 {
                all[place].end = Some(TransactionOutput::Aborted);
                continue;
            }
            let seen = execute(&mut store, &all[place].steps);
            if fate != 1 {
                all[place].end = Some(TransactionOutput::Committed(seen));
            }
        }
        spoil(&mut all, fault);
        let expected = brute_force(&all, 0, &Default::default());
        match check_transactions(&history(&all)) {
            Verdict::Right => prop_assert!(expected, "{all:#?}"),
            Verdict::Wrong(explanation) => prop_assert!(!expected, "{explanation:?} {all:#?}"),
            Verdict::Undecided(_) => prop_assert!(reads(&mut all).is_empty()),
        }
    }
}

const A: i64 = 0;
const B: i64 = 1;

fn append(key: i64, element: i64) -> (Step, Seen) {
    (Step::Append(key, element), None)
}

fn read(key: i64, seen: &[i64]) -> (Step, Seen) {
    (Step::Read(key), Some(seen.to_vec()))
}

fn committed(from: u64, to: u64, steps: &[(Step, Seen)]) -> One {
    let (steps, seen) = steps.iter().cloned().unzip();
    One {
        from,
        to,
        steps,
        end: Some(TransactionOutput::Committed(seen)),
    }
}

fn explained(all: &[One]) -> Explanation {
    assert!(!brute_force(all, 0, &Default::default()));
    match check_transactions(&history(all)) {
        Verdict::Wrong(explanation) => explanation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn circles_are_called_by_their_names() {
    // Two that have written in different orders; a third has seen it.
    let dirty_write = [
        committed(0, 9, &[append(A, 1), append(B, 1)]),
        committed(0, 9, &[append(A, 2), append(B, 2)]),
        committed(0, 9, &[read(A, &[1, 2]), read(B, &[2, 1])]),
    ];
    // Each has seen what the other wrote.
    let circular = [
        committed(0, 9, &[append(A, 1), read(B, &[2])]),
        committed(0, 9, &[append(B, 2), read(A, &[1])]),
    ];
    // A reader that has seen half of what another wrote.
    let skewed_read = [
        committed(0, 9, &[append(A, 1), append(B, 2)]),
        committed(0, 9, &[read(A, &[1]), read(B, &[])]),
    ];
    // Both have read before either has written.
    let skewed_write = [
        committed(0, 9, &[read(A, &[]), append(B, 2)]),
        committed(0, 9, &[read(B, &[]), append(A, 1)]),
        committed(0, 9, &[read(A, &[1]), read(B, &[2])]),
    ];
    let all: [(&[One], &str, usize); 4] = [
        (&dirty_write, "(G0)", 2),
        (&circular, "(G1c)", 2),
        (&skewed_read, "(G-single)", 2),
        (&skewed_write, "(G2)", 2),
    ];
    for (all, name, operations) in all {
        let Explanation {
            message,
            operations: found,
            ..
        } = explained(all);
        assert!(message.contains(name), "{message}");
        assert!(message.starts_with("no order of 2"), "{message}");
        assert_eq!(found.len(), operations, "{message}");
    }
}

#[test]
fn reads_are_wrong_by_themselves() {
    let aborted = One {
        end: Some(TransactionOutput::Aborted),
        ..committed(0, 9, &[append(A, 1)])
    };
    let sees = |seen: &[i64]| committed(0, 9, &[read(A, seen)]);
    let both = committed(0, 9, &[append(A, 1), append(A, 2)]);
    for (all, words) in [
        (vec![aborted, sees(&[1])], "(G1a)"),
        (vec![both.clone(), sees(&[1])], "up to 1 (G1b)"),
        (
            vec![
                both.clone(),
                committed(0, 9, &[append(A, 3)]),
                sees(&[2, 1, 3]),
            ],
            "has 2 before 1",
        ),
        (
            vec![committed(0, 9, &[read(A, &[1]), append(A, 1)])],
            "before it had appended that itself",
        ),
        (vec![sees(&[7])], "appended by nobody"),
        (vec![both.clone(), sees(&[1, 2, 2])], "twice"),
        (vec![both, sees(&[1, 2]), sees(&[2])], "different orders"),
        (
            vec![committed(0, 9, &[append(A, 1), read(A, &[])])],
            "(internal)",
        ),
    ] {
        let message = explained(&all).message;
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn an_old_read_is_wrong_in_real_time_only() {
    let write = committed(0, 9, &[append(A, 1)]);
    let old = |from| committed(from, 30, &[read(A, &[])]);
    let new = committed(0, 30, &[read(A, &[1])]);
    let overlapping = [write.clone(), old(5), new.clone()];
    assert_eq!(check_transactions(&history(&overlapping)), Verdict::Right);
    let Explanation {
        message,
        operations,
        ..
    } = explained(&[write.clone(), old(10), new]);
    assert!(
        message.contains("real time") && message.contains("T2 was answered before T1 was sent")
            || message.contains("T1 was answered before T2 was sent"),
        "{message}"
    );
    assert_eq!(operations.len(), 2);
    // So is an acknowledged append that nobody sees any more.
    let lost = explained(&[write, old(10)]);
    assert_eq!(lost.operations.len(), 2);
}

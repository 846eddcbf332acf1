//! Sets, lists, queues and accounts: what honest ones answer is right, and each fault is found and named.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use history::{
    AppendInput, AppendOutput, Bank, BankInput, BankOutput, History, QueueInput, QueueOutput,
    SetInput, SetOutput, Verdict, check_append, check_bank, check_queue, check_set,
};
use proptest::prelude::*;

/// One operation and its answer, from when to when.
type Seen<I, O> = (I, Option<O>, u64, u64);

fn history<I: Clone, O: Clone>(of: &[Seen<I, O>]) -> History<I, O> {
    let mut history = History::default();
    for (process, (input, output, from, to)) in of.iter().enumerate() {
        let id = history.invoke(process, input.clone(), *from);
        if let Some(output) = output {
            history.answer(id, *to, output.clone());
        }
    }
    history
}

/// What is wrong, and the places of the operations that prove it.
fn wrong(verdict: Verdict) -> (String, Vec<usize>) {
    match verdict {
        Verdict::Wrong(explanation) => {
            let places = explanation.operations.iter().map(|id| id.index());
            (explanation.message, places.collect())
        }
        other => panic!("{other:?}"),
    }
}

fn add(element: i64, from: u64, to: u64) -> Seen<SetInput, SetOutput> {
    (SetInput::Add(element), Some(SetOutput::Added), from, to)
}

fn members(elements: &[i64], from: u64, to: u64) -> Seen<SetInput, SetOutput> {
    (
        SetInput::Read,
        Some(SetOutput::Holds(elements.to_vec())),
        from,
        to,
    )
}

#[test]
fn a_set_keeps_what_it_has_acknowledged() {
    let lost = (SetInput::Add(9), None, 3, 0);
    let right = history(&[
        add(1, 0, 2),
        lost.clone(),
        members(&[1], 5, 6),
        members(&[1, 9], 7, 8),
    ]);
    assert_eq!(check_set(&right), Verdict::Right);
    // What is added while it is read may be there or not.
    assert_eq!(
        check_set(&history(&[add(1, 0, 9), members(&[], 5, 6)])),
        Verdict::Right
    );

    let (message, places) = wrong(check_set(&history(&[
        add(1, 0, 2),
        add(2, 0, 2),
        members(&[2], 5, 6),
    ])));
    assert_eq!(
        (message.as_str(), places),
        ("1 of 2 acknowledged elements are lost: 1", vec![0, 2])
    );
    let (message, _) = wrong(check_set(&history(&[members(&[7], 5, 6), add(7, 8, 9)])));
    assert!(message.contains("nobody has added it"), "{message}");
    let (message, _) = wrong(check_set(&history(&[
        lost,
        members(&[9], 5, 6),
        members(&[], 7, 8),
    ])));
    assert!(message.contains("missing later"), "{message}");
    let both = [
        add(1, 0, 9),
        add(2, 0, 9),
        members(&[1], 3, 6),
        members(&[2], 4, 7),
    ];
    assert!(wrong(check_set(&history(&both))).0.contains("of two reads"));
    assert!(matches!(
        check_set(&history(&[add(1, 0, 1)])),
        Verdict::Undecided(_)
    ));
}

fn append(element: i64, from: u64, to: u64) -> Seen<AppendInput, AppendOutput> {
    (
        AppendInput::Append(element),
        Some(AppendOutput::Appended),
        from,
        to,
    )
}

fn list(elements: &[i64], from: u64, to: u64) -> Seen<AppendInput, AppendOutput> {
    (
        AppendInput::Read,
        Some(AppendOutput::Holds(elements.to_vec())),
        from,
        to,
    )
}

#[test]
fn a_list_has_one_order_and_that_of_real_time() {
    let right = [
        append(1, 0, 5),
        append(2, 1, 4),
        list(&[2], 2, 6),
        list(&[2, 1], 7, 8),
    ];
    assert_eq!(check_append(&history(&right)), Verdict::Right);

    let cases = [
        (
            vec![append(1, 0, 1), append(2, 2, 3), list(&[2, 1], 7, 8)],
            "comes after it",
        ),
        (
            vec![append(1, 0, 1), list(&[], 2, 3)],
            "acknowledged before a read",
        ),
        (
            vec![
                append(1, 0, 9),
                append(2, 0, 9),
                list(&[1], 1, 8),
                list(&[2, 1], 1, 8),
            ],
            "differ from place 0",
        ),
        (vec![append(1, 0, 1), list(&[1, 1], 2, 3)], "twice"),
        (vec![list(&[5], 2, 3)], "nobody has appended"),
        (
            vec![append(1, 0, 9), list(&[1], 1, 2), list(&[], 4, 5)],
            "comes after it",
        ),
    ];
    for (seen, words) in cases {
        let (message, _) = wrong(check_append(&history(&seen)));
        assert!(message.contains(words), "{message}: {seen:?}");
    }
}

#[test]
fn a_queue_gives_each_element_once() {
    let put = |element| (QueueInput::Put(element), Some(QueueOutput::Accepted), 0, 1);
    let take = |element| (QueueInput::Take, Some(QueueOutput::Gives(element)), 2, 3);
    let unanswered = (QueueInput::Take, None, 2, 0);
    assert_eq!(
        check_queue(&history(&[
            put(1),
            put(2),
            take(Some(2)),
            take(Some(1)),
            take(None)
        ])),
        Verdict::Right
    );
    assert_eq!(
        check_queue(&history(&[put(1), unanswered.clone(), take(None)])),
        Verdict::Right
    );
    let (message, _) = wrong(check_queue(&history(&[
        put(1),
        put(2),
        unanswered,
        take(None),
    ])));
    assert!(
        message.contains("2 of 2 accepted elements never came out"),
        "{message}"
    );
    assert!(
        wrong(check_queue(&history(&[
            put(1),
            take(Some(1)),
            take(Some(1))
        ])))
        .0
        .contains("twice")
    );
    assert!(
        wrong(check_queue(&history(&[take(Some(1))])))
            .0
            .contains("nobody had put it in")
    );
    assert!(matches!(
        check_queue(&history(&[put(1)])),
        Verdict::Undecided(_)
    ));
}

#[test]
fn a_bank_has_the_same_sum_for_ever() {
    let bank = Bank { total: 10 };
    let read = |accounts: &[i64]| {
        (
            BankInput::Read,
            Some(BankOutput::Holds(accounts.to_vec())),
            0,
            1,
        )
    };
    assert_eq!(
        check_bank(bank, &history(&[read(&[10, 0]), read(&[4, 6])])),
        Verdict::Right
    );
    assert!(
        wrong(check_bank(bank, &history(&[read(&[4, 7])])))
            .0
            .contains("hold 11 and not 10")
    );
    assert!(
        wrong(check_bank(bank, &history(&[read(&[11, -1])])))
            .0
            .contains("account 1 holds -1")
    );
    assert!(matches!(
        check_bank(bank, &history(&[])),
        Verdict::Undecided(_)
    ));
}

proptest! {
    /// Operations take effect one after the other, and are seen to begin before and to end after that.
    #[test]
    fn honest_lists_and_sets_are_right(
        kinds in proptest::collection::vec((0_u8..3, 0_u64..9, 0_u64..9, any::<bool>()), 1..60),
    ) {
        let mut held = Vec::new();
        let (mut lists, mut sets) = (vec![list(&[], 0, 0)], vec![members(&[], 0, 0)]);
        for (place, (kind, before, after, answered)) in kinds.into_iter().enumerate() {
            let at = place as u64 * 3 + 20;
            let (from, to) = (at - before, at + after);
            if kind == 0 {
                lists.push(list(&held, from, to));
                sets.push(members(&held, from, to));
                continue;
            }
            let element = place as i64;
            held.push(element);
            let (mut one, mut other) = (append(element, from, to), add(element, from, to));
            if !answered {
                (one.1, other.1) = (None, None);
            }
            lists.push(one);
            sets.push(other);
        }
        prop_assert_eq!(check_append(&history(&lists)), Verdict::Right);
        prop_assert_eq!(check_set(&history(&sets)), Verdict::Right);
    }
}

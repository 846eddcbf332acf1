//! What a check costs: `cargo bench -p history`.
//!
//! - `right`: 20,000 operations by 20 clients, 2 of 100 lost and executed, as in a run of level 4
//!   with many kills; and the plain version that a check cannot undercut, replaying the answers in
//!   the order of their numbers.
//! - `wrong`: the same with one wrong answer in the middle, explained.
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use divan::{Bencher, black_box};
use history::{
    Budget, History, Verdict, check,
    sql_counter::{Answer, SqlCounter, Statement, Update},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PEOPLE: [&str; 5] = ["siddarth", "gdb", "christian", "andy", "carl"];
const OPERATIONS: u64 = 20_000;

fn main() {
    divan::main();
}

/// A history of updates; the answer to `wrong_at` shows the table before it.
fn history(wrong_at: Option<u64>) -> History<Statement, Answer> {
    let model = SqlCounter::new(PEOPLE);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut history = History::default();
    let boot = history.invoke(0, Statement::Boot, 1);
    history.answer(
        boot,
        2,
        Answer {
            number: 0,
            shown: Vec::new(),
        },
    );
    let mut rows = vec![(0, 0, String::new()); PEOPLE.len()];
    let mut answers = Vec::new();
    for number in 1..=OPERATIONS {
        let person = rng.random_range(0..PEOPLE.len());
        let friends = rng.random_range(1..=100);
        let word = format!("word{number}");
        let before = model.print(&rows);
        rows[person] = (rows[person].0 + friends, rows[person].1 + 1, word.clone());
        let update = Statement::Update(Update {
            person,
            friends,
            word,
        });
        let id = history.invoke(number as usize % 20, update, number * 10);
        let shown = if wrong_at == Some(number) {
            before
        } else {
            model.print(&rows)
        };
        if rng.random_range(0..100) >= 2 {
            answers.push((id, number * 10 + 200, Answer { number, shown }));
        }
    }
    for (id, at, answer) in answers {
        history.answer(id, at, answer);
    }
    history
}

#[divan::bench]
fn right(bencher: Bencher) {
    let (model, history) = (SqlCounter::new(PEOPLE), history(None));
    bencher.bench(|| {
        let verdict = check(&model, black_box(&history), Budget::default());
        assert_eq!(verdict, Verdict::Right);
    });
}

#[divan::bench]
fn wrong(bencher: Bencher) {
    let (model, history) = (SqlCounter::new(PEOPLE), history(Some(OPERATIONS / 2 + 1)));
    bencher.bench(|| {
        let verdict = check(&model, black_box(&history), Budget::default());
        assert!(matches!(verdict, Verdict::Wrong(_)));
    });
}

#[divan::bench]
fn plain_replay(bencher: Bencher) {
    let (model, history) = (SqlCounter::new(PEOPLE), history(None));
    bencher.bench(|| {
        let mut order: Vec<_> = history.answered().map(|id| history.get(id)).collect();
        order.sort_by_key(|operation| operation.answer().map(|answer| answer.output.number));
        let mut rows = vec![(0, 0, String::new()); PEOPLE.len()];
        let mut same = 0;
        for operation in order {
            if let Statement::Update(update) = &operation.input {
                let row = &mut rows[update.person];
                *row = (row.0 + update.friends, row.1 + 1, update.word.clone());
            }
            let shown = &operation.answer().unwrap().output.shown;
            same += usize::from(*shown == model.print(&rows));
        }
        same
    });
}

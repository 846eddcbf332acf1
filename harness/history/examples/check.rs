//! Records what two clients of a store see, one answer of which is stale, and prints the verdict:
//! `cargo run -p history --example check`.

use history::{
    Budget, History, Verdict, check,
    sql_counter::{Answer, SqlCounter, Statement, Update},
};

fn main() {
    let model = SqlCounter::new(["ann", "bob"]);
    let update = |person, friends, word: &str| {
        let word = word.to_owned();
        Statement::Update(Update {
            person,
            friends,
            word,
        })
    };
    let answer = |number, rows: [(u64, u64, &str); 2]| Answer {
        number,
        shown: model.print(&rows),
    };

    let mut history = History::default();
    let boot = history.invoke(0, Statement::Boot, 1);
    let made = Answer {
        number: 0,
        shown: Vec::new(),
    };
    history.answer(boot, 2, made);
    let first = history.invoke(0, update(0, 7, "red"), 10);
    history.answer(first, 20, answer(1, [(7, 1, "red"), (0, 0, "")]));
    // Sent twice: the answer to the first attempt was lost.
    let second = history.invoke(1, update(1, 5, "blue"), 30);
    history.retry(second, 40);
    history.answer(second, 50, answer(2, [(7, 1, "red"), (5, 1, "blue")]));
    // Asked of a node that has not heard of the second.
    let third = history.invoke(0, update(0, 1, "green"), 60);
    history.answer(third, 70, answer(3, [(8, 2, "green"), (0, 0, "")]));

    match check(&model, &history, Budget::default()) {
        Verdict::Right => println!("one copy of the data can have given these answers"),
        Verdict::Undecided(why) => println!("undecided: {why}"),
        Verdict::Wrong(explanation) => {
            println!("{}", explanation.message);
            for id in explanation.operations {
                println!("  {:?}", history.get(id));
            }
        }
    }
}

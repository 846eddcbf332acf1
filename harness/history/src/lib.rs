//! Checks what clients of a replicated system saw: could one copy of the data, executing one
//! request after the other, have given these answers?
//!
//! A [`History`] is what the clients recorded: operations with the times at which they were sent,
//! sent again and answered. It knows nothing of what they mean. A [`Model`] does; [`check`] asks it
//! and gives one of three verdicts ([`Verdict`]): *right*, *wrong* with a minimal [`Explanation`],
//! or *undecided*, where the search took more than its [`Budget`]. [`sql_counter`] is the model of level 4's
//! table; how it decides, and why that is complete, is told in `DESIGN.md`. [`Linearizable`] is one of whatever
//! can be told as a state and steps, such as a [`Register`]. Sets, lists, queues and accounts have checks of their
//! own that need no search ([`check_set`] and those beside it).
//!
//! ```
//! use history::{check, sql_counter::{self, SqlCounter, Statement, Update}, Budget, History, Verdict};
//!
//! let model = SqlCounter::new(["ann", "bob"]);
//! let mut history = History::default();
//! let answer = |number, shown: &str| sql_counter::Answer { number, shown: shown.into() };
//! let update = |friends, word: &str| Statement::Update(Update { person: 0, friends, word: word.into() });
//!
//! // Client 0 makes the table; the answer comes at time 5.
//! let boot = history.invoke(0, Statement::Boot, 1);
//! history.answer(boot, 5, answer(0, ""));
//! // A request whose answer is lost may be executed at any later time, once, or never …
//! history.invoke(0, update(7, "x"), 10);
//! // … and this answer shows that it was.
//! let second = history.invoke(1, update(3, "y"), 20);
//! history.answer(second, 25, answer(2, "ann|10|2|y\nbob|0|0|\n"));
//! assert_eq!(check(&model, &history, Budget::default()), Verdict::Right);
//!
//! // It was executed once: nothing accounts for number 3 and seven more friends.
//! let third = history.invoke(1, update(1, "z"), 30);
//! history.answer(third, 35, answer(4, "ann|18|4|z\nbob|0|0|\n"));
//! let Verdict::Wrong(explanation) = check(&model, &history, Budget::default()) else { panic!() };
//! assert_eq!(explanation.operations, [boot, second, third]);
//! ```

mod budget;
mod check;
mod collections;
mod linearizable;
mod minimal;
mod operations;
pub mod sql_counter;
mod transactions;

pub use budget::{Budget, Exhausted};
pub use check::{Decision, Description, Explanation, Model, Prepared, Verdict, check};
pub use collections::{
    AppendInput, AppendOutput, Bank, BankInput, BankOutput, QueueInput, QueueOutput, SetInput,
    SetOutput, check_append, check_bank, check_queue, check_set,
};
pub use linearizable::{Linearizable, Register, RegisterInput, RegisterOutput, Specification};
pub use operations::{Answered, History, Operation, OperationId, Time};
pub use transactions::{Step, TransactionOutput, check_transactions};

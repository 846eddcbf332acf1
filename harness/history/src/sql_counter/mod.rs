//! The model of level 4: a table of people in SQLite, whose every answer carries the sequence number
//! of its execution and shows the whole table.
//!
//! The first operation ([`Statement::Boot`]) makes the table; all others change one person and look
//! at everybody. They are sent after the first is answered; the model says that it cannot tell
//! where they are not. Executing the boot again is an error of SQL, takes a number and changes
//! nothing.
//!
//! The parts, in the order in which a set of answers goes through them: `timeline` puts them into
//! the order of their numbers and says until when each was executed; `pairs` finds what one or two
//! answers prove whatever else was executed; `gaps` says what happened between neighbours, where
//! only unanswered attempts can have been executed; `stock` and `search` find out whether there
//! are enough of these; `words` explains.

mod gaps;
mod pairs;
mod search;
mod stock;
mod table;
mod timeline;
mod words;

use crate::{Budget, Decision, Description, History, Model, OperationId, Prepared};
use timeline::{Answers, Known};
use words::Fault;

/// What the boot prints when the table is there already, in the form of the 2014 shell.
pub const TABLE_EXISTS: &str = "Error: near line 1: table ctf3 already exists\n";

/// What an operation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Make the table and its people.
    Boot,
    /// Change a person and show the table.
    Update(Update),
}

/// A change of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which of the model's people.
    pub person: usize,
    /// New friends.
    pub friends: u64,
    /// The new favourite word.
    pub word: String,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many requests were executed before.
    pub number: u64,
    /// What the database printed.
    pub shown: Vec<u8>,
}

/// The model. See the module's text.
#[derive(Clone, Debug)]
pub struct SqlCounter {
    people: Vec<String>,
    strays: u64,
}

impl SqlCounter {
    /// A table of these people, in the order in which it shows them.
    pub fn new<N: Into<String>>(people: impl IntoIterator<Item = N>) -> Self {
        Self {
            people: people.into_iter().map(Into::into).collect(),
            strays: 0,
        }
    }

    /// Lets so many numbers pass that were given to nobody: no attempt accounts for them, and they
    /// changed nothing. There are none otherwise.
    #[must_use]
    pub fn with_stray_numbers(self, strays: u64) -> Self {
        Self { strays, ..self }
    }

    /// What a table prints in which everybody has these friends, requests and words; for tests and
    /// simulations.
    pub fn print<W: AsRef<str>>(&self, rows: &[(u64, u64, W)]) -> Vec<u8> {
        let row = |(friends, requests, word): &(u64, u64, W)| table::Row {
            friends: *friends,
            requests: *requests,
            word: word.as_ref().to_owned(),
        };
        table::print(&self.people, &rows.iter().map(row).collect())
    }
}

/// How many numbers below the highest one no answer carries.
pub fn unanswered_numbers(history: &History<Statement, Answer>) -> u64 {
    let mut numbers: Vec<u64> = history
        .answered()
        .filter_map(|id| Some(history.get(id).answer()?.output.number))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .last()
        .map_or(0, |last| last - (numbers.len() as u64 - 1))
}

impl Model for SqlCounter {
    type Input = Statement;
    type Output = Answer;

    fn prepare<'a>(&'a self, history: &'a History<Statement, Answer>) -> Box<dyn Prepared + 'a> {
        Box::new(Case {
            model: self,
            history,
            answers: Answers::new(&self.people, history),
        })
    }
}

/// A history to be decided on.
struct Case<'a> {
    model: &'a SqlCounter,
    history: &'a History<Statement, Answer>,
    answers: Answers<'a>,
}

/// Why answers were not found possible.
enum Refusal {
    Wrong(Fault),
    Undecided(String),
}

impl Case<'_> {
    fn judge(&self, known: &[OperationId], budget: &mut Budget) -> Result<(), Refusal> {
        self.answers.covered().map_err(Refusal::Undecided)?;
        let known = Known::new(&self.answers, known);
        pairs::check(&known).map_err(Refusal::Wrong)?;
        let gaps = gaps::between(&known);
        let stock = stock::Stock::new(self.history, &known, self.model.people.len());
        gaps::check_numbers(&gaps, &known, &stock.boots, self.model.strays)
            .map_err(Refusal::Wrong)?;
        let mut undecided = None;
        for person in 0..self.model.people.len() {
            let demands = gaps::demands(&gaps, person);
            let updates = &stock.updates[person];
            match search::satisfies(updates, &demands, budget) {
                Ok(true) => {}
                Ok(false) => {
                    let fault = gaps::unaccounted(person, &demands, updates, budget);
                    return Err(Refusal::Wrong(fault));
                }
                Err(exhausted) => undecided = Some((person, exhausted)),
            }
        }
        match undecided {
            None => Ok(()),
            Some((person, _)) => Err(Refusal::Undecided(format!(
                "which lost requests of {} were executed was not found out within the budget of \
                 the search",
                self.model.people[person]
            ))),
        }
    }
}

impl Prepared for Case<'_> {
    fn decide(&self, known: &[OperationId], budget: &mut Budget) -> Decision {
        match self.judge(known, budget) {
            Ok(()) => Decision::Possible,
            Err(Refusal::Undecided(why)) => Decision::Undecided(why),
            Err(Refusal::Wrong(fault)) => Decision::Impossible {
                suspects: self.ids(&fault.suspects()),
            },
        }
    }

    fn describe(&self, core: &[OperationId]) -> Description {
        match self.judge(core, &mut Budget::default()) {
            Err(Refusal::Wrong(fault)) => words::describe(&fault, &self.answers, self.model),
            _ => Description {
                message: "the answers contradict each other".to_owned(),
                compare: Vec::new(),
            },
        }
    }
}

impl Case<'_> {
    fn ids(&self, parts: &[Vec<usize>]) -> Vec<Vec<OperationId>> {
        let id = |&place: &usize| self.answers.all[place].id;
        let part = |part: &Vec<usize>| part.iter().map(id).collect();
        parts.iter().map(part).collect()
    }
}

//! Contradictions, and what is said about them.

use std::fmt::Write;

use super::{
    SqlCounter, Statement, pairs,
    timeline::{Answers, Known, Shown},
};
use crate::Description;

/// How two answers contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The later one shows a person with less.
    Backwards { person: usize },
    /// It shows another row although nobody has changed it.
    Altered { person: usize },
    /// It shows more changes than there are numbers between.
    TooMany { changes: i128 },
}

/// Updates that must have been executed in a gap, and what could have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub count: u64,
    pub friends: u64,
    pub last: Option<String>,
    /// The friends that each unanswered attempt would have brought, most first.
    pub candidates: Vec<u64>,
}

/// Why a set of answers is impossible. Answers are named by their places in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It shows no table.
    Unreadable { place: usize },
    /// It does not show its own change.
    OwnChange { place: usize },
    /// Both carry the same number.
    Twice { earlier: usize, later: usize },
    /// The later one was answered before the earlier one was asked for.
    Order { earlier: usize, later: usize },
    /// Their tables contradict each other.
    Clash { earlier: usize, later: usize },
    /// The boot finds a table that nobody can have made.
    NoTable { place: usize },
    /// More numbers than may be changed nothing, and no boot accounts for them.
    Nobody {
        around: Vec<(Option<usize>, usize)>,
        strays: u64,
    },
    /// No unanswered attempts account for what became of a person.
    Unaccounted {
        person: usize,
        around: Vec<(usize, usize)>,
        sums: Vec<Sum>,
    },
}

impl Fault {
    /// Parts that are likely to be impossible by themselves; answers by their places.
    pub fn suspects(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Unreadable { place } | Self::OwnChange { place } | Self::NoTable { place } => {
                vec![vec![*place]]
            }
            Self::Twice { earlier, later }
            | Self::Order { earlier, later }
            | Self::Clash { earlier, later } => vec![vec![*earlier, *later]],
            Self::Nobody { around, .. } => {
                let ends = |(before, after): &(Option<usize>, usize)| {
                    before.iter().copied().chain([*after]).collect::<Vec<_>>()
                };
                let last = around.last().map(ends);
                let all = around.iter().flat_map(ends).collect();
                last.into_iter().chain([all]).map(unique).collect()
            }
            Self::Unaccounted { around, .. } => {
                vec![unique(around.iter().flat_map(|&(a, b)| [a, b]).collect())]
            }
        }
    }
}

fn unique(mut places: Vec<usize>) -> Vec<usize> {
    places.sort_unstable();
    places.dedup();
    places
}

/// Says what is wrong.
pub fn describe(fault: &Fault, answers: &Answers<'_>, model: &SqlCounter) -> Description {
    let number = |place: usize| answers.all[place].number;
    let plain = |message: String| Description {
        message,
        compare: Vec::new(),
    };
    match fault {
        Fault::Unreadable { place } => plain(format!(
            "number {} shows {}",
            number(*place),
            match answers.all[*place].statement {
                Statement::Boot => "something that making the table does not print",
                Statement::Update(_) => "something else than the table",
            }
        )),
        Fault::OwnChange { place } => own_change(&answers.all[*place], answers),
        Fault::Twice { earlier, .. } => {
            plain(format!("number {} was given twice", number(*earlier)))
        }
        Fault::Order { earlier, later } => plain(format!(
            "number {} was answered before number {} was asked for",
            number(*later),
            number(*earlier)
        )),
        Fault::Clash { earlier, later } => clash(answers, model, *earlier, *later),
        Fault::NoTable { place } => plain(format!(
            "number {} finds the table, but no request was executed before that can have made it",
            number(*place)
        )),
        Fault::Nobody { around, strays } => {
            let mut message = format!(
                "numbers were given to nobody: no request accounts for {}, and nothing was changed \
                 there",
                around
                    .iter()
                    .map(|&(before, after)| numbers(before.map(number), number(after)))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            if *strays > 0 {
                let _infallible = write!(message, " (of which {strays} would be let pass)");
            }
            plain(message)
        }
        Fault::Unaccounted {
            person,
            around,
            sums,
        } => plain(unaccounted(&model.people[*person], around, sums, number)),
    }
}

/// The numbers between two, in words.
fn numbers(before: Option<u64>, after: u64) -> String {
    let first = before.map_or(0, |before| before + 1);
    match after - 1 {
        last if last == first => format!("number {first}"),
        last => format!("numbers {first} to {last}"),
    }
}

/// A list of things, `and` before the last.
fn listed(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn own_change(answer: &Shown<'_>, answers: &Answers<'_>) -> Description {
    let mut description = Description {
        message: format!("number {} does not show its own change", answer.number),
        compare: Vec::new(),
    };
    let same = |other: &&Shown<'_>| other.number < answer.number && other.text == answer.text;
    if let Some(other) = answers.all.iter().rfind(same) {
        let _infallible = write!(
            description.message,
            ": it shows the table that number {} shows",
            other.number
        );
        description.compare.push(other.id);
    }
    description
}

fn clash(answers: &Answers<'_>, model: &SqlCounter, earlier: usize, later: usize) -> Description {
    let (first, second) = (&answers.all[earlier], &answers.all[later]);
    let known = Known::new(answers, &[first.id, second.id]);
    let executed_on = |place: usize, on: usize| {
        (0..model.people.len()).all(|person| {
            pairs::change(&known, on, place, person)
                .is_some_and(|change| change.requests == 0 && !change.altered)
        })
    };
    let (a, b) = (first.number, second.number);
    let mut compare = Vec::new();
    let message = match pairs::clash(&known, earlier, later) {
        Some(_) if executed_on(earlier, later) => {
            format!("number {a} was executed on the table that number {b} left: they are swapped")
        }
        Some(Clash::Backwards { person }) => {
            let name = &model.people[person];
            if let Some(base) = (0..earlier).rev().find(|&base| executed_on(later, base)) {
                compare.push(answers.all[base].id);
                format!(
                    "number {b} was executed on the table as it was after number {}: it misses \
                     number {a}",
                    answers.all[base].number
                )
            } else {
                format!(
                    "number {b} shows {name} with {}, number {a}, before it, with {}",
                    row(second, person),
                    row(first, person)
                )
            }
        }
        Some(Clash::Altered { person }) => format!(
            "nobody changed {} between number {a} ({}) and number {b} ({})",
            model.people[person],
            row(first, person),
            row(second, person)
        ),
        Some(Clash::TooMany { changes }) => format!(
            "number {b} shows {changes} changes since number {a} besides its own; {}",
            match b - a - 1 {
                0 => "there is no number between them".to_owned(),
                1 => "there is one number between them".to_owned(),
                between => format!("there are {between} numbers between them"),
            }
        ),
        None => format!("numbers {a} and {b} contradict each other"),
    };
    Description { message, compare }
}

/// A person's row in words.
fn row(answer: &Shown<'_>, person: usize) -> String {
    let row = answer.after.as_ref().and_then(|table| table.get(person));
    row.map_or_else(String::new, |row| {
        format!(
            "{} friends after {} requests, word `{}`",
            row.friends, row.requests, row.word
        )
    })
}

fn unaccounted(
    name: &str,
    around: &[(usize, usize)],
    sums: &[Sum],
    number: impl Fn(usize) -> u64,
) -> String {
    let each: Vec<String> = around
        .iter()
        .zip(sums)
        .map(|(&(before, after), sum)| {
            let last = sum.last.as_ref().map_or_else(String::new, |word| {
                format!(", the last leaving the word `{word}`")
            });
            format!(
                "{} to {} bringing {} friends at {}{last}",
                sum.count,
                name,
                sum.friends,
                numbers(Some(number(before)), number(after))
            )
        })
        .collect();
    let mut message = format!("no unanswered requests account for {}", listed(&each));
    let [sum] = sums else { return message };
    let there = sum.candidates.len();
    let count = sum.count as usize;
    if there < count {
        let _infallible = write!(message, ": {there} can have been executed there");
    } else {
        let most: u64 = sum.candidates.iter().take(count).sum();
        let _infallible = write!(
            message,
            ": of the {there} that can have been executed there, the {count} largest bring {most}"
        );
    }
    message
}

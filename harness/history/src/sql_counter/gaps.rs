//! What happened between neighbouring answers. If all answers between two known ones are known
//! (that is, there are none), the numbers between were given to attempts that nobody has an answer
//! of: lost ones, those open at the end, those whose operation was answered by another attempt.
//!
//! Both tables are known. So for each person it is known how many updates there were in the gap, how
//! many friends they brought together, and what word the last one left, unless the answer's own
//! update has overwritten it. The numbers that remain were given to boots, or to nobody.

use super::{
    Statement, TABLE_EXISTS, pairs, search,
    stock::{Copies, Updates},
    timeline::Known,
    words::{Fault, Sum},
};
use crate::Budget;

/// The numbers between two neighbouring answers.
#[derive(Debug)]
pub struct Gap<'a> {
    /// The answer before; none for the numbers before the first.
    pub before: Option<usize>,
    /// The answer after.
    pub after: usize,
    /// Numbers that changed nobody.
    idle: u64,
    changes: Vec<Demand<'a>>,
}

/// Updates of one person that must have been executed in a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The answers around the gap.
    pub around: (usize, usize),
    person: usize,
    /// How many.
    pub count: u64,
    /// The friends that they brought together.
    pub friends: u64,
    /// The word of the last one, if it is to be seen.
    pub last: Option<&'a str>,
}

/// The gaps between known neighbours. Answers must have passed [`pairs::check`].
pub fn between<'a>(known: &Known<'a>) -> Vec<Gap<'a>> {
    let mut gaps = Vec::new();
    if known.places.first() == Some(&0) {
        gaps.push(Gap {
            before: None,
            after: 0,
            idle: known.get(0).number,
            changes: Vec::new(),
        });
    }
    let adjacent = known.neighbours().filter(|(a, b)| a + 1 == *b);
    gaps.extend(adjacent.map(|(before, after)| gap(known, before, after)));
    gaps
}

fn gap<'a>(known: &Known<'a>, before: usize, after: usize) -> Gap<'a> {
    let answer = known.get(after);
    let table = answer.after.as_deref().unwrap_or_default();
    let demand = |person: usize| {
        let change = pairs::change(known, before, after, person)?;
        let is_own =
            matches!(answer.statement, Statement::Update(update) if update.person == person);
        (change.requests > 0).then(|| Demand {
            around: (before, after),
            person,
            count: change.requests as u64,
            friends: change.friends as u64,
            last: (!is_own).then(|| table[person].word.as_str()),
        })
    };
    let changes: Vec<Demand<'a>> = (0..table.len()).filter_map(demand).collect();
    let numbers = answer.number - known.get(before).number - 1;
    let changed: u64 = changes.iter().map(|demand| demand.count).sum();
    Gap {
        before: Some(before),
        after,
        idle: numbers - changed,
        changes,
    }
}

/// What all gaps demand of one person, in their order.
pub fn demands<'a>(gaps: &[Gap<'a>], person: usize) -> Vec<Demand<'a>> {
    let all = gaps.iter().flat_map(|gap| &gap.changes);
    all.filter(|demand| demand.person == person)
        .cloned()
        .collect()
}

/// Whether boots, and so many strays, account for the numbers that changed nothing.
///
/// A boot that was sent stays available, so gaps are served in their order. Before the boot that
/// makes the table no other can have been executed; one that finds it there follows another.
pub fn check_numbers(
    gaps: &[Gap<'_>],
    known: &Known<'_>,
    boots: &Copies,
    strays: u64,
) -> Result<(), Fault> {
    let mut idle: u64 = 0;
    // Numbers that only a stray can have taken.
    let mut stray: u64 = 0;
    let mut idle_gaps = Vec::new();
    for gap in gaps {
        let first = gap.before.is_none();
        let finds_table = known.get(gap.after).text == TABLE_EXISTS.as_bytes();
        if first && finds_table && (gap.idle == 0 || boots.available(gap.after) == 0) {
            return Err(Fault::NoTable { place: gap.after });
        }
        if gap.idle == 0 {
            continue;
        }
        idle_gaps.push(gap.after);
        if first && !finds_table {
            stray = gap.idle;
        } else {
            idle = idle.saturating_add(gap.idle);
        }
        let unaccounted = idle.saturating_sub(boots.available(gap.after) as u64);
        if stray.saturating_add(unaccounted) > strays {
            let around = idle_gaps
                .iter()
                .map(|&after| (after.checked_sub(1), after))
                .collect();
            return Err(Fault::Nobody { around, strays });
        }
    }
    Ok(())
}

/// The fault of demands that cannot be satisfied, by the first that cannot be by itself, if there is
/// one.
pub fn unaccounted(
    person: usize,
    demands: &[Demand<'_>],
    updates: &Updates<'_>,
    budget: &mut Budget,
) -> Fault {
    let alone = demands.iter().find(|demand| {
        let alone = std::slice::from_ref(*demand);
        search::satisfies(updates, alone, budget) == Ok(false)
    });
    let of = |demand: &Demand<'_>| Sum {
        count: demand.count,
        friends: demand.friends,
        last: demand.last.map(str::to_owned),
        candidates: updates.candidates(demand.around.1),
    };
    let involved: Vec<&Demand<'_>> = match alone {
        Some(demand) => vec![demand],
        None => demands.iter().collect(),
    };
    Fault::Unaccounted {
        person,
        around: involved.iter().map(|demand| demand.around).collect(),
        sums: involved.into_iter().map(of).collect(),
    }
}

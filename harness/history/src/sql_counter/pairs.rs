//! What one or two answers prove by themselves, whatever else was executed between them.
//!
//! One answer must show a table, with its own change in it. Two must carry different numbers, which
//! agree with real time; and of two, the later one must show everybody with as many friends and
//! requests or more, no more changes than there are numbers between them, and no change without a
//! request. If all neighbours agree in this way, so do all pairs: each condition carries over.

use super::{
    Statement,
    timeline::Known,
    words::{Clash, Fault},
};

/// What became of a person between an answer and the execution of a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// How many updates.
    pub requests: i128,
    /// How many friends they brought.
    pub friends: i128,
    /// Whether the row is another one though its numbers are the same.
    pub altered: bool,
}

/// The changes of a person between two answers that show tables.
pub fn change(known: &Known<'_>, earlier: usize, later: usize, person: usize) -> Option<Change> {
    let (from, to) = (known.get(earlier), known.get(later));
    let (before, after) = (
        from.after.as_ref()?.get(person)?,
        to.after.as_ref()?.get(person)?,
    );
    let own = match to.statement {
        Statement::Update(update) if update.person == person => Some(update),
        _ => None,
    };
    let requests =
        i128::from(after.requests) - i128::from(before.requests) - i128::from(own.is_some());
    let own_friends = own.map_or(0, |own| own.friends);
    let friends = i128::from(after.friends) - i128::from(before.friends) - i128::from(own_friends);
    let same_word = own.is_some() || before.word == after.word;
    Some(Change {
        requests,
        friends,
        altered: requests == 0 && (friends != 0 || !same_word),
    })
}

/// The first contradiction of one or two answers.
pub fn check(known: &Known<'_>) -> Result<(), Fault> {
    for (earlier, later) in known.neighbours() {
        if known.get(earlier).number == known.get(later).number {
            return Err(Fault::Twice { earlier, later });
        }
    }
    for &place in &known.places {
        single(known, place)?;
    }
    in_time(known)?;
    let clashing = |pair: &(usize, usize)| clash(known, pair.0, pair.1).is_some();
    let Some(at) = known
        .places
        .windows(2)
        .position(|pair| clashing(&(pair[0], pair[1])))
    else {
        return Ok(());
    };
    Err(most_telling(known, at))
}

fn single(known: &Known<'_>, place: usize) -> Result<(), Fault> {
    let answer = known.get(place);
    let Some(table) = &answer.after else {
        return Err(Fault::Unreadable { place });
    };
    if let Statement::Update(update) = answer.statement {
        let row = &table[update.person];
        if row.word != update.word || row.requests == 0 || row.friends < update.friends {
            return Err(Fault::OwnChange { place });
        }
    }
    Ok(())
}

/// Nothing is sent after what follows it in the order was answered.
fn in_time(known: &Known<'_>) -> Result<(), Fault> {
    // Of all before, the one that was sent last.
    let mut latest: Option<(usize, Option<u64>)> = None;
    for &place in &known.places {
        let answer = known.get(place);
        if let Some((earlier, start)) = latest {
            // Everything is sent after the boot was answered, in the same moment at the earliest.
            let is_boot = *answer.statement == Statement::Boot;
            let late = start.is_none_or(|s| s > answer.end || (is_boot && s == answer.end));
            if late {
                return Err(Fault::Order {
                    earlier,
                    later: place,
                });
            }
        }
        let is_later = |(_, start): (usize, Option<u64>)| {
            start.is_some_and(|start| answer.start.is_none_or(|own| own > start))
        };
        if latest.is_none_or(is_later) {
            latest = Some((place, answer.start));
        }
    }
    Ok(())
}

/// How two answers contradict each other, if they do.
pub fn clash(known: &Known<'_>, earlier: usize, later: usize) -> Option<Clash> {
    let between = known.get(later).number - known.get(earlier).number - 1;
    let people = known.get(earlier).after.as_ref()?.len();
    let changes = (0..people).filter_map(|person| change(known, earlier, later, person));
    let mut total = 0;
    let mut altered = None;
    for (person, change) in changes.enumerate() {
        if change.requests < 0 || change.friends < 0 {
            return Some(Clash::Backwards { person });
        }
        if change.altered && altered.is_none() {
            altered = Some(Clash::Altered { person });
        }
        total += change.requests;
    }
    let too_many = total > i128::from(between);
    altered.or(too_many.then_some(Clash::TooMany { changes: total }))
}

/// How far after the first contradiction a more telling one is looked for.
const WINDOW: usize = 32;

/// Of the contradictions at and shortly after a pair of neighbours, the one that shows best what
/// happened: an answer that misses what an earlier one shows, with the first that it misses.
fn most_telling(known: &Known<'_>, at: usize) -> Fault {
    let backwards = |earlier: usize, later: usize| {
        matches!(
            clash(known, known.places[earlier], known.places[later]),
            Some(Clash::Backwards { .. })
        )
    };
    let end = known.places.len().min(at + WINDOW);
    let (mut earlier, later) = (at..end - 1)
        .map(|first| (first, first + 1))
        .find(|&(earlier, later)| backwards(earlier, later))
        .unwrap_or((at, at + 1));
    if backwards(earlier, later) {
        while earlier > 0 && backwards(earlier - 1, later) {
            earlier -= 1;
        }
    }
    Fault::Clash {
        earlier: known.places[earlier],
        later: known.places[later],
    }
}

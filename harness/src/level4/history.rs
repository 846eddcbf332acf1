//! The history of a run: every request with its start, its end and its answer; and the check that
//! the answers are linearizable and executed exactly once.
//!
//! The answers carry numbers, which makes the check cheap (O(n log n)): the order of the numbers
//! must agree with real time, and replaying the queries in that order must give the outputs. The
//! replay is a model of five people, independent of the judge's SQLite. A request that was never
//! answered is an open interval: it may have been executed at any time after its start, once, or
//! never. Numbers that no answer carries belong to such requests; which ones is found from the
//! table that the next answer shows.

use std::collections::BTreeSet;

use serde::Serialize;

use super::query::{PEOPLE, QueryId, Statement, Update};
use octopus::NodeId;

/// How many choices of lost requests are tried for one row.
const TRIES: u32 = 1_000_000;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The query it carries.
    pub query: QueryId,
    /// 1 for the first request of the query.
    pub attempt: u32,
    /// The node it is sent to.
    pub node: NodeId,
    /// What the query does.
    pub what: Statement,
    /// When it was sent, in microseconds of the event log.
    pub start_us: u64,
    /// When it ended; `None` for one that was open at the end of the run.
    pub end_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With status 200.
    Answer {
        /// The sequence number.
        number: u64,
        /// What the database printed.
        output: Vec<u8>,
    },
    /// With a 200 that cannot be read, which disqualifies.
    Failed(String),
    /// Without an answer, or with another status: it may have been executed, or may be yet.
    Lost(String),
    /// Not at all before the end of the run.
    Open,
}

/// All requests of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    attempts: Vec<Attempt>,
}

/// A proof that the answers are not those of one copy of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What is wrong.
    pub message: String,
    /// The fewest requests that show it, in the order of their numbers.
    pub requests: Vec<String>,
}

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Answers checked.
    pub checked: usize,
    /// Numbers that no answer carries, but for which a request accounts that was lost or still open
    /// when the run ended.
    pub unanswered_numbers: u64,
    /// What is wrong, if anything.
    pub violation: Option<Violation>,
}

impl History {
    /// Adds a request that begins; returns its place.
    pub fn begin(&mut self, attempt: Attempt) -> usize {
        self.attempts.push(attempt);
        self.attempts.len() - 1
    }

    /// Says how a request ended.
    pub fn end(&mut self, place: usize, at_us: u64, outcome: Outcome) {
        self.attempts[place].end_us = Some(at_us);
        self.attempts[place].outcome = outcome;
    }

    /// All requests in the order of their beginning.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// How long each answered query took from its first request to its answer, in microseconds,
    /// with the time of the answer, in the order of the answers.
    pub fn latencies(&self) -> Vec<(u64, u64)> {
        let mut first = std::collections::HashMap::new();
        let mut latencies = Vec::new();
        for attempt in &self.attempts {
            let start = *first.entry(attempt.query).or_insert(attempt.start_us);
            if let (Outcome::Answer { .. }, Some(end)) = (&attempt.outcome, attempt.end_us) {
                latencies.push((end, end.saturating_sub(start)));
            }
        }
        latencies.sort_unstable();
        latencies
    }

    /// Checks the whole history.
    pub fn check(&self) -> Verdict {
        let mut answers: Vec<Answered<'_>> =
            self.attempts.iter().filter_map(Answered::of).collect();
        answers.sort_by_key(|answer| (answer.number, answer.end_us));
        let mut verdict = Verdict {
            checked: answers.len(),
            ..Verdict::default()
        };
        let violation = repeated(&answers)
            .or_else(|| out_of_time(&answers))
            .or_else(|| {
                Replay::new(&self.attempts)
                    .run(&answers, &mut verdict.unanswered_numbers)
                    .err()
            });
        verdict.violation = violation;
        verdict
    }
}

/// A request with its answer.
#[derive(Clone, Copy)]
struct Answered<'a> {
    attempt: &'a Attempt,
    number: u64,
    output: &'a [u8],
    end_us: u64,
}

impl<'a> Answered<'a> {
    fn of(attempt: &'a Attempt) -> Option<Self> {
        match (&attempt.outcome, attempt.end_us) {
            (Outcome::Answer { number, output }, Some(end_us)) => Some(Self {
                attempt,
                number: *number,
                output,
                end_us,
            }),
            _ => None,
        }
    }

    fn shown(&self) -> String {
        let seconds = |us: u64| us as f64 / 1e6;
        format!(
            "number {}: query {} to node {}, sent at {:.6} s, answered at {:.6} s",
            self.number,
            self.attempt.query,
            self.attempt.node,
            seconds(self.attempt.start_us),
            seconds(self.end_us)
        )
    }
}

/// Two answers with one number.
fn repeated(answers: &[Answered<'_>]) -> Option<Violation> {
    let pair = answers
        .windows(2)
        .find(|pair| pair[0].number == pair[1].number)?;
    Some(Violation {
        message: format!("number {} was given twice", pair[0].number),
        requests: pair.iter().map(Answered::shown).collect(),
    })
}

/// A request that was sent after another one had been answered, and has the lower number.
fn out_of_time(answers: &[Answered<'_>]) -> Option<Violation> {
    // Of all with lower numbers, the one that was sent last.
    let mut latest: Option<&Answered<'_>> = None;
    for answer in answers {
        if let Some(latest) = latest
            && latest.attempt.start_us > answer.end_us
        {
            return Some(Violation {
                message: format!(
                    "number {} was answered before number {} was asked for",
                    answer.number, latest.number
                ),
                requests: vec![latest.shown(), answer.shown()],
            });
        }
        if latest.is_none_or(|latest| latest.attempt.start_us < answer.attempt.start_us) {
            latest = Some(answer);
        }
    }
    None
}

/// What the table says of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    friends: u64,
    requests: u64,
    word: String,
}

impl Row {
    fn apply(&mut self, update: &Update) {
        self.friends += update.friends;
        self.requests += 1;
        self.word.clone_from(&update.word);
    }
}

type Table = [Row; PEOPLE.len()];

fn print(table: &Table) -> String {
    let line = |(name, row): (&&str, &Row)| {
        format!("{name}|{}|{}|{}\n", row.friends, row.requests, row.word)
    };
    PEOPLE.iter().zip(table).map(line).collect()
}

/// The table that an output shows, if it is one.
fn read(output: &[u8]) -> Option<Table> {
    let text = std::str::from_utf8(output).ok()?;
    let mut table = Table::default();
    let mut lines = text.lines();
    for (name, row) in PEOPLE.iter().zip(&mut table) {
        let mut fields = lines.next()?.split('|');
        if fields.next()? != *name {
            return None;
        }
        row.friends = fields.next()?.parse().ok()?;
        row.requests = fields.next()?.parse().ok()?;
        fields.next()?.clone_into(&mut row.word);
    }
    lines.next().is_none().then_some(table)
}

/// A request that was never answered, and may have been executed.
struct Unanswered<'a> {
    attempt: &'a Attempt,
    used_for: Option<u64>,
}

/// The queries replayed in the order of their numbers.
struct Replay<'a> {
    table: Table,
    /// What every answer so far showed, to find stale ones.
    shown: Vec<(Answered<'a>, Table)>,
    unanswered: Vec<Unanswered<'a>>,
    next: u64,
}

impl<'a> Replay<'a> {
    fn new(attempts: &'a [Attempt]) -> Self {
        let unanswered = attempts
            .iter()
            .filter(|attempt| matches!(attempt.outcome, Outcome::Lost(_) | Outcome::Open))
            .map(|attempt| Unanswered {
                attempt,
                used_for: None,
            })
            .collect();
        Self {
            table: Table::default(),
            shown: Vec::new(),
            unanswered,
            next: 0,
        }
    }

    fn run(mut self, answers: &[Answered<'a>], lost: &mut u64) -> Result<(), Violation> {
        for answer in answers {
            let missing = answer.number - self.next;
            if missing > 0 {
                self.bridge(answer, missing)?;
                *lost += missing;
            }
            self.step(answer)?;
            self.next = answer.number + 1;
        }
        Ok(())
    }

    fn step(&mut self, answer: &Answered<'a>) -> Result<(), Violation> {
        let Statement::Update(update) = &answer.attempt.what else {
            // The boot query shows nothing; executed as a later one it is an error of SQL.
            let expected_empty = answer.number == 0;
            return if answer.output.is_empty() == expected_empty {
                Ok(())
            } else {
                Err(self.explain(answer, &Table::default()))
            };
        };
        let mut expected = self.table.clone();
        expected[update.person].apply(update);
        if print(&expected).as_bytes() != answer.output {
            return Err(self.explain(answer, &expected));
        }
        self.table = expected;
        self.shown.push((*answer, self.table.clone()));
        Ok(())
    }

    /// Finds the lost requests that were given the numbers before this answer's.
    fn bridge(&mut self, answer: &Answered<'a>, missing: u64) -> Result<(), Violation> {
        let Statement::Update(update) = &answer.attempt.what else {
            return Ok(());
        };
        let unexplained = |message: String| Violation {
            message: format!(
                "numbers {} to {} were given to no answered request, and {message}",
                answer.number - missing,
                answer.number - 1
            ),
            requests: vec![answer.shown()],
        };
        let Some(after) = read(answer.output) else {
            return Err(unexplained("the next answer shows no table".to_owned()));
        };
        // The boot query changes no row, whether it makes the table or fails because it is there.
        let mut changes = 0;
        for person in 0..PEOPLE.len() {
            let own = (update.person == person).then_some(update);
            let sought = Sought {
                before: &self.table[person],
                after: &after[person],
                own,
                person,
            };
            let count = sought.count();
            let found = count.and_then(|count| self.pick(&sought, count, answer));
            let (Some(count), Some(found)) = (count, found) else {
                return Err(unexplained(format!(
                    "no lost requests account for what became of {}: {:?} before, {:?} after",
                    PEOPLE[person], self.table[person], after[person]
                )));
            };
            changes += count;
            for place in found {
                self.unanswered[place].used_for = Some(answer.number);
            }
        }
        let boots = self
            .unanswered
            .iter()
            .filter(|lost| lost.attempt.what == Statement::Boot)
            .count() as u64;
        if changes > missing || changes + boots < missing {
            return Err(unexplained(format!(
                "{changes} lost requests were executed there"
            )));
        }
        self.table.clone_from(&after);
        if let Some(row) = self.table.get_mut(update.person) {
            // The step that follows applies this answer's own update again.
            row.friends -= update.friends;
            row.requests -= 1;
        }
        Ok(())
    }

    /// Lost requests that turn one row into the other, unused ones first.
    fn pick(&self, sought: &Sought<'_>, count: u64, answer: &Answered<'_>) -> Option<Vec<usize>> {
        let fits = |lost: &Unanswered<'_>| {
            matches!(&lost.attempt.what,
            Statement::Update(update) if update.person == sought.person)
                && lost.attempt.start_us <= answer.end_us
                && lost.used_for.is_none()
        };
        let candidates: Vec<(usize, &Update)> = self
            .unanswered
            .iter()
            .enumerate()
            .filter(|(_, lost)| fits(lost))
            .filter_map(|(place, lost)| match &lost.attempt.what {
                Statement::Update(update) => Some((place, update)),
                Statement::Boot => None,
            })
            .collect();
        sought.subset(&candidates, count)
    }

    /// The fewest requests that show an output to be wrong: the answer before it, or, if the
    /// output leaves out exactly one earlier update or shows an old table, that one.
    fn explain(&self, answer: &Answered<'a>, expected: &Table) -> Violation {
        let what = format!(
            "number {} shows another table than its place in the order",
            answer.number
        );
        let mut requests: Vec<String> = Vec::new();
        let mut message = what;
        if let (Some(found), Statement::Update(own)) = (read(answer.output), &answer.attempt.what) {
            let stale = self.shown.iter().rposition(|(_, table)| {
                let mut table = table.clone();
                table[own.person].apply(own);
                table == found
            });
            if let Some(at) = stale {
                let missed = self.shown.get(at + 1).map_or("others", |_| "the next");
                message = format!(
                    "number {} was executed on the table as it was after number {}: it misses {missed}",
                    answer.number, self.shown[at].0.number
                );
                requests.extend(self.shown.get(at + 1).map(|(next, _)| next.shown()));
            } else if let Some((omitted, _)) = self
                .shown
                .iter()
                .rev()
                .find(|(omitted, _)| omits(expected, &found, &omitted.attempt.what))
            {
                message = format!(
                    "number {} shows a table without the change of number {}",
                    answer.number, omitted.number
                );
                requests.push(omitted.shown());
            }
        }
        if requests.is_empty() {
            requests.extend(self.shown.last().map(|(before, _)| before.shown()));
        }
        requests.push(answer.shown());
        Violation { message, requests }
    }
}

/// Whether `found` is `expected` without one earlier update.
fn omits(expected: &Table, found: &Table, what: &Statement) -> bool {
    let Statement::Update(update) = what else {
        return false;
    };
    expected
        .iter()
        .zip(found)
        .enumerate()
        .all(|(person, (expected, found))| {
            if person == update.person {
                found.friends + update.friends == expected.friends
                    && found.requests + 1 == expected.requests
            } else {
                found == expected
            }
        })
}

/// A row before lost requests, and after them and the answer's own update.
struct Sought<'a> {
    before: &'a Row,
    after: &'a Row,
    own: Option<&'a Update>,
    person: usize,
}

impl Sought<'_> {
    /// How many lost requests changed the row; `None` if none can have.
    fn count(&self) -> Option<u64> {
        let own = u64::from(self.own.is_some());
        self.after.requests.checked_sub(self.before.requests + own)
    }

    /// So many of the candidates that make up the difference.
    fn subset(&self, candidates: &[(usize, &Update)], count: u64) -> Option<Vec<usize>> {
        let own = self.own.map_or(0, |own| own.friends);
        let friends = self.after.friends.checked_sub(self.before.friends + own)?;
        if count == 0 {
            let word_stays = self.own.is_some() || self.before.word == self.after.word;
            return (friends == 0 && word_stays).then(Vec::new);
        }
        let mut budget = TRIES;
        if self.own.is_some() {
            let mut chosen = BTreeSet::new();
            return choose(candidates, count, friends, &mut chosen, &mut budget)
                .then(|| chosen.into_iter().collect());
        }
        // The last of them left its word.
        candidates
            .iter()
            .filter(|(_, update)| update.word == self.after.word)
            .find_map(|last| {
                let rest: Vec<_> = candidates
                    .iter()
                    .filter(|(place, _)| *place != last.0)
                    .copied()
                    .collect();
                let mut chosen = BTreeSet::from([last.0]);
                let left = friends.checked_sub(last.1.friends)?;
                choose(&rest, count - 1, left, &mut chosen, &mut budget)
                    .then(|| chosen.into_iter().collect())
            })
    }
}

/// Chooses `count` candidates whose friends add up to `friends`, by trying in order. When that
/// takes more than the budget, it stops with those chosen so far: a run in which so much was lost
/// gets the benefit of the doubt.
fn choose(
    candidates: &[(usize, &Update)],
    count: u64,
    friends: u64,
    chosen: &mut BTreeSet<usize>,
    budget: &mut u32,
) -> bool {
    if count == 0 {
        return friends == 0;
    }
    *budget = budget.saturating_sub(1);
    if *budget == 0 {
        return true;
    }
    // Everybody brings at least one friend and at most a hundred.
    if friends < count || friends > 100 * count {
        return false;
    }
    for (tried, (place, update)) in candidates.iter().enumerate() {
        if update.friends <= friends {
            chosen.insert(*place);
            let rest = &candidates[tried + 1..];
            if choose(rest, count - 1, friends - update.friends, chosen, budget) {
                return true;
            }
            chosen.remove(place);
        }
    }
    false
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;

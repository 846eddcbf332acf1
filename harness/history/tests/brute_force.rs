//! On small histories, right and wrong ones, the verdict is that of trying all orders.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::{Record, SMALL, Store, history, model, run};
use history::{Budget, Time, Verdict, check, sql_counter::Answer};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// Whether any order of any of the attempts gives the answers; so many numbers may be nobody's.
fn possible(records: &[Record], strays: u64) -> bool {
    let executed = records
        .iter()
        .map(|record| vec![false; record.attempts.len()])
        .collect();
    let mut orders = Orders { records, executed };
    orders.go_on(0, &Store::default(), 0, strays)
}

struct Orders<'a> {
    records: &'a [Record],
    executed: Vec<Vec<bool>>,
}

impl Orders<'_> {
    /// Tries everything as the request with a number, and what follows.
    fn go_on(&mut self, number: u64, store: &Store, latest: Time, strays: u64) -> bool {
        let answers = self
            .records
            .iter()
            .filter_map(|record| record.answer.as_ref());
        let Some(last) = answers.map(|(_, answer)| answer.number).max() else {
            return true;
        };
        let requests: usize = self
            .records
            .iter()
            .map(|record| record.attempts.len())
            .sum();
        if number > last || last > requests as u64 + strays {
            return number > last;
        }
        let carries = |record: &Record| {
            record
                .answer
                .as_ref()
                .is_some_and(|(_, answer)| answer.number == number)
        };
        let carriers: Vec<usize> = (0..self.records.len())
            .filter(|&at| carries(&self.records[at]))
            .collect();
        match carriers.as_slice() {
            [] => {
                if strays > 0 && self.go_on(number + 1, store, latest, strays - 1) {
                    return true;
                }
                (0..self.records.len())
                    .any(|at| self.execute(at, None, number, store, latest, strays))
            }
            [only] => {
                let answer = self.records[*only].answer.as_ref();
                self.execute(*only, answer, number, store, latest, strays)
            }
            _ => false,
        }
    }

    fn execute(
        &mut self,
        at: usize,
        answer: Option<&(Time, Answer)>,
        number: u64,
        store: &Store,
        latest: Time,
        strays: u64,
    ) -> bool {
        let record = &self.records[at];
        let mut after = store.clone();
        let shown = after.execute(&record.statement);
        if let Some((end, answer)) = answer {
            // Nothing before was sent after this one had ended.
            if shown != answer.shown || latest > *end {
                return false;
            }
        }
        for attempt in 0..record.attempts.len() {
            let sent = record.attempts[attempt];
            let too_late = answer.is_some_and(|(end, _)| sent > *end);
            if self.executed[at][attempt] || too_late {
                continue;
            }
            self.executed[at][attempt] = true;
            let found = self.go_on(number + 1, &after, latest.max(sent), strays);
            self.executed[at][attempt] = false;
            if found {
                return true;
            }
        }
        false
    }
}

/// A record a line.
fn listed(records: &[Record]) -> String {
    let line = |record: &Record| {
        let answer = record.answer.as_ref().map(|(end, answer)| {
            let shown = String::from_utf8_lossy(&answer.shown).replace('\n', " ");
            format!("answered {end}: {} {shown}", answer.number)
        });
        format!(
            "{:?} sent {:?} {answer:?}\n",
            record.statement, record.attempts
        )
    };
    records.iter().map(line).collect()
}

/// Changes something at random, so that the history may be wrong.
fn disturb(records: &mut [Record], rng: &mut ChaCha8Rng) {
    let answered: Vec<usize> = (0..records.len())
        .filter(|&at| records[at].answer.is_some())
        .collect();
    let (Some(&at), Some(&other)) = (answered.choose(rng), answered.choose(rng)) else {
        return;
    };
    let booted = records[0].answer.as_ref().map_or(0, |(end, _)| *end);
    let another = records[other].answer.clone();
    let sent = records[at].attempts.last().copied().unwrap_or_default();
    let Some((end, answer)) = &mut records[at].answer else {
        return;
    };
    match rng.random_range(0..8) {
        0 => answer.number += 1,
        1 => answer.number = answer.number.saturating_sub(1),
        2 => std::mem::swap(&mut answer.shown, &mut another.unwrap().1.shown),
        3 => {
            let number = answer.number;
            let theirs = records[other].answer.as_mut().unwrap();
            let theirs = std::mem::replace(&mut theirs.1.number, number);
            records[at].answer.as_mut().unwrap().1.number = theirs;
        }
        4 => {
            let mut text = String::from_utf8(answer.shown.clone()).unwrap();
            let (from, to) = [("|1|", "|2|"), ("|2|", "|1|"), ("|a", "|b"), ("|3|", "|4|")]
                .choose(rng)
                .unwrap();
            text = text.replacen(from, to, 1);
            answer.shown = text.into_bytes();
        }
        5 if at > 0 => *end = sent + rng.random_range(0..3),
        6 if at > 0 => {
            let later = *end;
            for attempt in &mut records[at].attempts {
                *attempt = (*attempt + 5).min(later);
            }
        }
        7 if at > 0 => {
            for attempt in &mut records[at].attempts {
                *attempt = attempt.saturating_sub(4).max(booted + 1);
            }
            records[at].answer = None;
        }
        _ => answer.number += 2,
    }
}

static RIGHT: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

#[test]
fn the_verdict_is_that_of_trying_all_orders() {
    let config = ProptestConfig::with_cases(6000);
    proptest!(config, |(seed in any::<u64>(), disturbances in 0..3, strays in 0..2_u64)| {
        let mut records = run(seed, SMALL);
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        for _ in 0..disturbances {
            disturb(&mut records, &mut rng);
        }
        let model = model().with_stray_numbers(strays);
        let verdict = check(&model, &history(&records), Budget::default());
        let possible = possible(&records, strays);
        let counter = if possible { &RIGHT } else { &WRONG };
        counter.fetch_add(1, Ordering::Relaxed);
        match verdict {
            Verdict::Right => prop_assert!(possible, "{}", listed(&records)),
            Verdict::Wrong(why) => prop_assert!(!possible, "{why:?}\n{}", listed(&records)),
            Verdict::Undecided(why) => prop_assert!(false, "{why}"),
        }
    });
    // Both happen often, or the test says nothing.
    for counter in [&RIGHT, &WRONG] {
        assert!(
            counter.load(Ordering::Relaxed) > 1000,
            "{RIGHT:?} {WRONG:?}"
        );
    }
}

//! Backends that fail requests, in virtual time: because they have too much to do, or because of what is
//! asked. Nothing but an experiment tells one from the other, and both answer 500.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod world;

use world::traffic::{PACES, Pace, Report, Traffic};
use world::{Nanos, SECOND, Tally, World, play};

const SEED: u64 = 20_140_122;

/// When the capacity falls.
const CHANGE: Nanos = 30 * SECOND;

/// One backend of 75 ms that answers 500 at once where it has no slot free; its slots change.
fn shedding(before: usize, after: usize) -> World {
    let mut world = World {
        backends: 1,
        slots: before,
        backlog: 0,
        slots_later: Some((CHANGE, after)),
        end: 60 * SECOND,
        ..World::contest(None)
    };
    world.settings.backends = 1;
    world
}

/// Failures from one time to another.
fn failures(tally: &Tally, from: Nanos, to: Nanos) -> usize {
    let times = tally.failures.iter();
    times.filter(|&&at| (from..to).contains(&at)).count()
}

#[test]
fn a_backend_that_sheds_load_with_500_is_given_what_it_can_take() {
    for (before, after) in [(20, 2), (20, 1), (20, 12), (6, 2), (2, 20)] {
        for pace in PACES {
            let capacity = after as f64 / 0.075;
            let rate = 0.15 * capacity.min(before as f64 / 0.075);
            let script = Traffic::new(SEED, 60)
                .steady(3, rate, pace, 0.0)
                .floods(2, pace)
                .script();
            let tally = play(&shedding(before, after), &script);
            let label = format!("{before} slots to {after}, {pace:?}");
            let report = Report::of(&label, &script, &tally, 32, 59);
            let at_once = failures(&tally, CHANGE, CHANGE + 2 * SECOND);
            let later = failures(&tally, CHANGE + 2 * SECOND, 60 * SECOND);
            println!("  {at_once} failures in the first two seconds, {later} later");
            assert!(report.answered >= 0.97, "{label}");
            assert!(report.total >= 0.93 * capacity.min(450.0), "{label}");
            // What was in flight at the change, and what it takes to notice.
            assert!(at_once <= before + 20, "{label}");
            // A trial with one more in flight now and then.
            assert!(later <= 20, "{label}");
        }
    }
}

#[test]
fn clients_that_ask_for_little_see_few_failures_of_a_backend_that_sheds_load() {
    // Thirty polite clients who ask for a little more than is left: there is no flood to tell of it.
    for pace in PACES {
        let script = Traffic::new(SEED, 60).steady(30, 1.0, pace, 0.0).script();
        let tally = play(&shedding(20, 2), &script);
        let report = Report::of(&format!("30 of 1/s, {pace:?}"), &script, &tally, 30, 59);
        let failed = failures(&tally, CHANGE, 60 * SECOND);
        println!("  {failed} failures");
        assert!(failed <= 60, "{pace:?}");
        // 26.7 of 30 a second can be answered.
        assert!(report.answered >= 0.8, "{pace:?}");
    }
}

/// Whether a request is among the part of all that fails, which is drawn at random by its number.
fn one_in(part: usize, n: usize) -> bool {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).is_multiple_of(part)
}

#[test]
fn what_fails_for_its_own_sake_takes_no_capacity_from_others() {
    type Fails = fn(usize) -> bool;
    let cases: [(usize, Fails); 3] = [
        (10, |n| one_in(10, n)),
        (3, |n| one_in(3, n)),
        (2, |n| one_in(2, n)),
    ];
    for (part, fails) in cases {
        let world = World {
            fails,
            ..shedding(8, 8)
        };
        let script = Traffic::new(SEED, 60).floods(3, Pace::Poisson).script();
        let tally = play(&world, &script);
        let label = format!("one request in {part} fails");
        let report = Report::of(&label, &script, &tally, 30, 59);
        // A failed request takes no time, and the next takes its place.
        assert!(report.total >= 0.85 * 8.0 / 0.075, "{label}");
    }
}

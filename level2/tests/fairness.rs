//! Max-min fairness in virtual time, by the numbers: steady clients beside floods and beside names that
//! change, at many rates, costs and capacities.
//!
//! Each world prints what it found: the part of the steady clients' requests that was answered, the 99th
//! percentile of their waiting, and Jain's index of the floods.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod world;

use level2::policy::{ClientClass, FixedLimit};
use world::traffic::{PACES, Pace, Report, Traffic};
use world::{MS, SECOND, World, play};

/// Answers a second that two backends of two slots and 75 ms can give.
const CAPACITY: f64 = 4.0 / 0.075;

const SEED: u64 = 20_140_122;

/// The fair level beside `floods` floods when `steady` clients ask `rate` each, by water filling.
fn level(steady: usize, rate: f64, floods: usize) -> f64 {
    let even = CAPACITY / (steady + floods) as f64;
    let rest = (CAPACITY - steady as f64 * rate) / floods as f64;
    if rate < even { rest } else { even }
}

fn run(label: &str, world: &World, traffic: Traffic, seconds: u64) -> Report {
    let script = traffic.script();
    let world = World {
        end: seconds * SECOND,
        ..world.clone()
    };
    let tally = play(&world, &script);
    // A request sent in the last second may still be on its way.
    Report::of(label, &script, &tally, 0, seconds - 1)
}

#[test]
fn who_asks_for_less_than_the_fair_level_gets_all_of_it() {
    for (steady, floods) in [(3, 2), (1, 1), (1, 4), (10, 3)] {
        for pace in PACES {
            for part in [0.2, 0.4, 0.6, 0.75, 0.9] {
                // The rate that is this part of the level which it leaves to the floods.
                let share = part * CAPACITY / floods as f64;
                let rate = share / (1.0 + part * steady as f64 / floods as f64);
                assert!((rate / level(steady, rate, floods) - part).abs() < 1e-9);
                let traffic = Traffic::new(SEED, 120)
                    .steady(steady, rate, pace, 0.0)
                    .floods(floods, pace);
                let label = format!("{steady} of {rate:.2}/s beside {floods} floods, {pace:?}");
                let report = run(&label, &World::contest(None), traffic, 120);
                assert!(report.answered >= 0.99, "{label}");
                assert!(report.spread() <= 0.05, "{label}");
                // A flood that comes at random leaves a place empty now and then if it is the only one.
                let least = if floods == 1 && pace == Pace::Poisson {
                    0.97
                } else {
                    0.99
                };
                assert!(report.total >= least * CAPACITY, "{label}");
            }
        }
    }
}

#[test]
fn clients_that_ask_for_more_than_the_fair_level_share_the_rest_evenly() {
    // 4 and 8 a second are less than the level, (53.3 - 12) / 3 = 13.8; 20 is more.
    for pace in PACES {
        let script = Traffic::new(SEED, 120)
            .steady(1, 4.0, pace, 0.0)
            .floods(2, pace)
            .script();
        let mut script: Vec<_> = script.into_iter().collect();
        script.extend(
            Traffic::new(1, 120)
                .floods_of(20.0, 1, pace)
                .script()
                .into_iter()
                .map(|r| world::Request {
                    client: "flood of 20".into(),
                    ..r
                }),
        );
        script.extend(
            Traffic::new(2, 120)
                .floods_of(8.0, 1, pace)
                .script()
                .into_iter()
                .map(|r| world::Request {
                    client: "other".into(),
                    ..r
                }),
        );
        script.sort_by_key(|request| request.at);
        let world = World {
            end: 120 * SECOND,
            ..World::contest(None)
        };
        let tally = play(&world, &script);
        let report = Report::of(
            &format!("4, 8, 20 and two floods, {pace:?}"),
            &script,
            &tally,
            30,
            119,
        );
        let other = tally.by_client["other"] as f64 / 120.0;
        assert!(report.answered >= 0.99);
        assert!(
            other
                >= 0.98 * 8.0 * script.iter().filter(|r| r.client == "other").count() as f64
                    / 960.0,
            "{other}"
        );
        assert!(report.spread() <= 0.05, "{:?}", report.floods);
    }
}

#[test]
fn a_hundred_and_a_thousand_steady_clients_are_answered() {
    for (clients, least) in [(100, 0.99), (1_000, 0.985)] {
        for pace in PACES {
            let rate = 0.85 * CAPACITY / clients as f64;
            let traffic = Traffic::new(SEED, 120)
                .steady(clients, rate, pace, 0.0)
                .floods(2, pace);
            let label = format!("{clients} of {rate:.3}/s, {pace:?}");
            let report = run(&label, &World::contest(None), traffic, 120);
            assert!(report.answered >= least, "{label}");
            assert!(report.spread() <= 0.1, "{label}");
        }
    }
}

#[test]
fn quick_and_slow_requests_are_shared_by_the_time_they_take() {
    // 25 ms and, one in five, 275: 75 on average.
    let world = World {
        service: |n, _| {
            if (n * 7).is_multiple_of(5) {
                275 * MS
            } else {
                25 * MS
            }
        },
        ..World::contest(None)
    };
    for clients in [3, 20, 100] {
        for pace in PACES {
            // Three fifths of the capacity, or of an even share where they are few.
            let rate = 0.6 * CAPACITY / clients.max(5) as f64;
            let traffic = Traffic::new(SEED, 120)
                .steady(clients, rate, pace, 0.0)
                .floods(2, pace);
            let label = format!("25 and 275 ms, {clients} of {rate:.2}/s, {pace:?}");
            let report = run(&label, &world, traffic, 120);
            assert!(report.answered >= 0.99, "{label}");
        }
    }
}

#[test]
fn a_capacity_that_changes_tenfold_is_shared_fairly_two_seconds_later() {
    const CHANGE: u64 = 60 * SECOND;
    let slow = World {
        patience: 10 * SECOND,
        ..World::contest(None)
    };
    let worlds = [
        (
            "7.5 ms to 75",
            World {
                service: |_, now| if now < CHANGE { 75 * MS / 10 } else { 75 * MS },
                ..slow.clone()
            },
            9.0,
            CAPACITY,
        ),
        (
            "75 ms to 7.5",
            World {
                service: |_, now| if now < CHANGE { 75 * MS } else { 75 * MS / 10 },
                ..slow.clone()
            },
            9.0,
            10.0 * CAPACITY,
        ),
        (
            "750 ms to 75",
            World {
                service: |_, now| if now < CHANGE { 750 * MS } else { 75 * MS },
                ..slow.clone()
            },
            9.0,
            CAPACITY,
        ),
        (
            "20 slots to 2",
            World {
                slots: 20,
                backlog: 1_000,
                slots_later: Some((CHANGE, 2)),
                ..slow
            },
            8.0,
            CAPACITY,
        ),
    ];
    for (label, world, rate, capacity) in worlds {
        for pace in PACES {
            // Enough of a flood for the larger capacity, and none that is slower than a backend.
            let flood = 8.0 * capacity;
            let script = Traffic::new(SEED, 120)
                .steady(3, rate, pace, 0.0)
                .floods_of(flood, 2, pace)
                .script();
            let world = World {
                end: 120 * SECOND,
                ..world.clone()
            };
            let tally = play(&world, &script);
            let report = Report::of(&format!("{label}, {pace:?}"), &script, &tally, 62, 119);
            assert!(report.answered >= 0.98, "{label}");
            assert!(report.spread() <= 0.05, "{label}");
            assert!(report.total >= 0.95 * capacity, "{label}");
        }
    }
}

#[test]
fn known_clients_keep_their_service_whatever_new_names_do() {
    for each in [1, 2, 3, 5, 20] {
        for pace in PACES {
            // The names count as one client beside three.
            let rate = 0.8 * CAPACITY / 4.0;
            let script = Traffic::new(SEED, 120)
                .steady(3, rate, pace, 0.0)
                .names(200.0, each, 5.0)
                .script();
            let world = World {
                end: 120 * SECOND,
                ..World::contest(None)
            };
            let tally = play(&world, &script);
            let label = format!("3 of {rate:.1}/s beside a new name every {each}, {pace:?}");
            let report = Report::of(&label, &script, &tally, 5, 119);
            assert!(report.answered >= 0.95, "{label}");
            assert!(report.total >= 0.99 * CAPACITY, "{label}");
        }
    }
}

#[test]
fn known_clients_keep_their_service_beside_a_million_names() {
    let rate = 0.8 * CAPACITY / 4.0;
    let script = Traffic::new(SEED, 60)
        .steady(3, rate, Pace::Poisson, 0.0)
        .names(20_000.0, 1, 10.0)
        .script();
    assert!(script.len() > 1_000_000);
    let world = World {
        end: 60 * SECOND,
        ..World::contest(None)
    };
    let before = play(&world, &[]).table_bytes;
    let tally = play(&world, &script);
    assert_eq!(tally.table_bytes, before);
    let report = Report::of("3 beside a million names", &script, &tally, 10, 59);
    assert!(report.answered >= 0.95);
}

#[test]
fn honest_newcomers_get_in_within_seconds_beside_names_that_change() {
    for each in [1, 3, 20] {
        let mut script = Traffic::new(SEED, 60)
            .steady(3, 8.0, Pace::Poisson, 0.0)
            .names(200.0, each, 5.0)
            .script();
        for newcomer in 0..10u64 {
            // Two requests a second, from a moment of its own on.
            script.extend((0..30).map(|n| world::Request {
                at: (20 + newcomer) * SECOND + n * 500 * MS,
                client: format!("new {newcomer}"),
                mouse: false,
            }));
        }
        script.sort_by_key(|request| request.at);
        let world = World {
            end: 60 * SECOND,
            ..World::contest(None)
        };
        let tally = play(&world, &script);
        for newcomer in 0..10u64 {
            let name = format!("new {newcomer}");
            let first = tally.answers.iter().find(|(_, client)| *client == name);
            let waited = first.unwrap().0 - (20 + newcomer) * SECOND;
            let served = tally.by_client[&name];
            println!(
                "a new name every {each}: {name} in after {} ms, {served} of 30",
                waited / MS
            );
            assert!(waited < 3 * SECOND, "{name} waited {waited}");
            assert!(served >= 24, "{name} was served {served} times");
        }
    }
}

#[test]
fn clients_that_come_and_go_do_not_disturb_the_others() {
    // Floods that ask for three seconds and rest for three, in turns, and one that stays. What they save
    // while they rest makes them full clients: the level is a sixth of the capacity, 8.9 a second.
    for pace in PACES {
        let flood = Traffic::new(SEED, 120).floods(3, pace).script();
        let mut script: Vec<_> = flood
            .into_iter()
            .filter(|r| match r.client.as_str() {
                "flood 0" => true,
                "flood 1" => (r.at / (3 * SECOND)).is_multiple_of(2),
                _ => !(r.at / (3 * SECOND)).is_multiple_of(2),
            })
            .collect();
        script.extend(Traffic::new(SEED, 120).steady(3, 7.5, pace, 0.0).script());
        script.sort_by_key(|request| request.at);
        let world = World {
            end: 120 * SECOND,
            ..World::contest(None)
        };
        let tally = play(&world, &script);
        let report = Report::of(
            &format!("floods in turns, {pace:?}"),
            &script,
            &tally,
            0,
            119,
        );
        assert!(report.answered >= 0.99);
        assert!(report.total >= 0.985 * CAPACITY);
        // Whoever rests half of the time saves up its share and gets no more than who stays.
        for flood in &report.floods[1..] {
            assert!(*flood <= 1.05 * report.floods[0], "{:?}", report.floods);
        }
    }
}

#[test]
fn classes_share_by_their_weights() {
    let class = |pattern: &str, weight: f64, limit: Option<FixedLimit>| ClientClass {
        pattern: pattern.parse().unwrap(),
        weight,
        limit,
    };
    let limit = FixedLimit {
        rate: 5.0,
        burst: 10.0,
    };
    let mut world = World {
        end: 120 * SECOND,
        ..World::contest(None)
    };
    world.settings.naming.classes = vec![
        class("flood 0", 3.0, None),
        class("steady *", 1.0, Some(limit)),
    ];
    // Within its limit, and more than that in the second half.
    let mut script = Traffic::new(SEED, 60)
        .steady(1, 4.5, Pace::Regular, 0.0)
        .script();
    script.extend(
        Traffic::new(SEED, 120)
            .steady(1, 50.0, Pace::Regular, 61.0)
            .script(),
    );
    script.extend(Traffic::new(SEED, 120).floods(2, Pace::Regular).script());
    script.sort_by_key(|request| request.at);
    let tally = play(&world, &script);
    let report = Report::of("weights of 3 and 1", &script, &tally, 5, 59);
    assert!(report.answered >= 0.99);
    let ratio = report.floods[0] / report.floods[1];
    assert!((ratio - 3.0).abs() < 0.15, "{ratio}");
    let report = Report::of("5 a second and 10 at once", &script, &tally, 61, 119);
    let served = report.answered * report.sent as f64;
    assert!((served - (5.0 * 58.0 + 10.0)).abs() <= 6.0, "{served}");
}

/// What `docs/flood.md` says, by the numbers that its picture shows.
mod the_story_of_a_flood {
    use super::world::story::{
        CAPACITY, END, FIRST, LAST, NEWCOMER, QUIET, SECOND_FLOOD, Told, fair, first_come,
    };
    use super::{MS, SECOND};

    /// Requests of a client that came within these seconds.
    fn within(told: &[Told], client: usize, from: u64, until: u64) -> Vec<&Told> {
        let came = |told: &&Told| (from * SECOND..until * SECOND).contains(&told.life.came);
        let of = told.iter().filter(|told| told.client == client);
        of.filter(came).collect()
    }

    /// Answers a second to what came within these seconds.
    fn rate(told: &[Told], client: usize, from: u64, until: u64) -> f64 {
        let asked = within(told, client, from, until);
        let answered = asked.iter().filter(|told| told.wait().is_some()).count();
        answered as f64 / (until - from) as f64
    }

    /// Part of the places' time in which they worked.
    fn busy(told: &[Told], from: u64, until: u64) -> f64 {
        let (from, until) = (from * SECOND, until * SECOND);
        let of = |told: &Told| {
            let (Some(began), Some(ended)) = (told.life.decided, told.life.worked) else {
                return 0;
            };
            ended.min(until).saturating_sub(began.max(from))
        };
        let worked: u64 = told.iter().map(of).sum();
        worked as f64 / (4 * (until - from)) as f64
    }

    #[test]
    fn is_true_of_the_policy() {
        let told = fair();
        for client in 0..QUIET {
            let mut waits: Vec<_> = within(&told, client, 0, END)
                .iter()
                .map(|told| told.wait().expect("a quiet client is always answered"))
                .collect();
            waits.sort_unstable();
            assert!(
                waits[waits.len() / 2] <= 20 * MS && waits[waits.len() - 1] <= 75 * MS,
                "{waits:?}"
            );
        }
        // One flood has what the others leave; two share it.
        let left = CAPACITY - 12.0;
        let alone = rate(&told, 3, FIRST + 1, SECOND_FLOOD);
        assert!((alone / left - 1.0).abs() < 0.05, "{alone} of {left}");
        let [first, second] = [3, 4].map(|flood| rate(&told, flood, SECOND_FLOOD + 1, NEWCOMER));
        assert!((first / second - 1.0).abs() < 0.1, "{first} and {second}");
        assert!(((first + second) / left - 1.0).abs() < 0.05);
        // Whoever is new and asks for little is answered from the first request on.
        for new in within(&told, 5, NEWCOMER, END) {
            assert!(new.wait().is_some_and(|wait| wait <= 75 * MS), "{new:?}");
        }
        let busy = busy(&told, FIRST + 1, LAST);
        assert!(busy > 0.98, "{busy}");
        // Only floods are turned away, and nearly always at once.
        let refused: Vec<_> = told.iter().filter(|told| told.wait().is_none()).collect();
        assert!(
            refused
                .iter()
                .all(|told| told.client == 3 || told.client == 4)
        );
        let waited = |told: &&&Told| {
            told.life
                .decided
                .is_some_and(|at| at > told.life.came + 20 * MS)
        };
        let late = refused.iter().filter(waited).count();
        assert!(late * 20 <= refused.len(), "{late} of {}", refused.len());
    }

    #[test]
    fn is_true_of_first_come_first_served() {
        let told = first_come();
        for client in 0..QUIET {
            let before = within(&told, client, 0, FIRST);
            assert!(before.iter().all(|told| told.wait() == Some(0)));
            let during = within(&told, client, SECOND_FLOOD, LAST);
            let answered = during.iter().filter_map(|told| told.wait());
            let waits: Vec<_> = answered.collect();
            assert!(
                waits.len() * 3 <= during.len(),
                "{} of {}",
                waits.len(),
                during.len()
            );
            assert!(waits.iter().all(|wait| *wait > 800 * MS), "{waits:?}");
        }
        assert!(busy(&told, FIRST + 1, LAST) > 0.99);
    }
}

//! Whole clusters in virtual time: real cores, logs and state machines over a simulated network that
//! drops, delays, duplicates, reorders and partitions, and simulated disks that lose what was not
//! synced. One seed decides everything; a failing one prints the command that replays it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::any::Any;
use std::collections::HashMap;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use level4::simulation::{Cluster, Outcome, Plant, Run, Trace};

/// Seeds run by default; `LEVEL4_SEEDS=FROM..TO` runs others.
const SEEDS: std::ops::Range<u64> = 0..400;

/// Seeds in which planted bugs are looked for.
const PLANTED: std::ops::Range<u64> = 0..1_000;

fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("LEVEL4_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = range.split_once("..").expect("LEVEL4_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Shows a line, even if the test's output is held back.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What the format asks for, and what the page needs.
#[test]
fn a_trace_changes_nothing_and_tells_everything() {
    for seed in 0..8 {
        let written = Trace::default();
        let traced = Cluster::traced(seed, Some(written.clone())).run();
        let plain = Cluster::new(seed).run();
        assert_eq!(format!("{traced:?}"), format!("{plain:?}"));
        let text = written.text();
        let trace = octopus::trace::Trace::read(text.as_bytes(), Path::new("simulated")).unwrap();
        let is_known = |kind: &str| {
            octopus::trace::KINDS
                .iter()
                .any(|(known, _)| *known == kind)
        };
        assert!(trace.counts().keys().all(|kind| is_known(kind)));
        // What arrives or is lost was sent, and no later.
        let mut sent = HashMap::new();
        let mut answered = 0;
        for event in &trace.events {
            let id = event.id.as_deref().unwrap_or_default();
            match event.kind.as_str() {
                "send" => assert_eq!(sent.insert(id, event), None, "a number twice: {event:?}"),
                "deliver" => {
                    let from = sent[id];
                    assert_eq!((&from.node, &from.to), (&event.from, &event.node));
                    assert_eq!(from.message, event.message);
                }
                "drop" => assert!(sent.contains_key(id)),
                "client" if event.what.as_deref() == Some("ok") => {
                    let is_write = !event.requests[0].starts_with("read");
                    answered += u64::from(is_write);
                }
                _ => {}
            }
        }
        assert_eq!(answered, traced.answered);
    }
}

/// The words of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_default()
}

#[test]
fn bugs_that_are_planted_are_found() {
    for (plant, told) in [
        (Plant::EarlyAck, "not on disk"),
        (
            Plant::StaleRead,
            "does not see what was acknowledged before",
        ),
        (Plant::NoDedupe, "ran twice"),
        (Plant::ForgottenVote, "two votes of node"),
    ] {
        let run = |seed| {
            let run = || Cluster::planted(seed, plant, None).run();
            panic::catch_unwind(AssertUnwindSafe(run)).err()
        };
        let failed = PLANTED
            .into_iter()
            .find_map(|seed| Some((seed, run(seed)?)));
        let (seed, panic) = failed.unwrap_or_else(|| panic!("{plant:?} is not found"));
        let words = words(&*panic);
        tell(&format!("{plant:?} is found at seed {seed}: {words}"));
        assert!(words.contains(told), "{plant:?} at seed {seed}: {words}");
    }
}

#[test]
fn every_request_runs_exactly_once_and_in_one_order_through_faults() {
    let Outcome { count, failed, sum } = Run::new(seeds()).run(None, None, |line| tell(&line));
    tell(&format!("{count} seeds, {} failed: {sum:?}", failed.len()));
    for seed in &failed {
        let command = "cargo test -p level4 --test simulation";
        tell(&format!(
            "replay with: LEVEL4_SEEDS={seed}..{} {command}",
            seed + 1
        ));
        let command = "cargo run --release -p level4 --example replay --";
        tell(&format!(
            "see it with: {command} --seed {seed} --html seed-{seed}.html"
        ));
    }
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    assert!(sum.answered > 10 * count, "{sum:?}");
    if count >= 100 {
        // It all happens, and is found.
        assert!(
            sum.parted > 0
                && sum.skipped > 0
                && sum.replaced > 0
                && sum.readmitted > 0
                && sum.moved > 0
                && sum.failed > 0,
            "{sum:?}"
        );
    }
}

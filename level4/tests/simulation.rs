//! Whole clusters in virtual time: real cores, logs and state machines over a simulated network that
//! drops, delays, duplicates, reorders and partitions, and simulated disks that lose what was not
//! synced. One seed decides everything; a failing one prints the command that replays it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use level4::simulation::{Cluster, Outcome, Run, Trace};

/// Seeds run by default; `LEVEL4_SEEDS=FROM..TO` runs others.
const SEEDS: std::ops::Range<u64> = 0..400;

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

//! Whole clusters in virtual time: real cores, logs and state machines over a simulated network that
//! drops, delays, duplicates, reorders and partitions, and simulated disks that lose what was not
//! synced. One seed decides everything; a failing one prints the command that replays it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write as _;

use level4::simulation::{Outcome, Run};

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

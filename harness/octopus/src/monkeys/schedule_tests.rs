//! Tests of the schedule: its digest, its purity, and the distributions of the spec's table.

use sha2::{Digest, Sha256};

use super::*;
use crate::monkeys::{Intensity, Pace};

/// SHA-256 of the lines of a schedule, each with its line feed.
fn digest(schedule: &Schedule) -> String {
    let lines = schedule.lines(5).map(|line| line + "\n");
    hex::encode(Sha256::digest(lines.collect::<String>()))
}

const SECOND_US: u64 = 1_000_000;

/// The schedule of one monkey alone, for a long time at full intensity.
fn alone(monkey: Monkey, nodes: usize, seconds: u64) -> Vec<Act> {
    let settings = MonkeySettings {
        enabled: [monkey].into(),
        intensity: Intensity::Fixed(1.0),
        scripts: vec!["grow".to_owned()],
        ..MonkeySettings::default()
    };
    Schedule::new(11, nodes, seconds * SECOND_US, &settings).acts
}

fn mean(values: impl ExactSizeIterator<Item = u64>) -> f64 {
    let count = values.len() as f64;
    values.map(|value| value as f64).sum::<f64>() / count
}

#[test]
fn seed_7_gives_the_same_schedule_on_every_machine() {
    let schedule = Schedule::new(7, 5, 30 * SECOND_US, &MonkeySettings::default());
    let lines: Vec<String> = schedule.lines(5).collect();
    assert_eq!(lines[0], "start link 0-1 latency 10 ms jitter 2 ms");
    assert_eq!(
        digest(&schedule),
        "534c14ef1cc6eadd8dbca77ed43379037dd6e57a0db0b265e65c73115d9646ff"
    );
    // Monkeys that came later change nothing for those that were there.
    let all = MonkeySettings {
        enabled: Monkey::ALL[..14].iter().copied().collect(),
        ..MonkeySettings::default()
    };
    assert_eq!(
        digest(&Schedule::new(7, 5, 30 * SECOND_US, &all)),
        "90ac1ead11776071130d29f0ae70015b31e88ce8664be93371abd31ae036650b"
    );
}

#[test]
fn another_seed_gives_another_schedule() {
    let new = |seed| Schedule::new(seed, 5, 30 * SECOND_US, &MonkeySettings::default());
    assert_ne!(new(7), new(8));
}

#[test]
fn switching_a_monkey_off_changes_no_act_of_another() {
    let all = MonkeySettings {
        enabled: Monkey::ALL.into(),
        ..MonkeySettings::default()
    };
    let full = Schedule::new(5, 5, 60 * SECOND_US, &all);
    for monkey in Monkey::ALL {
        let mut fewer = all.clone();
        fewer.enabled.remove(&monkey);
        let mut expected = full.clone();
        expected.acts.retain(|act| act.monkey != monkey);
        assert_eq!(
            Schedule::new(5, 5, 60 * SECOND_US, &fewer),
            expected,
            "{monkey}"
        );
    }
}

#[test]
fn a_longer_run_begins_like_a_shorter_one() {
    let settings = MonkeySettings::default();
    let short = Schedule::new(5, 5, 20 * SECOND_US, &settings);
    let mut long = Schedule::new(5, 5, 60 * SECOND_US, &settings);
    long.acts.retain(|act| act.at_us < 20 * SECOND_US);
    assert_eq!(short, long);
}

#[test]
fn gaps_have_the_means_and_first_acts_the_offsets_of_the_table() {
    for monkey in Monkey::ALL
        .into_iter()
        .filter(|&monkey| !matches!(monkey, Monkey::Spof | Monkey::Crash))
    {
        let Pace {
            offset_s,
            mean_gap_s,
        } = monkey.pace();
        let gap = mean_gap_s.unwrap();
        let acts = alone(monkey, 5, (gap * 20_000.0) as u64);
        assert!(acts[0].at_us as f64 > offset_s * 1e6, "{monkey}");
        let found =
            (acts[acts.len() - 1].at_us - acts[0].at_us) as f64 / 1e6 / (acts.len() - 1) as f64;
        assert!(
            (found / gap - 1.0).abs() < 0.03,
            "{monkey}: {found} instead of {gap}"
        );
    }
    let spof = alone(Monkey::Spof, 5, 10);
    assert_eq!(spof.len(), 1);
    assert_eq!(spof[0].at_us, SECOND_US);
}

#[test]
fn scales_shorten_offsets_and_gaps() {
    let settings = MonkeySettings {
        intensity: Intensity::Fixed(1.0),
        offset_scale: 0.0,
        gap_scale: 0.1,
        ..MonkeySettings::default()
    };
    let acts = Schedule::new(3, 5, 2 * SECOND_US, &settings).acts;
    let whose: std::collections::BTreeSet<Monkey> = acts.iter().map(|act| act.monkey).collect();
    assert!(whose.len() >= 7, "{whose:?}");
    // A scale of 0 is as often as once a microsecond, and still ends.
    let fast = MonkeySettings {
        gap_scale: 0.0,
        ..settings
    };
    assert!(!Schedule::new(3, 5, 1000, &fast).acts.is_empty());
}

#[test]
fn durations_are_uniform_up_to_what_the_intensity_allows() {
    for (monkey, most_ms) in [
        (Monkey::Lagsplit, 1000),
        (Monkey::Link, 500),
        (Monkey::Netsplit, 1000),
        (Monkey::Unneighborly, 1000),
        (Monkey::Freeze, 1000),
        (Monkey::Murder, 1000),
    ] {
        let lengths: Vec<u64> = alone(monkey, 5, 60_000)
            .iter()
            .map(|act| match act.what {
                What::Spike { for_us, .. }
                | What::Down { for_us, .. }
                | What::Freeze { for_us, .. }
                | What::Kill { for_us, .. } => for_us,
                ref other => panic!("{monkey}: {other}"),
            })
            .collect();
        assert!(lengths.iter().all(|&us| us <= most_ms * 1000), "{monkey}");
        let found = mean(lengths.into_iter()) / (most_ms as f64 * 500.0);
        assert!((found - 1.0).abs() < 0.04, "{monkey}: {found}");
    }
}

#[test]
fn nothing_breaks_while_the_wave_is_calm() {
    let settings = MonkeySettings {
        enabled: Monkey::ALL.into(),
        offset_scale: 0.0,
        gap_scale: 0.01,
        ..MonkeySettings::default()
    };
    let acts = Schedule::new(9, 5, 60 * SECOND_US, &settings).acts;
    let mut broken = 0;
    for act in acts.iter().filter(|act| act.monkey.rests_when_calm()) {
        assert!(
            settings.intensity.at(act.at_us as f64 / 1e6) >= 0.1,
            "{act}"
        );
        broken += 1;
    }
    assert!(broken > 1000);
    assert!(
        acts.iter()
            .any(|act| act.monkey == Monkey::Lagsplit && act.at_us < SECOND_US)
    );
}

#[test]
fn latencies_and_jitters_are_those_of_the_spec() {
    let latencies: Vec<u64> = alone(Monkey::Latency, 5, 20_000)
        .iter()
        .map(|act| match act.what {
            What::Latency { ms, .. } => ms,
            ref other => panic!("{other}"),
        })
        .collect();
    assert!(latencies.iter().all(|&ms| ms >= 1));
    // ⌊N(20, 10)⌋ has the mean 19.5; raising what is below 1 adds about 0.1.
    let found = mean(latencies.into_iter());
    assert!((found - 19.6).abs() < 0.2, "{found}");
    let mut jitters = [0_u32; 20];
    for act in alone(Monkey::Jitter, 5, 40_000) {
        match act.what {
            What::Jitter { ms, .. } => jitters[ms as usize] += 1,
            other => panic!("{other}"),
        }
    }
    assert!(
        jitters.iter().all(|&count| (1800..2200).contains(&count)),
        "{jitters:?}"
    );
}

#[test]
fn spikes_are_normal_and_at_least_a_millisecond() {
    let spikes: Vec<u64> = alone(Monkey::Lagsplit, 5, 40_000)
        .iter()
        .map(|act| match act.what {
            What::Spike { ms, .. } => ms,
            ref other => panic!("{other}"),
        })
        .collect();
    assert!(spikes.iter().all(|&ms| ms >= 1));
    let found = mean(spikes.into_iter());
    assert!((found - 100.0).abs() < 2.0, "{found}");
}

#[test]
fn partitions_cut_one_to_three_of_five_nodes_off() {
    let mut sizes = std::collections::BTreeMap::new();
    for act in alone(Monkey::Netsplit, 5, 60_000) {
        let What::Down { links, .. } = act.what else {
            panic!("{act}")
        };
        *sizes.entry(links.len()).or_insert(0) += 1;
    }
    // 1 of 5 crosses 4 links; 2 of 5 and 3 of 5 cross 6.
    let (&single, &double) = (&sizes[&4], &sizes[&6]);
    assert_eq!(sizes.len(), 2);
    let share = f64::from(single) / f64::from(single + double);
    assert!((share - 1.0 / 3.0).abs() < 0.02, "{share}");
}

#[test]
fn unneighborly_touches_every_node_with_no_link_too_many() {
    for act in alone(Monkey::Unneighborly, 5, 10_000) {
        let What::Down { links, .. } = act.what else {
            panic!("{act}")
        };
        assert!(
            (0..5).all(|node| links.iter().any(|link| link.touches(node))),
            "{links:?}"
        );
        assert!((3..=4).contains(&links.len()), "{links:?}");
    }
}

#[test]
fn the_links_of_clients_break_like_all_others_and_only_links() {
    let settings = MonkeySettings {
        enabled: Monkey::ALL.into(),
        intensity: Intensity::Fixed(1.0),
        flaky_clients: true,
        ..MonkeySettings::default()
    };
    let schedule = Schedule::new(4, 3, 600 * SECOND_US, &settings);
    assert_eq!(schedule.links.len(), pairs(4).len());
    let mut cut = 0;
    for act in &schedule.acts {
        match &act.what {
            What::Down { links, .. } => {
                cut += usize::from(links.iter().any(|link| link.touches(3)));
            }
            What::Freeze { node, .. } | What::Restart { node, .. } | What::Wipe { node, .. } => {
                assert!(*node < 3);
            }
            What::Kill { nodes, .. } | What::Spof { order: nodes } => {
                assert!(nodes.iter().all(|&node| node < 3));
            }
            _ => {}
        }
    }
    assert!(cut > 50, "{cut}");
}

#[test]
fn crashes_leave_a_majority() {
    for (nodes, most) in [(3, 1), (4, 1), (5, 2), (7, 3)] {
        let acts = alone(Monkey::Crash, nodes, 10_000);
        let dead: std::collections::BTreeSet<_> = acts
            .iter()
            .map(|act| match act.what {
                What::Crash { node } => node,
                ref other => panic!("{other}"),
            })
            .collect();
        assert_eq!((acts.len(), dead.len()), (most, most), "of {nodes}");
    }
}

#[test]
fn small_clusters_have_fewer_things_to_break() {
    for nodes in 0..3 {
        for monkey in Monkey::ALL {
            let acts = alone(monkey, nodes, 1000);
            let needs_links = !matches!(
                monkey,
                Monkey::Freeze
                    | Monkey::Murder
                    | Monkey::Fulldisk
                    | Monkey::Reconnect
                    | Monkey::Blackout
                    | Monkey::Restart
                    | Monkey::Wipe
                    | Monkey::Crash
                    | Monkey::Script
                    | Monkey::Clock
            );
            if nodes < 2 && needs_links {
                assert!(acts.is_empty(), "{monkey} of {nodes}: {}", acts[0]);
            } else if monkey == Monkey::Crash {
                assert!(acts.is_empty(), "no minority of {nodes}");
            } else if nodes == 2 {
                assert!(!acts.is_empty(), "{monkey}");
            }
        }
    }
}

//! Tests of the performer in virtual time.

use std::collections::BTreeMap;

use super::*;
use crate::{
    monkeys::{Intensity, Monkey, MonkeySettings},
    network::{LinkState, pairs},
};

/// Network and nodes as plain values.
#[derive(Default)]
struct Model {
    links: BTreeMap<Pair, LinkState>,
    frozen: BTreeMap<NodeId, i32>,
    killed: BTreeMap<NodeId, i32>,
    full: BTreeMap<NodeId, bool>,
    progress: Progress,
    told: Vec<String>,
}

impl Model {
    fn is_calm(&self) -> bool {
        let calm = |link: &LinkState| {
            link.is_up()
                && link.spike_ms == 0
                && !link.loses(0)
                && !link.loses(1)
                && link.bandwidth.is_none()
        };
        self.links.values().all(calm)
            && self.frozen.values().all(|&count| count == 0)
            && self.killed.values().all(|&count| count == 0)
            && self.full.values().all(|&full| !full)
    }

    fn is_cut_off(&self, node: NodeId, nodes: usize) -> bool {
        let down = |other| {
            self.links
                .get(&Pair::new(node, other))
                .is_some_and(|l| !l.is_up())
        };
        (0..nodes).filter(|&other| other != node).all(down)
    }
}

impl Stage for Model {
    fn change(&mut self, link: Pair, change: Change) {
        self.links.entry(link).or_default().apply(link, change);
    }
    fn freeze(&mut self, node: NodeId) {
        *self.frozen.entry(node).or_default() += 1;
    }
    fn thaw(&mut self, node: NodeId) {
        *self.frozen.entry(node).or_default() -= 1;
    }
    fn kill(&mut self, node: NodeId) {
        *self.killed.entry(node).or_default() += 1;
    }
    fn revive(&mut self, node: NodeId) {
        *self.killed.entry(node).or_default() -= 1;
    }
    fn set_disk_full(&mut self, node: NodeId, full: bool) {
        self.full.insert(node, full);
    }
    fn begins(&mut self, act: &Act) {
        self.told.push(act.what.to_string());
    }
    fn tells(&mut self, what: String) {
        self.told.push(what);
    }
    fn progress(&self) -> Progress {
        self.progress
    }
}

fn schedule(acts: Vec<(u64, Monkey, What)>) -> Schedule {
    let act = |(at_us, monkey, what)| Act {
        at_us,
        monkey,
        what,
    };
    Schedule {
        links: Vec::new(),
        acts: acts.into_iter().map(act).collect(),
    }
}

#[test]
fn an_act_begins_on_time_and_ends_on_time() {
    let link = Pair::new(0, 1);
    let down = What::Down {
        links: vec![link],
        for_us: 50,
    };
    let mut performer = Performer::new(&schedule(vec![(100, Monkey::Link, down)]), 2);
    let mut model = Model::default();
    assert_eq!(performer.next_us(), Some(100));
    performer.advance(99, &mut model);
    assert!(model.links.is_empty());
    performer.advance(100, &mut model);
    assert!(!model.links[&link].is_up());
    assert_eq!(performer.next_us(), Some(150));
    performer.advance(149, &mut model);
    assert!(!model.links[&link].is_up());
    performer.advance(150, &mut model);
    assert!(model.links[&link].is_up());
    assert_eq!(performer.next_us(), None);
}

#[test]
fn overlapping_spikes_add_up() {
    let link = Pair::new(0, 1);
    let spike = |ms, for_us| What::Spike {
        links: vec![link],
        ms,
        for_us,
    };
    let acts = vec![
        (0, Monkey::Lagsplit, spike(30, 100)),
        (10, Monkey::Lagsplit, spike(5, 20)),
    ];
    let mut performer = Performer::new(&schedule(acts), 2);
    let mut model = Model::default();
    performer.advance(0, &mut model);
    performer.advance(10, &mut model);
    assert_eq!(model.links[&link].spike_ms, 35);
    performer.advance(30, &mut model);
    assert_eq!(model.links[&link].spike_ms, 30);
    performer.advance(100, &mut model);
    assert_eq!(model.links[&link].spike_ms, 0);
}

#[test]
fn after_every_end_everything_is_as_before() {
    let settings = MonkeySettings {
        enabled: Monkey::ALL
            .into_iter()
            .filter(|&monkey| monkey != Monkey::Spof)
            .collect(),
        intensity: Intensity::Fixed(1.0),
        offset_scale: 0.0,
        gap_scale: 0.1,
    };
    let schedule = Schedule::new(21, 5, 20_000_000, &settings);
    let mut performer = Performer::new(&schedule, 5);
    let mut model = Model::default();
    let mut was_disturbed = false;
    while let Some(next) = performer.next_us() {
        performer.advance(next, &mut model);
        was_disturbed |= !model.is_calm();
    }
    assert!(was_disturbed);
    assert!(model.is_calm());
    // And when it is cut short.
    let mut performer = Performer::new(&schedule, 5);
    let mut model = Model::default();
    performer.advance(10_000_000, &mut model);
    assert!(!model.is_calm());
    performer.heal(&mut model);
    assert!(model.is_calm());
    assert_eq!(performer.next_us(), None);
}

#[test]
fn spof_holds_each_node_until_an_answer_to_a_newer_query_comes() {
    let order = vec![2, 0, 1];
    let spof = What::Spof {
        order: order.clone(),
    };
    let mut performer = Performer::new(&schedule(vec![(1000, Monkey::Spof, spof)]), 3);
    let progress = Progress {
        newest_queued: 10,
        newest_answered: 4,
    };
    let mut model = Model {
        progress,
        ..Model::default()
    };
    performer.advance(1000, &mut model);
    for &node in &order {
        assert!(performer.watches_progress());
        assert!(model.is_cut_off(node, 3));
        assert_eq!(model.frozen[&node], 1);
        // An answer to what was queued already is no progress.
        let queued_then = model.progress.newest_queued;
        model.progress = Progress {
            newest_queued: queued_then + 10,
            newest_answered: queued_then,
        };
        performer.advance(u64::MAX, &mut model);
        assert!(model.is_cut_off(node, 3));
        model.progress.newest_answered += 1;
        performer.advance(u64::MAX, &mut model);
        assert!(!model.is_cut_off(node, 3));
        assert_eq!(model.frozen[&node], 0);
    }
    assert!(!performer.watches_progress());
    assert!(model.is_calm());
}

#[test]
fn spof_without_progress_holds_its_node_to_the_end() {
    let spof = What::Spof { order: vec![0, 1] };
    let mut performer = Performer::new(&schedule(vec![(0, Monkey::Spof, spof)]), 2);
    let mut model = Model::default();
    for time in 0..1000 {
        performer.advance(time * 1_000_000, &mut model);
    }
    assert!(model.is_cut_off(0, 2));
    assert_eq!(model.links.len(), pairs(2).len());
    performer.heal(&mut model);
    assert!(model.is_calm());
}

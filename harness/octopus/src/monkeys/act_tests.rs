//! Tests of the performer in virtual time, on links and nodes that are the real ones' values
//! without sockets and processes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    monkeys::{Intensity, Monkey, MonkeySettings},
    network::{Direction, pairs},
    nodes::Lifecycle,
};

/// Network and nodes as plain values.
struct Model {
    nodes: usize,
    links: Vec<LinkState>,
    lives: Vec<Lifecycle>,
    fillings: Vec<u32>,
    wiped: Vec<(NodeId, NodeState)>,
    scripts: Vec<(usize, String, u32)>,
    progress: Progress,
    told: Vec<String>,
}

impl Model {
    fn new(nodes: usize) -> Self {
        let mut lives = vec![Lifecycle::default(); nodes];
        for life in &mut lives {
            life.start();
        }
        Self {
            nodes,
            links: vec![LinkState::default(); pairs(nodes).len()],
            lives,
            fillings: vec![0; nodes],
            wiped: Vec::new(),
            scripts: Vec::new(),
            progress: Progress::default(),
            told: Vec::new(),
        }
    }

    fn is_calm(&self) -> bool {
        let calm = |link: &LinkState| {
            link.is_up()
                && link.spike_ms == 0
                && !Direction::BOTH.iter().any(|&way| link.loses(way))
                && link.bandwidth().is_none()
        };
        self.links.iter().all(calm)
            && self
                .lives
                .iter()
                .all(|life| life.state() == NodeState::Running)
            && self.fillings.iter().all(|&count| count == 0)
    }

    fn is_cut_off(&self, node: NodeId) -> bool {
        let mut others = (0..self.nodes).filter(|&other| other != node);
        others.all(|other| !self.link(Pair::new(node, other)).is_up())
    }
}

impl Stage for Model {
    fn change(&mut self, link: Pair, change: Change) {
        self.links[link.index(self.nodes)].apply(link, change);
    }
    fn freeze(&mut self, node: NodeId) {
        self.lives[node].freeze();
        // Until it has stopped, the clients go on.
        self.progress.newest_queued += 3;
        self.progress.newest_answered = self.progress.newest_queued;
    }
    fn thaw(&mut self, node: NodeId) {
        self.lives[node].thaw();
    }
    fn kill(&mut self, nodes: &[NodeId]) {
        for &node in nodes {
            self.lives[node].kill();
        }
    }
    fn revive(&mut self, nodes: &[NodeId]) {
        for &node in nodes {
            self.lives[node].revive();
        }
    }
    fn fill_disk(&mut self, node: NodeId) {
        self.fillings[node] += 1;
    }
    fn free_disk(&mut self, node: NodeId) {
        self.fillings[node] -= 1;
    }
    fn shut_down(&mut self, node: NodeId) {
        self.lives[node].shut_down();
        // Some end at once, some never.
        if node.is_multiple_of(2) && self.lives[node].is_ending() {
            self.lives[node].exit();
        }
    }
    fn wipe(&mut self, node: NodeId) {
        self.wiped.push((node, self.node(node)));
    }
    fn set_clock(&mut self, _: NodeId, _: u64) {}
    fn run_script(&mut self, act: usize, name: &str, draw: u32) {
        self.scripts.push((act, name.to_owned(), draw));
    }
    fn link(&self, link: Pair) -> LinkState {
        self.links[link.index(self.nodes)].clone()
    }
    fn node(&self, node: NodeId) -> NodeState {
        self.lives[node].state()
    }
    fn disk_is_full(&self, node: NodeId) -> bool {
        self.fillings[node] > 0
    }
    fn progress(&self) -> Progress {
        self.progress
    }
    fn hears(&mut self, news: News<'_>) {
        if let News::Ends(_, _, truth) = news {
            self.told.push(truth);
        }
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
    let mut model = Model::new(2);
    assert_eq!(performer.next_us(), Some(100));
    performer.advance(99, &mut model);
    assert!(model.is_calm());
    performer.advance(100, &mut model);
    assert!(!model.link(link).is_up());
    assert_eq!(performer.next_us(), Some(150));
    performer.advance(149, &mut model);
    assert!(!model.link(link).is_up());
    performer.advance(150, &mut model);
    assert!(model.link(link).is_up());
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
    let mut model = Model::new(2);
    performer.advance(0, &mut model);
    performer.advance(10, &mut model);
    assert_eq!(model.link(link).spike_ms, 35);
    performer.advance(30, &mut model);
    assert_eq!(model.link(link).spike_ms, 30);
    performer.advance(100, &mut model);
    assert_eq!(model.link(link).spike_ms, 0);
}

#[test]
fn after_every_end_everything_is_as_before() {
    let settings = MonkeySettings {
        enabled: Monkey::ALL
            .into_iter()
            .filter(|&monkey| !matches!(monkey, Monkey::Spof | Monkey::Crash))
            .collect(),
        intensity: Intensity::Fixed(1.0),
        offset_scale: 0.0,
        gap_scale: 0.1,
        scripts: vec!["grow".to_owned()],
        flaky_clients: false,
    };
    let schedule = Schedule::new(21, 5, 20_000_000, &settings);
    let mut performer = Performer::new(&schedule, 5);
    let mut model = Model::new(5);
    let mut was_disturbed = false;
    while let Some(next) = performer.next_us() {
        performer.advance(next, &mut model);
        was_disturbed |= !model.is_calm();
    }
    assert!(was_disturbed);
    assert!(model.is_calm());
    // And when it is cut short.
    let mut performer = Performer::new(&schedule, 5);
    let mut model = Model::new(5);
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
    let mut model = Model::new(3);
    model.progress = progress;
    performer.advance(1000, &mut model);
    for &node in &order {
        assert!(performer.watches_progress());
        assert!(model.is_cut_off(node));
        assert_eq!(model.node(node), NodeState::Frozen);
        // An answer to what was queued already is no progress.
        let queued_then = model.progress.newest_queued;
        model.progress = Progress {
            newest_queued: queued_then + 10,
            newest_answered: queued_then,
        };
        performer.advance(u64::MAX, &mut model);
        assert!(model.is_cut_off(node));
        model.progress.newest_answered += 1;
        performer.advance(u64::MAX, &mut model);
        assert!(!model.is_cut_off(node));
        assert_eq!(model.node(node), NodeState::Running);
    }
    assert!(!performer.watches_progress());
    assert!(model.is_calm());
}

#[test]
fn spof_without_progress_holds_its_node_to_the_end() {
    let spof = What::Spof { order: vec![0, 1] };
    let mut performer = Performer::new(&schedule(vec![(0, Monkey::Spof, spof)]), 2);
    let mut model = Model::new(2);
    for time in 0..1000 {
        performer.advance(time * 1_000_000, &mut model);
    }
    assert!(model.is_cut_off(0));
    performer.heal(&mut model);
    assert!(model.is_calm());
}

#[test]
fn the_end_of_an_act_says_what_is_true_then() {
    let link = Pair::new(0, 1);
    let down = |for_us| What::Down {
        links: vec![link],
        for_us,
    };
    let limit = |bytes_per_s, for_us| What::Bandwidth {
        link,
        bytes_per_s,
        for_us,
    };
    let loss = |for_us| What::Loss {
        link,
        from: 1,
        for_us,
    };
    let kill = |nodes, for_us| What::Kill { nodes, for_us };
    let freeze = |for_us| What::Freeze { node: 1, for_us };
    let full = |for_us| What::FullDisk { node: 0, for_us };
    let acts = vec![
        (0, Monkey::Link, down(100)),
        (1, Monkey::Link, down(10)),
        (2, Monkey::Bandwidth, limit(1024, 10)),
        (3, Monkey::Bandwidth, limit(4096, 100)),
        (4, Monkey::Oneway, loss(10)),
        (5, Monkey::Oneway, loss(100)),
        (6, Monkey::Blackout, kill(vec![0, 1], 10)),
        (7, Monkey::Murder, kill(vec![1], 100)),
        (8, Monkey::Freeze, freeze(10)),
        (9, Monkey::Fulldisk, full(10)),
        (10, Monkey::Fulldisk, full(100)),
    ];
    let mut performer = Performer::new(&schedule(acts), 2);
    let mut model = Model::new(2);
    while let Some(next) = performer.next_us() {
        performer.advance(next, &mut model);
    }
    assert_eq!(
        model.told,
        [
            "link 0-1 still down",
            "link 0-1 still carries 4096 bytes/s",
            "link 0-1 still loses what comes from node 1",
            "node 0 runs again, node 1 still dead",
            "node 1 still dead",
            "disk of node 0 still full",
            "link 0-1 up again",
            "link 0-1 wide again",
            "link 0-1 carries again what comes from node 1",
            "node 1 runs again",
            "disk of node 0 has room again",
        ]
    );
}

#[test]
fn nodes_are_restarted_wiped_and_lost_and_scripts_run() {
    let acts = vec![
        (
            0,
            Monkey::Restart,
            What::Restart {
                node: 1,
                for_us: 50,
            },
        ),
        (
            10,
            Monkey::Wipe,
            What::Wipe {
                node: 1,
                for_us: 100,
            },
        ),
        (20, Monkey::Crash, What::Crash { node: 0 }),
        (
            30,
            Monkey::Script,
            What::Script {
                name: "grow".to_owned(),
                draw: 9,
            },
        ),
    ];
    let mut performer = Performer::new(&schedule(acts), 3);
    let mut model = Model::new(3);
    performer.advance(5, &mut model);
    assert_eq!(model.node(1), NodeState::Running, "it may take its time");
    performer.advance(10, &mut model);
    assert_eq!(model.wiped, [(1, NodeState::Killed)]);
    performer.advance(60, &mut model);
    assert_eq!(model.scripts, [(3, "grow".to_owned(), 9)]);
    assert_eq!(performer.next_us(), Some(110));
    performer.heal(&mut model);
    assert_eq!(model.told, ["node 1 still dead", "node 1 runs again"]);
    assert_eq!(model.node(0), NodeState::Killed, "for good");
}

/// What the acts that last at a moment say of everything; the slow way to the same answer.
fn assert_equal_to_what_lasts(model: &Model, acts: &[Act], now_us: u64) {
    let lasting: Vec<&What> = acts
        .iter()
        .filter(|act| {
            let for_us = act.what.for_us().unwrap_or(0);
            act.at_us <= now_us && now_us < act.at_us + for_us
        })
        .map(|act| &act.what)
        .collect();
    for pair in pairs(model.nodes) {
        let link = model.link(pair);
        let (mut downs, mut spikes, mut limit) = (0, 0, None);
        let mut unheard = BTreeSet::new();
        for what in &lasting {
            match what {
                What::Down { links, .. } => downs += links.iter().filter(|&&l| l == pair).count(),
                What::Spike { links, ms, .. } if links.contains(&pair) => spikes += ms,
                What::Loss { link, from, .. } if *link == pair => {
                    unheard.insert(*from);
                }
                What::Bandwidth {
                    link, bytes_per_s, ..
                } if *link == pair => {
                    limit = Some(limit.map_or(*bytes_per_s, |l: u64| l.min(*bytes_per_s)));
                }
                _ => {}
            }
        }
        assert_eq!((link.is_up(), link.spike_ms), (downs == 0, spikes));
        assert_eq!(link.bandwidth(), limit);
        for node in [pair.low(), pair.high()] {
            let loses = link.loses(pair.direction_from(node));
            assert_eq!(loses, unheard.contains(&node), "{pair} from {node}");
        }
    }
    for node in 0..model.nodes {
        let holds = |what: &&&What| match what {
            What::Freeze { node: held, .. }
            | What::Wipe { node: held, .. }
            | What::Clock { node: held, .. } => *held == node,
            What::Kill { nodes, .. } => nodes.contains(&node),
            _ => false,
        };
        let held = lasting.iter().any(|what| holds(&what));
        let killed = lasting.iter().any(|what| match what {
            What::Kill { nodes, .. } => nodes.contains(&node),
            What::Wipe { node: dead, .. } | What::Clock { node: dead, .. } => *dead == node,
            _ => false,
        });
        let asked = lasting
            .iter()
            .any(|what| matches!(what, What::Restart { node: asked, .. } if *asked == node));
        let state = model.node(node);
        // One that was asked to end may run until it does.
        assert!(state != NodeState::Running || !held, "node {node}");
        assert!(state == NodeState::Running || held || asked, "node {node}");
        assert!(state != NodeState::Exited, "node {node}");
        assert!(!killed || state == NodeState::Killed, "node {node}");
        let full = lasting
            .iter()
            .any(|what| matches!(what, What::FullDisk { node: full, .. } if *full == node));
        assert_eq!(model.disk_is_full(node), full);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn at_any_time_everything_is_as_the_acts_that_last_say(
        seed: u64,
        nodes in 1..6_usize,
        gap_scale in 0.01..0.3_f64,
        cut_at_us in 0..4_000_000_u64,
        jumps in proptest::collection::vec(1..60_000_u64, 50..100),
    ) {
        let settings = MonkeySettings {
            enabled: Monkey::ALL
                .into_iter()
                .filter(|&monkey| !matches!(monkey, Monkey::Spof | Monkey::Crash))
                .collect(),
            intensity: Intensity::Fixed(1.0),
            offset_scale: 0.0,
            gap_scale,
            scripts: vec!["grow".to_owned()],
        flaky_clients: false,
        };
        let schedule = Schedule::new(seed, nodes, 3_000_000, &settings);
        // Moment by moment, and at moments where nothing happens.
        let mut performer = Performer::new(&schedule, nodes);
        let mut model = Model::new(nodes);
        let mut jumps = jumps.into_iter().cycle();
        let mut now = 0;
        while let Some(next) = performer.next_us() {
            now = next.min(now + jumps.next().unwrap_or(1));
            performer.advance(now, &mut model);
            assert_equal_to_what_lasts(&model, &schedule.acts, now);
        }
        prop_assert!(model.is_calm());
        // Cut short at any moment, everything is undone once.
        let mut performer = Performer::new(&schedule, nodes);
        let mut model = Model::new(nodes);
        while performer.next_us().is_some_and(|next| next <= cut_at_us) {
            let next = performer.next_us().unwrap_or(cut_at_us);
            performer.advance(next, &mut model);
        }
        performer.heal(&mut model);
        prop_assert!(model.is_calm());
        prop_assert_eq!(performer.next_us(), None);
    }
}

//! Random scripts of writes, reads, closes, losses, downs and spikes, played in virtual time on a
//! connection between two pretended nodes and on a slow model, in which each direction is a queue
//! that is looked at every millisecond.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use proptest::prelude::*;
use rand::SeedableRng;

use super::super::link::Change;
use super::super::pipe::{UNDER_DELAY, WAITING};
use super::*;

const LATENCY_MS: u64 = 7;
/// Long enough for everything to arrive.
const QUIET_MS: u64 = 2000;

/// What a node has said and heard, at its end of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    said: VecDeque<Vec<u8>>,
    /// Says nothing more.
    ended: bool,
    /// Hears nothing more either.
    closed: bool,
    /// Its end is a reset rather than an end of stream.
    resets: bool,
    /// How many bytes it has room for.
    room: usize,
    /// Bytes, with the milliseconds at which they came.
    heard: Vec<(u64, Vec<u8>)>,
    heard_end_ms: Option<u64>,
    /// When the end and all before it lay ready for it; known of the model only.
    end_due_ms: Option<u64>,
    refused_ms: Option<u64>,
    closed_by_network_ms: Option<u64>,
}

struct Wire {
    node: Rc<RefCell<Node>>,
    now_ms: Rc<RefCell<u64>>,
    /// Whether it can make a node's writes fail before it closes, as unix sockets can.
    refuses: bool,
}

impl Socket for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut node = self.node.borrow_mut();
        match node.said.pop_front() {
            Some(bytes) => {
                into[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            None if node.ended && node.resets => Err(ErrorKind::ConnectionReset.into()),
            None if node.ended => Ok(0),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut node = self.node.borrow_mut();
        if node.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(node.room);
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        node.room -= taken;
        let now_ms = *self.now_ms.borrow();
        node.heard.push((now_ms, bytes[..taken].to_vec()));
        Ok(taken)
    }

    fn end_of_stream(&mut self) {
        let now_ms = *self.now_ms.borrow();
        self.node.borrow_mut().heard_end_ms = Some(now_ms);
    }

    fn refuse_more(&mut self) -> bool {
        if self.refuses {
            self.node.borrow_mut().refused_ms = Some(*self.now_ms.borrow());
        }
        self.refuses
    }

    fn close(self) {
        self.node.borrow_mut().closed_by_network_ms = Some(*self.now_ms.borrow());
    }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Write(End, usize),
    Take(End, usize),
    HalfClose(End),
    Close(End),
    Reset(End),
    Loss(End),
    LossEnd(End),
    Spike(u64),
    SpikeEnd(u64),
    Down,
    Pause(u64),
}

/// What both worlds have in common: how deeds change nodes.
fn perform(deed: Deed, nodes: &mut PerEnd<Node>, serial: &mut u8) {
    let mut say = |node: &mut Node, bytes: usize| {
        let mut left = if node.ended { 0 } else { bytes };
        while left > 0 {
            let size = left.min(CHUNK_BYTES);
            *serial = serial.wrapping_add(1);
            node.said.push_back(vec![*serial; size]);
            left -= size;
        }
    };
    match deed {
        Deed::Write(end, bytes) => say(&mut nodes[end], bytes),
        Deed::Take(end, bytes) => nodes[end].room += bytes,
        Deed::HalfClose(end) => nodes[end].ended = true,
        Deed::Close(end) => {
            nodes[end].ended = true;
            nodes[end].closed = true;
        }
        Deed::Reset(end) => {
            nodes[end].resets |= !nodes[end].ended;
            nodes[end].ended = true;
            nodes[end].closed = true;
        }
        _ => {}
    }
}

/// The deeds of the monkeys, as changes of the link.
fn change(deed: Deed) -> Option<Change> {
    let node = |end| match end {
        End::Near => 0,
        End::Far => 1,
    };
    Some(match deed {
        Deed::Loss(end) => Change::Loss(node(end)),
        Deed::LossEnd(end) => Change::LossEnd(node(end)),
        Deed::Spike(ms) => Change::AddSpike(ms),
        Deed::SpikeEnd(ms) => Change::RemoveSpike(ms),
        Deed::Down => Change::Down,
        _ => return None,
    })
}

fn new_link() -> Link {
    Link {
        pair: Pair::new(0, 1),
        state: LinkState::new(LATENCY_MS, 0),
        rng: ChaCha12Rng::seed_from_u64(1),
        busy_until: PerDirection::default(),
    }
}

/// The connection under test, driven as the network's thread does it: only when something happened
/// or a wake-up is due.
fn played(script: &[Deed], hangs_up: bool, refuses: bool) -> PerEnd<Node> {
    let now_ms = Rc::new(RefCell::new(0));
    let nodes: PerEnd<Rc<RefCell<Node>>> = PerEnd::default();
    let wire = |node: &Rc<RefCell<Node>>| Wire {
        node: Rc::clone(node),
        now_ms: Rc::clone(&now_ms),
        refuses,
    };
    let (mut link, counters) = (new_link(), Counters::new(2));
    let mut connection = Connection::new(0, 1, wire(&nodes.near));
    connection.sides.far = Side {
        stream: Some(wire(&nodes.far)),
        readable: true,
        writable: true,
        deaf: false,
    };
    connection.open(Moment::ZERO, &link);
    let mut connection = Some(connection);
    let mut serial = 0;
    let settle = |link: &mut Link, connection: &mut Option<Connection<Wire>>, now_ms: u64| {
        let Some(open) = connection else { return };
        let now = Duration::from_millis(now_ms);
        while open.advance(link, &counters, || now) {}
        open.armed = open.next_change(now);
        if open.is_over()
            && let Some(over) = connection.take()
        {
            over.close();
        }
    };
    for &deed in script {
        if let Deed::Pause(ms) = deed {
            for _ in 0..ms {
                *now_ms.borrow_mut() += 1;
                let at = *now_ms.borrow();
                let due = |c: &Connection<Wire>| {
                    c.armed
                        .is_some_and(|armed| armed <= Duration::from_millis(at))
                };
                if connection.as_ref().is_some_and(due) {
                    settle(&mut link, &mut connection, at);
                }
            }
            continue;
        }
        let mut plain = PerEnd {
            near: nodes.near.borrow().clone(),
            far: nodes.far.borrow().clone(),
        };
        perform(deed, &mut plain, &mut serial);
        *nodes.near.borrow_mut() = plain.near;
        *nodes.far.borrow_mut() = plain.far;
        let at = *now_ms.borrow();
        if let Some(change) = change(deed) {
            link.state.apply(link.pair, change);
        }
        if let Some(open) = &mut connection {
            let now = Duration::from_millis(at);
            match deed {
                Deed::Down => open.break_off(now, &mut link),
                Deed::Loss(_) | Deed::LossEnd(_) => open.apply_losses(now, &mut link),
                _ => {}
            }
            for end in End::BOTH {
                open.sides[end].readable = true;
                open.sides[end].writable = true;
                open.sides[end].deaf |= hangs_up && nodes[end].borrow().closed;
            }
        }
        settle(&mut link, &mut connection, at);
    }
    drop(connection);
    let taken = |node: &Rc<RefCell<Node>>| node.borrow().clone();
    PerEnd {
        near: taken(&nodes.near),
        far: taken(&nodes.far),
    }
}

/// One direction of the model: what is on its way, `None` being the end, and when it is due.
#[derive(Default)]
struct Lane {
    queue: VecDeque<(u64, Option<Vec<u8>>)>,
    last_due: u64,
    end_read: bool,
    finished: bool,
    losses: u32,
}

/// The same script on the slow model.
fn modelled(script: &[Deed]) -> PerEnd<Node> {
    let mut nodes = PerEnd::<Node>::default();
    let mut lanes = PerEnd::<Lane>::default();
    let (mut now, mut spikes, mut serial) = (0, 0, 0);
    let mut closes: PerEnd<Option<u64>> = PerEnd::default();
    let (mut is_down, mut over) = (false, false);
    for &deed in script {
        let ticks = if let Deed::Pause(ms) = deed { ms } else { 1 };
        perform(deed, &mut nodes, &mut serial);
        for _ in 0..ticks {
            if matches!(deed, Deed::Pause(_)) {
                now += 1;
            }
            let delay = LATENCY_MS + spikes;
            match deed {
                Deed::Spike(ms) => spikes += ms,
                Deed::SpikeEnd(ms) => spikes = spikes.saturating_sub(ms),
                Deed::Loss(end) => lanes[end].losses += 1,
                Deed::LossEnd(end) if lanes[end].losses > 0 => {
                    lanes[end].losses -= 1;
                    if lanes[end].losses == 0 {
                        let again = now + delay;
                        lanes[end].last_due = lanes[end].last_due.max(again);
                        for parcel in &mut lanes[end].queue {
                            parcel.0 = parcel.0.max(again);
                        }
                    }
                }
                Deed::Down if !is_down && !over => {
                    is_down = true;
                    closes = PerEnd {
                        near: Some(now + delay),
                        far: Some(now + delay),
                    };
                }
                _ => {}
            }
            let delay = LATENCY_MS + spikes;
            for end in End::BOTH {
                if closes[end].is_some_and(|at| at <= now) {
                    nodes[end].closed_by_network_ms = closes[end].take();
                }
            }
            while !is_down
                && End::BOTH
                    .into_iter()
                    .any(|end| step(&mut lanes, &mut nodes, end, now, delay))
            {}
            for end in End::BOTH {
                let lane = &lanes[end];
                if lane.end_read && lane.losses == 0 && lane.last_due <= now {
                    nodes[end.other()].end_due_ms.get_or_insert(now);
                }
            }
            over |= !is_down && End::BOTH.iter().all(|&end| lanes[end].finished);
        }
    }
    nodes
}

/// Moves one thing in a direction, if one can move.
fn step(
    lanes: &mut PerEnd<Lane>,
    nodes: &mut PerEnd<Node>,
    sender: End,
    now: u64,
    delay: u64,
) -> bool {
    let lane = &mut lanes[sender];
    let receiver = &mut nodes[sender.other()];
    if receiver.closed {
        lane.queue.clear();
        lane.finished |= lane.end_read;
    }
    if let Some((due, load)) = lane.queue.front_mut()
        && *due <= now
        && lane.losses == 0
    {
        match load {
            None => {
                receiver.heard_end_ms = Some(now);
                lane.queue.clear();
                lane.finished = true;
                return true;
            }
            Some(bytes) if receiver.room > 0 => {
                let taken = bytes.len().min(receiver.room);
                receiver.room -= taken;
                receiver.heard.push((now, bytes.drain(..taken).collect()));
                if bytes.is_empty() {
                    lane.queue.pop_front();
                }
                return true;
            }
            Some(_) => {}
        }
    }
    let due = lane.queue.iter().filter(|(due, _)| *due <= now).count();
    if lane.end_read || lane.queue.len() - due.min(WAITING) >= UNDER_DELAY {
        return false;
    }
    let load = nodes[sender].said.pop_front();
    if load.is_none() && !nodes[sender].ended {
        return false;
    }
    lane.end_read = load.is_none();
    lane.last_due = lane.last_due.max(now + delay);
    lane.queue.push_back((lane.last_due, load));
    true
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Near), Just(End::Far)]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (end(), 1..4000_usize).prop_map(|(end, bytes)| Deed::Write(end, bytes)),
        4 => (end(), 1..6000_usize).prop_map(|(end, bytes)| Deed::Take(end, bytes)),
        6 => (0..20_u64).prop_map(Deed::Pause),
        1 => end().prop_map(Deed::HalfClose),
        1 => end().prop_map(Deed::Close),
        1 => end().prop_map(Deed::Reset),
        1 => end().prop_map(Deed::Loss),
        1 => end().prop_map(Deed::LossEnd),
        1 => (1..30_u64).prop_map(Deed::Spike),
        1 => (1..30_u64).prop_map(Deed::SpikeEnd),
    ]
}

/// Everybody listens, nothing is lost any more, and time passes.
fn calm() -> Vec<Deed> {
    let mut deeds = Vec::new();
    for end in End::BOTH {
        deeds.push(Deed::Take(end, usize::MAX / 2));
        deeds.extend([Deed::LossEnd(end); 20]);
    }
    deeds.push(Deed::Pause(QUIET_MS));
    deeds
}

/// What a node can know: a node that has closed hears nothing.
fn known(node: &Node) -> (bool, String, Option<u64>) {
    if node.closed {
        return (true, String::new(), None);
    }
    let lines = node
        .heard
        .iter()
        .map(|(at, bytes)| format!("{at}: {} × {:?}", bytes.len(), bytes.first()));
    let heard: Vec<String> = lines.collect();
    (
        false,
        heard.join(
            "
",
        ),
        node.heard_end_ms,
    )
}

/// All that an end has written in a script, until it ended.
fn written(script: &[Deed], by: End) -> usize {
    let mut bytes = 0;
    for deed in script {
        match deed {
            Deed::Write(end, more) if *end == by => bytes += more,
            Deed::HalfClose(end) | Deed::Close(end) | Deed::Reset(end) if *end == by => break,
            _ => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_direction_is_a_queue_whatever_happens(
        mut script in proptest::collection::vec(deed(), 0..40),
        hangs_up: bool,
        refuses: bool,
    ) {
        script.extend(calm());
        let real = played(&script, hangs_up, refuses);
        let model = modelled(&script);
        for end in End::BOTH {
            prop_assert_eq!(known(&real[end]), known(&model[end]), "{:?}", end);
            // Nothing is lost: who stays hears all of it, and then the end.
            if !real[end].closed {
                let bytes: usize = real[end].heard.iter().map(|(_, bytes)| bytes.len()).sum();
                prop_assert_eq!(bytes, written(&script, end.other()));
                prop_assert_eq!(real[end].heard_end_ms.is_some(), real[end.other()].ended);
            }
            // Nobody's writes fail before all that the other had said lies ready.
            if let Some(refused) = real[end].refused_ms.filter(|_| !real[end].closed) {
                prop_assert!(model[end].end_due_ms.is_some_and(|due| refused >= due));
            }
        }
    }

    #[test]
    fn a_down_loses_what_is_on_its_way_and_nothing_else(
        before in proptest::collection::vec(deed(), 0..20),
        after in proptest::collection::vec(deed(), 0..10),
        hangs_up: bool,
    ) {
        let still_open = !before.iter().any(|deed| {
            matches!(deed, Deed::HalfClose(_) | Deed::Close(_) | Deed::Reset(_))
        });
        let mut script = before;
        script.push(Deed::Down);
        script.extend(after);
        script.extend(calm());
        let real = played(&script, hangs_up, true);
        let model = modelled(&script);
        for end in End::BOTH {
            prop_assert_eq!(known(&real[end]), known(&model[end]), "{:?}", end);
            // A connection that a node had closed may be over before the down.
            if still_open {
                prop_assert_eq!(real[end].closed_by_network_ms, model[end].closed_by_network_ms);
            }
        }
    }
}

#[test]
fn the_last_words_before_a_reset_arrive() {
    let script = [
        Deed::Write(End::Far, 900),
        Deed::Pause(1),
        Deed::Write(End::Near, 3),
        Deed::Reset(End::Near),
        Deed::Take(End::Far, 100),
        Deed::Pause(100),
    ];
    for hangs_up in [false, true] {
        let real = played(&script, hangs_up, true);
        assert_eq!(real.far.heard, [(1 + LATENCY_MS, vec![2; 3])]);
        assert_eq!(real.far.heard_end_ms, Some(1 + LATENCY_MS));
    }
}

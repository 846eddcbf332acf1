//! What passed through the network, byte by byte in time: to lay it beside what nodes tell of their
//! messages. Nothing is written down unless somebody asks for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use super::end::{End, PerEnd};
use super::link::NodeId;

/// So many steps of all connections together are kept: tens of megabytes.
const STEPS_MAX: usize = 4_000_000;

/// When a stream had got how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub t_ns: u64,
    /// Bytes from the stream's beginning.
    pub bytes: u64,
}

/// What one end of a connection sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Read from the sender.
    pub read: Vec<Step>,
    /// Handed to the receiver.
    pub written: Vec<Step>,
}

/// A connection through the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The node that dialled.
    pub from: NodeId,
    /// The node that was dialled.
    pub to: NodeId,
    /// When it was accepted, as in [`Step::t_ns`].
    pub opened_ns: u64,
    /// When it ended; `None`: not before the network.
    pub closed_ns: Option<u64>,
    /// It was closed by the network, and what was on its way is lost.
    pub is_broken_off: bool,
    /// What the node that dialled sent.
    pub forth: Way,
    /// What the node that was dialled sent.
    pub back: Way,
}

impl Passage {
    /// What one of the two nodes sent.
    pub fn way_from(&self, node: NodeId) -> &Way {
        if node == self.from {
            &self.forth
        } else {
            &self.back
        }
    }
}

/// Nanoseconds by the clock that all processes of a machine share.
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Where what passed is gathered.
#[derive(Clone, Debug, Default)]
pub struct Passages(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ended: Mutex<Vec<Passage>>,
    steps: AtomicUsize,
}

impl Passages {
    /// The connections that have ended; all, when the network has been stopped.
    pub fn take(&self) -> Vec<Passage> {
        std::mem::take(&mut self.0.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether so much passed that not all of it was kept.
    pub fn is_cut_short(&self) -> bool {
        self.0.steps.load(Ordering::Relaxed) >= STEPS_MAX
    }

    /// A connection begins.
    pub(super) fn open(&self, from: NodeId, to: NodeId) -> Log {
        Log {
            passages: self.clone(),
            passage: Some(Passage {
                from,
                to,
                opened_ns: monotonic_ns(),
                closed_ns: None,
                is_broken_off: false,
                forth: Way::default(),
                back: Way::default(),
            }),
            totals: PerEnd::default(),
        }
    }
}

/// What one connection's owner writes down. Dropping it hands it in.
#[derive(Debug)]
pub(super) struct Log {
    passages: Passages,
    /// There until it is handed in.
    passage: Option<Passage>,
    /// Bytes read and written, by sender.
    totals: PerEnd<(u64, u64)>,
}

impl Log {
    pub fn read(&mut self, sender: End, bytes: usize) {
        self.totals[sender].0 += bytes as u64;
        let bytes = self.totals[sender].0;
        self.step(sender, bytes, |way| &mut way.read);
    }

    pub fn written(&mut self, sender: End, bytes: usize) {
        self.totals[sender].1 += bytes as u64;
        let bytes = self.totals[sender].1;
        self.step(sender, bytes, |way| &mut way.written);
    }

    /// The network closes the connection.
    pub fn broken_off(&mut self) {
        if let Some(passage) = &mut self.passage {
            passage.is_broken_off = true;
            passage.closed_ns = Some(monotonic_ns());
        }
    }

    /// Both ends have seen the end.
    pub fn closed(&mut self) {
        if let Some(passage) = &mut self.passage {
            passage.closed_ns.get_or_insert_with(monotonic_ns);
        }
    }

    fn step(&mut self, sender: End, bytes: u64, of: impl Fn(&mut Way) -> &mut Vec<Step>) {
        if self.passages.0.steps.fetch_add(1, Ordering::Relaxed) >= STEPS_MAX {
            return;
        }
        if let Some(passage) = &mut self.passage {
            let way = match sender {
                End::Near => &mut passage.forth,
                End::Far => &mut passage.back,
            };
            let t_ns = monotonic_ns();
            of(way).push(Step { t_ns, bytes });
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut ended = self.passages.0.ended.lock();
        let ended = ended.as_deref_mut();
        if let (Ok(ended), Some(passage)) = (ended, self.passage.take()) {
            ended.push(passage);
        }
    }
}

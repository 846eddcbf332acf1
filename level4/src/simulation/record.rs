//! What the simulation writes down of a run for `harness trace`. It watches and decides nothing: a seed
//! runs the same with a trace as without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cluster::Time;
use crate::consensus::{Core, MemoryLog, Persist};
use crate::ids::NodeId;
use crate::message::{PeerMessage, Request};
use crate::trace::{self, Line, Told};

/// Where a run's trace is gathered. It outlives a run that fails.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<String>>);

impl Trace {
    /// What there is by now.
    pub fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, line: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(line);
    }
}

/// A link or two nodes that somebody is told about.
pub type Ends = (usize, usize);

/// Writes down what happens, if somebody wants it.
#[derive(Debug, Default)]
pub struct Recorder {
    trace: Option<Trace>,
    /// Which machine a node is.
    places: HashMap<NodeId, usize>,
    told: HashMap<usize, Told>,
    messages: u64,
    faults: u64,
    /// The partition that is under way: its fault's id.
    partition: Option<(String, Vec<Ends>)>,
}

/// Requests are called after what clients of the simulation write.
fn name_of(request: &Request, name: &mut String) {
    name.push_str(&String::from_utf8_lossy(
        request.command.body().trim_ascii_end(),
    ));
}

fn names(places: &[usize]) -> Vec<String> {
    places.iter().map(usize::to_string).collect()
}

fn pairs(links: &[Ends]) -> Vec<(String, String)> {
    let names = links.iter().map(|(a, b)| (a.to_string(), b.to_string()));
    names.collect()
}

impl Recorder {
    /// Gathers what happens in `trace`, if there is one.
    pub fn new(trace: Option<Trace>) -> Self {
        Self {
            trace,
            ..Self::default()
        }
    }

    /// Tells what the run is; `flags` are what its replay needs.
    pub fn begin(&self, flags: &str, size: usize, title: &str) {
        let Some(trace) = &self.trace else { return };
        let replay =
            format!("cargo run --release -p level4 --example replay -- {flags} --html run.html");
        let mut header = Line::header("level4, simulated", title);
        header
            .word("replay", &replay)
            .words("nodes", &names(&(0..size).collect::<Vec<_>>()));
        trace.add(&header.end());
    }

    /// Gathers what happens in `trace` from now on.
    pub fn begin_in(&mut self, trace: Option<Trace>) {
        self.trace = trace;
    }

    /// A process begins at a place with what its disk has.
    pub fn restarted(&mut self, now: Time, place: usize, id: NodeId, log: &MemoryLog) {
        self.places.insert(id, place);
        let mut told = Told::default();
        let node_name = |id| self.name(id);
        self.put(now, "restart", place, |line| {
            told = Told::restarted(log, line, &node_name, name_of);
        });
        self.told.insert(place, told);
    }

    /// A process ends.
    pub fn crashed(&mut self, now: Time, place: usize) {
        self.put(now, "crash", place, |_| {});
    }

    /// A clock moves on.
    pub fn ticked(&mut self, now: Time, place: usize) {
        self.put(now, "tick", place, |_| {});
    }

    /// A message is on its way; the number that it has from now on.
    pub fn sent(&mut self, now: Time, (from, to): Ends, message: &PeerMessage) -> u64 {
        self.messages += 1;
        let number = self.messages;
        self.put(now, "send", from, |line| {
            line.word("id", &number.to_string())
                .word("to", &to.to_string());
            trace::fields_of(message, line, name_of);
        });
        number
    }

    /// It arrives.
    pub fn delivered(&mut self, now: Time, (from, to): Ends, number: u64, message: &PeerMessage) {
        self.put(now, "deliver", to, |line| {
            line.word("id", &number.to_string())
                .word("from", &from.to_string());
            trace::fields_of(message, line, name_of);
        });
    }

    /// It never does.
    pub fn lost(&mut self, now: Time, (from, to): Ends, number: u64, why: &str) {
        self.put(now, "drop", to, |line| {
            line.word("id", &number.to_string())
                .word("from", &from.to_string())
                .word("text", why);
        });
    }

    /// What came out of a core is what became of it.
    pub fn flushed(&mut self, now: Time, place: usize, core: &Core, writes: &[Persist]) {
        if self.trace.is_none() {
            return;
        }
        let mut told = self.told.get(&place).copied().unwrap_or_default();
        let node_name = |id| self.name(id);
        told.flushed(core.outline(), writes, &node_name, name_of, |kind, fill| {
            self.put(now, kind, place, fill);
        });
        self.told.insert(place, told);
    }

    /// Something is on disk.
    pub fn persisted(&mut self, now: Time, place: usize, group: &[Persist], waiting: usize) {
        let state = group
            .iter()
            .rev()
            .find_map(|write| write.hard_state.as_ref());
        let vote = state.and_then(|state| self.name(state.vote));
        let last = group.iter().filter_map(trace::last_of).next_back();
        self.put(now, "persist", place, |line| {
            if let Some(last) = last {
                line.number("index", last);
            }
            if let Some(state) = state {
                line.number("term", state.term);
            }
            if let Some(vote) = &vote {
                line.word("for", vote);
            }
            line.queues(&[("writes", waiting)]);
        });
    }

    /// The state has taken something in, up to an index.
    pub fn applied(
        &mut self,
        (now, place, index): (Time, usize, u64),
        restored: bool,
        data: &[u8],
        waiting: usize,
    ) {
        if restored {
            return self.snapshot(now, place, "restored", index);
        }
        self.put(now, "apply", place, |line| {
            line.number("index", index)
                .requests(&trace::requests_in(data), name_of)
                .queues(&[("to apply", waiting)]);
        });
    }

    /// A snapshot was `taken` or `restored`.
    pub fn snapshot(&mut self, now: Time, place: usize, what: &str, index: u64) {
        self.put(now, "snapshot", place, |line| {
            line.word("what", what).number("index", index);
        });
    }

    /// What a client does with a request, or hears of it.
    pub fn client(&self, now: Time, place: usize, client: usize, (what, request): (&str, &str)) {
        self.put(now, "client", place, |line| {
            line.word("client", &client.to_string())
                .word("what", what)
                .words("requests", &[request]);
        });
    }

    /// Something goes wrong at once, at these places.
    pub fn fault(&mut self, now: Time, nodes: &[usize], links: &[Ends], text: &str) {
        let line = self.fault_line(now, nodes, links, text);
        self.write(line);
    }

    /// Something is wrong for a time whose end is known.
    pub fn fault_until(&mut self, (now, until): (Time, Time), place: usize, text: &str) {
        self.faults += 1;
        let id = self.faults.to_string();
        for (time, what) in [(now, "begin"), (until, "end")] {
            let mut line = self.fault_line(time, &[place], &[], text);
            line.word("what", what).word("id", &id);
            self.write(line);
        }
    }

    /// These links are cut from now on, and no others.
    pub fn cut(&mut self, now: Time, mut links: Vec<Ends>) {
        links.sort_unstable();
        if let Some((id, links)) = self.partition.take() {
            let mut line = self.fault_line(now, &[], &links, "links are back");
            line.word("what", "end").word("id", &id);
            self.write(line);
        }
        if !links.is_empty() {
            self.faults += 1;
            let id = self.faults.to_string();
            let mut line = self.fault_line(now, &[], &links, "cut");
            line.word("what", "begin").word("id", &id);
            self.write(line);
            self.partition = Some((id, links));
        }
    }

    fn fault_line(&self, now: Time, nodes: &[usize], links: &[Ends], text: &str) -> Line {
        let mut line = Line::new(now * 1_000, "fault");
        if self.trace.is_some() {
            line.words("nodes", &names(nodes))
                .pairs("links", &pairs(links))
                .word("text", text);
        }
        line
    }

    /// What a node is called; nobody is called so: none.
    fn name(&self, id: u64) -> Option<String> {
        let place = self.places.get(&NodeId::new(id));
        let known = place.map(usize::to_string);
        (id != 0).then(|| known.unwrap_or_else(|| format!("node {id}")))
    }

    fn put(&self, now: Time, kind: &str, place: usize, fill: impl FnOnce(&mut Line)) {
        if self.trace.is_none() {
            return;
        }
        let mut line = Line::new(now * 1_000, kind);
        line.word("node", &place.to_string());
        fill(&mut line);
        self.write(line);
    }

    fn write(&self, line: Line) {
        if let Some(trace) = &self.trace {
            trace.add(&line.end());
        }
    }
}

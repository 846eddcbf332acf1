//! A cluster in a calm world, where a script says what happens: for stories that are to be looked at.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::network::{Fate, Wind};
use super::pace::Pace;
use super::{Client, Cluster, Time};
use crate::consensus::Status;
use crate::message::PeerMessage;
use crate::simulation::plant::{Plant, Planted};
use crate::simulation::record::Trace;

/// No story waits for anything longer than this.
const PATIENCE: Time = 20_000_000;

/// More than a message between nodes takes, bytes, unless one entry alone has as many.
const LONG: usize = 128 * 1024;

/// Longer than two ranks of elections.
const HEAD_START_MS: u64 = 500;

/// What is written down of a story beside its trace.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// When the story begins: before it, a cluster is started. Microseconds from the trace's beginning.
    pub begins: u64,
    /// When it ends.
    pub ends: u64,
    /// What to look at, and when.
    pub marks: Vec<(u64, String)>,
    /// The request to follow.
    pub request: Option<String>,
}

/// See the module's header. Machines go by their numbers; at the beginning, machine 0 leads.
pub struct Stage {
    cluster: Cluster,
    /// The trace's first moment.
    first: Time,
    notes: Notes,
}

impl Stage {
    /// Machines that have been a cluster for a while, `down` of them (the last ones) with nothing on their
    /// disks and not started yet. All are started from their disks, and elect a leader; from then on it is
    /// written down, with a bug if there is to be one. Each takes a snapshot at every so many entries.
    pub fn new(
        (name, title): (&str, &str),
        size: usize,
        down: usize,
        snapshot: u64,
        plant: Option<Plant>,
        trace: Trace,
    ) -> Self {
        let mut cluster = Cluster::empty(ChaCha8Rng::seed_from_u64(1), Pace::calm(snapshot));
        for place in 0..size {
            cluster.add(0);
            if place + down < size {
                cluster.start(place);
            }
        }
        let mut stage = Self {
            cluster,
            first: 0,
            notes: Notes::default(),
        };
        let running = size - down;
        stage.until("all vote", |stage| stage.voters() == running);
        stage.pass(1_000);
        // What was under way ends with the processes.
        stage.cluster.queue.clear();
        for place in 0..running {
            stage.cluster.crash(place);
        }
        stage.first = stage.cluster.now;
        stage.cluster.planted = Planted::new(plant);
        let replay = format!("--story {name}{}", stage.cluster.planted.flags());
        let record = &mut stage.cluster.record;
        record.begin_in(Some(trace));
        record.begin(&replay, size, title);
        // The first one has waited for longest, and stands.
        stage.cluster.start(0);
        stage.pass(HEAD_START_MS);
        for place in 1..running {
            stage.cluster.start(place);
        }
        stage.until("node 0 leads", |stage| stage.leads(0));
        stage.until("all follow", |stage| {
            let followers = (0..running).filter(|&place| {
                let status = stage.status(place);
                status.is_some_and(|status| status.leader == Some(stage.cluster.slots[0].id))
            });
            followers.count() == running && stage.is_level()
        });
        stage.pass(100);
        stage.notes.begins = stage.time();
        stage
    }

    /// The story is over: what is there is whole.
    pub fn end(mut self) -> Notes {
        self.pass(100);
        self.cluster.check();
        self.notes.ends = self.time();
        self.notes
    }

    /// Microseconds since the trace began.
    fn time(&self) -> u64 {
        self.cluster.now - self.first
    }

    /// Something to look at.
    pub fn mark(&mut self, text: &str) {
        let mark = (self.time(), text.to_owned());
        self.notes.marks.push(mark);
    }

    /// The request of this client is the one to follow.
    pub fn follow(&mut self, client: usize) {
        let asked = self.cluster.clients[client].asked;
        self.notes.request = Some(format!("{client}-{asked}"));
    }

    /// The read of this client is.
    pub fn follow_read(&mut self, client: usize) {
        let asked = self.cluster.clients[client].asked;
        self.notes.request = Some(format!("read-{client}-{asked}"));
    }

    /// Time passes, milliseconds.
    pub fn pass(&mut self, ms: u64) {
        let until = self.cluster.now + ms * 1_000;
        while self.cluster.next_time().is_some_and(|next| next <= until) {
            self.cluster.step();
        }
        self.cluster.now = until;
    }

    /// Time passes until something is so. Gives how long that was, milliseconds.
    ///
    /// # Panics
    ///
    /// If it never is.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> u64 {
        let since = self.cluster.now;
        while !is_so(self) {
            assert!(
                self.cluster.step() && self.cluster.now < since + PATIENCE,
                "never: {what}: {}",
                self.cluster.describe()
            );
        }
        (self.cluster.now - since) / 1_000
    }

    /// A client asks a machine for something to be executed; its number.
    pub fn write(&mut self, place: usize) -> usize {
        self.ask(place, false)
    }

    /// A client asks a machine for something so long that its entry travels alone; its number.
    pub fn write_long(&mut self, place: usize) -> usize {
        self.cluster.clients.push(Client {
            blanks: LONG,
            ..Client::default()
        });
        let client = self.cluster.clients.len() - 1;
        self.cluster.ask_at(client, place, false);
        client
    }

    /// A client wants to read at a machine; its number.
    pub fn read(&mut self, place: usize) -> usize {
        self.ask(place, true)
    }

    fn ask(&mut self, place: usize, read: bool) -> usize {
        self.cluster.clients.push(Client::default());
        let client = self.cluster.clients.len() - 1;
        self.cluster.ask_at(client, place, read);
        client
    }

    /// Whether a client has heard.
    pub fn is_answered(&self, client: usize) -> bool {
        self.cluster.clients[client].waiting.is_none()
    }

    /// A process ends.
    pub fn crash(&mut self, place: usize) {
        self.cluster.crash(place);
    }

    /// A process starts from what is on the disk.
    pub fn start(&mut self, place: usize) {
        self.cluster.start(place);
    }

    /// Nothing passes these links any more. Nobody is told.
    pub fn cut(&mut self, links: &[(usize, usize)]) {
        let links = links.iter().map(|&(a, b)| (a.min(b), a.max(b)));
        self.cluster.cut = links.collect();
        let cut = self.cluster.cut.iter().copied().collect();
        self.cluster.record.cut(self.cluster.now, cut);
    }

    /// All links are whole.
    pub fn join(&mut self) {
        self.cut(&[]);
    }

    /// From now on this decides what becomes of messages.
    pub fn wind(&mut self, wind: impl FnMut(usize, usize, &PeerMessage) -> Fate + 'static) {
        let wind: Wind = Box::new(wind);
        self.cluster.wind = Some(wind);
    }

    /// Messages arrive again.
    pub fn calm(&mut self) {
        self.cluster.wind = None;
    }

    /// What a running machine's core says of itself.
    pub fn status(&self, place: usize) -> Option<Status> {
        let process = self.cluster.slots[place].process.as_ref();
        process.map(|process| process.core.status())
    }

    /// Whether it leads.
    pub fn leads(&self, place: usize) -> bool {
        self.status(place)
            .is_some_and(|status| status.role == "leader")
    }

    /// The machine's term, or 0.
    pub fn term(&self, place: usize) -> u64 {
        self.status(place).map_or(0, |status| status.term.get())
    }

    /// How far the machine knows the log to be committed.
    pub fn commit(&self, place: usize) -> u64 {
        self.status(place)
            .map_or(0, |status| status.commit_index.get())
    }

    /// The end of the machine's log.
    pub fn last(&self, place: usize) -> u64 {
        self.status(place)
            .map_or(0, |status| status.last_index.get())
    }

    /// How many members vote, as far as all running machines know.
    pub fn voters(&self) -> usize {
        let running = (0..self.cluster.slots.len()).filter_map(|place| self.status(place));
        running
            .map(|status| status.voters.len())
            .min()
            .unwrap_or_default()
    }

    /// Whether all running machines have applied the same, and everything.
    pub fn is_level(&self) -> bool {
        let running = (0..self.cluster.slots.len()).filter_map(|place| self.status(place));
        let mut ends: Vec<_> = running
            .flat_map(|status| [status.last_index, status.commit_index, status.applied_index])
            .collect();
        ends.dedup();
        ends.len() == 1
    }
}

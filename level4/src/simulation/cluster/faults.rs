//! What goes wrong: crashes, lost disks, links that break or are cut; and how all is mended.

use crate::log::Log;
use rand::Rng as _;

use super::{Cluster, Event, FAULTS_END, Leaving, SEGMENT, Spoilt};
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::ledger::Defect;

impl Cluster {
    pub(super) fn crash(&mut self, place: usize) {
        let Some(mut process) = self.slots[place].process.take() else {
            return;
        };
        self.record.crashed(self.now, place);
        let budget = self.rng.random_range(0..4);
        let mut disk = if let Some(write) = process.writes.pop_front()
            && self.rng.random_bool(0.5)
        {
            // The power fails in the middle of a write.
            let mut disk = process.log.into_disk();
            disk.budget = Some(budget);
            let (mut log, _) = Log::open_with(disk, SEGMENT).expect("reading needs no budget");
            // It may also just succeed.
            let _ = log.append(&[write]);
            log.into_disk()
        } else {
            process.log.into_disk()
        };
        disk = disk.crash(&mut self.rng);
        self.slots[place].disk = Some(disk);
        self.slots[place].life += 1;
        for client in 0..self.clients.len() {
            // Whoever waited there will never know.
            if self.clients[client]
                .waiting
                .is_some_and(|(slot, ..)| slot == place)
            {
                self.tell_client(client, place, "info");
                self.clients[client].waiting = None;
                self.schedule(10_000, Event::Client(client), 0);
            }
        }
    }

    /// The connection between two machines breaks: what is on its way is lost, and both notice.
    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        let text = "the connection breaks";
        self.record.fault(self.now, &[], &[(a, b)], text);
        *self.connections.entry((a.min(b), a.max(b))).or_default() += 1;
        for (place, other) in [(a, b), (b, a)] {
            let peer = self.slots[other].id;
            if let Some(process) = &mut self.slots[place].process {
                process.core.peer_lost(peer);
                self.touch(place);
            }
        }
        let pause = self.rng.random_range(1_000..300_000);
        self.schedule(pause, Event::Connected(a, b), 0);
    }

    pub(super) fn connected(&mut self, a: usize, b: usize) {
        if self.cut.contains(&(a.min(b), a.max(b))) {
            self.schedule(100_000, Event::Connected(a, b), 0);
            return;
        }
        for (place, other) in [(a, b), (b, a)] {
            let peer = self.slots[other].id;
            if let Some(process) = &mut self.slots[place].process {
                process.core.peer_found(peer);
                self.touch(place);
            }
        }
    }

    pub(super) fn fault(&mut self) {
        if self.now > FAULTS_END {
            self.heal();
            return;
        }
        let size = self.slots.len();
        let place = self.rng.random_range(0..size);
        match self.rng.random_range(0..16) {
            0 | 1 => self.crash(place),
            2 | 3 => {
                if self.slots[place].process.is_none() {
                    self.start(place);
                }
            }
            4 => {
                let side: Vec<bool> = (0..size).map(|_| self.rng.random_bool(0.5)).collect();
                let pairs = (0..size).flat_map(|a| (a + 1..size).map(move |b| (a, b)));
                self.cut = pairs.filter(|&(a, b)| side[a] != side[b]).collect();
                self.record
                    .cut(self.now, self.cut.iter().copied().collect());
                if self.rng.random_bool(0.5) {
                    // Otherwise nobody notices.
                    let mut cut: Vec<(usize, usize)> = self.cut.iter().copied().collect();
                    cut.sort_unstable();
                    for (a, b) in cut {
                        self.disconnect(a, b);
                    }
                }
            }
            5 => self.join_links(),
            6 => {
                let other = (place + self.rng.random_range(1..size)) % size;
                self.disconnect(place, other);
            }
            7 => {
                for place in 0..size {
                    if self.rng.random_bool(0.3) {
                        self.crash(place);
                    }
                }
            }
            8 => {
                if let Some(process) = &mut self.slots[place].process {
                    self.record
                        .fault(self.now, &[place], &[], "is told to step down");
                    process.core.step_down();
                    self.touch(place);
                }
            }
            9 => self.spoil(place),
            11 if self.everybody_votes() && self.leaving.is_none() && !self.is_one_spoilt() => {
                let readmit = self.rng.random_bool(0.5);
                self.leaving = Some(Leaving {
                    place,
                    id: self.slots[place].id,
                    readmit,
                });
                if readmit && self.rng.random_bool(0.5) {
                    // It does not see it happen.
                    self.crash(place);
                }
            }
            12 if self.everybody_votes() => {
                self.summary.moved += 1;
                self.crash(place);
                let slot = &mut self.slots[place];
                slot.name = format!("{place}, moved in life {}", slot.life);
                self.start(place);
            }
            13 => {
                if let Some(process) = &mut self.slots[place].process {
                    self.record
                        .fault(self.now, &[place], &[], "the next command fails");
                    process.machine.executor().fails = true;
                }
            }
            // Somebody sets its clock, perhaps back.
            14 => {
                self.record
                    .fault(self.now, &[place], &[], "its clock is set");
                self.slots[place].skew = self.rng.random_range(0..10_000);
            }
            10 => {
                let until = self.now + self.rng.random_range(0..1_000_000);
                if let Some(process) = &mut self.slots[place].process {
                    let times = (self.now, until);
                    self.record.fault_until(times, place, "the disk is full");
                    process.full_until = until;
                }
            }
            _ => self.wipe(place),
        }
        let pause = self.rng.random_range(20_000..600_000);
        self.schedule(pause, Event::Fault, 0);
    }

    /// One replica a run becomes another than it should be, and nobody is told.
    fn spoil(&mut self, place: usize) {
        let defect = [Defect::Visible, Defect::Hidden][self.rng.random_range(0..2)];
        let last_time = FAULTS_END - 1_000_000;
        // Nor while one is on its way out: of three, two would be left that differ.
        let busy = self.leaving.is_some() || !self.everybody_votes();
        if self.spoilt.is_some() || busy || self.now > last_time {
            return;
        }
        if let Some(process) = &mut self.slots[place].process {
            let text = format!("its state is spoilt ({defect:?})");
            self.record.fault(self.now, &[place], &[], &text);
            process.machine.executor().spoil(defect);
            self.spoilt = Some(Spoilt {
                place,
                applied: process.machine.applied(),
                executed: None,
            });
        }
    }

    /// Whether all machines are members under their names, and vote, and no change is under way.
    fn everybody_votes(&self) -> bool {
        self.slots.iter().all(|slot| {
            let process = slot.process.as_ref();
            process.is_some_and(|process| {
                let status = process.core.status();
                let known = status.members.get(&slot.id) == Some(&slot.name);
                let votes = status.voters.contains(&slot.id);
                let size = self.slots.len();
                let all = status.members.len() == size && status.voters.len() == size;
                known && votes && all && !status.changing
            })
        })
    }

    /// Whether a replica is not as it should be. Then no other one goes for good: of three, two would be
    /// left that differ, and nobody could tell which is right.
    fn is_one_spoilt(&self) -> bool {
        // Of one that is down nobody knows.
        let mut slots = self.slots.iter();
        self.spoilt.is_some()
            && slots.any(|slot| {
                let process = slot.process.as_ref();
                process.is_none_or(|process| process.machine.look().defect != Defect::None)
            })
    }

    /// One machine a run loses its disk and comes back under its name: it has to join as new. Not
    /// while members change: the only member of the old set would be a majority of it, lost for good.
    pub(super) fn wipe(&mut self, place: usize) {
        // Nor while one is on its way out: nobody takes two from three.
        let busy = self.leaving.is_some() || self.is_one_spoilt();
        if self.wiped || busy || !self.everybody_votes() {
            return;
        }
        self.wiped = true;
        self.record.fault(self.now, &[place], &[], "loses its disk");
        self.crash(place);
        self.slots[place].disk = Some(SimulatedDisk::default());
    }

    fn join_links(&mut self) {
        self.cut.clear();
        self.record.cut(self.now, Vec::new());
    }

    pub(super) fn heal(&mut self) {
        self.join_links();
        self.loss = 0.0;
        for place in 0..self.slots.len() {
            if self.slots[place].process.is_none() {
                self.start(place);
            }
        }
    }
}

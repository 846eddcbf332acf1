//! What an operator does, and what nodes tell those who join: entries are skipped, members removed and taken
//! in again, a doubt that nobody can decide is ended.

use crate::consensus::{Membership, Removal, Standing};
use crate::ids::Index;
use crate::message::PeerMessage;
use rand::Rng as _;

use super::{Cluster, DEADLINE, FAULTS_END, Leaving};
use crate::simulation::disk::SimulatedDisk;

impl Cluster {
    /// The operator's hour at `place`.
    pub(super) fn operate(&mut self, place: usize) {
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        if self.rng.random_bool(0.05)
            && let Some(index) = process.core.stuck_at()
        {
            process.core.skip(index);
            self.to_skip.insert(index);
        }
        let Some(leaving) = self.leaving else {
            let looks = self.rng.random_bool(0.02);
            if looks && process.core.status().removed == Some(Removal::Live) {
                // By a word that came late, or while it heard nothing: it is to come back, which it does
                // not by itself.
                self.slots[place].restarts = true;
            }
            return self.end_doubt(place);
        };
        if leaving.place == place {
            return;
        }
        let status = process.core.status();
        if status.members.contains_key(&leaving.id) {
            process.core.remove(leaving.id);
        } else if status.role == "leader" && !status.changing {
            self.bring_back(leaving);
        }
    }

    /// Replicas differ, and those who might decide it are so far behind that they need a snapshot, which
    /// those who differ have not from before that, or from before they were members; or a majority was spoilt
    /// by a snapshot, so that one that is whole was told it had parted, and waits for a state as well. Nobody but
    /// the operator can do anything about it: he removes one of them, and here he knows which.
    fn end_doubt(&mut self, leader: usize) {
        let Some(process) = &self.slots[leader].process else {
            return;
        };
        let Standing::Doubtful(at) = process.core.standing() else {
            return;
        };
        if process.core.leads().is_none() || self.now < FAULTS_END + 6_000_000 {
            return;
        }
        let saved = process.log.saved_snapshot().expect("saved whole");
        let saved = saved.map_or(Index::START, |saved| Index::new(saved.get_metadata().index));
        let mut others = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        let is_of_no_help = others.any(|other| {
            let has_parted = matches!(other.core.standing(), Standing::Parted(_));
            other.core.status().commit_index < saved || self.spread && has_parted
        });
        let members = process.core.status().members;
        let is_spoilt =
            |&place: &usize| self.has_defect(place) && members.contains_key(&self.slots[place].id);
        if let Some(place) = (0..self.slots.len()).find(is_spoilt)
            && is_of_no_help
            && (saved >= at || self.now > FAULTS_END + 12_000_000)
        {
            self.summary.undecided += 1;
            self.deadline = self.now + (DEADLINE - FAULTS_END);
            self.leaving = Some(Leaving {
                place,
                id: self.slots[place].id,
                readmit: false,
            });
        }
    }

    /// A removed member is emptied, and joins as a new one; or it comes back as it is.
    fn bring_back(&mut self, leaving: Leaving) {
        let place = leaving.place;
        self.leaving = None;
        self.crash(place);
        if leaving.readmit {
            self.summary.readmitted += 1;
        } else {
            self.summary.replaced += 1;
            // From now on nobody founds a cluster any more.
            self.wiped = true;
            self.slots[place].disk = Some(SimulatedDisk::default());
        }
        self.start(place);
    }

    /// Sees to it that the process at `place` is a member under its name, as it does itself (`joining.rs`).
    pub(super) fn settle(&mut self, place: usize) {
        let Some(process) = &self.slots[place].process else {
            return;
        };
        if process.core.leads().is_some() && self.rng.random_bool(0.2) {
            let membership = process.core.membership();
            self.greet(place, &membership);
        }
        let Some(process) = &self.slots[place].process else {
            return;
        };
        if !self.rng.random_bool(0.1) {
            return;
        }
        let status = process.core.status();
        let name = &self.slots[place].name;
        let known = status.members.get(&status.id) == Some(name);
        let wishes = match status.removed {
            None => !known,
            Some(Removal::Absent) => true,
            Some(Removal::Live) => false,
        };
        if wishes {
            let join = PeerMessage::Join {
                node: status.id,
                name: name.clone(),
            };
            let through = self.rng.random_range(0..self.slots.len());
            self.send(status.id, self.slots[through].id, &join);
        }
    }

    /// Whoever greets the leader, which knows these members, and takes itself for one learns that it is
    /// none, if the leader knows better.
    fn greet(&mut self, leader: usize, known: &Membership) {
        for place in 0..self.slots.len() {
            let id = self.slots[place].id;
            let apart = self.cut.contains(&(place.min(leader), place.max(leader)));
            if apart || known.members.contains_key(&id) {
                continue;
            }
            if let Some(process) = &mut self.slots[place].process
                && process.core.is_member()
            {
                process.core.learn_removed(Some(known.as_of));
                self.touch(place);
            }
        }
    }
}

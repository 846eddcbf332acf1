//! Clients: each asks, waits for its answer, checks it and asks again.

use crate::message::Command;
use bytes::Bytes;
use rand::Rng as _;

use super::{Cluster, Event, FAULTS_END};
use crate::simulation::ledger::POISON;

impl Cluster {
    /// Perhaps executed, perhaps not: the client asks something else.
    pub(super) fn refused(&mut self, client: usize, place: usize, life: u64) {
        if let Some((slot, lived, ..)) = self.clients[client].waiting
            && (slot, lived) == (place, life)
        {
            self.clients[client].waiting = None;
            self.schedule(30_000, Event::Client(client), 0);
        }
    }

    /// A client got its answer: the position of its command, or how many commands its read saw.
    pub(super) fn answered(&mut self, client: usize, place: usize, position: u64, read: bool) {
        let asked = self.clients[client].asked;
        let life = self.slots[place].life;
        let Some((slot, lived, is_read, horizon)) = self.clients[client].waiting.take() else {
            panic!("an answer that nobody waits for");
        };
        assert_eq!(
            (slot, lived, is_read),
            (place, life, read),
            "the answer is for somebody else"
        );
        assert!(
            position >= horizon,
            "the answer does not see what was acknowledged before"
        );
        if !read {
            let text = Bytes::from(format!("{client}-{asked}"));
            assert_eq!(
                self.history[position as usize].1, text,
                "another command has this number"
            );
            self.acknowledged.insert(text, position);
            self.horizon = self.horizon.max(position + 1);
        }
        let pause = self.rng.random_range(0..100_000);
        self.schedule(pause, Event::Client(client), 0);
    }

    pub(super) fn ask(&mut self, client: usize) {
        if self.now > FAULTS_END + 2_000_000 && !self.is_in_doubt() {
            // Enough has been asked, and another client may still have to find out whether it has.
            return self.schedule(100_000, Event::Client(client), 0);
        }
        let place = self.rng.random_range(0..self.slots.len());
        let read = self.rng.random_bool(0.2);
        let life = self.slots[place].life;
        let Some(process) = &mut self.slots[place].process else {
            self.schedule(30_000, Event::Client(client), 0);
            return;
        };
        let state = &mut self.clients[client];
        state.asked += 1;
        state.waiting = Some((place, life, read, self.horizon));
        if read {
            process.core.read(client as u64);
        } else {
            let mut text = Bytes::from(format!("{client}-{}", state.asked));
            if self.poison && self.rng.random_bool(0.02) {
                self.poison = false;
                text = Bytes::from_static(POISON);
            }
            process
                .core
                .request(client as u64, None, Command::Shell(text));
        }
        self.touch(place);
    }
}

//! Clients: each asks, waits for its answer, checks it and asks again.

use crate::message::Command;
use bytes::Bytes;
use rand::Rng as _;

use super::{Client, Cluster, Event, FAULTS_END};
use crate::simulation::ledger::POISON;
use crate::simulation::plant::Plant;

impl Cluster {
    /// Perhaps executed, perhaps not: the client asks something else.
    pub(super) fn refused(&mut self, client: usize, place: usize, life: u64) {
        if let Some((slot, lived, ..)) = self.clients[client].waiting
            && (slot, lived) == (place, life)
        {
            self.tell_client(client, place, "info");
            self.clients[client].waiting = None;
            self.schedule(30_000, Event::Client(client), 0);
        }
    }

    /// A client got its answer: the position of its command, or how many commands its read saw.
    pub(super) fn answered(&mut self, client: usize, place: usize, position: u64, read: bool) {
        let life = self.slots[place].life;
        self.tell_client(client, place, "ok");
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
            let text = self.text_of(client);
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

    /// What a client asks for.
    fn text_of(&self, client: usize) -> Bytes {
        let Client { asked, blanks, .. } = self.clients[client];
        Bytes::from(format!("{client}-{asked}{}", " ".repeat(blanks)))
    }

    /// Writes down what a client does, or what becomes of it.
    pub(super) fn tell_client(&self, client: usize, place: usize, what: &str) {
        let Client { asked, waiting, .. } = &self.clients[client];
        let is_read = waiting.is_some_and(|(_, _, is_read, _)| is_read);
        let request = if is_read {
            format!("read-{client}-{asked}")
        } else {
            format!("{client}-{asked}")
        };
        self.record
            .client(self.now, place, client, (what, &request));
    }

    pub(super) fn ask(&mut self, client: usize) {
        if self.now > FAULTS_END + 2_000_000 && !self.is_in_doubt() {
            // Enough has been asked, and another client may still have to find out whether it has.
            return self.schedule(100_000, Event::Client(client), 0);
        }
        let place = self.rng.random_range(0..self.slots.len());
        let read = self.rng.random_bool(0.2);
        self.ask_at(client, place, read);
    }

    /// A client asks a machine for something to be executed, or for what there is.
    pub(super) fn ask_at(&mut self, client: usize, place: usize, read: bool) {
        let life = self.slots[place].life;
        if self.slots[place].process.is_none() {
            return self.schedule(30_000, Event::Client(client), 0);
        }
        let state = &mut self.clients[client];
        state.asked += 1;
        state.waiting = Some((place, life, read, self.horizon));
        let mut text = self.text_of(client);
        self.tell_client(client, place, "invoke");
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        if read && self.planted.is(Plant::StaleRead) {
            let count = process.machine.executor().count;
            return self.answered(client, place, count, true);
        }
        if read {
            process.core.read(client as u64);
        } else {
            if self.poison && self.rng.random_bool(0.02) {
                self.poison = false;
                text = Bytes::from_static(POISON);
            }
            let command = Command::Shell(text);
            let _id = process.core.request(client as u64, None, command);
        }
        self.touch(place);
    }
}

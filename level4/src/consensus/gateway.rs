//! The client's side of the core: requests that this node took and has not answered yet.
//!
//! A request gets an id that stays the same through every resend, is forwarded to whoever leads, and
//! is answered when the entry that carries it has been applied *here*. Resending is harmless, because
//! the replicated sessions execute an id once; so it is done whenever the way to the leader may have
//! lost something, and by a timer as well.

use std::collections::BTreeMap;

use crate::ids::{Incarnation, NodeId};
use crate::message::{Command, Request, RequestId};

/// What the environment calls a waiting client.
pub type Token = u64;

#[derive(Debug)]
struct Pending {
    token: Token,
    request: Request,
    /// The tick of the last forward; `None`: not on its way.
    sent: Option<u64>,
    /// How long to wait for an answer before it is forwarded again, in ticks.
    patience: u64,
}

/// Requests of this incarnation, by counter.
#[derive(Debug)]
pub struct Gateway {
    node: NodeId,
    incarnation: Incarnation,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    unsent: bool,
    /// The first of an unanswered request's waits, in ticks; each is twice the one before.
    patience: u64,
}

/// The longest wait, in first ones.
const MOST_PATIENCE: u64 = 8;

impl Gateway {
    /// No request has been taken in this life yet.
    pub fn new(node: NodeId, incarnation: Incarnation, patience: u64) -> Self {
        Self {
            node,
            incarnation,
            next: 0,
            pending: BTreeMap::new(),
            unsent: false,
            patience,
        }
    }

    /// Takes a request for the client `token`; gives its id.
    pub fn take(&mut self, token: Token, key: Option<String>, command: Command) -> RequestId {
        let counter = self.next;
        self.next += 1;
        let floor = self
            .pending
            .first_key_value()
            .map_or(counter, |(&first, _)| first);
        let id = RequestId {
            node: self.node,
            incarnation: self.incarnation,
            counter,
        };
        let request = Request {
            id,
            floor,
            key,
            command,
        };
        self.pending.insert(
            counter,
            Pending {
                token,
                request,
                sent: None,
                patience: self.patience,
            },
        );
        self.unsent = true;
        id
    }

    /// Forgets how far requests have got: the next [`Self::due`] gives all of them.
    pub fn resend_all(&mut self) {
        for pending in self.pending.values_mut() {
            pending.sent = None;
            pending.patience = self.patience;
        }
        self.unsent = !self.pending.is_empty();
    }

    /// Marks requests that have waited for too long at tick `now` as due again.
    pub fn resend_older(&mut self, now: u64) {
        for pending in self.pending.values_mut() {
            if pending
                .sent
                .is_some_and(|sent| sent + pending.patience < now)
            {
                pending.sent = None;
                pending.patience = (2 * pending.patience).min(MOST_PATIENCE * self.patience);
                self.unsent = true;
            }
        }
    }

    /// Gives all waiting clients up.
    pub fn give_up(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.pending)
            .into_values()
            .map(|pending| pending.token)
            .collect()
    }

    /// The requests that have to be sent now, marked as sent at tick `now`.
    pub fn due(&mut self, now: u64) -> Vec<Request> {
        if !std::mem::take(&mut self.unsent) {
            return Vec::new();
        }
        let unsent = self
            .pending
            .values_mut()
            .filter(|pending| pending.sent.is_none());
        unsent
            .map(|pending| {
                pending.sent = Some(now);
                pending.request.clone()
            })
            .collect()
    }

    /// The client that waits for `id`, which has been executed.
    pub fn answered(&mut self, id: &RequestId) -> Option<Token> {
        if id.node != self.node || id.incarnation != self.incarnation {
            return None;
        }
        self.pending
            .remove(&id.counter)
            .map(|pending| pending.token)
    }

    /// How many clients wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn take(gateway: &mut Gateway, token: Token) {
        gateway.take(token, None, Command::Shell(Bytes::from_static(b"SELECT 1")));
    }

    #[test]
    fn a_resent_request_keeps_its_id_and_the_floor_follows_the_answers() {
        let mut gateway = Gateway::new(NodeId::new(1), Incarnation::new(1), 10);
        take(&mut gateway, 10);
        take(&mut gateway, 11);
        let first = gateway.due(1);
        assert_eq!(first.len(), 2);
        assert!(gateway.due(2).is_empty());
        gateway.resend_all();
        assert_eq!(gateway.due(3), first);
        assert_eq!(gateway.answered(&first[0].id), Some(10));
        assert_eq!(gateway.answered(&first[0].id), None);
        take(&mut gateway, 12);
        assert_eq!(gateway.due(4)[0].floor, 1);
        let other = RequestId {
            incarnation: Incarnation::new(2),
            ..first[1].id
        };
        assert_eq!(gateway.answered(&other), None);
    }

    #[test]
    fn each_wait_for_an_answer_is_twice_the_one_before() {
        let mut gateway = Gateway::new(NodeId::new(1), Incarnation::new(1), 10);
        take(&mut gateway, 10);
        let mut sent = Vec::new();
        for now in 0..200 {
            gateway.resend_older(now);
            if !gateway.due(now).is_empty() {
                sent.push(now);
            }
        }
        assert_eq!(sent, [0, 11, 32, 73, 154]);
        assert_eq!(gateway.give_up(), [10]);
        assert_eq!(gateway.waiting(), 0);
    }
}

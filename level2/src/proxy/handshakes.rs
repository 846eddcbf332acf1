//! Handshakes of TLS: how many may be under way, and whose turn it is to be worked on.
//!
//! A handshake costs as much as some hundred requests, and nobody has a name yet: whoever opens the most
//! connections would have the most work done. So each address has its turn, one handshake each, however many
//! it has waiting; and whoever has more under way than its part, or comes when there are too many, is
//! closed before any work is done.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::peers::key;
use crate::trust::Peer;

type Key = Option<IpAddr>;

/// One worker's handshakes.
#[derive(Debug, Default)]
pub struct Handshakes(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<Key, usize>,
    total: usize,
    working: bool,
    /// Addresses in the order of their turns, each with its connections in theirs.
    waiting: VecDeque<(Key, VecDeque<oneshot::Sender<()>>)>,
}

/// A handshake under way.
#[derive(Debug)]
#[must_use = "the handshake is no longer counted once this is dropped"]
pub struct UnderWay {
    all: Rc<Handshakes>,
    key: Key,
}

/// A turn to be worked on.
#[derive(Debug)]
#[must_use = "the turn is over once this is dropped"]
pub struct Turn(Rc<Handshakes>);

impl Handshakes {
    /// A handshake begins; `None` if there are `most` already, or if its peer has half of that.
    pub fn begin(self: &Rc<Self>, peer: Peer, most: usize) -> Option<UnderWay> {
        let key = key(peer);
        let mut state = self.0.borrow_mut();
        if state.total >= most {
            return None;
        }
        let count = state.by_key.entry(key).or_default();
        if *count >= most.div_ceil(2) {
            return None;
        }
        *count += 1;
        state.total += 1;
        Some(UnderWay {
            all: self.clone(),
            key,
        })
    }

    /// Gives the turn to the first of the next address.
    fn next(&self) {
        let mut state = self.0.borrow_mut();
        while let Some((key, mut queue)) = state.waiting.pop_front() {
            let next = queue.pop_front();
            if !queue.is_empty() {
                state.waiting.push_back((key, queue));
            }
            if next.is_some_and(|sender| sender.send(()).is_ok()) {
                return;
            }
        }
        state.working = false;
    }
}

impl UnderWay {
    /// Waits for its turn.
    pub async fn turn(&self) -> Turn {
        let receiver = {
            let mut state = self.all.0.borrow_mut();
            if !state.working {
                state.working = true;
                return Turn(self.all.clone());
            }
            let (sender, receiver) = oneshot::channel();
            match state.waiting.iter_mut().find(|(key, _)| *key == self.key) {
                Some((_, queue)) => queue.push_back(sender),
                None => state.waiting.push_back((self.key, [sender].into())),
            }
            receiver
        };
        let waiting = Waiting {
            all: &self.all,
            receiver,
        };
        waiting.wait().await;
        Turn(self.all.clone())
    }
}

/// A wait for a turn; one that is given up as its turn comes passes that on.
struct Waiting<'a> {
    all: &'a Rc<Handshakes>,
    receiver: oneshot::Receiver<()>,
}

impl Waiting<'_> {
    async fn wait(mut self) {
        // Senders are dropped unused only with the whole worker.
        let _ = (&mut self.receiver).await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if self.receiver.try_recv().is_ok() {
            self.all.next();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.next();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.all.0.borrow_mut();
        state.total -= 1;
        if let Some(count) = state.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::Ip([10, 0, 0, last].into())
    }

    #[test]
    fn nobody_has_more_than_half_and_all_together_no_more_than_there_are() {
        let all = Rc::new(Handshakes::default());
        let first: Vec<_> = (0..9).map_while(|_| all.begin(peer(1), 10)).collect();
        assert_eq!(first.len(), 5);
        let others: Vec<_> = (2..99).map_while(|n| all.begin(peer(n), 10)).collect();
        assert_eq!(others.len(), 5);
        drop(first);
        assert!(all.begin(peer(1), 10).is_some());
    }

    /// Ten of one address came before one of another: that one is second.
    #[test]
    fn addresses_take_turns() {
        let all = Rc::new(Handshakes::default());
        let begun: Vec<_> = (0..10)
            .map(|_| all.begin(peer(1), 100).unwrap())
            .chain([all.begin(peer(2), 100).unwrap()])
            .collect();
        let mut cx = Context::from_waker(Waker::noop());
        let mut turns: Vec<_> = begun.iter().map(|one| Box::pin(one.turn())).collect();
        let mut order = Vec::new();
        let mut done = vec![false; turns.len()];
        // Everybody is there before the first turn is over.
        let mut first = None;
        for (index, turn) in turns.iter_mut().enumerate() {
            if let Poll::Ready(turn) = turn.as_mut().poll(&mut cx) {
                order.push(index);
                done[index] = true;
                first = Some(turn);
            }
        }
        drop(first);
        while order.len() < turns.len() {
            for (index, turn) in turns.iter_mut().enumerate() {
                if !done[index]
                    && let Poll::Ready(turn) = turn.as_mut().poll(&mut cx)
                {
                    order.push(index);
                    done[index] = true;
                    drop(turn);
                }
            }
        }
        assert_eq!(order[..3], [0, 1, 10]);
    }

    #[test]
    fn a_turn_that_comes_to_nobody_is_passed_on() {
        let all = Rc::new(Handshakes::default());
        let begun: Vec<_> = (0..3).map(|_| all.begin(peer(1), 100).unwrap()).collect();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = pin!(begun[0].turn()).poll(&mut cx) else {
            panic!("nobody was before it");
        };
        let mut third = pin!(begun[2].turn());
        {
            let mut second = pin!(begun[1].turn());
            assert!(second.as_mut().poll(&mut cx).is_pending());
            assert!(third.as_mut().poll(&mut cx).is_pending());
            // It is given to the second, which goes without looking.
            drop(first);
        }
        assert!(third.as_mut().poll(&mut cx).is_ready());
    }
}

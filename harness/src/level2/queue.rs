//! The queue of a backend as a pure structure: who works, who waits, who does not fit.
//!
//! It knows neither sockets nor clocks; the server (`backend.rs`) tells it of arrivals and of ended
//! services, and asks it what starts next.

use std::collections::VecDeque;

/// What becomes of a request that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// A slot is free: its service starts now.
    Starts,
    /// It waits for its turn.
    Waits,
    /// Slots and queue are full; the 2014 backend died of this.
    Overflows,
}

/// A first in, first out queue before a number of equal slots.
#[derive(Debug)]
pub struct Queue<T> {
    slots: usize,
    room: usize,
    in_work: usize,
    waiting: VecDeque<T>,
    longest: usize,
}

impl<T> Queue<T> {
    /// A queue with `room` places before `slots` slots.
    pub fn new(slots: usize, room: usize) -> Self {
        Self {
            slots,
            room,
            in_work: 0,
            waiting: VecDeque::with_capacity(room),
            longest: 0,
        }
    }

    /// A request arrives. It is kept if it waits; one that starts or overflows is the caller's.
    pub fn arrive(&mut self, request: T) -> (Admission, Option<T>) {
        if self.in_work < self.slots {
            self.in_work += 1;
            return (Admission::Starts, Some(request));
        }
        if self.waiting.len() < self.room {
            self.waiting.push_back(request);
            self.longest = self.longest.max(self.waiting.len());
            return (Admission::Waits, None);
        }
        (Admission::Overflows, Some(request))
    }

    /// A service ended: the next waiting request whose connection is still `open` takes the slot.
    /// Those that are gone kept their places until now and are skipped at no cost.
    pub fn finish(&mut self, mut open: impl FnMut(&T) -> bool) -> Option<T> {
        while let Some(next) = self.waiting.pop_front() {
            if open(&next) {
                return Some(next);
            }
        }
        self.in_work -= 1;
        None
    }

    /// How many requests are in work or wait.
    pub fn held(&self) -> usize {
        self.in_work + self.waiting.len()
    }

    /// The most requests that ever waited at once.
    pub fn longest(&self) -> usize {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_work_four_wait_and_the_seventh_overflows() {
        let mut queue = Queue::new(2, 4);
        assert_eq!(queue.arrive(0), (Admission::Starts, Some(0)));
        assert_eq!(queue.arrive(1), (Admission::Starts, Some(1)));
        for request in 2..6 {
            assert_eq!(queue.arrive(request), (Admission::Waits, None));
        }
        assert_eq!(queue.arrive(6), (Admission::Overflows, Some(6)));
        assert_eq!(queue.longest(), 4);
        assert_eq!(queue.finish(|_| true), Some(2));
        assert_eq!(
            queue.arrive(7),
            (Admission::Waits, None),
            "the place of the one that started"
        );
    }

    #[test]
    fn a_closed_request_keeps_its_place_until_its_turn_and_is_then_skipped() {
        let mut queue = Queue::new(1, 2);
        queue.arrive(0);
        queue.arrive(1);
        queue.arrive(2);
        assert_eq!(
            queue.arrive(3).0,
            Admission::Overflows,
            "1 is gone but still counts"
        );
        assert_eq!(queue.finish(|&request| request != 1), Some(2));
        assert_eq!(queue.finish(|_| true), None);
        assert_eq!(
            queue.arrive(4).0,
            Admission::Starts,
            "the slot is free again"
        );
    }

    #[test]
    fn when_all_that_wait_are_gone_the_slot_is_free() {
        let mut queue = Queue::new(1, 4);
        queue.arrive(0);
        queue.arrive(1);
        queue.arrive(2);
        assert_eq!(queue.finish(|_| false), None);
        assert_eq!(queue.arrive(3).0, Admission::Starts);
    }
}

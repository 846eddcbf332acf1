//! A request at a backend, as a state machine: every way in which it can end, and what each means for
//! the place it holds.
//!
//! The place is held for as long as the backend may be at work, because what the policy counts must
//! never be less than what the backend really has. A backend stops work when it has answered whole, or
//! when its connection is gone; that a *client* has left, sent nonsense or become too slow does not stop
//! it. Such a request is [`Stage::Orphaned`]: its place waits for the backend, unless the operator has
//! said that closing the connection ends the work (`--cancel`).

use crate::policy::Outcome;

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is being sent.
    Sending,
    /// It was sent whole; nothing has come back.
    Waiting,
    /// The answer's head is there.
    Answering,
    /// Nobody waits for the answer; the backend is at work.
    Orphaned,
    /// The backend has nothing to do with it any more.
    Over,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// No connection to the backend could be made.
    Unreachable,
    /// The proxy itself had no means to make one.
    Short,
    /// All of the request is with the backend.
    Sent,
    /// The answer's head has come, with this status.
    Head(u16),
    /// All of the answer has come.
    Whole,
    /// The client left.
    ClientLeft,
    /// The client was slower than the least rate.
    ClientSlow,
    /// The client's body is malformed.
    BodyMalformed,
    /// The client's body is larger than allowed.
    BodyTooLarge,
    /// The backend closed or reset the connection.
    BackendClosed,
    /// The backend sent what is no answer.
    BackendMalformed,
    /// The backend was silent for too long.
    BackendSilent,
    /// The answer was larger than can be collected for the client.
    AnswerTooLarge,
}

/// What an event means for the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a place that is not freed is lost"]
pub enum Place {
    /// It stays taken (or was freed before).
    Held,
    /// It is free again; this is what the policy learns.
    Freed(Outcome),
}

/// The state machine. See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    stage: Stage,
    status: u16,
    /// Whether closing a connection ends the work behind it.
    cancel: bool,
    /// Whether the connection was kept from an earlier request: the backend may have closed it just as
    /// it was used, which is no failure.
    reused: bool,
}

impl Call {
    /// A request that has just been given a place.
    pub fn new(cancel: bool) -> Self {
        Self {
            stage: Stage::Sending,
            status: 0,
            cancel,
            reused: false,
        }
    }

    /// It goes over a connection that was used before.
    pub fn reuse(&mut self) {
        self.reused = true;
    }

    /// Where it stands.
    pub fn stage(self) -> Stage {
        self.stage
    }

    /// What happened. Events after the end change nothing.
    pub fn on(&mut self, event: Event) -> Place {
        use Stage::{Answering, Orphaned, Over, Sending, Waiting};
        match (self.stage, event) {
            (Sending, Event::Sent) => self.stay(Waiting),
            (Over, _) | (_, Event::Sent) => Place::Held,
            (Orphaned, Event::Head(status)) => {
                self.status = status;
                Place::Held
            }
            (_, Event::Head(status)) => {
                self.status = status;
                self.stay(Answering)
            }
            (_, Event::Whole) if self.status >= 500 => self.end(Outcome::Errored),
            (_, Event::Whole) => self.end(Outcome::Answered),
            // It is over, but nobody was there to blame the backend for what came of it.
            (Orphaned, Event::BackendClosed | Event::BackendMalformed | Event::BackendSilent) => {
                self.end(Outcome::Aborted)
            }
            (Orphaned, _) => Place::Held,
            (_, Event::Unreachable) => self.end(Outcome::Unreachable),
            (_, Event::Short) => self.end(Outcome::Aborted),
            (Sending | Waiting, Event::BackendClosed) if self.reused => self.end(Outcome::Aborted),
            (_, Event::BackendClosed | Event::BackendMalformed) => self.end(Outcome::Failed),
            (_, Event::BackendSilent) if self.cancel => self.end(Outcome::Failed),
            (
                _,
                Event::ClientLeft
                | Event::ClientSlow
                | Event::BodyMalformed
                | Event::BodyTooLarge
                | Event::AnswerTooLarge,
            ) if self.cancel => self.end(Outcome::Aborted),
            _ => self.stay(Orphaned),
        }
    }

    fn stay(&mut self, stage: Stage) -> Place {
        self.stage = stage;
        Place::Held
    }

    fn end(&mut self, outcome: Outcome) -> Place {
        self.stage = Stage::Over;
        Place::Freed(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A handler at a backend, seen from outside: it begins with the request's first byte, and ends
    /// when it has answered or has noticed that its connection is gone.
    #[derive(Default)]
    struct Handler {
        at_work: bool,
        /// Whether the proxy has closed the connection, or the handler has.
        closed: bool,
    }

    #[derive(Clone, Copy, Debug)]
    enum Happening {
        Event(Event),
        /// The handler closes its connection (crashes, or gives up).
        HandlerCloses,
        /// The handler completes its answer.
        HandlerAnswers,
    }

    fn happenings() -> impl Strategy<Value = Vec<Happening>> {
        use Happening::{Event as E, HandlerAnswers, HandlerCloses};
        let one = prop_oneof![
            Just(E(Event::Sent)),
            prop_oneof![Just(200), Just(500), Just(503)].prop_map(|status| E(Event::Head(status))),
            Just(E(Event::ClientLeft)),
            Just(E(Event::ClientSlow)),
            Just(E(Event::BodyMalformed)),
            Just(E(Event::BodyTooLarge)),
            Just(E(Event::BackendSilent)),
            Just(E(Event::AnswerTooLarge)),
            Just(HandlerCloses),
            Just(HandlerAnswers),
        ];
        prop::collection::vec(one, 0..12)
    }

    /// What the proxy counts, and what the handlers have, for requests that go through random lives.
    fn play(lives: &[Vec<Happening>], cancel: bool) {
        let longest = lives.iter().map(Vec::len).max().unwrap_or(0);
        let mut calls: Vec<(Call, Handler, bool)> = lives
            .iter()
            .map(|_| {
                let handler = Handler {
                    at_work: true,
                    closed: false,
                };
                (Call::new(cancel), handler, true)
            })
            .collect();
        let mut given_up = false;
        for step in 0..=longest {
            for (life, (call, handler, held)) in lives.iter().zip(&mut calls) {
                // At the end every handler closes at the latest.
                let now = match life.get(step) {
                    Some(happening) => *happening,
                    None if step == longest => Happening::HandlerCloses,
                    None => continue,
                };
                let event = match now {
                    Happening::Event(event) => event,
                    _ if handler.closed || !handler.at_work => continue,
                    Happening::HandlerCloses => {
                        handler.at_work = false;
                        handler.closed = true;
                        Event::BackendClosed
                    }
                    Happening::HandlerAnswers => {
                        handler.at_work = false;
                        Event::Whole
                    }
                };
                if let Place::Freed(_) = call.on(event) {
                    assert!(*held, "a place was freed twice");
                    *held = false;
                }
                if call.stage() == Stage::Over {
                    // The proxy closes or reuses the connection: the handler, if it is at work, has lost it.
                    handler.closed = true;
                    given_up |= event == Event::BackendSilent;
                }
            }
            let counted = calls.iter().filter(|(_, _, held)| *held).count();
            let at_work = calls
                .iter()
                .filter(|(_, h, _)| h.at_work && !h.closed)
                .count();
            assert!(counted >= at_work, "{counted} counted, {at_work} at work");
            // More are counted only where the handler is done and its end is on the way.
            assert!(
                calls
                    .iter()
                    .all(|(call, h, held)| !held || h.at_work || call.stage() != Stage::Over)
            );
            if !cancel && !given_up {
                // Without --cancel no connection is closed under a handler at work, but
                // for one that was silent for twice the time it had.
                assert!(calls.iter().all(|(_, h, held)| *held || !h.at_work));
            }
        }
        assert!(
            calls
                .iter()
                .all(|(call, _, held)| !held && call.stage() == Stage::Over),
            "a place was lost"
        );
    }

    proptest! {
        #[test]
        fn the_count_is_never_less_than_what_the_handlers_have(
            lives in prop::collection::vec(happenings(), 1..8),
            cancel in any::<bool>(),
        ) {
            play(&lives, cancel);
        }
    }

    #[test]
    fn a_kept_connection_that_was_closed_is_no_failure() {
        let mut call = Call::new(false);
        call.reuse();
        assert_eq!(
            call.on(Event::BackendClosed),
            Place::Freed(Outcome::Aborted)
        );
        let mut call = Call::new(false);
        assert_eq!(call.on(Event::BackendClosed), Place::Freed(Outcome::Failed));
        assert_eq!(call.on(Event::Whole), Place::Held);
    }
}

//! Deadlines for many connections at the price of a memory write each.
//!
//! A worker's sweeper looks at all its connections twenty times a second; nobody arms a timer of the
//! runtime per read. A deadline is therefore met up to a twentieth of a second late.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::Duration;

/// Milliseconds on a worker's coarse clock.
pub type Millis = u64;

/// What a connection is doing, as far as its end is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Between requests: may be closed at any time.
    Idle,
    /// Serving.
    Busy,
}

/// One connection's deadline.
#[derive(Debug)]
pub struct Timer {
    deadline: Cell<Millis>,
    stage: Cell<Stage>,
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The deadline has passed, or the proxy is closing and the connection was idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired;

impl Timer {
    /// A timer that does not fire until it is set.
    pub fn new() -> Self {
        Self {
            deadline: Cell::new(Millis::MAX),
            stage: Cell::new(Stage::Busy),
            fired: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Sets the deadline.
    pub fn set(&self, now: Millis, stage: Stage, time: Duration) {
        self.deadline
            .set(now.saturating_add(time.as_millis() as Millis));
        self.stage.set(stage);
        self.fired.set(false);
    }

    /// To be asked on every poll of whatever waits under this timer.
    pub fn check(&self, cx: &Context<'_>) -> Result<(), Fired> {
        if self.fired.get() {
            return Err(Fired);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }

    /// The sweeper's look.
    pub fn sweep(&self, now: Millis, draining: bool) {
        if now >= self.deadline.get() || (draining && self.stage.get() == Stage::Idle) {
            self.fire();
        }
    }

    /// As if the deadline had passed.
    pub fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The deadline, if the connection is idle and was not told to close.
    pub fn idle_deadline(&self) -> Option<Millis> {
        (self.stage.get() == Stage::Idle && !self.fired.get()).then(|| self.deadline.get())
    }
}

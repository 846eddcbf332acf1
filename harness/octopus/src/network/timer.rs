//! Timers of the network's thread: a heap of moments, and a wait that ends at the first of them
//! with a precision far below a millisecond (a kernel timer on Linux; elsewhere the poll's own
//! time-out, which counts whole milliseconds).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::link::Moment;

/// Moments and what to do then, earliest first, and in the order of asking where they tie.
#[derive(Debug)]
pub(super) struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    asked: u64,
}

#[derive(Debug)]
struct Entry<T> {
    moment: Moment,
    order: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.moment, self.order).cmp(&(other.moment, other.order))
    }
}

impl<T> Timers<T> {
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            asked: 0,
        }
    }

    pub fn at(&mut self, moment: Moment, what: T) {
        self.asked += 1;
        self.heap.push(Reverse(Entry {
            moment,
            order: self.asked,
            what,
        }));
    }

    /// The next that is due at `now`.
    pub fn pop(&mut self, now: Moment) -> Option<T> {
        if self.first()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.what)
    }

    pub fn first(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(entry)| entry.moment)
    }
}

/// Waits for sockets until a moment.
#[derive(Debug)]
pub(super) struct Waiter {
    poll: Poll,
    started: Instant,
    #[cfg(target_os = "linux")]
    alarm: alarm::Alarm,
}

impl Waiter {
    /// `token` is for the waiter's own use.
    pub fn new(started: Instant, token: Token) -> io::Result<Self> {
        let poll = Poll::new()?;
        #[cfg(target_os = "linux")]
        let alarm = alarm::Alarm::new(poll.registry(), token)?;
        #[cfg(not(target_os = "linux"))]
        let _ = token;
        Ok(Self {
            poll,
            started,
            #[cfg(target_os = "linux")]
            alarm,
        })
    }

    pub fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    pub fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// Fills `events` with what happened, at the latest at `until` (`None`: whenever something
    /// does).
    pub fn wait(&mut self, events: &mut Events, until: Option<Moment>) -> io::Result<()> {
        let remaining = until.map(|moment| moment.saturating_sub(self.now()));
        let timeout = match remaining {
            Some(Duration::ZERO) => Some(Duration::ZERO),
            #[cfg(target_os = "linux")]
            Some(remaining) => {
                self.alarm.set(until, remaining)?;
                None
            }
            #[cfg(not(target_os = "linux"))]
            Some(remaining) => Some(remaining),
            None => None,
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    //! A timerfd among the polled descriptors.

    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::{Interest, Registry, Token, unix::SourceFd};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use crate::network::Moment;

    #[derive(Debug)]
    pub struct Alarm {
        timer: OwnedFd,
        /// What it is set to: setting it again to the same moment would be a wasted call.
        set_to: Option<Moment>,
    }

    impl Alarm {
        pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self {
                timer,
                set_to: None,
            })
        }

        /// Wakes the poll after `remaining`. A poll that reports edges needs no read of the
        /// timer: setting it again re-arms it.
        pub fn set(&mut self, moment: Option<Moment>, remaining: Duration) -> io::Result<()> {
            if self.set_to == moment {
                return Ok(());
            }
            let zero = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let value = Timespec {
                tv_sec: i64::try_from(remaining.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(remaining.subsec_nanos()),
            };
            let once = Itimerspec {
                it_interval: zero,
                it_value: value,
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            self.set_to = moment;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_ties_in_order_of_asking() {
        let mut timers = Timers::new();
        for (ms, what) in [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b')] {
            timers.at(Duration::from_millis(ms), what);
        }
        let mut popped = String::new();
        while let Some(what) = timers.pop(Duration::from_millis(2)) {
            popped.push(what);
        }
        assert_eq!(popped, "ab");
        assert_eq!(timers.first(), Some(Duration::from_millis(3)));
        assert_eq!(timers.pop(Duration::from_millis(3)), Some('c'));
        assert_eq!(timers.pop(Duration::from_millis(3)), Some('d'));
    }

    #[test]
    fn a_wait_lasts_at_least_until_its_moment() {
        let mut waiter = Waiter::new(Instant::now(), Token(0)).expect("a poll");
        let mut events = Events::with_capacity(4);
        for _ in 0..20 {
            let until = waiter.now() + Duration::from_micros(700);
            while waiter.now() < until {
                waiter.wait(&mut events, Some(until)).expect("a wait");
            }
        }
        assert!(waiter.now() >= Duration::from_millis(14));
    }
}

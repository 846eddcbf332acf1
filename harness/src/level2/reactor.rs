//! One thread that plays every part of the simulated world: sockets by `ppoll`, timers to the
//! microsecond.
//!
//! An event loop of our own, because the usual ones round timers up to whole milliseconds: on a
//! service of 75 ms that alone would cost the backends more than one answer in a hundred. The
//! number of sockets is small, so a plain poll set is lean enough; the second core is the solution's.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::socket::Wire;

/// The longest sleep, so that an interrupt is noticed even when nothing happens.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// A part of the world that owns sockets and timers.
pub trait Actor {
    /// Says which sockets it waits for.
    fn interests<'a>(&'a self, interests: &mut Interests<'a>);

    /// The socket that it named with `key` can be read, written, or has failed.
    fn ready(&mut self, key: usize, now: Instant);

    /// The time of its next timer.
    fn next_due(&self) -> Option<Instant>;

    /// Runs the timers that are due.
    fn wake(&mut self, now: Instant);
}

/// The sockets that are waited for in one turn of the loop.
#[derive(Default)]
pub struct Interests<'a> {
    sockets: Vec<PollFd<'a>>,
    keys: Vec<(usize, usize)>,
    actor: usize,
}

impl<'a> Interests<'a> {
    /// Waits until the socket can be read.
    pub fn read(&mut self, socket: &'a impl AsFd, key: usize) {
        self.add(socket.as_fd(), key, PollFlags::IN);
    }

    /// Waits until the socket can be written; its end is noticed as well.
    pub fn write(&mut self, socket: &'a impl AsFd, key: usize) {
        self.add(socket.as_fd(), key, PollFlags::OUT);
    }

    /// Waits for what the side of a request and its answer is at: sending, or else reading.
    pub fn exchange(&mut self, wire: &'a Wire, key: usize) {
        if wire.is_sending() {
            self.write(wire, key);
        } else {
            self.read(wire, key);
        }
    }

    fn add(&mut self, socket: BorrowedFd<'a>, key: usize, flags: PollFlags) {
        self.sockets.push(PollFd::from_borrowed_fd(socket, flags));
        self.keys.push((self.actor, key));
    }
}

/// Runs the actors until a time, or until `stop` says so.
///
/// Errors: the poll itself failed (out of memory or of descriptors).
pub fn run(
    actors: &mut [&mut dyn Actor],
    until: Instant,
    stop: &mut dyn FnMut() -> bool,
) -> std::io::Result<()> {
    loop {
        let mut now = Instant::now();
        for actor in &mut *actors {
            if actor.next_due().is_some_and(|due| due <= now) {
                actor.wake(now);
                now = Instant::now();
            }
        }
        if now >= until || stop() {
            return Ok(());
        }
        let next = actors
            .iter()
            .filter_map(|actor| actor.next_due())
            .min()
            .unwrap_or(until);
        let sleep = next
            .min(until)
            .saturating_duration_since(now)
            .min(MAX_SLEEP);
        let ready = wait(actors, sleep)?;
        let now = Instant::now();
        for (actor, key) in ready {
            actors[actor].ready(key, now);
        }
    }
}

/// Waits for sockets; gives the keys of those that are ready.
fn wait(actors: &[&mut dyn Actor], sleep: Duration) -> std::io::Result<Vec<(usize, usize)>> {
    let mut interests = Interests::default();
    for (index, actor) in actors.iter().enumerate() {
        interests.actor = index;
        actor.interests(&mut interests);
    }
    let timeout = Timespec {
        tv_sec: sleep.as_secs().cast_signed(),
        tv_nsec: i64::from(sleep.subsec_nanos()),
    };
    match poll(&mut interests.sockets, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let ready = interests.sockets.iter().zip(&interests.keys);
    Ok(ready
        .filter(|(socket, _)| !socket.revents().is_empty())
        .map(|(_, key)| *key)
        .collect())
}

//! One direction of one connection: what was read and is not delivered yet, and when it may be.
//!
//! A pipe is a value without sockets or clock. Whoever owns it pushes what it read with the delay
//! it drew, asks [`Pipe::deliverable`] what is due, and tells it how much of that was taken.
//!
//! Bounds: [`UNDER_DELAY`] chunks may be under delay, and [`WAITING`] more that are due may wait
//! for a slow receiver. A full pipe is not read into, which the sender feels as back-pressure.

use std::collections::VecDeque;
use std::time::Duration;

use super::link::Moment;

/// The most bytes that travel as one chunk, which is the unit that draws a delay.
pub const CHUNK_BYTES: usize = 1024;

/// How many chunks may be under delay at once, per direction and connection: 17 KiB per one-way
/// delay is the rate limit that this gives.
pub const UNDER_DELAY: usize = 17;

/// How many chunks that are due may wait for a slow receiver.
pub const WAITING: usize = 15;

/// What travels.
#[derive(Debug)]
enum Load {
    Chunk(Box<[u8]>),
    EndOfStream,
}

#[derive(Debug)]
struct Parcel {
    due: Moment,
    load: Load,
}

/// What a pipe has for its receiver now.
#[derive(Debug, PartialEq, Eq)]
pub enum Deliverable<'a> {
    /// The rest of a chunk.
    Bytes(&'a [u8]),
    /// The sender has closed its side.
    EndOfStream,
    /// Nothing before this moment; `None` when nothing is on its way or the direction loses.
    NotBefore(Option<Moment>),
}

/// How far a pipe's stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// More may be read from the sender.
    #[default]
    Open,
    /// The sender's end of stream was read; nothing can follow.
    Ended,
    /// The end of stream was delivered, or nobody is there to take it.
    Finished,
}

/// One direction of one connection. See the module's text.
#[derive(Debug, Default)]
pub struct Pipe {
    queue: VecDeque<Parcel>,
    /// Bytes of the first chunk that were delivered already.
    taken: usize,
    /// Nothing is delivered before what was pushed earlier.
    last_due: Moment,
    stage: Stage,
    /// The direction loses everything at the moment.
    lossy: bool,
    /// The receiver is gone: whatever is pushed is lost.
    discarding: bool,
}

impl Pipe {
    /// Nothing pushed later is delivered before `moment`.
    pub fn hold_until(&mut self, moment: Moment) {
        self.last_due = self.last_due.max(moment);
    }

    /// Whether a chunk may be read from the sender now.
    pub fn has_room(&self, now: Moment) -> bool {
        self.stage == Stage::Open
            && self.queue.len() - self.due_count(now).min(WAITING) < UNDER_DELAY
    }

    /// Takes a chunk that was read at `now` and travels for `delay`.
    pub fn push(&mut self, now: Moment, delay: Duration, chunk: &[u8]) {
        debug_assert!(chunk.len() <= CHUNK_BYTES && !chunk.is_empty());
        self.push_load(now + delay, Load::Chunk(chunk.into()));
    }

    /// Takes the sender's end of stream, which travels like a chunk.
    pub fn push_end(&mut self, now: Moment, delay: Duration) {
        self.stage = Stage::Ended;
        self.push_load(now + delay, Load::EndOfStream);
    }

    fn push_load(&mut self, due: Moment, load: Load) {
        if self.discarding {
            self.discard();
            return;
        }
        self.last_due = self.last_due.max(due);
        self.queue.push_back(Parcel {
            due: self.last_due,
            load,
        });
    }

    /// What the receiver may have at `now`.
    pub fn deliverable(&self, now: Moment) -> Deliverable<'_> {
        match self.queue.front() {
            _ if self.lossy => Deliverable::NotBefore(None),
            None => Deliverable::NotBefore(None),
            Some(parcel) if parcel.due > now => Deliverable::NotBefore(Some(parcel.due)),
            Some(Parcel {
                load: Load::Chunk(bytes),
                ..
            }) => Deliverable::Bytes(&bytes[self.taken..]),
            Some(Parcel {
                load: Load::EndOfStream,
                ..
            }) => Deliverable::EndOfStream,
        }
    }

    /// The receiver took `bytes` of what [`Self::deliverable`] offered. Whether that was the rest
    /// of the chunk.
    pub fn took(&mut self, bytes: usize) -> bool {
        self.taken += bytes;
        if let Some(Parcel {
            load: Load::Chunk(chunk),
            ..
        }) = self.queue.front()
            && self.taken >= chunk.len()
        {
            self.taken = 0;
            self.queue.pop_front();
            return true;
        }
        false
    }

    /// The receiver was told of the end of stream.
    pub fn took_end(&mut self) {
        self.stage = Stage::Finished;
        self.queue.clear();
    }

    /// The next moment at which something changes by itself: a chunk comes due, which makes it
    /// deliverable, or frees its place under delay even while the receiver is slow.
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        self.queue.get(self.due_count(now)).map(|parcel| parcel.due)
    }

    /// Starts or ends the loss of this direction. While it lasts nothing is delivered; what came
    /// due meanwhile is sent again when it ends and travels for `delay` once more, as from a
    /// transport that retransmits.
    pub fn set_lossy(&mut self, lossy: bool, now: Moment, delay: Duration) {
        if self.lossy && !lossy {
            for parcel in &mut self.queue {
                parcel.due = parcel.due.max(now + delay);
            }
            self.hold_until(now + delay);
        }
        self.lossy = lossy;
    }

    /// Drops what is on its way and what comes yet: the receiver is gone.
    pub fn discard(&mut self) {
        self.queue.clear();
        self.taken = 0;
        self.discarding = true;
        if self.stage == Stage::Ended {
            self.stage = Stage::Finished;
        }
    }

    /// Whether the sender's end of stream is due, and with it everything before it.
    pub fn is_all_due(&self, now: Moment) -> bool {
        match self.stage {
            Stage::Open => false,
            Stage::Ended => !self.lossy && self.last_due <= now,
            Stage::Finished => true,
        }
    }

    /// Drops what is on its way and takes nothing more.
    pub fn sever(&mut self) {
        self.queue.clear();
        self.stage = Stage::Finished;
    }

    /// Whether the end of stream was delivered (or the pipe severed).
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    fn due_count(&self, now: Moment) -> usize {
        self.queue.partition_point(|parcel| parcel.due <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Takes everything due, with the moment it was due at, by jumping from change to change.
    fn drain(pipe: &mut Pipe) -> Vec<(Moment, Vec<u8>)> {
        let mut out = Vec::new();
        let mut now = Moment::ZERO;
        loop {
            match pipe.deliverable(now) {
                Deliverable::Bytes(bytes) => {
                    let bytes = bytes.to_vec();
                    pipe.took(bytes.len());
                    out.push((now, bytes));
                }
                Deliverable::NotBefore(Some(moment)) => now = moment,
                Deliverable::EndOfStream => {
                    out.push((now, Vec::new()));
                    pipe.took_end();
                }
                Deliverable::NotBefore(None) => return out,
            }
        }
    }

    #[test]
    fn a_chunk_never_overtakes_an_earlier_one() {
        let mut pipe = Pipe::default();
        pipe.push(ms(0), ms(30), b"slow");
        pipe.push(ms(1), ms(5), b"fast");
        pipe.push_end(ms(40), ms(2));
        let arrived = drain(&mut pipe);
        assert_eq!(
            arrived,
            [
                (ms(30), b"slow".to_vec()),
                (ms(30), b"fast".to_vec()),
                (ms(42), Vec::new())
            ]
        );
        assert!(pipe.is_finished());
    }

    #[test]
    fn seventeen_travel_and_fifteen_wait() {
        let mut pipe = Pipe::default();
        for _ in 0..UNDER_DELAY {
            assert!(pipe.has_room(ms(0)));
            pipe.push(ms(0), ms(10), b"x");
        }
        assert!(!pipe.has_room(ms(9)));
        // They come due and nobody takes them: fifteen may wait, two still occupy their places.
        for pushed in 0..WAITING {
            assert!(pipe.has_room(ms(10)), "{pushed}");
            pipe.push(ms(10), ms(10), b"y");
        }
        assert!(!pipe.has_room(ms(10)));
        assert!(
            !pipe.has_room(ms(1000)),
            "a receiver that never reads stops the sender"
        );
        pipe.took(1);
        assert!(pipe.has_room(ms(10)));
    }

    #[test]
    fn a_chunk_behind_a_slow_one_keeps_its_place_under_delay() {
        let mut pipe = Pipe::default();
        pipe.push(ms(0), ms(100), b"slow");
        for _ in 1..UNDER_DELAY {
            pipe.push(ms(0), ms(1), b"x");
        }
        assert!(!pipe.has_room(ms(50)));
        assert!(pipe.has_room(ms(100)));
    }

    #[test]
    fn half_taken_chunks_resume() {
        let mut pipe = Pipe::default();
        pipe.push(ms(0), ms(1), b"abcdef");
        pipe.took(4);
        assert_eq!(pipe.deliverable(ms(1)), Deliverable::Bytes(b"ef"));
        pipe.took(2);
        assert_eq!(pipe.deliverable(ms(1)), Deliverable::NotBefore(None));
    }

    #[test]
    fn loss_holds_everything_and_sends_it_again() {
        let mut pipe = Pipe::default();
        pipe.push(ms(0), ms(10), b"a");
        pipe.set_lossy(true, ms(5), ms(0));
        assert_eq!(pipe.deliverable(ms(500)), Deliverable::NotBefore(None));
        pipe.set_lossy(false, ms(500), ms(20));
        assert_eq!(
            pipe.deliverable(ms(519)),
            Deliverable::NotBefore(Some(ms(520)))
        );
        assert_eq!(pipe.deliverable(ms(520)), Deliverable::Bytes(b"a"));
    }

    proptest! {
        #[test]
        fn delivery_is_the_latest_due_so_far(
            steps in proptest::collection::vec((0..50_u64, 0..100_u64), 1..16)
        ) {
            let mut pipe = Pipe::default();
            let (mut now, mut latest, mut expected) = (0, 0, Vec::new());
            for (number, (pause, delay)) in steps.iter().enumerate() {
                now += pause;
                latest = latest.max(now + delay);
                pipe.push(ms(now), ms(*delay), &[number as u8]);
                expected.push((ms(latest), vec![number as u8]));
            }
            prop_assert_eq!(drain(&mut pipe), expected);
        }
    }
}

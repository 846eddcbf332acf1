//! What a connection of HTTP/2 may spend on frames that carry nothing.
//!
//! Most attacks on this protocol send what is cheap to send and costs the other side work: SETTINGS and PINGs
//! that want an answer, streams that are opened and reset, windows that open by one byte, empty frames. Each is
//! allowed, none is limited by the protocol, and each has its use now and then. So a connection has *credit* for
//! frames; answers that were sent earn it back, and time does, slowly.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames that a connection may send for nothing, at its start and at most.
const MOST: i64 = 2_000;

/// What a request that was answered earns: its head, its end, and a window or two.
const ANSWER: i64 = 6;

/// Bytes sent that earn a frame: a client opens its windows again once for at least so many.
const BYTES: u64 = 1_024;

/// Milliseconds that earn a frame.
const MILLIS: u64 = 20;

/// Bytes of a frame's header, and where in it the length and the type are (RFC 9113, 4.1).
const HEADER: usize = 9;
const DATA: u8 = 0;

/// A connection's credit.
#[derive(Debug)]
pub struct Meter {
    credit: AtomicI64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            credit: AtomicI64::new(MOST),
        }
    }
}

impl Meter {
    /// Whether it is used up.
    pub fn exhausted(&self) -> bool {
        self.credit.load(Relaxed) < 0
    }

    /// A request was answered.
    pub fn answered(&self) {
        self.earn(ANSWER);
    }

    /// So many milliseconds have passed.
    pub fn passed(&self, millis: u64) {
        self.earn((millis / MILLIS) as i64);
    }

    fn earn(&self, more: i64) {
        let credit = self.credit.load(Relaxed);
        // Once it is used up, nothing helps.
        if credit >= 0 {
            self.credit.store((credit + more).min(MOST), Relaxed);
        }
    }

    fn spend(&self) {
        self.credit.fetch_sub(1, Relaxed);
    }
}

/// A connection whose frames are counted as they are read.
#[derive(Debug)]
pub struct Metered<S> {
    io: S,
    meter: Arc<Meter>,
    /// Bytes until the next frame: first those of the preface.
    skip: u64,
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    known: usize,
    /// Bytes sent that have earned nothing yet.
    sent: u64,
}

impl<S> Metered<S> {
    /// A connection that begins with the preface.
    pub fn new(io: S, meter: Arc<Meter>) -> Self {
        Self {
            io,
            meter,
            skip: super::PREFACE.len() as u64,
            header: [0; HEADER],
            known: 0,
            sent: 0,
        }
    }

    /// Counts what begins in some bytes.
    fn count(&mut self, mut data: &[u8]) {
        loop {
            let skipped = self.skip.min(data.len() as u64);
            data = &data[skipped as usize..];
            self.skip -= skipped;
            if data.is_empty() {
                return;
            }
            let part = data.len().min(HEADER - self.known);
            self.header[self.known..self.known + part].copy_from_slice(&data[..part]);
            self.known += part;
            data = &data[part..];
            if self.known < HEADER {
                return;
            }
            self.known = 0;
            let [a, b, c, kind, ..] = self.header;
            let length = u64::from(u32::from_be_bytes([0, a, b, c]));
            self.skip = length;
            // A body's data is what one is here for.
            if kind != DATA || length == 0 {
                self.meter.spend();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.count(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.io).poll_write(cx, data))?;
        this.sent += count as u64;
        this.meter.earn((this.sent / BYTES) as i64);
        this.sent %= BYTES;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, (length >> 8) as u8, length as u8, kind, 0, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(7, length));
        frame
    }

    proptest! {
        /// However frames are cut when they are read, each is counted once.
        #[test]
        fn frames_are_counted(
            frames in prop::collection::vec((0_u8..10, 0_usize..600), 0..60),
            cuts in prop::collection::vec(1_usize..700, 1..40),
        ) {
            let mut bytes = super::super::PREFACE.to_vec();
            for (kind, length) in &frames {
                bytes.extend(frame(*kind, *length));
            }
            let meter = Arc::new(Meter::default());
            let mut metered = Metered::new((), meter.clone());
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (part, more) = rest.split_at(rest.len().min(*cut));
                metered.count(part);
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            let spent = frames.iter().filter(|(kind, length)| *kind != 0 || *length == 0).count();
            prop_assert_eq!(meter.credit.load(Relaxed), MOST - spent as i64);
        }
    }

    #[test]
    fn answers_and_time_earn_what_is_spent_until_nothing_is_left() {
        let meter = Meter::default();
        for _ in 0..10_000 {
            meter.spend();
            meter.spend();
            meter.answered();
        }
        assert!(!meter.exhausted());
        (0..MOST).for_each(|_| meter.spend());
        meter.passed(20);
        assert!(!meter.exhausted());
        meter.spend();
        meter.spend();
        assert!(meter.exhausted());
        meter.passed(1_000_000);
        assert!(meter.exhausted());
    }
}

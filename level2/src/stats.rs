//! Counters. Each worker has its own set, written by it alone, and read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::policy::Class;

/// Buckets of a histogram: bucket n counts times of less than 2^n times 64 µs, the last all others.
pub const BUCKETS: usize = 20;

/// The policy's classes in the order of [`Class`], and those it never saw.
pub const CLASSES: [&str; 4] = ["light", "newcomer", "heavy", "none"];

/// Groups of statuses.
pub const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The label of a class.
pub fn class_name(class: Option<Class>) -> &'static str {
    CLASSES[class_index(class)]
}

fn class_index(class: Option<Class>) -> usize {
    class.map_or(CLASSES.len() - 1, |class| class as usize)
}

/// The upper bound of a bucket, in seconds; none for the last.
pub fn bucket_bound(bucket: usize) -> Option<f64> {
    (bucket + 1 < BUCKETS).then(|| f64::from(64u32 << bucket) / 1e6)
}

/// A distribution of times.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts a time.
    pub fn add(&self, time: Duration) {
        let us = time.as_micros() as u64;
        let bucket = (u64::BITS - (us >> 6).leading_zeros()) as usize;
        count(&self.buckets[bucket.min(BUCKETS - 1)]);
        add(&self.sum_us, us);
    }
}

/// The sum of several [`Histogram`]s.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    /// Counts by bucket.
    pub buckets: [u64; BUCKETS],
    /// Sum of the times, in microseconds.
    pub sum_us: u64,
}

impl Distribution {
    fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += count.load(Relaxed);
        }
        self.sum_us += histogram.sum_us.load(Relaxed);
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// One worker's counters, on cache lines of their own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct WorkerStats {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
            /// Answers by class and group of status.
            pub answers: [[AtomicU64; STATUSES.len()]; CLASSES.len()],
            /// Time from head to end of answer, by class.
            pub latency: [Histogram; CLASSES.len()],
            /// Time before a place at a backend was had, by class.
            pub waiting: [Histogram; CLASSES.len()],
            /// Time at the backend.
            pub service: Histogram,
        }

        /// The sum over all workers.
        #[derive(Clone, Debug, Default)]
        pub struct Totals {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// See [`WorkerStats::answers`].
            pub answers: [[u64; STATUSES.len()]; CLASSES.len()],
            /// See [`WorkerStats::latency`].
            pub latency: [Distribution; CLASSES.len()],
            /// See [`WorkerStats::waiting`].
            pub waiting: [Distribution; CLASSES.len()],
            /// See [`WorkerStats::service`].
            pub service: Distribution,
        }

        impl Totals {
            /// Adds up the workers' counters.
            pub fn of<'a>(workers: impl IntoIterator<Item = &'a WorkerStats>) -> Self {
                let mut totals = Self::default();
                for worker in workers {
                    $(totals.$name += worker.$name.load(Relaxed);)+
                    totals.add_shared(worker);
                }
                totals
            }

            /// Name, meaning and value of each plain counter.
            pub fn named(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name)),+]
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections closed again.
    connections_closed,
    /// Connections turned away because there were too many, of all or of one peer.
    connections_refused,
    /// Handshakes of TLS that came to their end.
    handshakes,
    /// Handshakes of TLS that failed.
    handshakes_failed,
    /// Handshakes of TLS that were not begun because there were too many, of all or of one peer.
    handshakes_refused,
    /// Connections on which HTTP/2 is spoken.
    http2_connections,
    /// Connections of HTTP/2 that were closed for too many frames that carried nothing.
    http2_floods,
    /// Streams of HTTP/2 that were refused because their client has too many open.
    http2_refused,
    /// Requests turned away by the policy.
    shed,
    /// Requests refused as malformed or too large.
    bad_requests,
    /// Requests whose client left before the answer.
    abandoned,
    /// Requests sent a second time after a backend failed.
    retries,
    /// Failures of backends: bad answers, broken connections, silence.
    backend_failures,
    /// Times the proxy itself ran out of descriptors or memory.
    shortages,
    /// Clients that were too slow.
    timeouts,
}

/// Adds one. To be called by the one thread that writes this counter: others only read it, so that nothing has
/// to be locked.
pub fn count(counter: &AtomicU64) {
    add(counter, 1);
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl WorkerStats {
    /// Counts an answer, the time it took, and how that is made up.
    pub fn answered(
        &self,
        status: u16,
        class: Option<Class>,
        took: Duration,
        waited: Duration,
        service: Option<Duration>,
    ) {
        let group = usize::from(status / 100).clamp(2, 5) - 2;
        let class = class_index(class);
        count(&self.answers[class][group]);
        self.latency[class].add(took);
        if let Some(service) = service {
            self.waiting[class].add(waited);
            self.service.add(service);
        }
    }
}

impl Totals {
    fn add_shared(&mut self, worker: &WorkerStats) {
        for (sums, counts) in self.answers.iter_mut().zip(&worker.answers) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count.load(Relaxed);
            }
        }
        for (sum, histogram) in self.latency.iter_mut().zip(&worker.latency) {
            sum.add(histogram);
        }
        for (sum, histogram) in self.waiting.iter_mut().zip(&worker.waiting) {
            sum.add(histogram);
        }
        self.service.add(&worker.service);
    }

    /// Answers of a group of statuses, over all classes.
    pub fn answers_of(&self, group: usize) -> u64 {
        self.answers.iter().map(|of_class| of_class[group]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class_status_and_time() {
        let stats = [WorkerStats::default(), WorkerStats::default()];
        let ms = Duration::from_millis;
        stats[0].answered(200, Some(Class::Light), ms(3), ms(1), Some(ms(2)));
        stats[1].answered(999, None, ms(100_000_000), ms(0), None);
        let totals = Totals::of(&stats);
        assert_eq!((totals.answers[0][0], totals.answers_of(3)), (1, 1));
        assert_eq!(totals.service.sum_us, 2000);
        // 3 ms is less than 64 µs times 2^6, and not less than 64 µs times 2^5.
        assert_eq!(totals.latency[0].buckets[6], 1);
        assert!(bucket_bound(5).unwrap() < 0.003 && bucket_bound(6).unwrap() > 0.003);
        assert_eq!(totals.latency[3].buckets[BUCKETS - 1], 1);
        assert!(
            totals
                .named()
                .iter()
                .all(|(_, help, _)| help.ends_with('.'))
        );
    }
}

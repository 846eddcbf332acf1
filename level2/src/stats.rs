//! Counters. Each worker has its own set, written by it alone, and read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Latency buckets: bucket n counts answers that took less than 2^n times 64 µs.
pub const LATENCY_BUCKETS: usize = 20;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One worker's counters, on cache lines of their own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct WorkerStats {
            $($(#[$doc])* pub $name: AtomicU64,)+
            /// Answers by time taken, the client's wait included. See [`LATENCY_BUCKETS`].
            pub latency: [AtomicU64; LATENCY_BUCKETS],
            /// Sum of those times, in microseconds.
            pub latency_sum_us: AtomicU64,
        }

        /// The sum over all workers.
        #[derive(Clone, Debug, Default)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)+
            /// See [`WorkerStats::latency`].
            pub latency: [u64; LATENCY_BUCKETS],
            /// See [`WorkerStats::latency_sum_us`].
            pub latency_sum_us: u64,
        }

        impl Totals {
            /// Adds up the workers' counters.
            pub fn of<'a>(workers: impl IntoIterator<Item = &'a WorkerStats>) -> Self {
                let mut totals = Self::default();
                for worker in workers {
                    $(totals.$name += worker.$name.load(Relaxed);)+
                    for (sum, count) in totals.latency.iter_mut().zip(&worker.latency) {
                        *sum += count.load(Relaxed);
                    }
                    totals.latency_sum_us += worker.latency_sum_us.load(Relaxed);
                }
                totals
            }

            /// Name and value of each plain counter.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections closed again.
    connections_closed,
    /// Connections turned away because there were too many.
    connections_refused,
    /// Answers with a status below 300.
    answers_2xx,
    /// Answers with a status from 300.
    answers_3xx,
    /// Answers with a status from 400.
    answers_4xx,
    /// Answers with a status from 500.
    answers_5xx,
    /// Requests turned away by the policy.
    shed,
    /// Requests refused as malformed or too large.
    bad_requests,
    /// Requests whose client left before the answer.
    abandoned,
    /// Requests sent again after a backend failed.
    retries,
    /// Failures of backends.
    backend_failures,
    /// Connections closed for being too slow.
    timeouts,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl WorkerStats {
    /// Counts an answer and the time it took.
    pub fn answered(&self, status: u16, took: Duration) {
        count(match status {
            ..300 => &self.answers_2xx,
            300..400 => &self.answers_3xx,
            400..500 => &self.answers_4xx,
            _ => &self.answers_5xx,
        });
        let us = took.as_micros() as u64;
        let bucket = (u64::BITS - (us >> 6).leading_zeros()) as usize;
        count(&self.latency[bucket.min(LATENCY_BUCKETS - 1)]);
        self.latency_sum_us.fetch_add(us, Relaxed);
    }
}

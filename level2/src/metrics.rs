//! The page `/metrics`, in Prometheus' text format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::snapshot::{BackendState, Snapshot};
use crate::stats::{BUCKETS, CLASSES, Distribution, STATUSES, bucket_bound};

/// The type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the page. Counters' names get `_total` at their end.
pub fn page(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("level2");
    registry.register_collector(Box::new(Page(snapshot)));
    let mut out = String::new();
    // Writing to a string cannot fail, and nor do these metrics.
    let _ = prometheus_client::encoding::prometheus_text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Page(Snapshot);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.counters(&mut encoder)?;
        self.policy(&mut encoder)?;
        self.answers(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.backends(&mut encoder)
    }
}

impl Page {
    fn counters(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        for (name, help, value) in self.0.totals.named() {
            counter(encoder, name, help, value)?;
        }
        for (group, status) in STATUSES.iter().enumerate() {
            let help = format!("Answers with a status of {status}.");
            let name = format!("answers_{status}");
            counter(encoder, &name, &help, self.0.totals.answers_of(group))?;
        }
        let dropped = "Lines of the access log that nobody read in time.";
        counter(encoder, "log_dropped", dropped, self.0.log_dropped)?;
        let reloads = "Times the settings were read again.";
        counter(encoder, "reloads", reloads, self.0.reloads)
    }

    fn policy(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let policy = &self.0.policy;
        for (name, help, counts) in [
            (
                "policy_arrivals",
                "Requests that came, by class of their client.",
                policy.arrivals,
            ),
            (
                "policy_admitted",
                "Requests given to a backend, by class.",
                policy.admitted,
            ),
            (
                "policy_rejected",
                "Requests turned away (in a dry run: that would have been), by class.",
                policy.rejected,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (class, value) in CLASSES.iter().zip(counts) {
                put(&mut family, &[("class", *class)], value)?;
            }
        }
        let queued = "Requests that had to wait.";
        counter(encoder, "policy_queued", queued, policy.queued)?;
        let abandoned = "Requests whose client left while they waited.";
        counter(encoder, "policy_abandoned", abandoned, policy.abandoned)
    }

    fn answers(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let totals = &self.0.totals;
        let help = "Answers, by class of the client and group of statuses.";
        let mut family = encoder.encode_descriptor("answers", help, None, MetricType::Counter)?;
        for (class, by_status) in CLASSES.iter().zip(&totals.answers) {
            for (status, value) in STATUSES.iter().zip(by_status) {
                put(
                    &mut family,
                    &[("class", *class), ("status", *status)],
                    *value,
                )?;
            }
        }
        for (name, help, by_class) in [
            (
                "answer_seconds",
                "Time from a request's head to the end of its answer, by class.",
                &totals.latency,
            ),
            (
                "waiting_seconds",
                "Time before a place at a backend was had, by class.",
                &totals.waiting,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (class, times) in CLASSES.iter().zip(by_class) {
                let labels = [("class", *class)];
                histogram(&mut family.encode_family(&labels)?, times)?;
            }
        }
        let help = "Time at the backend.";
        let mut service =
            encoder.encode_descriptor("service_seconds", help, None, MetricType::Histogram)?;
        histogram(&mut service, &totals.service)
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        for (name, help, value) in [
            ("waiting", "Requests waiting now.", self.0.waiting),
            ("clients", "Clients remembered.", self.0.clients),
            (
                "client_table_bytes",
                "Memory for clients.",
                self.0.table_bytes,
            ),
            (
                "buffer_left_bytes",
                "Memory left for buffered bodies.",
                self.0.buffer_left,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&(value as u64))?;
        }
        Ok(())
    }

    fn backends(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        type Value = fn(&BackendState) -> u64;
        let gauges: [(&str, &str, Value); 4] = [
            ("backend_up", "Whether a backend is used.", |b| {
                u64::from(b.healthy)
            }),
            (
                "backend_suspect",
                "Whether a backend's latest answers were bad.",
                |b| u64::from(b.suspect),
            ),
            ("backend_in_flight", "Requests a backend has.", |b| {
                u64::from(b.in_flight)
            }),
            ("backend_limit", "Requests a backend may have.", |b| {
                u64::from(b.limit)
            }),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for backend in &self.0.backends {
                let labels = [("backend", backend.address.as_str())];
                family
                    .encode_family(&labels)?
                    .encode_gauge(&value(backend))?;
            }
        }
        let (name, help) = (
            "backend_latency_seconds",
            "Mean time of a backend's answers.",
        );
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for backend in &self.0.backends {
            let labels = [("backend", backend.address.as_str())];
            family
                .encode_family(&labels)?
                .encode_gauge(&backend.latency_seconds)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn put(family: &mut MetricEncoder, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn histogram(metric: &mut MetricEncoder, times: &Distribution) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = (0..BUCKETS)
        .map(|bucket| {
            (
                bucket_bound(bucket).unwrap_or(f64::INFINITY),
                times.buckets[bucket],
            )
        })
        .collect();
    let count = times.buckets.iter().sum();
    metric.encode_histogram::<NoLabelSet>(times.sum_us as f64 / 1e6, count, &buckets, None)
}

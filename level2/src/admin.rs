//! The admin side: `/metrics` for Prometheus, `/status` for people and scripts.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::policy::Counters;
use crate::proxy::worker::Shared;
use crate::stats::Totals;

/// Names of the policy's classes, in the order of its counters.
const CLASSES: [&str; 3] = ["light", "stranger", "heavy"];

/// The admin side's routes.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(shared)
}

struct BackendState {
    address: String,
    healthy: bool,
    in_flight: u32,
    limit: u32,
    latency_seconds: f64,
}

/// One look at the policy.
struct Snapshot {
    counters: Counters,
    waiting: usize,
    clients: usize,
    table_bytes: usize,
    backends: Vec<BackendState>,
}

fn snapshot(shared: &Shared) -> Snapshot {
    let policy = shared.gate.policy();
    let (clients, table_bytes) = policy.clients();
    let backends = policy.backends().iter().zip(&shared.config.backends);
    Snapshot {
        counters: policy.counters(),
        waiting: policy.waiting(),
        clients,
        table_bytes,
        backends: backends
            .map(|(backend, address)| BackendState {
                address: address.to_string(),
                healthy: backend.healthy,
                in_flight: backend.in_flight(),
                limit: backend.limit.current(),
                latency_seconds: backend.latency(),
            })
            .collect(),
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let snapshot = snapshot(&shared);
    let totals = Totals::of(&shared.stats);
    let by_class = |counts: [u64; 3]| -> Value {
        CLASSES
            .iter()
            .zip(counts)
            .map(|(class, count)| (class.to_string(), Value::from(count)))
            .collect()
    };
    let totals: Value = totals
        .named()
        .into_iter()
        .map(|(name, value)| (name.to_string(), Value::from(value)))
        .collect();
    let backends: Vec<Value> = snapshot
        .backends
        .iter()
        .map(|backend| {
            json!({
                "address": backend.address,
                "healthy": backend.healthy,
                "in_flight": backend.in_flight,
                "limit": backend.limit,
                "latency_ms": backend.latency_seconds * 1e3,
            })
        })
        .collect();
    Json(json!({
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "dry_run": shared.config.policy.dry_run,
        "waiting": snapshot.waiting,
        "clients": { "known": snapshot.clients, "table_bytes": snapshot.table_bytes },
        "policy": {
            "arrivals": by_class(snapshot.counters.arrivals),
            "started": by_class(snapshot.counters.admitted),
            "refused": by_class(snapshot.counters.rejected),
            "waited": snapshot.counters.queued,
            "given_up": snapshot.counters.abandoned,
        },
        "backends": backends,
        "totals": totals,
    }))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let text = render(&snapshot(&shared), &Totals::of(&shared.stats));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn render(snapshot: &Snapshot, totals: &Totals) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = out.write_fmt(text);
        out.push('\n');
    };
    for (name, value) in totals.named() {
        line(format_args!(
            "# TYPE level2_{name}_total counter\nlevel2_{name}_total {value}"
        ));
    }
    let counters = &snapshot.counters;
    for (name, counts) in [
        ("arrivals", counters.arrivals),
        ("started", counters.admitted),
        ("refused", counters.rejected),
    ] {
        line(format_args!("# TYPE level2_policy_{name}_total counter"));
        for (class, count) in CLASSES.iter().zip(counts) {
            line(format_args!(
                "level2_policy_{name}_total{{class=\"{class}\"}} {count}"
            ));
        }
    }
    line(format_args!(
        "# TYPE level2_waited_total counter\nlevel2_waited_total {}",
        counters.queued
    ));
    line(format_args!(
        "# TYPE level2_given_up_total counter\nlevel2_given_up_total {}",
        counters.abandoned
    ));
    line(format_args!(
        "# TYPE level2_waiting gauge\nlevel2_waiting {}",
        snapshot.waiting
    ));
    line(format_args!(
        "# TYPE level2_clients gauge\nlevel2_clients {}",
        snapshot.clients
    ));
    line(format_args!("# TYPE level2_backend_up gauge"));
    for backend in &snapshot.backends {
        line(format_args!(
            "level2_backend_up{{backend=\"{}\"}} {}",
            backend.address,
            u8::from(backend.healthy)
        ));
    }
    for (name, value) in [
        (
            "in_flight",
            (|b| f64::from(b.in_flight)) as fn(&BackendState) -> f64,
        ),
        ("limit", |b| f64::from(b.limit)),
        ("latency_seconds", |b| b.latency_seconds),
    ] {
        line(format_args!("# TYPE level2_backend_{name} gauge"));
        for backend in &snapshot.backends {
            line(format_args!(
                "level2_backend_{name}{{backend=\"{}\"}} {}",
                backend.address,
                value(backend)
            ));
        }
    }
    line(format_args!("# TYPE level2_answer_seconds histogram"));
    let mut below = 0;
    for (bucket, count) in totals.latency.iter().enumerate() {
        below += count;
        if bucket + 1 < totals.latency.len() {
            let bound = f64::from(64u32 << bucket) / 1e6;
            line(format_args!(
                "level2_answer_seconds_bucket{{le=\"{bound}\"}} {below}"
            ));
        }
    }
    line(format_args!(
        "level2_answer_seconds_bucket{{le=\"+Inf\"}} {below}"
    ));
    line(format_args!(
        "level2_answer_seconds_sum {}",
        totals.latency_sum_us as f64 / 1e6
    ));
    line(format_args!("level2_answer_seconds_count {below}"));
    out
}

//! The admin side: `/metrics` for Prometheus, `/status` for people and scripts.
//!
//! Two pages need no framework: requests are parsed as everywhere else here, each connection is answered
//! once and closed.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::http::fields;
use crate::http::request;
use crate::http::response::{Date, Recipient};
use crate::metrics;
use crate::net::{Accepted, Listener, Stream};
use crate::proxy::{Answer, Shared};
use crate::snapshot::Snapshot;

/// Time for a whole visit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Visitors at once.
const VISITORS: usize = 32;

/// Largest head of a request here, in bytes.
const MOST_HEAD: usize = 16 * 1024;

/// Answers on this listener, for ever. Tasks end with the runtime.
pub async fn serve(shared: Arc<Shared>, listener: Listener) {
    let places = Arc::new(Semaphore::new(VISITORS));
    loop {
        let accepted = poll_fn(|cx| listener.poll_accept(cx)).await;
        let Ok(Accepted { stream, .. }) = accepted else {
            // Out of descriptors: some will come free.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, visit(&shared, stream)).await;
            drop(place);
        });
    }
}

/// Reads a request, answers it, and waits for the visitor to close.
async fn visit(shared: &Shared, mut stream: Stream) -> io::Result<()> {
    let mut input = Vec::new();
    let out = loop {
        if let Some(out) = answer(shared, &input) {
            break out;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    };
    stream.write_all(&out).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The answer to a request, once its head is complete.
fn answer(shared: &Shared, input: &[u8]) -> Option<Vec<u8>> {
    let mut to = Recipient {
        is_head: false,
        http11: true,
        keep_alive: false,
        collects: false,
        date: Date::new(SystemTime::now()),
        allowance: None,
    };
    let mut out = Vec::new();
    let mut storage = fields::storage();
    let head = match request::parse(input, &mut storage) {
        Ok(Some(head)) => head,
        Ok(None) if input.len() < MOST_HEAD => return None,
        Ok(None) => {
            Answer::new(431, "the head is too large").write(to, &[], &mut out);
            return Some(out);
        }
        Err(bad) => {
            Answer::new(bad.status, bad.reason).write(to, &[], &mut out);
            return Some(out);
        }
    };
    to.is_head = head.request.is_head;
    let path = head.target.split('?').next().unwrap_or_default();
    if !matches!(head.method, "GET" | "HEAD") {
        Answer::new(405, "only GET and HEAD").write(to, b"Allow: GET, HEAD\r\n", &mut out);
        return Some(out);
    }
    let (content_type, body) = match path {
        "/metrics" => (metrics::CONTENT_TYPE, metrics::page(Snapshot::of(shared))),
        "/status" => {
            let status = Snapshot::of(shared).to_json();
            ("application/json", format!("{status:#}\n"))
        }
        _ => {
            Answer::new(404, "there are /metrics and /status").write(to, &[], &mut out);
            return Some(out);
        }
    };
    Answer::new(200, "").write_body(to, content_type.as_bytes(), body.as_bytes(), &mut out);
    Some(out)
}

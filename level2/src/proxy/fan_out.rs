//! HEAD to all backends at once: is everything up?

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use super::worker::Worker;

/// Whoever asks waits a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// Whether every backend answers 200 to `HEAD target`.
pub async fn all_well(worker: &Rc<Worker>, target: &str) -> bool {
    let request: Rc<str> =
        format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into();
    let asked: Vec<_> = (0..worker.shared.config.backends.len())
        .map(|backend| {
            let (worker, request) = (worker.clone(), request.clone());
            spawn_local(async move {
                let asking = tokio::time::timeout(PATIENCE, is_well(&worker, backend, &request));
                asking.await.unwrap_or(false)
            })
        })
        .collect();
    let mut well = true;
    for answer in asked {
        well &= answer.await.unwrap_or(false);
    }
    well
}

async fn is_well(worker: &Worker, backend: usize, request: &str) -> bool {
    // On a connection of its own: this is not counted among the requests in flight.
    let Ok(mut conn) = worker.connect(backend).await else {
        return false;
    };
    worker.shared.gate.revive(backend);
    if conn.stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < worker.shared.config.max_head {
        if !matches!(conn.stream.read_buf(&mut head).await, Ok(1..)) {
            return false;
        }
    }
    head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200")
}

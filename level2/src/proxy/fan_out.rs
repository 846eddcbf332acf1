//! HEAD to all backends at once: is everything up?
//!
//! Each backend's part takes a place there like any other request. The request was admitted to one of
//! them by the policy; at the others it waits for the next place that falls free. A backend that is not
//! in use is asked as well, since the answer may be that it is up again.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use super::permit::Permit;
use super::worker::Worker;
use crate::gate::{Entry, Waiter, Wanted};
use crate::policy::{ClientKey, Outcome};

/// Whoever asks waits a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// Whether every backend answers 200 to `HEAD target`. The request has a place at one of them, or, if
/// none is in use, nowhere.
pub async fn all_well(
    worker: &Rc<Worker>,
    target: &str,
    first: Option<Permit>,
    client: ClientKey,
) -> bool {
    let request: Rc<str> =
        format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into();
    let config = worker.config();
    let mut first = first;
    let mut asked = Vec::new();
    for backend in (0..config.backends.len()).filter(|backend| !config.retired.contains(backend)) {
        let has_place = first
            .as_ref()
            .is_some_and(|permit| permit.backend == backend);
        let permit = if has_place { first.take() } else { None };
        let (worker, request) = (worker.clone(), request.clone());
        // Goes on when nobody waits any more: the place is held until the backend is done.
        asked.push(spawn_local(async move {
            let most = worker.config().response_timeout;
            let asking = ask(&worker, backend, permit, client, &request);
            tokio::time::timeout(most, asking).await.unwrap_or(false)
        }));
    }
    let all = async {
        let mut well = true;
        for answer in asked {
            well &= answer.await.unwrap_or(false);
        }
        well
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or(false)
}

/// A wait that is given up when it is dropped.
struct Waiting<'a> {
    worker: &'a Rc<Worker>,
    waiter: Option<Waiter>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.worker.shared.gate.leave(waiter);
        }
    }
}

/// Asks one backend, once there is a place for it.
async fn ask(
    worker: &Rc<Worker>,
    backend: usize,
    permit: Option<Permit>,
    client: ClientKey,
    request: &str,
) -> bool {
    let gate = &worker.shared.gate;
    let permit = match permit {
        Some(permit) => Some(permit),
        None => match gate.claim(client, Wanted::Only(backend)) {
            Entry::Go(flight) => Some(Permit::new(worker, flight, client)),
            Entry::Refuse(_) => None,
            Entry::Wait(waiter) => {
                let mut waiting = Waiting {
                    worker,
                    waiter: Some(waiter),
                };
                let verdict = poll_fn(|cx| match &mut waiting.waiter {
                    Some(waiter) => waiter.poll(cx),
                    None => std::task::Poll::Pending,
                })
                .await;
                waiting.waiter = None;
                verdict
                    .ok()
                    .map(|flight| Permit::new(worker, flight, client))
            }
        },
    };
    let well = is_well(worker, backend, request).await;
    if let Some(mut permit) = permit {
        // Whether it is well is for the health checks to say; a 404 is no overload.
        permit.finish(Outcome::Checked);
    }
    well.unwrap_or(false)
}

/// Whether a backend answers 200; `None` if it does not answer.
async fn is_well(worker: &Worker, backend: usize, request: &str) -> Option<bool> {
    let mut conn = worker.connect(backend).await.ok()?;
    worker.shared.checked(backend, true, "");
    conn.stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < worker.config().max_head {
        if !matches!(conn.stream.read_buf(&mut head).await, Ok(1..)) {
            return None;
        }
    }
    Some(head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200"))
}

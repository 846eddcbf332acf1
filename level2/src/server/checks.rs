//! Active checks of the backends: by a connection, or by a request where the operator names a path.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Config;
use crate::gate::{Entry, Wanted};
use crate::net::Stream;
use crate::policy::Outcome;
use crate::proxy::{Shared, is_shortage};

/// How often a backend that is out of use is checked, and one that may have to be.
const PROBE: Duration = Duration::from_millis(200);

/// How often a backend that is in use is asked for its health, where there is a path for that.
const REGULAR: Duration = Duration::from_secs(1);

/// Failed requests in a row that make a backend down; of failed connections, one is enough.
const FAILURES: u32 = 2;

/// Checks one backend, for as long as the proxy runs.
pub async fn watch(shared: Arc<Shared>, backend: usize) {
    let (mut first, mut failures) = (true, 0);
    let mut alarms = shared.alarms.subscribe();
    let mut last_asked = tokio::time::Instant::now();
    loop {
        let config = shared.config();
        shared.forgive(backend);
        if !config.retired.contains(&backend) {
            let wanted = shared.wants_check(backend);
            let due = config.health.is_some() && last_asked.elapsed() >= REGULAR;
            let alarmed = failures > 0;
            if first || wanted || due || alarmed {
                last_asked = tokio::time::Instant::now();
                let found = check(&shared, &config, backend).await;
                failures = judge(&shared, backend, found, failures);
                first = false;
            }
        }
        tokio::select! {
            // Somebody could not reach a backend: all are looked at, which is cheap.
            _ = alarms.changed() => {
                failures = judge(&shared, backend, reach(&shared.config(), backend).await, failures);
            }
            () = tokio::time::sleep(PROBE) => {}
        }
    }
}

/// What a check has found.
enum Found {
    Well,
    /// It cannot be reached.
    Unreachable(String),
    /// It can be reached, but does not answer well.
    Unwell(String),
    /// The proxy itself had no means to find out.
    Unknown,
}

/// Passes on what was found. Returns the failures in a row that are not passed on yet.
fn judge(shared: &Shared, backend: usize, found: Found, failures: u32) -> u32 {
    match found {
        Found::Well => shared.checked(backend, true, ""),
        Found::Unreachable(why) => shared.checked(backend, false, &why),
        Found::Unwell(why) if failures + 1 >= FAILURES => shared.checked(backend, false, &why),
        Found::Unwell(_) => return failures + 1,
        Found::Unknown => return failures,
    }
    0
}

async fn check(shared: &Shared, config: &Config, backend: usize) -> Found {
    let Some(path) = &config.health else {
        return reach(config, backend).await;
    };
    // At a backend in use, the check takes a place like any request.
    let client = shared.gate.client(b"health check");
    let flight = match shared.gate.claim(client, Wanted::Only(backend)) {
        Entry::Go(flight) => Some(flight),
        Entry::Refuse(_) => None,
        Entry::Wait(mut waiter) => {
            let verdict = std::future::poll_fn(|cx| waiter.poll(cx));
            let waited = tokio::time::timeout(config.response_timeout, verdict);
            let Ok(verdict) = waited.await else {
                shared.gate.leave(waiter);
                return Found::Unknown;
            };
            verdict.ok()
        }
    };
    let asked = tokio::time::timeout(config.connect_timeout * 2, ask(config, backend, path));
    let found = asked
        .await
        .unwrap_or_else(|_| Found::Unwell(format!("GET {path}: no answer")));
    if let Some(flight) = flight {
        shared.gate.finish(flight, Outcome::Aborted);
    }
    found
}

/// Whether a connection can be made.
async fn reach(config: &Config, backend: usize) -> Found {
    match connect(config, backend).await {
        Ok(_) => Found::Well,
        Err(found) => found,
    }
}

async fn connect(config: &Config, backend: usize) -> Result<Stream, Found> {
    let call = Stream::connect(&config.backends[backend]);
    match tokio::time::timeout(config.connect_timeout, call).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if is_shortage(&error) => Err(Found::Unknown),
        Ok(Err(error)) => Err(Found::Unreachable(error.to_string())),
        Err(_) => Err(Found::Unreachable("no answer to the call".into())),
    }
}

/// Asks for the path; an answer of 200 to 399 is good.
async fn ask(config: &Config, backend: usize, path: &str) -> Found {
    let mut stream = match connect(config, backend).await {
        Ok(stream) => stream,
        Err(found) => return found,
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: level2\r\nConnection: close\r\n\r\n"
    );
    let mut head = Vec::new();
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        while !head.contains(&b'\n') && head.len() < config.max_head {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    if let Err(error) = asked.await {
        return Found::Unwell(format!("GET {path}: {error}"));
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    match line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)) {
        Some(status) if matches!(status.parse(), Ok(200..=399)) => Found::Well,
        _ => Found::Unwell(format!(
            "GET {path}: {:?}",
            line.chars().take(40).collect::<String>()
        )),
    }
}

//! Active checks of the backends: by a connection, or by a request where the operator names a path. What
//! they show is judged by [`Checker`].

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Config;
use crate::gate::{Entry, Wanted};
use crate::health::{Checker, Found};
use crate::http2::{self, AskedStream};
use crate::net::Stream;
use crate::policy::Outcome;
use crate::proxy::{Shared, is_shortage};

/// How often a backend that is out of use is checked, and one that may have to be.
const PROBE: Duration = Duration::from_millis(200);

/// How often a backend that is in use is asked for its health, where there is a path for that.
const REGULAR: Duration = Duration::from_secs(1);

/// Checks one backend, for as long as the proxy runs.
pub async fn watch(shared: Arc<Shared>, backend: usize) {
    let mut first = true;
    let mut checker = Checker::default();
    let mut alarms = shared.alarms.subscribe();
    let mut last_asked = tokio::time::Instant::now();
    loop {
        let config = shared.config();
        shared.forgive(backend);
        if !config.retired.contains(&backend) {
            let wanted = shared.wants_check(backend);
            let due = config.health.is_some() && last_asked.elapsed() >= REGULAR;
            if first || wanted || due || checker.doubts() {
                last_asked = tokio::time::Instant::now();
                let found = check(&shared, &config, backend).await;
                tell(&shared, backend, checker.judge(found));
                first = false;
            }
        }
        tokio::select! {
            // Somebody could not reach a backend: all are looked at, which is cheap.
            _ = alarms.changed() => {
                let found = reach(&shared.config(), backend).await;
                tell(&shared, backend, checker.judge(found));
            }
            () = tokio::time::sleep(PROBE) => {}
        }
    }
}

/// Passes on what is known now.
fn tell(shared: &Shared, backend: usize, verdict: Option<Result<(), String>>) {
    match verdict {
        Some(Ok(())) => shared.checked(backend, true, ""),
        Some(Err(why)) => shared.checked(backend, false, &why),
        None => {}
    }
}

async fn check(shared: &Shared, config: &Config, backend: usize) -> Found {
    let Some(path) = &config.health else {
        return reach(config, backend).await;
    };
    // At a backend in use, the check takes a place like any request.
    let client = shared.gate.client(&config.policy.naming, b"health check");
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

/// Whether a connection can be made; where there is no path to ask for, that is all there is to check.
async fn reach(config: &Config, backend: usize) -> Found {
    match connect(config, backend).await {
        Ok(_) if config.health.is_some() => Found::Reached,
        Ok(_) => Found::Well,
        Err(found) => found,
    }
}

async fn connect(config: &Config, backend: usize) -> Result<Stream, Found> {
    let call = Stream::connect(&config.backends[backend].address);
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
    if config.backends[backend].http2 {
        stream = match http2::begin(stream).await {
            Ok(connection) => AskedStream::new(connection).into(),
            Err(error) => return Found::Unwell(error.to_string()),
        };
    }
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

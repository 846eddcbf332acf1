//! The whole proxy: binds, starts the workers, watches the backends, serves the admin side, drains.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin;
use crate::config::Config;
use crate::net::{self, Address, Bound, Stream};
use crate::notes::note;
use crate::proxy::worker::{self, Shared};

/// How often waiting requests are looked at for having waited too long, and the log written out.
const TICK: Duration = Duration::from_millis(50);

/// How often a backend that is down is called.
const PROBE: Duration = Duration::from_millis(200);

/// Runs the proxy until SIGTERM or SIGINT. Prints a line `listening on ADDRESS` per listener to
/// standard error when it is ready.
pub fn run(config: Config) -> Result<()> {
    let mut bound: Vec<Vec<Bound>> = (0..config.threads).map(|_| Vec::new()).collect();
    let mut listening = Vec::new();
    for (address, needed) in config
        .listen
        .iter()
        .map(|a| (a, true))
        .chain(config.listen_if_possible.iter().map(|a| (a, false)))
    {
        match net::bind(address, config.threads) {
            Ok(copies) => {
                listening.push(copies[0].address()?);
                for (worker, copy) in bound.iter_mut().zip(copies) {
                    worker.push(copy);
                }
            }
            Err(error) if needed => {
                return Err(anyhow!("cannot listen on {address}: {}", describe(&error)));
            }
            Err(_) => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let admin = match config.admin {
        Some(address) => {
            let listener = runtime.block_on(tokio::net::TcpListener::bind(address));
            Some(
                listener
                    .map_err(|error| anyhow!("cannot listen on {address}: {}", describe(&error)))?,
            )
        }
        None => None,
    };
    let shared = Arc::new(Shared::new(config));
    let (stop, stopped) = watch::channel(false);
    let (abort, aborted) = watch::channel(false);
    let mut workers = Vec::new();
    for (index, bound) in bound.into_iter().enumerate() {
        let (shared, stopped, aborted) = (shared.clone(), stopped.clone(), aborted.clone());
        let body = move || worker::run(shared, index, bound, stopped, aborted);
        let name = format!("worker-{index}");
        workers.push(
            thread::Builder::new()
                .name(name)
                .spawn(body)
                .context("cannot start a worker")?,
        );
    }
    let outcome = runtime.block_on(attend(&shared, admin, &listening));
    stop.send_replace(true);
    let deadline = std::time::Instant::now() + shared.config.drain_timeout;
    while workers.iter().any(|worker| !worker.is_finished()) && std::time::Instant::now() < deadline
    {
        thread::sleep(Duration::from_millis(5));
        shared.gate.tick();
    }
    abort.send_replace(true);
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a worker panicked"))??;
    }
    shared.log.flush();
    for address in listening {
        if let Address::Unix(path) = address {
            let _ = std::fs::remove_file(path);
        }
    }
    outcome
}

/// An error of the system in words of the user's.
fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "the address is in use".into(),
        _ => error.to_string(),
    }
}

/// What the main thread does while the workers serve. Ends with a signal.
async fn attend(
    shared: &Arc<Shared>,
    admin: Option<tokio::net::TcpListener>,
    listening: &[Address],
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Some(listener) = admin {
        note(format_args!("metrics on {}", listener.local_addr()?));
        let app = admin::router(shared.clone());
        // Ends with the runtime: nobody's request is lost with a page of figures.
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    for address in listening {
        note(format_args!("listening on {address}"));
    }
    let backends = shared.config.backends.len();
    for backend in 0..backends {
        // Ends with the runtime.
        tokio::spawn(watch_backend(shared.clone(), backend));
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = tick.tick() => {
                shared.gate.tick();
                shared.log.flush();
            }
        }
    }
}

/// Says at the start if a backend is down, and calls it whenever it is ejected.
async fn watch_backend(shared: Arc<Shared>, backend: usize) {
    let address = &shared.config.backends[backend];
    let reach = || tokio::time::timeout(shared.config.connect_timeout, Stream::connect(address));
    if let Ok(Err(error)) = reach().await {
        note(format_args!(
            "backend {address} is down ({error}); trying again until it is up"
        ));
        shared.gate.policy().eject(backend);
    }
    let mut every = tokio::time::interval(PROBE);
    loop {
        every.tick().await;
        let ejected = !shared.gate.policy().backends()[backend].healthy;
        if ejected && matches!(reach().await, Ok(Ok(_))) && shared.gate.revive(backend) {
            note(format_args!("backend {address} is up"));
        }
    }
}

//! The game over HTTP: git for the miners, a scoreboard for everybody else.
//!
//! Everybody may clone; to push, a player gives its name and token by HTTP Basic. What a client may
//! cost is bounded: connections, the time for a request's head and body, and their sizes; who may
//! push is asked before a push is read. Plain HTTP/1.1: between machines that do not trust their
//! network, put a proxy with TLS in front.

pub mod cgi;
mod events;
mod git;
mod pages;
mod site;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::oneshot;

use crate::{console, web::connections};
pub use site::{Site, Surprise, shown};

/// How long the server waits for requests in progress when it ends.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a site until `shutdown` completes, then finishes what is in progress.
pub async fn serve(
    listener: tokio::net::TcpListener,
    site: Arc<Site>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let app = Router::new()
        .route("/", get(pages::page))
        .route("/scoreboard.css", get(pages::style))
        .route("/scoreboard.js", get(pages::script))
        .route("/scoreboard.json", get(pages::json))
        .route("/events", get(events::events))
        .route("/rounds.csv", get(pages::rounds_csv))
        .route("/rounds.json", get(pages::rounds_json))
        .route("/rounds/{number}", get(pages::round))
        .route("/rounds/{number}/coins.csv", get(pages::round_coins))
        .route("/{repository}/{*service}", get(git::git).post(git::git))
        .with_state(Arc::clone(&site));
    site.tasks.spawn(events::follow(Arc::clone(&site)));
    let ending = Arc::clone(&site);
    let shutdown = async move {
        shutdown.await;
        // Streams would not end by themselves.
        ending.feed.end();
    };
    connections::serve(listener, app, shutdown, GRACE / 5).await;
    site.tasks.close();
    let _ = tokio::time::timeout(GRACE, site.tasks.wait()).await;
    Ok(())
}

/// A failure of the server's own: told to the client in one line.
struct Trouble(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response<Body> {
        let text = format!("{:#}\n", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }
}

/// A server on a thread of its own. Dropping it ends it and waits for its end.
#[must_use = "dropping the server ends it"]
pub struct Server {
    address: SocketAddr,
    site: Arc<Site>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts serving a site.
    pub fn start(listener: TcpListener, site: Site) -> Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let site = Arc::new(site);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the server")?;
        let served = Arc::clone(&site);
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            let result = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                serve(listener, served, async {
                    let _ = stopped.await;
                })
                .await
            });
            if let Err(error) = result {
                console::log(&format!("level 1: the server failed: {error:#}"));
            }
        })?;
        Ok(Self {
            address,
            site,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn site(&self) -> &Site {
        &self.site
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

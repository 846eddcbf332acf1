//! The master: HTTP in front, nodes behind.
//!
//! * `api` maps URLs to answers and errors to statuses;
//! * `pool` keeps connections to the nodes;
//! * `ask` picks a node for each shard, asks, hedges and retries;
//! * `stream` turns the nodes' frames into one JSON answer of any size;
//! * `jobs` indexes: walks the tree, deals files to shards, and sees to it that nodes that come
//!   back after a crash get what they lack;
//! * `page` is the page for people.
//!
//! All of it runs on one thread: the master only moves bytes, and passing them between threads
//! would cost more than it does. What takes time (walking a tree) runs on blocking threads.

mod api;
mod ask;
mod config;
mod deal;
mod jobs;
mod page;

mod pool;
mod query;
mod stream;
mod watch;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::serve::ListenerExt as _;

pub use config::Config;
use jobs::Jobs;
use pool::Pool;

/// What all requests share.
pub(crate) struct Master {
    config: Config,
    /// One for each node, in the order of the shards.
    nodes: Vec<Pool>,
    jobs: Jobs,
}

/// Serves at `listener` until `shutdown` resolves, then ends open answers.
pub async fn serve(
    listener: tokio::net::TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let nodes = config.nodes.iter().cloned().map(Pool::new).collect();
    let jobs = Jobs::new(config.data.as_deref())?;
    let master = Arc::new(Master {
        config,
        nodes,
        jobs,
    });
    let keeper = tokio::spawn(jobs::run(Arc::clone(&master)));
    let watcher = master
        .config
        .watch
        .then(|| tokio::spawn(watch::run(Arc::clone(&master))));
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            crate::note!("cannot turn off Nagle's delay: {error}");
        }
    });
    let ended = tokio::select! {
        ended = axum::serve(listener, api::router(Arc::clone(&master))) => ended,
        () = shutdown => Ok(()),
    };
    keeper.abort();
    if let Some(watcher) = watcher {
        watcher.abort();
    }
    ended
}

//! The master: HTTP in front, nodes behind.
//!
//! * `api` maps URLs to answers and errors to statuses;
//! * `topology` says which node holds which shard, `pool` keeps connections to one node;
//! * `ask` picks a node for each shard, asks, hedges and retries;
//! * `requests` remembers what is to be indexed, `reindex` does it (`deal` splits the files among
//!   the shards), `keeper` decides when, `watch` follows changes.
//!
//! All of it runs on one thread: the master only moves bytes, and passing them between threads
//! would cost more than it does. What takes time (walking a tree) runs on blocking threads.

mod api;
mod ask;
mod config;
mod deal;
mod error;
mod keeper;
mod pool;
mod reindex;
mod requests;
mod topology;
mod watch;

use std::future::Future;
use std::sync::Arc;

use axum::serve::ListenerExt as _;

pub use config::Config;
pub use error::{Cause, Fault, MasterError};
use requests::Requests;
use topology::Topology;

/// What all requests share.
pub(crate) struct Master {
    config: Config,
    topology: Topology,
    requests: Requests,
}

/// Serves at `listener` until `shutdown` resolves, then ends open answers.
pub async fn serve(
    listener: tokio::net::TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), MasterError> {
    let topology = Topology::new(&config.nodes, config.replicas);
    let requests = Requests::new(config.data.as_deref())?;
    let master = Arc::new(Master {
        config,
        topology,
        requests,
    });
    let keeper = tokio::spawn(keeper::run(Arc::clone(&master)));
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
    ended.map_err(MasterError::Serve)
}

//! The master: HTTP in front, nodes behind.
//!
//! * `api` maps URLs to answers and errors to statuses;
//! * `topology` says which node holds which shard, `pool` keeps connections to one node;
//! * `ask` picks a node for each shard, asks, hedges and retries; `served` is the state that is
//!   asked for;
//! * `roots` remembers what is to be indexed (`requests` of one root), `reindex` does it (`deal` splits
//!   the files among the shards), `keeper` decides when, `watch` follows changes.
//!
//! All of it runs on one thread: the master only moves bytes, and passing them between threads
//! would cost more than it does. What takes time (walking a tree) runs on blocking threads.

mod api;
mod ask;
mod config;
mod deal;
mod door;
mod error;
mod keeper;
mod pool;
mod reindex;
mod requests;
mod roots;
mod served;
mod topology;
mod watch;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;

pub use config::Config;
use door::{Door, Peer};
pub use error::{Cause, Fault, MasterError};
use roots::Roots;
use topology::Topology;
use watch::WatchRoom;

use crate::wire::Listener;

/// Searches that are answered at once; the others wait for their turn.
const MAX_SEARCHES: usize = 16;

/// Expressions that are planned at once.
const MAX_PLANS: usize = 2;

/// Files that get their colours at once.
const MAX_COLOURS: usize = 1;

/// What all requests share.
pub(crate) struct Master {
    config: Config,
    topology: Topology,
    roots: Roots,
    watch_room: WatchRoom,
    gates: Gates,
}

/// What only so many requests may do at once.
struct Gates {
    /// Searches, each of which holds an answer of some megabytes.
    searches: Semaphore,
    /// Planning an expression, which takes a processor.
    plans: Semaphore,
    /// Colouring a file, which takes a processor.
    colours: Arc<Semaphore>,
}

/// Serves at `listener` until `shutdown` resolves, then ends open answers.
///
/// Whoever comes over a unix socket counts as a program on this host.
pub async fn serve(
    listener: Listener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), MasterError> {
    let door = Door::new(listener).map_err(MasterError::Serve)?;
    let topology = Topology::new(&config.nodes, config.replicas);
    let roots = Roots::new(config.data.as_deref())?;
    let watch_room = WatchRoom::new(config.watch_limit);
    let master = Arc::new(Master {
        config,
        topology,
        roots,
        watch_room,
        gates: Gates {
            searches: Semaphore::new(MAX_SEARCHES),
            plans: Semaphore::new(MAX_PLANS),
            colours: Arc::new(Semaphore::new(MAX_COLOURS)),
        },
    });
    let prober = {
        let master = Arc::clone(&master);
        tokio::spawn(async move { master.topology.probe(master.config.node_timeout).await })
    };
    let keeper = tokio::spawn(keeper::run(Arc::clone(&master)));
    let watcher = master
        .config
        .watch
        .then(|| tokio::spawn(watch::run(Arc::clone(&master))));
    let router = api::router(Arc::clone(&master));
    let service = router.into_make_service_with_connect_info::<Peer>();
    let ended = tokio::select! {
        ended = axum::serve(door, service) => ended,
        () = shutdown => Ok(()),
    };
    keeper.abort();
    prober.abort();
    if let Some(watcher) = watcher {
        watcher.abort();
    }
    ended.map_err(MasterError::Serve)
}

//! Descriptors: raised as far as allowed at the start, and shared out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::notes::Notes;

/// Descriptors that are not connections: listeners, event queues, logs, checks, the admin side.
const OTHERS: u64 = 24;

/// Raises the soft limit on descriptors to the hard one, and lowers `max-connections` to what it allows:
/// each client may need a connection to a backend as well.
pub fn fit(config: &mut Config, notes: &Notes) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    let Some(descriptors) = getrlimit(Resource::Nofile).current else {
        return;
    };
    let listeners = (config.listen.len() + 1) as u64;
    let others = OTHERS + config.threads as u64 * (4 + listeners);
    let room = (descriptors.saturating_sub(others) / 2).max(8);
    if room < config.max_connections as u64 {
        if config.max_connections != Config::MAX_CONNECTIONS {
            notes.write(format_args!(
            "{descriptors} descriptors allow {room} connections, not the {} of --max-connections",
            config.max_connections
        ));
        }
        config.max_connections = room as usize;
        config.max_connections_per_peer = config
            .max_connections_per_peer
            .min(config.max_connections.div_ceil(2));
    }
}

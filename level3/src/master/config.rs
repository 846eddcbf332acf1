//! What a master can be told.

use std::path::PathBuf;
use std::time::Duration;

use crate::root::Ignore;
use crate::wire::Endpoint;

/// Settings of a master.
#[derive(Clone, Debug)]
pub struct Config {
    /// The nodes. Shard 1 has its first replica on the first, and so on.
    pub nodes: Vec<Endpoint>,
    /// On how many nodes each shard is kept: 1 for no replicas.
    pub replicas: usize,
    /// Where to remember what was indexed, so that a restart goes on; nowhere if `None`.
    pub data: Option<PathBuf>,
    /// What to leave out of a root if the request says nothing of it.
    pub ignore: Ignore,
    /// Whether to index again when files change.
    pub watch: bool,
    /// Folders that are watched at most; the others are polled.
    pub watch_limit: usize,
    /// How long to gather changes before they are looked at.
    pub watch_settle: Duration,
    /// How often the tree is walked where it cannot be watched.
    pub poll_every: Duration,
    /// Names by which the master may be asked, beside `localhost` and loopback addresses.
    pub allow_hosts: Vec<String>,
    /// Address that opens a file in an editor, with `{path}`, `{line}` and `{column}` in it.
    pub editor_url: Option<String>,
    /// A node that says nothing for this long in the middle of an answer is given up.
    pub node_timeout: Duration,
    /// How long colouring a file may take; what has no colours by then stays plain.
    pub colour_time_limit: Duration,
    /// How long a search by expression may take.
    pub search_time_limit: Duration,
}

impl Config {
    /// Settings for these nodes, without replicas, data folder or watching.
    pub fn new(nodes: Vec<Endpoint>) -> Self {
        Self {
            nodes,
            replicas: 1,
            data: None,
            ignore: Ignore::Nothing,
            watch: false,
            watch_limit: usize::MAX,
            watch_settle: Duration::from_millis(300),
            poll_every: Duration::from_secs(1),
            allow_hosts: Vec::new(),
            editor_url: None,
            node_timeout: Duration::from_secs(10),
            colour_time_limit: Duration::from_secs(2),
            search_time_limit: Duration::from_secs(10),
        }
    }
}

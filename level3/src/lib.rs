//! Instant code search: a sharded trigram index behind one HTTP master.
//!
//! A *master* ([`serve_master`]) speaks HTTP with people and programs. It splits the files below
//! an indexed folder into *shards* and assigns each to one or more *nodes* ([`serve_node`]). A
//! node packs the text of its shards ([`Shard`]), indexes it and answers queries from the index
//! ([`search()`]). Master and nodes talk over kept connections ([`wire`]). [`walk`] says which
//! files belong to the corpus, and [`run_servers`] runs a master and its nodes as one.
//!
//! The parts can be used without a server:
//!
//! ```
//! use level3::{Identity, Progress, Request, Shard, search, walk};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tree = tempfile::tempdir()?;
//! std::fs::write(tree.path().join("poem"), "a rose is\na rose\n")?;
//! let data = tempfile::tempdir()?;
//!
//! let shard = Shard::open(data.path())?;
//! let root = tree.path().display().to_string();
//! let identity = Identity { root, job: 1, shard: 1, of: 1, ..Identity::default() };
//! let files = walk(tree.path())?.entries;
//! shard.update(identity, files, 2, &Progress::default())?;
//!
//! let snapshot = shard.snapshot().expect("it was indexed just now");
//! let answer = search(&snapshot, &Request::literal("rose"), 2)?;
//! let places: Vec<_> = answer.hits.iter().map(|hit| (&*hit.file, hit.line)).collect();
//! assert_eq!(places, [("poem", 1), ("poem", 2)]);
//! # Ok(())
//! # }
//! ```
//!
//! `README.md` shows how to use it; `DESIGN.md` says why it is built like this.

#![forbid(unsafe_code)]

#[doc(hidden)]
mod byte_pool;
pub mod checks;
mod cluster;
mod codec;
mod corpus;
mod index;
#[doc(hidden)]
pub mod log;
mod master;
mod node;
mod parallel;
mod private;
mod root;
mod search;
mod syntax;
pub mod wire;

pub use cluster::{Server, run as run_servers};
pub use corpus::{Entry, Folder, FolderId, Listing, Reject, Rules, Stamp, walk, walk_with};
pub use index::{Identity, IndexError, Live, Progress, Segment, Shard, Snapshot};
pub use master::{Cause, Config, Fault, MasterError, serve as serve_master};
pub use node::{Node, NodeError, NodeServer, serve as serve_node};
pub use private::PrivateFolder;
pub use root::{BadName, Ignore, Revision, RootName};
pub use search::{
    Answer, FilePattern, FileRule, Hit, Order, Parsed, PatternError, Query, QueryError, Request,
    RootRule, SearchError, Term, parse, search,
};
pub use wire::{Endpoint, EndpointError, Listener};

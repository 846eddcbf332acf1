//! Instant code search: a sharded trigram index behind one HTTP master.
//!
//! A *master* ([`master`]) speaks HTTP with people and programs. It splits the files below an
//! indexed folder into *shards* and assigns each to one or more *nodes* ([`node`]). A node packs
//! the text of its shards, indexes it ([`index`]) and answers queries from the index
//! ([`search`]). Master and nodes talk over kept connections ([`wire`]). Which files belong to
//! the corpus is defined in [`corpus`], and [`cluster`] runs a master and its nodes as one.
//!
//! `README.md` shows how to use it; `DESIGN.md` says why it is built like this.

#![forbid(unsafe_code)]

pub mod cluster;
mod codec;
pub mod corpus;
pub mod index;
pub mod log;
pub mod master;
pub mod node;
pub mod private;
pub mod search;
pub mod wire;

//! A gitcoin miner: SHA-1 proof of work on git commits.
//!
//! The data path, from a server's head to a pushed commit:
//!
//! - [`upstream`] fetches the head, [`chain`] makes the next commit out of [`ledger`] and [`tree`],
//! - [`commit`] and [`template`] lay it out so that a nonce costs little to change,
//! - [`target`] says which object ids count,
//! - [`kernel`] tries nonces, in one of several instruction sets,
//! - [`search`] asks a kernel about a range of nonces and checks what it says,
//! - [`race`] does so on many threads until there is a find,
//! - [`miner`] pushes the find by way of [`git`] and starts again.

#![deny(unsafe_code)]

pub mod bench;
pub mod chain;
pub mod clone_dir;
pub mod commit;
pub mod git;
pub mod kernel;
pub mod ledger;
pub mod miner;
pub mod object_id;
pub mod progress;
pub mod race;
pub mod search;
pub mod target;
pub mod template;
pub mod tree;
pub mod upstream;

//! A gitcoin miner: SHA-1 proof of work on git commits.
//!
//! - [`commit`] and [`template`] lay out a commit object so that a nonce costs little to change,
//! - [`target`] says which object ids count,
//! - [`kernel`] tries nonces, in one of several instruction sets,
//! - [`search`] asks a kernel about a range of nonces and checks what it says,

#![deny(unsafe_code)]

pub mod commit;
pub mod kernel;
pub mod object_id;
pub mod search;
pub mod target;
pub mod template;

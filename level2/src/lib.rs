//! Shield: a reverse proxy that lets the quiet clients through under a flood.
//!
//! The [`policy`] decides who is served, who waits and who is turned away; it is a pure value that
//! can be simulated ([`policy`]'s documentation has the rules). Around it: [`http`] parses and
//! translates messages, [`proxy`] moves them between sockets, [`gate`] shares the policy among the
//! workers, [`server`] starts and stops everything.
//!
//! Words: a *client* sends requests and is named by [`trust`]; a *backend* answers them; a request is
//! *in flight* while a backend has it; a backend's *limit* is how many it may have at once.

#![forbid(unsafe_code)]

pub mod access_log;
pub mod admin;
pub mod config;
pub mod gate;
pub mod http;
pub mod net;
pub mod notes;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod stats;
pub mod trust;

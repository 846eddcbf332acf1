//! Level 1 with real repositories, real hooks and real processes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cheats;
mod costs;
mod game;
mod http;
mod race;
mod rounds;
mod support;

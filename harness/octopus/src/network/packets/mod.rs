//! The network of whole machines: one thread switches IP packets between devices, and does to each packet
//! what the link of its two nodes says: the same links, changes and monkeys as between sockets, at the level
//! at which real networks fail.
//!
//! `link` decides what becomes of a packet, a value without I/O or clock; `packet` reads of a packet what
//! that takes, `refusal` writes the answers of a link that refuses, `switch` is the thread.

mod flow;
mod link;
mod packet;
mod refusal;
mod rules;
mod switch;

pub use rules::{Device, Down, Framing, PacketRules, SwitchConfig};
pub(super) use switch::Switch;

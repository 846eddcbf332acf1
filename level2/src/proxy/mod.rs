//! The data path: one single-threaded runtime per worker, each with its own listeners, clients' connections and
//! pools of backends' connections, so that a request is served from end to end without leaving its
//! core. Workers share the [`Gate`](crate::gate::Gate) and nothing else.

mod answer;
mod client;
mod conn;
mod exchange;
mod fan_out;
mod pump;
mod timer;
pub mod worker;

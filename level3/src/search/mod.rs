//! Answering queries from a snapshot of a shard.
//!
//! * [`Plan`] says which grams a match needs, and finds the chunks that can have one;
//! * [`required`] derives a plan from a regular expression;
//! * [`Pattern`] finds the matching lines of a text;
//! * [`literal`] produces the contract's `path:line` answers, as fast as possible and in any size;
//! * [`hits`] produces the richer answers of `/search`: sorted, limited, with context.

pub mod hits;
pub mod literal;
mod pattern;
mod plan;
mod required;

pub use pattern::{Pattern, PatternError};
pub use plan::Plan;
pub use required::required;

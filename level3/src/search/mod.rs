//! Answering queries from a snapshot of a shard.
//!
//! * `plan` says which grams a match needs, and finds the chunks that can have one;
//! * `required` derives a plan from a regular expression;
//! * `pattern` finds the matching lines of a text;
//! * `literal` produces the contract's `path:line` answers, as fast as possible and in any size;
//! * [`search()`] produces the richer answers of `/search`: sorted, limited, with context, in the
//!   terms of [`Request`] and [`Answer`].

mod budget;
mod filter;
mod hits;
mod line;
pub(crate) mod literal;
pub(crate) mod pattern;
pub(crate) mod plan;
mod request;
mod required;
mod show;
mod stepper;
mod weight;

pub(crate) use budget::{Budget, BytePool, NODE_BYTES};
pub use hits::{SearchError, check, search};
pub(crate) use hits::{count, search_within};
pub use pattern::PatternError;
pub(crate) use request::Counts;
pub use request::{Answer, Hit, Request};

//! Answering queries from a snapshot of a shard.
//!
//! * `plan` says which grams a match needs, and finds the chunks that can have one;
//! * `required` derives a plan from a regular expression;
//! * `pattern` finds the matching lines of a text;
//! * `literal` produces the contract's `path:line` answers, as fast as possible and in any size;
//! * [`search()`] produces the richer answers of `/search`: sorted, limited, with context, in the
//!   terms of [`Request`] and [`Answer`].

mod filter;
mod hits;
pub(crate) mod literal;
mod pattern;
mod plan;
mod request;
mod required;

pub use hits::{SearchError, check, search};
pub use pattern::PatternError;
pub use request::{Answer, Hit, Request};

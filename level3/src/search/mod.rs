//! Answering queries from a snapshot of a shard.
//!
//! * `query` is the language of the search box, `language` and `filter` say which files are meant;
//! * `plan` says which grams a match needs, and finds the chunks that can have one; `required`
//!   derives it from a regular expression;
//! * `pattern` finds the matching lines of a text (`prefilter` and `caseless` those worth a look),
//!   `lines` those of a whole query (within an `allowance`), `scan` those of a file, `first` the first ones of a shard;
//! * `literal` produces the contract's `path:line` answers, as fast as possible and in any size;
//! * [`search()`] produces the richer answers of `/search`: in order (`best` is one), limited, with
//!   context (`show`), in the terms of [`Request`] and [`Answer`]; `tally` counts;
//! * `browse` lists folders and reads files.

mod allowance;
mod best;
mod browse;
mod budget;
mod caseless;
mod filter;
mod first;
mod hits;
pub(crate) mod language;
mod line;
mod lines;
pub(crate) mod literal;
pub(crate) mod pattern;
pub(crate) mod plan;
mod prefilter;
mod query;
mod request;
mod required;
mod scan;
mod show;
mod stepper;
mod tally;
mod weight;

pub(crate) use browse::{Folder, file, folder};
pub(crate) use budget::{Budget, NODE_BYTES};
pub use hits::{SearchError, check, search};
pub(crate) use hits::{count, search_within};
pub use pattern::PatternError;
pub use query::{FilePattern, FileRule, Parsed, Query, QueryError, RootRule, Term, parse};
pub use request::{Answer, Hit, Order, Request};
pub(crate) use request::{Counts, Tally};
pub(crate) use tally::tally;

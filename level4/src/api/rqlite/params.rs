//! The URL parameters of rqlite's data endpoints.

use std::time::Duration;

use super::super::ApiError;
use super::super::params::{Parameters, budget, flag, time};

/// How sure a read wants to be that it misses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Whatever this node has.
    None,
    /// Everything acknowledged before the read began.
    Linearizable,
}

/// What a data endpoint was asked for besides its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// All statements or none.
    pub transaction: bool,
    /// How reads are confirmed.
    pub level: Level,
    /// How long the client waits.
    pub timeout: Option<Duration>,
    /// How long a read may run.
    pub db_timeout: Option<Duration>,
    /// How many times the usual budget it may use.
    pub budget: u64,
    /// How results are written.
    pub style: Style,
}

/// How results are written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "rqlite's flags, each on its own"
)]
pub struct Style {
    /// Rows as objects with the columns' names.
    pub associative: bool,
    /// Blobs as arrays of their bytes, instead of base64.
    pub blob_array: bool,
    /// Lines and indentation.
    pub pretty: bool,
    /// How long things took, in seconds.
    pub timings: bool,
}

impl Options {
    /// Reads the URL.
    ///
    /// # Errors
    ///
    /// 400 for a value that is not one.
    pub fn of(parameters: &Parameters) -> Result<Self, ApiError> {
        let level = match parameters.get("level").map(String::as_str) {
            Some("none") => Level::None,
            None | Some("" | "weak" | "linearizable" | "strong" | "auto") => Level::Linearizable,
            Some(other) => {
                return Err(ApiError::bad(format!(
                    "level={other} is not none, weak, linearizable or strong"
                )));
            }
        };
        Ok(Self {
            transaction: flag(parameters, "transaction"),
            level,
            timeout: time(parameters, "timeout")?,
            db_timeout: time(parameters, "db_timeout")?.filter(|limit| !limit.is_zero()),
            budget: budget(parameters)?,
            style: Style {
                associative: flag(parameters, "associative"),
                blob_array: flag(parameters, "blob_array"),
                pretty: flag(parameters, "pretty"),
                timings: flag(parameters, "timings"),
            },
        })
    }
}

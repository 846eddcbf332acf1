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
#[expect(
    clippy::struct_excessive_bools,
    reason = "rqlite's flags, each on its own"
)]
pub struct Options {
    /// All statements or none.
    pub transaction: bool,
    /// How reads are confirmed.
    pub level: Level,
    /// A read that rqlite sends through its log, and tells the index of.
    pub is_strong: bool,
    /// How long the client waits.
    pub timeout: Option<Duration>,
    /// How long a read may run.
    pub db_timeout: Option<Duration>,
    /// How many times the usual budget it may use.
    pub budget: u64,
    /// `level=none` is refused if the leader has been silent for longer than this.
    pub freshness: Option<Duration>,
    /// And also if something has waited for longer than that to be applied.
    pub freshness_strict: bool,
    /// Columns are named with their tables.
    pub qualify_columns: bool,
    /// The index of the log that the answer's state has come to is told.
    pub raft_index: bool,
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

/// Without `?timeout=`, a client waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

impl Options {
    /// How long the client waits: one that asks for more than the usual budget as long as it takes.
    pub fn patience(&self) -> Option<Duration> {
        self.timeout
            .or_else(|| (self.budget == 1).then_some(PATIENCE))
    }

    /// Reads the URL.
    ///
    /// # Errors
    ///
    /// 400 for a value that is not one.
    pub fn of(parameters: &Parameters) -> Result<Self, ApiError> {
        // What rqlite does not know is weak there, and nothing is weaker than linearizable here but none.
        let name = parameters.get("level").map_or("weak", String::as_str);
        let level = if name.eq_ignore_ascii_case("none") {
            Level::None
        } else {
            Level::Linearizable
        };
        let freshness = time(parameters, "freshness")?;
        Ok(Self {
            transaction: flag(parameters, "transaction"),
            level,
            is_strong: name.eq_ignore_ascii_case("strong"),
            timeout: time(parameters, "timeout")?,
            db_timeout: time(parameters, "db_timeout")?.filter(|limit| !limit.is_zero()),
            budget: budget(parameters)?,
            freshness: freshness.filter(|limit| !limit.is_zero()),
            freshness_strict: flag(parameters, "freshness_strict"),
            qualify_columns: flag(parameters, "qualify_columns"),
            raft_index: flag(parameters, "raft_index"),
            style: Style {
                associative: flag(parameters, "associative"),
                blob_array: flag(parameters, "blob_array"),
                pretty: flag(parameters, "pretty"),
                timings: flag(parameters, "timings"),
            },
        })
    }
}

/// Refuses what is no value of a parameter that rqlite knows, at whatever endpoint.
///
/// # Errors
///
/// 400 with its name.
pub fn check(parameters: &Parameters) -> Result<(), ApiError> {
    for name in ["timeout", "freshness", "db_timeout", "linearizable_timeout"] {
        time(parameters, name)?;
    }
    for name in ["retries", "trailing_logs"] {
        let text = parameters.get(name);
        if let Some(text) = text.filter(|text| text.parse::<i64>().is_err()) {
            return Err(ApiError::bad(format!(
                "{name}={text} is not a whole number"
            )));
        }
    }
    if parameters.get("q").is_some_and(String::is_empty) {
        return Err(ApiError::bad("parameter q is empty"));
    }
    if flag(parameters, "freshness_strict") && !parameters.contains_key("freshness") {
        return Err(ApiError::bad("freshness_strict is given without freshness"));
    }
    Ok(())
}

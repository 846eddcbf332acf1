//! Rows before and after each change, and which changes are undone again.
//!
//! SQLite's preupdate hook tells of every row that is about to be changed. What is undone by the end of a
//! transaction is told by the connection's own hooks; what is undone within one (a statement that fails, ROLLBACK
//! TO) is told to virtual tables that take part in it, and to nobody else. So there is one, the witness, which
//! has no rows. A build whose SQLite has no such hook has none of it.

#[cfg(preupdate_hook)]
mod hook;

#[cfg(preupdate_hook)]
pub use hook::{Change, Row, Watch, install};

/// Makes the witness take part in the transaction that is open.
#[cfg(preupdate_hook)]
pub const JOIN: &str = "DELETE FROM sqlite_level4_changes";
/// It is none that a request could make.
pub const WITNESS: &str = "sqlite_level4_changes";

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is inserted.
    Insert,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
}

impl Operation {
    /// The SQL word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

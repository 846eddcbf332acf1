//! For builds whose SQLite has no preupdate hook: nothing is taken down.

use rusqlite::Connection;

use super::super::{Changes, Selection};

/// Takes nothing down.
#[derive(Debug, Clone)]
pub struct Recorder(Selection);

impl Recorder {
    /// Does nothing.
    ///
    /// # Errors
    ///
    /// None.
    pub fn install(_: &mut Connection, selection: Selection) -> rusqlite::Result<Self> {
        Ok(Self(selection))
    }

    /// What it was to take down.
    pub fn selection(&self) -> Selection {
        self.0.clone()
    }

    /// Does nothing.
    ///
    /// # Errors
    ///
    /// None.
    pub fn before_statement(&self, _: &Connection, _: bool) -> Result<(), String> {
        Ok(())
    }

    /// Nothing.
    pub fn finish(&self, _: &Connection) -> Option<Changes> {
        None
    }
}

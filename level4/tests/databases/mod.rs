//! Databases without nodes around them, for tests of what SQL does.

use bytes::Bytes;
use level4::database::Database;
use level4::machine::{Executor as _, Moment};
use level4::message::Command;

/// When everything happens.
pub const MOMENT: Moment = Moment {
    time_ms: 1_400_000_000_000,
    seed: 42,
};

/// What the shell says.
pub fn run(database: &mut Database, sql: &str) -> String {
    let output = database.execute(
        MOMENT,
        &Command::Shell(Bytes::copy_from_slice(sql.as_bytes())),
    );
    let output = output.unwrap();
    String::from_utf8_lossy(&output).into_owned()
}

/// An empty one.
pub fn database() -> Database {
    Database::new().unwrap()
}

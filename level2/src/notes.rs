//! Lines on stderr for whoever runs the proxy.

use std::fmt::Arguments;
use std::time::Duration;

use crate::sink::Sink;

/// Where notes go. They never hold anybody up, even if nobody reads them.
#[derive(Clone, Debug)]
pub struct Notes(Sink);

impl Notes {
    /// Notes on standard error.
    pub fn stderr() -> Self {
        Self(Sink::new(std::io::stderr()))
    }

    /// Writes a line.
    pub fn write(&self, text: Arguments) {
        self.0.write(format!("level2: {text}\n").as_bytes());
    }

    /// Waits a moment for what was written to be out.
    pub fn flush(&self) {
        self.0.flush(Duration::from_secs(1));
    }
}

//! TLS as clients speak it to the proxy: certificates and keys out of files, which one is shown to whom,
//! and what is known of a client that has shown its own.
//!
//! Files are read at the start, at a reload, and when they have changed ([`Fingerprint`]). What was read last
//! without a mistake is what counts.

mod files;
mod identity;

use std::sync::{Arc, Mutex, PoisonError};

pub use files::{Fingerprint, Pair, TlsError, TlsFiles};
pub use identity::{ClientNaming, Identity};

use files::Credentials;

/// The TLS of a proxy that runs, to be replaced while it does.
#[derive(Debug, Default)]
pub struct Tls(Mutex<Option<Arc<Credentials>>>);

impl Tls {
    /// What a handshake that begins now is to use; `None` if there are no certificates.
    pub fn current(&self) -> Option<Arc<Credentials>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the files and takes them over. Returns what is to be warned of; after an error, or where no
    /// files are named, everything is as before.
    pub fn load(&self, files: &TlsFiles) -> Result<Vec<String>, TlsError> {
        let before = self.current();
        let Some(loaded) = Credentials::load(files, before.as_deref())? else {
            // Where to listen does not change while the proxy runs: whoever still comes is still served.
            return Ok(Vec::new());
        };
        let warnings = loaded.warnings();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(loaded));
        Ok(warnings)
    }
}

//! The secret that backends share with the load generator, so that an answer proves that a backend
//! gave it.

use hmac::{Hmac, KeyInit, Mac};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;
use sha2::{Digest, Sha256};

/// Bytes of a secret and of a nonce.
const BYTES: usize = 64;

/// A secret of one run, drawn from the system's randomness.
#[derive(Clone)]
pub struct Secret {
    keyed: Hmac<Sha256>,
    /// The path whose HEAD request asks whether everything is up.
    health_path: String,
}

impl Secret {
    /// A fresh secret.
    pub fn new() -> Self {
        let text = Nonces::new().draw();
        let hash = Sha256::digest(text.as_bytes());
        Self {
            // Without a key HMAC has the empty one; an HMAC key may have any length.
            keyed: Hmac::new_from_slice(text.as_bytes()).unwrap_or_else(|_| unreachable!()),
            health_path: format!("/{}", hex::encode(hash)),
        }
    }

    /// What a backend answers to a nonce.
    pub fn hmac(&self, nonce: &str) -> String {
        hex::encode(
            self.keyed
                .clone()
                .chain_update(nonce)
                .finalize()
                .into_bytes(),
        )
    }

    /// `/` and the secret's SHA-256 in hex.
    pub fn health_path(&self) -> &str {
        &self.health_path
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

/// Nonces that nobody can know before they are sent, whatever the seed of the traffic.
pub struct Nonces(ChaCha12Rng);

impl Nonces {
    /// A stream of its own.
    pub fn new() -> Self {
        Self(ChaCha12Rng::from_os_rng())
    }

    /// 64 random bytes in hex.
    pub fn draw(&mut self) -> String {
        let mut bytes = [0; BYTES];
        self.0.fill_bytes(&mut bytes);
        hex::encode(bytes)
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_of_a_known_key() {
        // RFC 4231, test case 2.
        let secret = Secret {
            keyed: Hmac::new_from_slice(b"Jefe").unwrap(),
            health_path: String::new(),
        };
        assert_eq!(
            secret.hmac("what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn secrets_and_nonces_are_fresh() {
        assert_ne!(Secret::new().health_path(), Secret::new().health_path());
        let mut nonces = Nonces::new();
        let nonce = nonces.draw();
        assert_eq!(nonce.len(), 2 * BYTES);
        assert_ne!(nonce, nonces.draw());
    }
}

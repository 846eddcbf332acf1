//! The cluster's secret: challenge and response with HMAC-SHA-256 (RFC 2104, FIPS 180-4).
//!
//! Each end says a random number in its greeting, and then shows the HMAC of both greetings, which hold
//! these numbers, both ids and both cluster ids. The label of the role keeps either end from answering
//! with the other's own words. While a secret is being changed a node has two: it shows a proof by each,
//! and is content with a proof by either.

use std::fmt;
use std::path::Path;

use hmac::digest::array::Array;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{SecurityError, read};

/// Length of a proof, bytes.
pub const PROOF: usize = 32;
/// A shorter secret could be guessed, bytes.
const SHORTEST: usize = 16;
/// The present one and the next.
const MOST: usize = 2;

/// The HMAC that shows that its author knows the secret.
pub type Proof = [u8; PROOF];

/// Which end of a connection shows a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It dialled.
    Dials,
    /// It was dialled.
    Accepts,
}

impl Role {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Dials => b"level4 peer dials",
            Self::Accepts => b"level4 peer accepts",
        }
    }
}

/// What the members of a cluster know and nobody else does.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Secret {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_owned())
    }

    fn mac(&self, role: Role, transcript: &[u8]) -> Hmac<Sha256> {
        let mut mac = keyed(&self.0);
        mac.update(role.label());
        mac.update(transcript);
        mac
    }

    /// The proof that `role` shows after these greetings.
    pub fn prove(&self, role: Role, transcript: &[u8]) -> Proof {
        self.mac(role, transcript).finalize().into_bytes().into()
    }

    /// Whether this is the proof, in a time that does not depend on where it differs.
    pub fn verifies(&self, role: Role, transcript: &[u8], proof: &Proof) -> bool {
        let mac = self.mac(role, transcript);
        mac.verify_slice(proof).is_ok()
    }
}

/// HMAC-SHA-256 with a key of any length.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Array::default();
    if key.len() <= block.len() {
        block[..key.len()].copy_from_slice(key);
    } else {
        // As the standard says for longer ones.
        block[..PROOF].copy_from_slice(&Sha256::digest(key));
    }
    <Hmac<Sha256>>::new(&block)
}

/// What both ends have said, in a form that no two pairs of greetings share.
pub fn transcript(dials: &[u8], accepts: &[u8]) -> Vec<u8> {
    [Sha256::digest(dials), Sha256::digest(accepts)].concat()
}

/// Reads a file with one secret, or with two.
pub(super) fn load(path: &Path) -> Result<Vec<Secret>, SecurityError> {
    parse(&read(path)?).map_err(|what| SecurityError::Secret {
        path: path.to_owned(),
        what,
    })
}

fn parse(bytes: &[u8]) -> Result<Vec<Secret>, String> {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let secrets: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    if secrets.is_empty() {
        return Err(
            "there is no secret in this file: make one by `openssl rand -hex 32`".to_owned(),
        );
    }
    if secrets.len() > MOST {
        return Err(format!(
            "{} lines: one secret, or two while it is being changed, each on a line of its own",
            secrets.len()
        ));
    }
    if let Some(short) = secrets.iter().find(|secret| secret.len() < SHORTEST) {
        return Err(format!(
            "a secret of {} bytes could be guessed: it needs {SHORTEST}; make one by `openssl rand -hex 32`",
            short.len()
        ));
    }
    Ok(secrets.into_iter().map(Secret::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_holds_one_secret_or_two() {
        let long = "0123456789abcdef";
        let one = parse(format!("  {long}\r\n\n").as_bytes()).unwrap();
        assert_eq!(one, [Secret::new(long.as_bytes())]);
        assert_eq!(
            parse(format!("{long}\n{long}x").as_bytes()).unwrap().len(),
            2
        );
        assert!(parse(b" \n").unwrap_err().contains("no secret"));
        assert!(parse(b"short").unwrap_err().contains("5 bytes"));
        let three = format!("{long}\n{long}\n{long}\n");
        assert!(parse(three.as_bytes()).unwrap_err().contains("3 lines"));
    }

    #[test]
    fn the_mac_is_that_of_the_standard() {
        // RFC 4231, test case 2, beneath the label.
        let mut mac = keyed(b"Jefe");
        mac.update(b"what do ya want for nothing?");
        let expected = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
            0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
            0x64, 0xec, 0x38, 0x43,
        ];
        assert_eq!(mac.finalize().into_bytes()[..], expected);
    }

    #[test]
    fn keys_of_every_length_are_those_of_the_standard() {
        for length in [0, 1, 63, 64, 65, 200] {
            let key = vec![7; length];
            let ours = keyed(&key).chain_update(b"data").finalize().into_bytes();
            let theirs = <Hmac<Sha256>>::new_from_slice(&key).unwrap();
            let theirs = theirs.chain_update(b"data").finalize().into_bytes();
            assert_eq!(ours, theirs, "{length}");
        }
    }

    proptest! {
        #[test]
        fn only_the_same_secret_role_and_greetings_give_the_proof(
            one in prop::collection::vec(any::<u8>(), 1..40),
            other in prop::collection::vec(any::<u8>(), 1..40),
            dials: Vec<u8>,
            accepts: Vec<u8>,
            bit in 0..8 * PROOF,
        ) {
            prop_assume!(one != other && dials != accepts);
            // HMAC fills a key with zeros.
            prop_assume!(one.last() != Some(&0) && other.last() != Some(&0));
            let secret = Secret::new(&one);
            let said = transcript(&dials, &accepts);
            let proof = secret.prove(Role::Dials, &said);
            prop_assert!(secret.verifies(Role::Dials, &said, &proof));
            prop_assert!(!secret.verifies(Role::Accepts, &said, &proof));
            prop_assert!(!secret.verifies(Role::Dials, &transcript(&accepts, &dials), &proof));
            prop_assert!(!Secret::new(&other).verifies(Role::Dials, &said, &proof));
            let mut changed = proof;
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!secret.verifies(Role::Dials, &said, &changed));
        }
    }
}

//! The two hash functions that git names objects with.
//!
//! Both take blocks of 64 bytes, pad them alike and end with the length in bits, so that one layout
//! of a nonce serves both.

use sha1::block_api::compress as compress_sha1;
use sha2::block_api::compress256;

/// A hash function that git names objects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashFunction {
    /// SHA-1 (RFC 3174): ids of 40 hexadecimal digits.
    Sha1,
    /// SHA-256 (FIPS 180-4): ids of 64.
    Sha256,
}

/// A state between two blocks, or an id: eight words, of which SHA-1 uses the first five.
pub type State = [u32; 8];

impl HashFunction {
    /// Hexadecimal digits in an object id.
    pub fn hex_digits(self) -> usize {
        8 * self.words()
    }

    /// Words of 32 bits in an object id.
    pub fn words(self) -> usize {
        match self {
            Self::Sha1 => 5,
            Self::Sha256 => 8,
        }
    }

    /// The state before the first block.
    pub(crate) fn initial(self) -> State {
        match self {
            Self::Sha1 => [
                0x6745_2301,
                0xefcd_ab89,
                0x98ba_dcfe,
                0x1032_5476,
                0xc3d2_e1f0,
                0,
                0,
                0,
            ],
            Self::Sha256 => [
                0x6a09_e667,
                0xbb67_ae85,
                0x3c6e_f372,
                0xa54f_f53a,
                0x510e_527f,
                0x9b05_688c,
                0x1f83_d9ab,
                0x5be0_cd19,
            ],
        }
    }

    /// Takes blocks into the state, by the crates `sha1` and `sha2`.
    pub(crate) fn compress(self, state: &mut State, blocks: &[[u8; 64]]) {
        match self {
            Self::Sha1 => {
                let mut five = [0; 5];
                five.copy_from_slice(&state[..5]);
                compress_sha1(&mut five, blocks);
                state[..5].copy_from_slice(&five);
            }
            Self::Sha256 => compress256(state, blocks),
        }
    }
}

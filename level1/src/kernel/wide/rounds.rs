//! Message schedules with their constants, and rounds in plain code.

use super::super::rows::K as K1;
use crate::hash::{HashFunction, State};

/// A block's message schedule, each word with the round's constant added: 80 words for SHA-1, 64
/// for SHA-256.
#[derive(Clone, Debug)]
pub(in super::super) struct Rounds(pub [u32; 80]);

/// SHA-256's round constants (FIPS 180-4, section 4.2.2).
pub(super) const K256: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

impl Rounds {
    /// The schedule of `block`.
    pub fn new(hash: HashFunction, block: &[u32; 16]) -> Self {
        let mut words = [0u32; 80];
        words[..16].copy_from_slice(block);
        match hash {
            HashFunction::Sha1 => {
                for t in 16..80 {
                    let mixed = words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16];
                    words[t] = mixed.rotate_left(1);
                }
                for (t, word) in words.iter_mut().enumerate() {
                    *word = word.wrapping_add(K1[t / 20]);
                }
            }
            HashFunction::Sha256 => {
                for t in 16..64 {
                    let (x, y) = (words[t - 15], words[t - 2]);
                    let small_0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
                    let small_1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
                    words[t] = words[t - 16]
                        .wrapping_add(small_0)
                        .wrapping_add(words[t - 7])
                        .wrapping_add(small_1);
                }
                for (word, key) in words.iter_mut().zip(K256) {
                    *word = word.wrapping_add(key);
                }
            }
        }
        Self(words)
    }
}

/// The variables after the first rounds of a block, as many as there are `words`.
pub(super) fn carried(hash: HashFunction, midstate: State, words: &[u32]) -> State {
    let rounds = words.iter().enumerate();
    match hash {
        HashFunction::Sha1 => rounds.fold(midstate, |[a, b, c, d, e, ..], (_, &word)| {
            let [a, b, c, d, e] = super::super::rows::first_rounds_step([a, b, c, d, e], word);
            [a, b, c, d, e, 0, 0, 0]
        }),
        HashFunction::Sha256 => rounds.fold(midstate, |state, (t, &word)| {
            sha256_step(state, word.wrapping_add(K256[t]))
        }),
    }
}

/// A round of SHA-256 (FIPS 180-4, section 6.2.2) with its constant in the message word.
fn sha256_step([a, b, c, d, e, f, g, h]: State, keyed: u32) -> State {
    let big_0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    let big_1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let choice = g ^ (e & (f ^ g));
    let majority = (a & b) ^ (c & (a ^ b));
    let first = h
        .wrapping_add(big_1)
        .wrapping_add(choice)
        .wrapping_add(keyed);
    let second = big_0.wrapping_add(majority);
    [
        first.wrapping_add(second),
        a,
        b,
        c,
        d.wrapping_add(first),
        e,
        f,
        g,
    ]
}

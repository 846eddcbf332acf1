//! Recordings as they are kept: JSON, compressed (zlib), and bounded, both packed and unpacked.

use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde_json::Value;

use crate::recording::Recording;

/// The most bytes of a recording as JSON, and packed. Larger ones are not kept.
const PLAIN_MAX: usize = 64 << 20;
const PACKED_MAX: usize = 4 << 20;

/// A recording as it is kept; none if it is too large.
pub(super) fn pack(recording: &Recording) -> Option<Vec<u8>> {
    pack_json(&serde_json::to_vec(&recording.drawn()).ok()?)
}

fn pack_json(json: &[u8]) -> Option<Vec<u8>> {
    if json.len() > PLAIN_MAX {
        return None;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() <= PACKED_MAX).then_some(packed)
}

/// A recording that was kept; none if it is damaged.
pub(super) fn unpack(packed: &[u8]) -> Option<Value> {
    let mut json = Vec::new();
    let mut plain = ZlibDecoder::new(packed).take(PLAIN_MAX as u64);
    plain.read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_damage_gives_nothing() {
        let json = serde_json::json!({"panels": ["x".repeat(1000)]});
        let packed = pack_json(json.to_string().as_bytes()).unwrap();
        assert!(packed.len() < 100);
        assert_eq!(unpack(&packed), Some(json));
        assert_eq!(unpack(&packed[..packed.len() / 2]), None);
        assert_eq!(unpack(b"no zlib"), None);
    }
}

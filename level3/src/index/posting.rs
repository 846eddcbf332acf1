//! Posting lists: ascending chunk numbers, compressed.
//!
//! A list is stored as whichever is shorter: a bit for each chunk of the segment, or the gaps
//! between its members in Rice code (the quotient by 2^k in unary, then k bits), with the k that
//! suits the list's mean gap. Rice code is within a few per cent of the entropy of random gaps
//! (R. F. Rice, JPL 79-22, 1979) and never spends more than a bitmap on sparse lists.

use super::chunk::ChunkSet;

/// Tag of a list stored as a bitmap; any other tag is the Rice parameter.
const BITMAP: u8 = 0xff;

/// Appends the encoded list to `out`. `list` ascends and stays below `chunks`.
pub(crate) fn encode(list: &[u16], chunks: usize, out: &mut Vec<u8>) {
    let k = rice_parameter(list.len(), chunks);
    let rice_bits: usize = gaps(list)
        .map(|gap| (gap >> k) as usize + 1 + k as usize)
        .sum();
    if rice_bits.div_ceil(8) < chunks.div_ceil(8) {
        out.push(k);
        let mut bits = BitWriter {
            out,
            held: 0,
            count: 0,
        };
        for gap in gaps(list) {
            bits.ones(gap >> k);
            bits.put(0, 1);
            bits.put(gap & ((1 << k) - 1), u32::from(k));
        }
        bits.finish();
    } else {
        out.push(BITMAP);
        let mut set = ChunkSet::none(chunks);
        for &chunk in list {
            set.insert(chunk.into());
        }
        out.extend(set.to_bytes());
    }
}

/// The set of chunks in an encoded list, or `None` if the bytes are no list over `chunks` chunks.
pub(crate) fn decode(bytes: &[u8], chunks: usize) -> Option<ChunkSet> {
    let (&tag, body) = bytes.split_first()?;
    if tag == BITMAP {
        return ChunkSet::from_bytes(body, chunks);
    }
    if tag > 16 {
        return None;
    }
    let mut set = ChunkSet::none(chunks);
    let mut bits = BitReader {
        bytes: body,
        held: 0,
        count: 0,
    };
    let mut next = 0_usize;
    // The padding is all ones: a quotient that never ends.
    while let Some(quotient) = bits.ones() {
        let chunk = next + ((quotient as usize) << tag | bits.take(u32::from(tag))? as usize);
        if chunk >= chunks {
            return None;
        }
        set.insert(chunk);
        next = chunk + 1;
    }
    Some(set)
}

/// Distances from each member to the one before it, less one.
fn gaps(list: &[u16]) -> impl Iterator<Item = u32> {
    let mut next = 0;
    list.iter().map(move |&chunk| {
        let gap = u32::from(chunk) - next;
        next = u32::from(chunk) + 1;
        gap
    })
}

/// The k for which 2^k is nearest below the median of random gaps.
fn rice_parameter(members: usize, chunks: usize) -> u8 {
    let median = (chunks / members.max(1)) * 7 / 10;
    median.max(1).ilog2() as u8
}

/// Appends bits to bytes, least significant first.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter<'_> {
    /// Appends the low `bits` bits of `value`, at most 32.
    fn put(&mut self, value: u32, bits: u32) {
        self.held |= u64::from(value) << self.count;
        self.count += bits;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Appends `count` ones.
    fn ones(&mut self, mut count: u32) {
        while count > 0 {
            let bits = count.min(24);
            self.put((1 << bits) - 1, bits);
            count -= bits;
        }
    }

    /// Fills the last byte with ones.
    fn finish(mut self) {
        if self.count > 0 {
            self.ones(8 - self.count);
        }
    }
}

/// Takes bits from bytes, least significant first.
struct BitReader<'a> {
    bytes: &'a [u8],
    held: u64,
    count: u32,
}

impl BitReader<'_> {
    fn refill(&mut self) {
        while self.count <= 56 {
            let Some((&byte, rest)) = self.bytes.split_first() else {
                return;
            };
            self.bytes = rest;
            self.held |= u64::from(byte) << self.count;
            self.count += 8;
        }
    }

    /// Counts ones up to a zero and takes both; `None` at the end of the bytes.
    fn ones(&mut self) -> Option<u32> {
        let mut total = 0;
        loop {
            self.refill();
            let run = self.held.trailing_ones().min(self.count);
            total += run;
            self.skip(run);
            if self.count > 0 {
                self.skip(1);
                return Some(total);
            }
            if self.bytes.is_empty() {
                return None;
            }
        }
    }

    /// Takes `bits` bits, at most 16.
    fn take(&mut self, bits: u32) -> Option<u32> {
        self.refill();
        if self.count < bits {
            return None;
        }
        let value = self.held & ((1 << bits) - 1);
        self.skip(bits);
        Some(value as u32)
    }

    fn skip(&mut self, bits: u32) {
        // All 64 held bits can be skipped at once, which a plain shift would refuse.
        self.held = self.held.checked_shr(bits).unwrap_or(0);
        self.count -= bits;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_survive_encoding(chunks in 1..3000_usize, seed in prop::collection::btree_set(0..3000_u16, 1..300), dense in any::<bool>()) {
            let list: Vec<u16> = if dense {
                (0..chunks as u16).filter(|chunk| !seed.contains(chunk)).collect()
            } else {
                seed.into_iter().filter(|&chunk| usize::from(chunk) < chunks).collect()
            };
            let mut bytes = Vec::new();
            encode(&list, chunks, &mut bytes);
            prop_assert!(bytes.len() <= 1 + chunks.div_ceil(8));
            let set = decode(&bytes, chunks).unwrap();
            prop_assert_eq!(set.iter().map(|chunk| chunk as u16).collect::<Vec<_>>(), list);
        }

        #[test]
        fn any_bytes_decode_to_a_set_or_to_nothing(bytes in prop::collection::vec(any::<u8>(), 0..40), chunks in 0..300_usize) {
            if let Some(set) = decode(&bytes, chunks) {
                prop_assert!(set.iter().all(|chunk| chunk < chunks));
            }
        }
    }

    #[test]
    fn the_largest_segment_can_be_listed() {
        for list in [
            vec![u16::MAX],
            vec![0, u16::MAX],
            (0..=u16::MAX).collect::<Vec<_>>(),
        ] {
            let mut bytes = Vec::new();
            encode(&list, 1 << 16, &mut bytes);
            assert_eq!(decode(&bytes, 1 << 16).unwrap().len(), list.len());
        }
    }
}

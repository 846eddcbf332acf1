//! Packs (gitformat-pack(5)) of a push, decoded in memory within a budget, and written.
//!
//! A pack comes from a player, and a few bytes of it can stand for gigabytes: a delta copies its
//! base over and over, and zeros deflate to nothing. So every size that a pack states is charged
//! to the budget before a byte is unpacked, and nothing is unpacked beyond what was stated.

use std::{collections::HashMap, io::Write};

use flate2::{Compression, Decompress, FlushDecompress, Status, write::ZlibEncoder};
use sha1::{Digest, Sha1};
use thiserror::Error;

use super::{git::Object, object::ObjectId};

/// The header of a pack: magic, version, number of objects; and the checksum at its end.
const HEADER: usize = 12;
const CHECKSUM: usize = 20;

/// Kinds of entries that are whole objects, by their number.
const KINDS: [(u8, &str); 4] = [(1, "commit"), (2, "tree"), (3, "blob"), (4, "tag")];
const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// What a pack may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Objects.
    pub objects: usize,
    /// Bytes of all objects together, inflated; deltas count as well as what they make.
    pub bytes: usize,
}

/// Why a pack is not taken.
#[derive(Debug, Error)]
pub enum PackError {
    /// More objects than allowed.
    #[error("{count} objects, where at most {max} are looked at")]
    TooManyObjects {
        /// As the pack states.
        count: usize,
        /// [`Limits::objects`].
        max: usize,
    },
    /// More bytes than allowed.
    #[error("its objects have more than {max} bytes")]
    TooLarge {
        /// [`Limits::bytes`].
        max: usize,
    },
    /// Not a pack as gitformat-pack(5) describes it.
    #[error("{0}")]
    Malformed(&'static str),
    /// A delta's base could not be read.
    #[error(transparent)]
    Base(#[from] anyhow::Error),
}

use PackError::Malformed;

/// Decodes a pack whole. `base` finds an object that the repository has, for a delta against it,
/// if it is not larger than the bytes given.
///
/// # Errors
/// The pack is malformed, breaks a limit, or is a delta against what is not there.
pub fn decode(
    pack: &[u8],
    limits: Limits,
    mut base: impl FnMut(ObjectId, usize) -> anyhow::Result<Option<Object>>,
) -> Result<Vec<Object>, PackError> {
    let (body, count) = frame(pack)?;
    if count > limits.objects {
        return Err(PackError::TooManyObjects {
            count,
            max: limits.objects,
        });
    }
    let mut reader = Reader {
        body,
        at: HEADER,
        budget: limits.bytes,
        max: limits.bytes,
    };
    let mut objects: Vec<Object> = Vec::new();
    let mut offsets = HashMap::new();
    for _ in 0..count {
        let start = reader.at;
        let (kind, size) = reader.entry_header()?;
        let object = if let Some((_, name)) = KINDS.iter().find(|(number, _)| *number == kind) {
            Object::new(name, reader.inflate(size)?)
        } else {
            let outside;
            let found = match kind {
                OFS_DELTA => {
                    let distance = reader.offset()?;
                    let from = start.checked_sub(distance);
                    let index = from.and_then(|from| offsets.get(&from).copied());
                    let index: usize = index.ok_or(Malformed("a delta points to no object"))?;
                    &objects[index]
                }
                REF_DELTA => {
                    let id = reader.id()?;
                    if let Some(here) = objects.iter().find(|object| object.id == id) {
                        here
                    } else {
                        outside = base(id, limits.bytes)?
                            .ok_or(Malformed("a delta's base is not in the repository"))?;
                        &outside
                    }
                }
                _ => return Err(Malformed("an object is of no known kind")),
            };
            let delta = reader.inflate(size)?;
            let content = reader.apply(&found.content, &delta)?;
            Object::new(&found.kind, content)
        };
        offsets.insert(start, objects.len());
        objects.push(object);
    }
    if reader.at != body.len() {
        return Err(Malformed("there are bytes behind the last object"));
    }
    Ok(objects)
}

/// Writes a pack of whole objects, in this order.
pub fn encode(objects: &[Object]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend((objects.len() as u32).to_be_bytes());
    for object in objects {
        let kind = KINDS.iter().find(|(_, name)| *name == object.kind);
        let kind = kind.map_or(0, |(number, _)| *number);
        let mut rest = object.content.len() >> 4;
        let mut byte = kind << 4 | (object.content.len() & 15) as u8;
        while rest > 0 {
            pack.push(byte | 0x80);
            byte = (rest & 0x7f) as u8;
            rest >>= 7;
        }
        pack.push(byte);
        deflate(&object.content, &mut pack);
    }
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
}

/// Checks what is around the objects; returns everything before the checksum, and their number.
fn frame(pack: &[u8]) -> Result<(&[u8], usize), PackError> {
    if pack.len() < HEADER + CHECKSUM {
        return Err(Malformed("the pack is cut off"));
    }
    let (body, checksum) = pack.split_at(pack.len() - CHECKSUM);
    if !body.starts_with(b"PACK") || !matches!(body[4..8], [0, 0, 0, 2 | 3]) {
        return Err(Malformed("it is no pack of version 2 or 3"));
    }
    if Sha1::digest(body)[..] != *checksum {
        return Err(Malformed("the pack's checksum is wrong"));
    }
    let count = u32::from_be_bytes([body[8], body[9], body[10], body[11]]);
    Ok((body, count as usize))
}

/// A place in a pack, and what may still be unpacked from it.
struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    budget: usize,
    max: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, PackError> {
        let byte = self.body.get(self.at).copied();
        self.at += 1;
        byte.ok_or(Malformed("the pack is cut off"))
    }

    /// Takes bytes from the budget, before they are unpacked.
    fn charge(&mut self, bytes: usize) -> Result<(), PackError> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or(PackError::TooLarge { max: self.max })?;
        Ok(())
    }

    /// An entry's kind and its size when inflated.
    fn entry_header(&mut self) -> Result<(u8, usize), PackError> {
        let first = self.byte()?;
        let kind = first >> 4 & 7;
        let mut size = usize::from(first & 15);
        if first & 0x80 != 0 {
            let more = varint(&mut || self.byte())?;
            let more = more.checked_mul(16);
            size = more
                .and_then(|more| more.checked_add(size))
                .ok_or(PackError::TooLarge { max: self.max })?;
        }
        Ok((kind, size))
    }

    /// How far before its own entry the base of an `OFS_DELTA` begins.
    fn offset(&mut self) -> Result<usize, PackError> {
        let mut byte = self.byte()?;
        let mut offset = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            offset = offset
                .checked_add(1)
                .and_then(|offset| offset.checked_mul(128))
                .ok_or(Malformed("a number is too large"))?
                | usize::from(byte & 0x7f);
        }
        Ok(offset)
    }

    fn id(&mut self) -> Result<ObjectId, PackError> {
        let bytes = self.body.get(self.at..).and_then(<[u8]>::first_chunk::<20>);
        let bytes = bytes.ok_or(Malformed("the pack is cut off"))?;
        self.at += 20;
        Ok(ObjectId::new(*bytes))
    }

    /// Inflates exactly this many bytes.
    fn inflate(&mut self, size: usize) -> Result<Vec<u8>, PackError> {
        self.charge(size)?;
        // One more than stated, so that a stream that goes on is seen.
        let mut content = vec![0; size + 1];
        let mut stream = Decompress::new(true);
        let input = self.body.get(self.at..).unwrap_or_default();
        let status = stream.decompress(input, &mut content, FlushDecompress::Finish);
        if !matches!(status, Ok(Status::StreamEnd)) || stream.total_out() != size as u64 {
            return Err(Malformed(
                "an object is damaged, or has not the size it states",
            ));
        }
        self.at += stream.total_in() as usize;
        content.truncate(size);
        Ok(content)
    }

    /// What a delta makes of its base.
    fn apply(&mut self, base: &[u8], delta: &[u8]) -> Result<Vec<u8>, PackError> {
        let mut rest = delta.iter();
        let cut_off = || Malformed("a delta is cut off");
        let mut next = || rest.next().copied().ok_or_else(cut_off);
        if varint(&mut next)? != base.len() {
            return Err(Malformed("a delta is made for another base"));
        }
        let size = varint(&mut next)?;
        self.charge(size)?;
        let mut content = Vec::with_capacity(size);
        while let Some(&instruction) = rest.next() {
            let piece = if instruction & 0x80 != 0 {
                let mut number = |bits: std::ops::Range<u8>| {
                    let mut value = 0;
                    for (place, bit) in bits.enumerate() {
                        if instruction >> bit & 1 != 0 {
                            let byte = rest.next().ok_or_else(cut_off)?;
                            value |= usize::from(*byte) << (8 * place);
                        }
                    }
                    Ok::<_, PackError>(value)
                };
                let from = number(0..4)?;
                let length = match number(4..7)? {
                    0 => 0x1_0000,
                    length => length,
                };
                base.get(from..from.saturating_add(length))
                    .ok_or(Malformed("a delta copies what its base has not"))?
            } else if instruction != 0 {
                let (piece, after) = rest
                    .as_slice()
                    .split_at_checked(usize::from(instruction))
                    .ok_or_else(cut_off)?;
                rest = after.iter();
                piece
            } else {
                return Err(Malformed("a delta has an unknown instruction"));
            };
            if piece.len() > size - content.len() {
                return Err(Malformed("a delta makes more than it states"));
            }
            content.extend_from_slice(piece);
        }
        if content.len() != size {
            return Err(Malformed("a delta makes less than it states"));
        }
        Ok(content)
    }
}

/// Seven bits a byte, the lowest first, until a byte without its highest bit.
fn varint(next: &mut dyn FnMut() -> Result<u8, PackError>) -> Result<usize, PackError> {
    let mut value = 0;
    for shift in (0..usize::BITS - 7).step_by(7) {
        let byte = next()?;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed("a number is too large"))
}

/// Appends a zlib stream (RFC 1950) of `content`.
fn deflate(content: &[u8], out: &mut Vec<u8>) {
    let mut stream = ZlibEncoder::new(out, Compression::fast());
    let written = stream.write_all(content).and_then(|()| stream.try_finish());
    debug_assert!(written.is_ok(), "memory takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        objects: 8,
        bytes: 1 << 20,
    };

    fn blob(content: &[u8]) -> Object {
        Object::new("blob", content.to_vec())
    }

    #[allow(clippy::unnecessary_wraps, reason = "the signature is `decode`'s")]
    fn nowhere(_: ObjectId, _: usize) -> anyhow::Result<Option<Object>> {
        Ok(None)
    }

    /// A pack with one delta against an object of the repository.
    fn delta_pack(base: ObjectId, delta: &[u8]) -> Vec<u8> {
        assert!(delta.len() < 2048);
        let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
        pack.push(0x80 | REF_DELTA << 4 | (delta.len() & 15) as u8);
        pack.push((delta.len() >> 4) as u8);
        pack.extend(base.as_bytes());
        deflate(delta, &mut pack);
        let checksum = Sha1::digest(&pack);
        pack.extend_from_slice(&checksum);
        pack
    }

    #[test]
    fn a_delta_is_applied_to_what_the_repository_has() {
        let base = blob(b"one two three");
        // The first four bytes, then new ones, then from the eighth to the end.
        let delta = [13, 12, 0x90, 4, 3, b'2', b' ', b'&', 0x91, 8, 5];
        let find = |id, _| Ok((id == base.id).then(|| base.clone()));
        let pack = delta_pack(base.id, &delta);
        let objects = decode(&pack, LIMITS, find).unwrap();
        assert_eq!(objects, [blob(b"one 2 &three")]);
        assert!(matches!(decode(&pack, LIMITS, nowhere), Err(Malformed(_))));
    }

    #[test]
    fn what_a_delta_makes_is_charged_before_it_is_made() {
        let base = blob(&vec![0; 0x1_0000]);
        // It states 400 copies of the base, in 1.2 KB.
        let mut delta = vec![0x80, 0x80, 4];
        let size = 400 * 0x1_0000_usize;
        delta.extend([
            size as u8 & 0x7f | 0x80,
            (size >> 7) as u8 | 0x80,
            (size >> 14) as u8 | 0x80,
            (size >> 21) as u8,
        ]);
        delta.extend([0x80; 400]);
        let find = |_, _| Ok(Some(base.clone()));
        let refused = decode(&delta_pack(base.id, &delta), LIMITS, find);
        assert!(
            matches!(refused, Err(PackError::TooLarge { .. })),
            "{refused:?}"
        );
        let room = Limits {
            bytes: size + 1000,
            ..LIMITS
        };
        let made = decode(&delta_pack(base.id, &delta), room, find).unwrap();
        assert_eq!(made[0].content.len(), size);
    }

    #[test]
    fn a_stated_size_is_kept_to() {
        let zeros = encode(&[blob(&vec![0; 4 << 20])]);
        assert!(zeros.len() < 50_000);
        let refused = decode(&zeros, LIMITS, nowhere);
        assert!(matches!(refused, Err(PackError::TooLarge { .. })));
        let many = encode(&vec![blob(b"x"); 9]);
        let refused = decode(&many, LIMITS, nowhere);
        assert!(matches!(
            refused,
            Err(PackError::TooManyObjects { count: 9, max: 8 })
        ));
        // Four bytes stated, more in the stream.
        let mut lie = encode(&[blob(b"12345678")]);
        lie[HEADER] = 3 << 4 | 4;
        let end = lie.len() - CHECKSUM;
        let checksum = Sha1::digest(&lie[..end]);
        lie[end..].copy_from_slice(&checksum);
        assert!(matches!(decode(&lie, LIMITS, nowhere), Err(Malformed(_))));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            contents in prop::collection::vec((0..4_usize, prop::collection::vec(any::<u8>(), 0..3000)), 0..8),
        ) {
            let objects: Vec<_> = contents
                .iter()
                .map(|(kind, content)| Object::new(KINDS[*kind].1, content.clone()))
                .collect();
            prop_assert_eq!(decode(&encode(&objects), LIMITS, nowhere).unwrap(), objects);
        }

        #[test]
        fn nothing_that_arrives_panics_or_exceeds_the_limits(
            mut pack in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                Just(encode(&[blob(b"abc"), blob(&[7; 300])])),
                Just(delta_pack(blob(b"base").id, &[4, 8, 0x90, 4, 0x90, 4])),
            ],
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            for (place, byte) in changes {
                if !pack.is_empty() {
                    let place = place.index(pack.len());
                    pack[place] = byte;
                }
            }
            // With a right checksum, so that what is behind it is reached.
            if pack.len() > CHECKSUM {
                let end = pack.len() - CHECKSUM;
                let checksum = Sha1::digest(&pack[..end]);
                pack[end..].copy_from_slice(&checksum);
            }
            let find = |_, _| Ok(Some(blob(b"base")));
            if let Ok(objects) = decode(&pack, LIMITS, find) {
                let bytes: usize = objects.iter().map(|object| object.content.len()).sum();
                prop_assert!(objects.len() <= LIMITS.objects && bytes <= LIMITS.bytes);
            }
        }
    }
}

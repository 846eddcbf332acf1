//! The bytes between two nodes after their greeting: blocks of frames, compressed with one history for the
//! life of the connection.
//!
//! | part | bytes |
//! |---|---|
//! | block | u32 length, raw deflate, flushed (RFC 1951; the flush's last four bytes are left out) |
//! | frame in a block | kind, varint length, content |
//!
//! Because the history is shared, a query that looks like the one before costs a fifth of its length. Long blocks
//! that do not get shorter are sent as they are, in deflate's own stored form: to try costs a core for each
//! 15 MB a second, and a snapshot may be full of them.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::greeting::Ticket;
use crate::codec::{Malformed, Reader, Writer};
use crate::consensus::{Membership, decode_members, encode_members};
use crate::ids::{Index, NodeId};

/// A block is shorter than this, before and after compression, bytes.
pub const BLOCK_LIMIT: usize = 1024 * 1024;
/// Blocks that are longer may be sent as they are, bytes.
const LONG: usize = 16 * 1024;
/// So many long ones are, after one that got shorter by less than a sixteenth.
const STORED: u32 = 31;
/// A stored part of deflate is no longer, bytes.
const STORED_LIMIT: usize = 65_535;
/// What every flush of deflate ends with.
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// A unit within a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An encoded [`crate::message::PeerMessage`] from the other end.
    Message(Vec<u8>),
    /// A piece of one too long for a block.
    Part(Vec<u8>),
    /// The last piece.
    LastPart(Vec<u8>),
    /// The nodes that the sender is connected to, for finding relays.
    Links(Vec<NodeId>),
    /// Pass this on to `to`.
    Relay {
        /// The addressee.
        to: NodeId,
        /// An encoded message.
        message: Vec<u8>,
    },
    /// Passed on from `from`.
    Relayed {
        /// The author.
        from: NodeId,
        /// An encoded message.
        message: Vec<u8>,
    },
    /// To be shown by the receiver when it connects again.
    Ticket(Ticket),
    /// The members that the sender knows of.
    Membership(Membership),
}

impl Frame {
    /// Roughly its length, bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Message(bytes) | Self::Part(bytes) | Self::LastPart(bytes) => bytes.len() + 4,
            Self::Links(nodes) => nodes.len() * 10 + 4,
            Self::Relay { message, .. } | Self::Relayed { message, .. } => message.len() + 14,
            Self::Ticket(_) => 20,
            Self::Membership(membership) => {
                let names = membership.members.values();
                names.map(|name| name.len() + 12).sum::<usize>() + 14
            }
        }
    }

    fn encode(&self, block: &mut Writer) {
        let whole = |kind, bytes: &[u8], block: &mut Writer| {
            block.byte(kind);
            block.bytes(bytes);
        };
        let mut content = Writer::new();
        let kind = match self {
            Self::Message(bytes) => return whole(0, bytes, block),
            Self::Part(bytes) => return whole(1, bytes, block),
            Self::LastPart(bytes) => return whole(2, bytes, block),
            Self::Ticket(ticket) => return whole(6, ticket, block),
            Self::Links(nodes) => {
                for &node in nodes {
                    content.uint(node.get());
                }
                3
            }
            Self::Relay { to: node, message }
            | Self::Relayed {
                from: node,
                message,
            } => {
                content.uint(node.get());
                content.raw(message);
                if matches!(self, Self::Relay { .. }) {
                    4
                } else {
                    5
                }
            }
            Self::Membership(membership) => {
                content.uint(membership.as_of.get());
                encode_members(&membership.members, &mut content);
                7
            }
        };
        whole(kind, &content.finish(), block);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let kind = reader.byte()?;
        let content = reader.bytes()?;
        let mut inner = Reader::new(content);
        Ok(match kind {
            0 => Self::Message(content.to_vec()),
            1 => Self::Part(content.to_vec()),
            2 => Self::LastPart(content.to_vec()),
            3 => {
                let mut nodes = Vec::new();
                while !inner.is_empty() {
                    nodes.push(NodeId::new(inner.uint()?));
                }
                Self::Links(nodes)
            }
            4 => Self::Relay {
                to: NodeId::new(inner.uint()?),
                message: inner.rest().to_vec(),
            },
            5 => Self::Relayed {
                from: NodeId::new(inner.uint()?),
                message: inner.rest().to_vec(),
            },
            6 => Self::Ticket(inner.array()?),
            7 => Self::Membership(Membership {
                as_of: Index::new(inner.uint()?),
                members: decode_members(&mut inner)?,
            }),
            _ => return Err(Malformed { at: 0 }),
        })
    }
}

/// Makes blocks.
#[derive(Debug)]
pub struct Packer {
    deflate: Compress,
    /// So many long blocks are sent as they are.
    stored: u32,
    /// Blocks have been sent that the encoder has not seen.
    is_behind: bool,
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            deflate: Compress::new(Compression::new(4), false),
            stored: 0,
            is_behind: false,
        }
    }
}

impl Packer {
    /// One block with its length, of frames that are together shorter than `BLOCK_LIMIT`.
    pub fn pack(&mut self, frames: &[Frame]) -> Vec<u8> {
        let mut block = Writer::new();
        for frame in frames {
            frame.encode(&mut block);
        }
        let input = block.finish();
        let mut output = vec![0; 4];
        if input.len() > LONG && self.stored > 0 {
            self.stored -= 1;
            self.is_behind = true;
            store(&input, &mut output);
        } else {
            self.compress(&input, &mut output);
            if input.len() > LONG && output.len() > input.len() / 16 * 15 {
                self.stored = STORED;
            }
        }
        output.truncate(output.len() - FLUSH_END.len());
        let length = (output.len() - 4) as u32;
        output[..4].copy_from_slice(&length.to_le_bytes());
        output
    }

    fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_behind) {
            // What is far back is something else for the receiver, so nothing before this is referred to.
            self.deflate.reset();
        }
        let start = self.deflate.total_in();
        let mut pending = false;
        loop {
            // So much that one call is enough.
            output.reserve(input.len() + input.len() / 8 + 128);
            let used = (self.deflate.total_in() - start) as usize;
            // Deflating into memory does not fail.
            let _ = self
                .deflate
                .compress_vec(&input[used..], output, FlushCompress::Sync);
            let done = (self.deflate.total_in() - start) as usize == input.len();
            let full = output.len() == output.capacity();
            // What a full output has left behind is all that the next call writes: the flush is yet to come.
            if done && !full && !pending {
                break;
            }
            pending = full;
        }
    }
}

/// Appends `input` as it is, in deflate's form, and a flush: at the end of a flush deflate is at a byte's boundary.
fn store(input: &[u8], output: &mut Vec<u8>) {
    output.reserve(input.len() + (input.len() / STORED_LIMIT + 2) * 5);
    for part in input.chunks(STORED_LIMIT) {
        // It is no longer than that.
        let length = part.len() as u16;
        output.push(0);
        output.extend_from_slice(&length.to_le_bytes());
        output.extend_from_slice(&(!length).to_le_bytes());
        output.extend_from_slice(part);
    }
    output.push(0);
    output.extend_from_slice(&FLUSH_END);
}

/// Reads blocks.
#[derive(Debug)]
pub struct Unpacker {
    inflate: Decompress,
}

impl Default for Unpacker {
    fn default() -> Self {
        Self {
            inflate: Decompress::new(false),
        }
    }
}

impl Unpacker {
    /// The frames of a block (without its length).
    ///
    /// # Errors
    ///
    /// If it is not in the format, or longer than `BLOCK_LIMIT`.
    pub fn unpack(&mut self, block: &[u8]) -> Result<Vec<Frame>, Malformed> {
        let input = [block, &FLUSH_END].concat();
        let mut output = Vec::with_capacity(input.len() * 4 + 64);
        let start = self.inflate.total_in();
        loop {
            let used = (self.inflate.total_in() - start) as usize;
            let status = self
                .inflate
                .decompress_vec(&input[used..], &mut output, FlushDecompress::Sync)
                .map_err(|_| Malformed { at: used })?;
            let done = (self.inflate.total_in() - start) as usize == input.len();
            if done && output.len() < output.capacity() || status == Status::StreamEnd {
                break;
            }
            if output.len() > 2 * BLOCK_LIMIT {
                return Err(Malformed { at: used });
            }
            output.reserve(output.capacity());
        }
        let mut reader = Reader::new(&output);
        let mut frames = Vec::new();
        while !reader.is_empty() {
            frames.push(Frame::decode(&mut reader)?);
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_survive_and_repetition_is_cheap() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let mut last = 0;
        for round in 0..50 {
            let query = format!(
                "UPDATE ctf3 SET friendCount=friendCount+{round} WHERE name='gdb'; SELECT * FROM ctf3;"
            );
            let frames = vec![
                Frame::Message(query.clone().into_bytes()),
                Frame::Links([1, u64::MAX].map(NodeId::new).to_vec()),
                Frame::Relay {
                    to: NodeId::new(7),
                    message: b"x".to_vec(),
                },
                Frame::Relayed {
                    from: NodeId::new(8),
                    message: query.into_bytes(),
                },
                Frame::LastPart(vec![round; 3000]),
                Frame::Ticket([round; 16]),
                Frame::Membership(Membership {
                    as_of: Index::new(3),
                    members: [(NodeId::new(7), "a".to_owned())].into(),
                }),
            ];
            let block = packer.pack(&frames);
            last = block.len();
            assert_eq!(unpacker.unpack(&block[4..]).unwrap(), frames);
        }
        assert!(last < 100, "{last} bytes");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Queries like others, what gets shorter, and noise, in any order; each may repeat a part of what came
        /// before, stored or not.
        #[test]
        fn blocks_are_read_back_whether_they_get_shorter_or_not(
            kinds in prop::collection::vec((0..4u8, 0..200_000usize, any::<u64>()), 1..60),
        ) {
            let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
            let mut before = vec![1, 2, 3];
            for (kind, length, seed) in kinds {
                let bytes = match kind {
                    0 => b"a query like others".to_vec(),
                    1 => vec![7; length],
                    2 => before[before.len() / 3..].repeat(2),
                    _ => noise(seed, length),
                };
                let bytes = &bytes[..bytes.len().min(200_000)];
                before = bytes.to_vec();
                let frames = vec![Frame::Message(before.clone())];
                let block = packer.pack(&frames);
                prop_assert!(block.len() < before.len() + before.len() / 1000 + 64);
                prop_assert_eq!(&unpacker.unpack(&block[4..]).unwrap(), &frames);
            }
        }
    }

    #[test]
    fn noise_is_sent_as_it_is_until_it_ends_and_a_history_begins_again() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let mut send = |bytes: Vec<u8>| {
            let frames = [Frame::Message(bytes)];
            let block = packer.pack(&frames);
            assert_eq!(unpacker.unpack(&block[4..]).unwrap(), frames);
            block
        };
        let noises = (0..=STORED).map(|seed| noise(seed.into(), 100_000));
        let is_in = |block: &[u8], bytes: &[u8]| block.windows(1_000).any(|part| part == bytes);
        for (number, noise) in noises.enumerate() {
            let middle = noise[50_000..51_000].to_vec();
            let block = send(noise);
            // The first one is tried.
            assert!(number == 0 || is_in(&block, &middle), "{number}");
            send(b"a query like others, between them".to_vec());
        }
        let query = b"a query like others, after them".to_vec();
        send(query.clone());
        assert!(send(query).len() < 16);
        assert!(send(vec![7; 100_000]).len() < 1_000);
        assert!(send(vec![7; 100_000]).len() < 1_000);
    }

    #[test]
    fn what_is_stored_has_any_length_and_place() {
        // Around the encoder's limits and the decoder's window, 32 KiB.
        for length in [LONG + 1, 32_760, 65_530, 65_531, 131_060, 131_066, 262_144] {
            let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
            for step in 0..STORED as usize {
                let frames = vec![Frame::Message(noise(step as u64, length + step % 9))];
                let block = packer.pack(&frames);
                let read = unpacker.unpack(&block[4..]);
                assert_eq!(read.unwrap(), frames, "{length} {step}");
            }
        }
    }

    #[test]
    fn a_block_ends_with_its_flush_however_long_it_gets() {
        // Where the encoder begins its second part, it left the flush out if the first had filled the output.
        for length in (31_700..32_800).step_by(7) {
            let frames = vec![Frame::Message(noise(698, length))];
            let block = Packer::default().pack(&frames);
            let read = Unpacker::default().unpack(&block[4..]);
            assert_eq!(read.unwrap(), frames, "{length}");
        }
    }

    fn noise(mut seed: u64, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        })
        .take(length)
        .collect()
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Unpacker::default().unpack(&bytes);
        }
    }
}

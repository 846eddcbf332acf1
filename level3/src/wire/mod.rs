//! What master and nodes say to each other, over TCP or unix sockets.
//!
//! A message is a frame: length of the payload (4 bytes, little-endian), kind (1 byte), payload.
//! A connection carries one request at a time and is kept for the next. `DESIGN.md` has the
//! table of kinds. Nodes speak it on threads (`std`), the master on tokio; this module holds what
//! both need: kinds, payloads, limits and addresses.

mod endpoint;
mod messages;

use std::io::{self, Read, Write};

pub use endpoint::{Endpoint, EndpointError, Listener, Stream};
pub use messages::{
    BrowseRequest, CommitRequest, ForgetRequest, IndexingStatus, NodeStatus, Refusal, ShardState,
    ShardStatus, UpdateRequest, decode_entries, decode_error, decode_list, decode_query,
    decode_search, encode_entries, encode_error, encode_list, encode_query, encode_search,
};

/// Bytes in front of a payload.
pub const HEADER_BYTES: usize = 5;

/// The largest payload that is accepted, in bytes. Bounds what a confused peer can make us hold.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Asks for a [`NodeStatus`].
    Status = 1,
    /// Asks a shard for the lines with a needle: `Items` frames and one `Last`.
    Query = 2,
    /// A [`search::Request`](crate::search::Request) and its shard, answered by one `Last` with a
    /// [`search::Answer`](crate::search::Answer).
    Search = 3,
    /// An [`UpdateRequest`], followed by `Entries`, of which an empty one is the last; answered by
    /// `Last` when the state is prepared.
    Update = 4,
    /// Asks for the files of a shard: `Entries` frames, of which an empty one is the last.
    List = 5,
    /// Part of a list of files.
    Entries = 6,
    /// Like `Search`, answered by one `Last` with how many lines match in which files.
    Count = 7,
    /// A [`CommitRequest`]: makes a prepared state the committed one; answered by `Last`.
    Commit = 8,
    /// Like `Search`, answered by one `Last` with how many lines match in which folders.
    Tally = 9,
    /// Asks for the text of a file, by a [`BrowseRequest`]: one `Last`, with a byte 1 in front of the
    /// text, or empty if the shard has no such file.
    File = 10,
    /// Asks for what is in a folder, by a [`BrowseRequest`]: one `Last`.
    Folder = 11,
    /// A [`ForgetRequest`]: removes a root; answered by `Last`.
    Forget = 12,
    /// Part of an answer, with more to come.
    Items = 0x81,
    /// The last part of an answer.
    Last = 0x82,
    /// The request failed: a [`Refusal`] and a message for people.
    Error = 0x83,
}

impl Kind {
    /// The kind with this code.
    pub fn of(code: u8) -> Option<Self> {
        use Kind::{
            Commit, Count, Entries, Error, File, Folder, Forget, Items, Last, List, Query, Search,
            Status, Tally, Update,
        };
        [
            Status, Query, Search, Update, List, Entries, Count, Commit, Tally, File, Folder,
            Forget, Items, Last, Error,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

impl Kind {
    /// The kind of the frame that ends a good answer to a request of this kind.
    #[must_use]
    pub fn last(self) -> Self {
        if self == Self::List {
            Self::Entries
        } else {
            Self::Last
        }
    }
}

/// Kind and payload length in a frame's header.
pub fn parse_header(header: [u8; HEADER_BYTES]) -> io::Result<(Kind, usize)> {
    let [a, b, c, d, code] = header;
    let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
    match Kind::of(code) {
        Some(kind) if bytes <= MAX_PAYLOAD_BYTES => Ok((kind, bytes)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a frame of level3",
        )),
    }
}

/// The header of a frame.
pub fn header(kind: Kind, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = (payload_bytes as u32).to_le_bytes();
    [a, b, c, d, kind as u8]
}

/// A whole frame.
pub fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    frame.extend(header(kind, payload.len()));
    frame.extend_from_slice(payload);
    frame
}

/// Writes a frame, a small one in one piece.
pub fn write_frame(stream: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    const ONE_PIECE_BYTES: usize = 16 << 10;
    if payload.len() <= ONE_PIECE_BYTES {
        return stream.write_all(&frame(kind, payload));
    }
    stream.write_all(&header(kind, payload.len()))?;
    stream.write_all(payload)
}

/// Reads a frame; `None` if the peer has closed the connection between frames.
pub fn read_frame(stream: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut start = [0; HEADER_BYTES];
    let mut have = 0;
    while have < HEADER_BYTES {
        match stream.read(&mut start[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (kind, bytes) = parse_header(start)?;
    let mut payload = Vec::new();
    // Through `take`, so that memory grows with what arrives rather than with what is announced.
    stream.take(bytes as u64).read_to_end(&mut payload)?;
    if payload.len() < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((kind, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_in_either_size() {
        for bytes in [0, 10, 100_000] {
            let payload = vec![7; bytes];
            let mut pipe = Vec::new();
            write_frame(&mut pipe, Kind::Items, &payload).unwrap();
            let mut reader = pipe.as_slice();
            assert_eq!(
                read_frame(&mut reader).unwrap(),
                Some((Kind::Items, payload))
            );
            assert_eq!(read_frame(&mut reader).unwrap(), None);
        }
    }

    #[test]
    fn foreign_and_cut_frames_are_errors() {
        assert!(read_frame(&mut &b"GET / HTTP/1.1\r\n"[..]).is_err());
        assert!(read_frame(&mut &b"\x05\0\0"[..]).is_err());
        assert!(read_frame(&mut &b"\x05\0\0\0\x81abc"[..]).is_err());
        assert!(read_frame(&mut &b"\xff\xff\xff\xff\x81abc"[..]).is_err());
    }
}

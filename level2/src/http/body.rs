//! Bodies: how long they are, how they are taken apart and put together again (RFC 9112, 6 and 7).

use super::trailers::{self, Passing};

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Empty,
    /// So many bytes.
    Sized(u64),
    /// Chunks, the last of size 0.
    Chunked,
    /// Everything until the connection is closed (responses only).
    UntilClose,
}

/// A body that cannot be what it says: bad chunk, or an end too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody;

/// A stretch of input: first `skip` bytes of framing, then `data` bytes of content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of framing in front, to be dropped.
    pub skip: usize,
    /// Bytes of content after them.
    pub data: usize,
    /// How many of the skipped bytes, the last ones, are of the fields after a body in chunks and of the
    /// empty line after those.
    pub trailers: usize,
}

/// Longest run of framing between two stretches of content (a chunk's extensions, or all trailers).
const LONGEST_FRAMING: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of content to come.
    Content(u64),
    /// All that comes is content.
    Endless,
    /// In the digits of a chunk's size; before the first, `started` is false.
    Size {
        started: bool,
        size: u64,
    },
    /// In the blanks after them.
    Padding {
        size: u64,
    },
    /// In a chunk's extension; its line ends soon.
    Extension {
        size: u64,
    },
    /// After the CR of a size line.
    SizeEnd {
        size: u64,
    },
    /// In a chunk's content.
    Chunk(u64),
    /// After a chunk's content: CR, LF.
    ChunkCr,
    ChunkLf,
    /// At the start of a trailer line, within one, after its CR, after the CR of the last line.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

impl State {
    /// Before a chunk's size.
    const SIZE: Self = Self::Size {
        started: false,
        size: 0,
    };
}

/// Takes a body apart as it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of framing since the last content.
    framing: usize,
    /// Bytes of content so far.
    content: u64,
    /// Whether a chunk's size may be padded with blanks up to its line's end.
    lenient: bool,
}

impl Decoder {
    /// A decoder for an answer's body: as [`new`](Self::new), but blanks after a chunk's size, which
    /// some old servers write, are passed over. The body is framed afresh, so nobody is misled.
    pub fn lenient(framing: Framing) -> Self {
        Self {
            lenient: true,
            ..Self::new(framing)
        }
    }

    /// A decoder for a body delimited like this.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Sized(0) => State::Done,
            Framing::Sized(length) => State::Content(length),
            Framing::Chunked => State::SIZE,
            Framing::UntilClose => State::Endless,
        };
        Self {
            state,
            framing: 0,
            content: 0,
            lenient: false,
        }
    }

    /// Whether the body is complete.
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of content so far.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// The connection ended: is the body whole?
    pub fn end_of_input(&mut self) -> Result<(), BadBody> {
        match self.state {
            State::Done => Ok(()),
            State::Endless => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BadBody),
        }
    }

    /// The next stretch of `input`, which it counts as used. A stretch of nothing: more is needed,
    /// or the body is done.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, BadBody> {
        let (mut skip, mut trailers) = (0, 0);
        while skip < input.len() {
            let here = &input[skip..];
            match &mut self.state {
                State::Done => break,
                State::Endless => {
                    self.content += here.len() as u64;
                    return Ok(Piece {
                        skip,
                        data: here.len(),
                        trailers,
                    });
                }
                State::Content(left) | State::Chunk(left) => {
                    let data = usize::try_from(*left).unwrap_or(usize::MAX).min(here.len());
                    *left -= data as u64;
                    self.content += data as u64;
                    self.framing = 0;
                    match self.state {
                        State::Content(0) => self.state = State::Done,
                        State::Chunk(0) => self.state = State::ChunkCr,
                        _ => {}
                    }
                    return Ok(Piece {
                        skip,
                        data,
                        trailers,
                    });
                }
                state => {
                    trailers += usize::from(matches!(
                        state,
                        State::TrailerStart | State::Trailer | State::TrailerLf | State::LastLf
                    ));
                    self.state = framing_byte(self.state, here[0], self.lenient)?;
                    skip += 1;
                    self.framing += 1;
                    if self.framing > LONGEST_FRAMING {
                        return Err(BadBody);
                    }
                }
            }
        }
        Ok(Piece {
            skip,
            data: 0,
            trailers,
        })
    }
}

/// One step through the lines around the chunks. Line ends are CRLF, strictly.
#[expect(
    clippy::match_same_arms,
    clippy::unnested_or_patterns,
    reason = "one line per transition"
)]
fn framing_byte(state: State, byte: u8, lenient: bool) -> Result<State, BadBody> {
    Ok(match (state, byte) {
        (State::Size { size, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if size >> 60 == 0 => {
            let digit = char::from(byte).to_digit(16).ok_or(BadBody)?;
            State::Size {
                started: true,
                size: size << 4 | u64::from(digit),
            }
        }
        (
            State::Size {
                started: true,
                size,
            },
            b'\r',
        )
        | (State::Extension { size }, b'\r') => State::SizeEnd { size },
        (State::Padding { size }, b'\r') if lenient => State::SizeEnd { size },
        (
            State::Size {
                started: true,
                size,
            }
            | State::Padding { size },
            b' ' | b'\t',
        ) => State::Padding { size },
        (
            State::Size {
                started: true,
                size,
            }
            | State::Padding { size },
            b';',
        ) => State::Extension { size },
        (State::Extension { size }, b' '..=b'~' | b'\t' | 0x80..) => State::Extension { size },
        (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
        (State::SizeEnd { size }, b'\n') => State::Chunk(size),
        (State::ChunkCr, b'\r') => State::ChunkLf,
        (State::ChunkLf, b'\n') => State::SIZE,
        (State::TrailerStart, b'\r') => State::LastLf,
        (State::LastLf, b'\n') => State::Done,
        (State::Trailer, b'\r') => State::TrailerLf,
        (State::TrailerLf, b'\n') => State::TrailerStart,
        (State::TrailerStart | State::Trailer, b' '..=b'~' | b'\t' | 0x80..) => State::Trailer,
        _ => return Err(BadBody),
    })
}

/// Puts a body together again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// As it is: its length was announced, or the close of the connection ends it.
    Plain,
    /// In chunks.
    Chunked,
}

impl Encoder {
    /// Appends content.
    pub fn push(self, out: &mut Vec<u8>, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        match self {
            Self::Plain => out.extend_from_slice(data),
            Self::Chunked => {
                push_hex(out, data.len());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends what marks the end, with those fields of a section after the body that may pass.
    pub fn finish(self, section: &[u8], passing: Passing<'_>, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n");
            trailers::push(section, passing, out);
        }
    }
}

fn push_hex(out: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[number >> (4 * digit) & 15]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes input that arrives in pieces of the given sizes; returns content and bytes left over.
    fn decode(framing: Framing, input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize), BadBody> {
        let mut decoder = Decoder::new(framing);
        let (mut content, mut used, mut seen) = (Vec::new(), 0, 0);
        let mut cuts = cuts.iter().copied().chain(std::iter::once(usize::MAX));
        while seen < input.len() {
            seen = seen
                .saturating_add(cuts.next().unwrap_or(usize::MAX).max(1))
                .min(input.len());
            loop {
                let piece = decoder.next(&input[used..seen])?;
                content
                    .extend_from_slice(&input[used + piece.skip..used + piece.skip + piece.data]);
                used += piece.skip + piece.data;
                if piece == Piece::default() {
                    break;
                }
            }
        }
        decoder.end_of_input()?;
        Ok((content, input.len() - used))
    }

    proptest! {
        #[test]
        fn chunks_survive_any_cut(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            cuts in prop::collection::vec(1usize..40, 0..200),
        ) {
            let mut wire = Vec::new();
            for part in &parts {
                Encoder::Chunked.push(&mut wire, part);
            }
            Encoder::Chunked.finish(b"", Passing::All, &mut wire);
            wire.extend_from_slice(b"GET next");
            let (content, left) = decode(Framing::Chunked, &wire, &cuts).unwrap();
            prop_assert_eq!(content, parts.concat());
            prop_assert_eq!(left, 8);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(Framing::Chunked, &noise, &[1, 2, 3]);
        }
    }

    #[test]
    fn extensions_and_trailers_are_dropped() {
        let wire = b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\nrest";
        assert_eq!(
            decode(Framing::Chunked, wire, &[]),
            Ok((b"abc".to_vec(), 4))
        );
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let bad: [&[u8]; 10] = [
            b"\r\n",
            b"x\r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"-1\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"fffffffffffffffff\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3;\x00\r\nabc\r\n0\r\n\r\n",
        ];
        for wire in bad {
            assert_eq!(
                decode(Framing::Chunked, wire, &[]),
                Err(BadBody),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn trailers_are_told_from_what_frames_the_chunks() {
        let mut decoder = Decoder::new(Framing::Chunked);
        let wire = b"3\r\nabc\r\n0\r\nA: b\r\n\r\n";
        let (mut rest, mut trailers) = (&wire[..], Vec::new());
        while !decoder.done() {
            // However it is cut.
            let piece = decoder.next(&rest[..rest.len().min(2)]).unwrap();
            trailers.extend_from_slice(&rest[piece.skip - piece.trailers..piece.skip]);
            rest = &rest[piece.skip + piece.data..];
        }
        assert_eq!(trailers, b"A: b\r\n\r\n");
    }

    #[test]
    fn sizes_may_have_zeros_in_front_and_blanks_before_an_extension() {
        for wire in [
            &b"0000000000000003\r\nabc\r\n0\r\n\r\n"[..],
            b"3 ;x\r\nabc\r\n0\r\n\r\n",
        ] {
            assert_eq!(
                decode(Framing::Chunked, wire, &[]),
                Ok((b"abc".to_vec(), 0))
            );
        }
        let wire = b"3  \r\nabc\r\n0 \r\n\r\n";
        let mut decoder = Decoder::lenient(Framing::Chunked);
        let piece = decoder.next(wire).unwrap();
        assert_eq!((piece.skip, piece.data, piece.trailers), (5, 3, 0));
        let end = decoder.next(&wire[8..]).unwrap();
        assert!(decoder.done());
        assert_eq!(end.trailers, b"\r\n".len());
    }

    #[test]
    fn an_early_end_is_noticed() {
        assert_eq!(decode(Framing::Sized(4), b"abc", &[]), Err(BadBody));
        assert_eq!(decode(Framing::Chunked, b"3\r\nabc\r\n", &[]), Err(BadBody));
        assert_eq!(
            decode(Framing::UntilClose, b"abc", &[]),
            Ok((b"abc".to_vec(), 0))
        );
        assert_eq!(
            decode(Framing::Sized(2), b"abc", &[]),
            Ok((b"ab".to_vec(), 1))
        );
    }

    #[test]
    fn endless_framing_is_refused() {
        let mut wire = b"1;".to_vec();
        wire.resize(LONGEST_FRAMING + 10, b'x');
        assert_eq!(decode(Framing::Chunked, &wire, &[]), Err(BadBody));
    }
}

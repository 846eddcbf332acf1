//! Varint reader and writer: the byte-level vocabulary of log records, snapshots and peer messages.
//!
//! Integers are little-endian base-128 varints (as in protobuf), byte strings carry their length in
//! front. Reading never panics and never allocates more than the input holds, so that input from a
//! peer or a damaged file is answered with [`Malformed`].

use bytes::Bytes;

/// The bytes do not follow the format; `at` is the offset where reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed data at byte {at}")]
pub struct Malformed {
    /// Offset from the start of the buffer, in bytes.
    pub at: usize,
}

/// Appends values to a growing buffer.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.buffer.push(value);
    }

    /// An unsigned integer as a varint (1 to 10 bytes).
    pub fn uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// Length and bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.uint(value.len() as u64);
        self.buffer.extend_from_slice(value);
    }

    /// Bytes without a length, for the last field of a record.
    pub fn raw(&mut self, value: &[u8]) {
        self.buffer.extend_from_slice(value);
    }

    /// The finished buffer.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// Takes values from the front of a buffer.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `buffer`.
    pub fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.at == self.buffer.len()
    }

    /// Everything that has not been read yet.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.buffer[self.at..];
        self.at = self.buffer.len();
        rest
    }

    fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let value = *self.buffer.get(self.at).ok_or(self.malformed())?;
        self.at += 1;
        Ok(value)
    }

    /// A varint.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.malformed());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }

    /// A varint that has to fit `usize` and be at most `limit`.
    pub fn length(&mut self, limit: usize) -> Result<usize, Malformed> {
        let value = self.uint()?;
        usize::try_from(value)
            .ok()
            .filter(|&n| n <= limit)
            .ok_or(self.malformed())
    }

    /// Length and bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length(self.buffer.len() - self.at)?;
        let end = self.at + length;
        let value = self.buffer.get(self.at..end).ok_or(self.malformed())?;
        self.at = end;
        Ok(value)
    }

    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let value = rest.first_chunk().ok_or(self.malformed())?;
        self.at += N;
        Ok(*value)
    }

    /// Length and bytes, copied into a shared buffer.
    pub fn shared(&mut self) -> Result<Bytes, Malformed> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    /// Length and UTF-8 text.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let at = self.malformed();
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(numbers in prop::collection::vec(any::<u64>(), 0..20), text: String) {
            let mut writer = Writer::new();
            for &n in &numbers {
                writer.uint(n);
            }
            writer.bytes(text.as_bytes());
            let buffer = writer.finish();
            let mut reader = Reader::new(&buffer);
            for &n in &numbers {
                prop_assert_eq!(reader.uint().unwrap(), n);
            }
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(buffer in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&buffer);
            while !reader.is_empty() {
                if reader.uint().and_then(|_| reader.shared()).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_malformed() {
        assert_eq!(Reader::new(&[200, 1, 0]).bytes(), Err(Malformed { at: 2 }));
        assert!(Reader::new(&[0xff; 11]).uint().is_err());
    }
}

//! Reads a dictionary line by line, in bounded memory.

use crate::simd::{BLOCK, occurrences};
use std::io::{self, ErrorKind, Read};

/// A line limit that no line passes.
pub(crate) const UNLIMITED: usize = usize::MAX;

/// Bytes read at once: few enough to stay in the second-level cache until they have been looked at.
const READ_BYTES: usize = 64 * 1024;

/// Calls `take` with each line of at most `limit` bytes; longer ones are skipped and not kept.
///
/// What follows the last newline is a line too, if it is not empty.
pub(crate) fn for_each_line(
    mut source: impl Read,
    limit: usize,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    // The beginning of a line whose end has not been read, or more than `limit` bytes of it.
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let filled = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(filled) => filled,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..filled];
        if !begun.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n');
            extend_bounded(&mut begun, &rest[..end.unwrap_or(filled)], limit);
            let Some(end) = end else { continue };
            if begun.len() <= limit {
                take(&begun);
            }
            begun.clear();
            rest = &rest[end + 1..];
        }
        let end = for_each_whole_line(rest, |line| {
            if line.len() <= limit {
                take(line);
            }
        });
        extend_bounded(&mut begun, &rest[end..], limit);
    }
    if !begun.is_empty() && begun.len() <= limit {
        take(&begun);
    }
    Ok(())
}

/// Appends, but stops one byte beyond `limit`: that the line is too long is all there is to know.
fn extend_bounded(begun: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let room = limit.saturating_add(1).saturating_sub(begun.len());
    begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Calls `take` with each line that ends in `text`, and says where the last one's newline ends.
fn for_each_whole_line(text: &[u8], mut take: impl FnMut(&[u8])) -> usize {
    let mut start = 0;
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut base = 0;
    for block in blocks {
        let mut bits = occurrences(block, b'\n');
        while bits != 0 {
            let end = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            take(&text[start..end]);
            start = end + 1;
        }
        base += BLOCK;
    }
    for (offset, _) in rest.iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
        take(&text[start..base + offset]);
        start = base + offset + 1;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::{UNLIMITED, for_each_line};
    use proptest::prelude::*;
    use std::io::{self, Read};

    /// Gives out its text in pieces of the given sizes, then the rest at once.
    struct Trickle<'a>(&'a [u8], Vec<usize>);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self
                .1
                .pop()
                .unwrap_or(usize::MAX)
                .min(self.0.len())
                .min(buffer.len());
            buffer[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_plain_split(
            text in "[ab\n]{0,300}",
            sizes in prop::collection::vec(1_usize..80, 0..8),
            limit in prop_oneof![0_usize..10, Just(UNLIMITED)],
        ) {
            let mut lines = Vec::new();
            for_each_line(Trickle(text.as_bytes(), sizes), limit, |line| lines.push(line.to_vec()))?;
            let mut expected: Vec<Vec<u8>> =
                text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            // `split` gives one more, empty, line behind a final newline.
            expected.pop_if(|last| last.is_empty());
            expected.retain(|line| line.len() <= limit);
            prop_assert_eq!(lines, expected);
        }
    }
}

//! A file in memory, of which a copy costs next to nothing: what the copies share is copied when one of
//! them changes it.
//!
//! The writer's database file is one; readers, backups and snapshots each have a copy as of one moment,
//! so that none of them waits for another.

use std::sync::Arc;

/// Bytes of a block, the unit of copying: a page, usually.
const BLOCK: usize = 4096;
/// Blocks of a group.
const GROUP: usize = 256;

type Block = [u8; BLOCK];

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub struct Image {
    groups: Vec<Arc<Vec<Arc<Block>>>>,
    length: usize,
}

impl Image {
    /// A file with this content.
    pub fn new(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        image.write(0, bytes);
        image
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills `buffer` from `offset` on, with zeros beyond the end; gives how many bytes were there.
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let there = self.length.saturating_sub(offset).min(buffer.len());
        let (content, beyond) = buffer.split_at_mut(there);
        let mut at = offset;
        let mut rest = content;
        while !rest.is_empty() {
            let within = at % BLOCK;
            let length = rest.len().min(BLOCK - within);
            let (part, after) = rest.split_at_mut(length);
            let block = &self.groups[at / BLOCK / GROUP][at / BLOCK % GROUP];
            part.copy_from_slice(&block[within..within + length]);
            rest = after;
            at += length;
        }
        beyond.fill(0);
        there
    }

    /// Writes `bytes` at `offset`; a gap before it is zeros.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(offset + bytes.len());
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % BLOCK;
            let length = rest.len().min(BLOCK - within);
            let (part, after) = rest.split_at(length);
            let group = Arc::make_mut(&mut self.groups[at / BLOCK / GROUP]);
            let block = Arc::make_mut(&mut group[at / BLOCK % GROUP]);
            block[within..within + length].copy_from_slice(part);
            rest = after;
            at += length;
        }
    }

    fn grow(&mut self, length: usize) {
        if length <= self.length {
            return;
        }
        let blocks = length.div_ceil(BLOCK);
        let mut have = self.length.div_ceil(BLOCK);
        while have < blocks {
            if have.is_multiple_of(GROUP) {
                self.groups.push(Arc::default());
            }
            let group = Arc::make_mut(&mut self.groups[have / GROUP]);
            let more = (blocks - have).min(GROUP - have % GROUP);
            group.extend(std::iter::repeat_with(|| Arc::new([0; BLOCK])).take(more));
            have += more;
        }
        self.length = length;
    }

    /// Cuts the file off at `length`, if it is longer.
    pub fn truncate(&mut self, length: usize) {
        if length >= self.length {
            return;
        }
        let blocks = length.div_ceil(BLOCK);
        self.groups.truncate(blocks.div_ceil(GROUP));
        if let Some(group) = self.groups.last_mut()
            && !blocks.is_multiple_of(GROUP)
        {
            Arc::make_mut(group).truncate(blocks % GROUP);
        }
        // What is behind the end of the last block is zeros again when the file grows.
        let within = length % BLOCK;
        self.length = length;
        if within > 0 {
            let group = Arc::make_mut(&mut self.groups[length / BLOCK / GROUP]);
            Arc::make_mut(&mut group[length / BLOCK % GROUP])[within..].fill(0);
        }
    }

    /// All of it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length);
        self.append_to(&mut bytes);
        bytes
    }

    /// Appends all of it.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        let blocks = self.groups.iter().flat_map(|group| group.iter());
        for (block, start) in blocks.zip((0..self.length).step_by(BLOCK)) {
            bytes.extend_from_slice(&block[..BLOCK.min(self.length - start)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a plain vector; a copy made at some point must not change.
        #[test]
        fn a_file_is_what_was_written(
            steps in prop::collection::vec(
                (0..3u8, 0..1_300_000usize, prop::collection::vec(any::<u8>(), 0..9000)), 1..8),
            copied_at in 0..8usize,
        ) {
            let (mut image, mut plain) = (Image::default(), Vec::new());
            let mut copy = (image.clone(), plain.clone());
            for (number, (kind, offset, bytes)) in steps.into_iter().enumerate() {
                if number == copied_at {
                    copy = (image.clone(), plain.clone());
                }
                if kind == 0 {
                    image.truncate(offset);
                    plain.truncate(offset);
                } else if !bytes.is_empty() {
                    image.write(offset, &bytes);
                    plain.resize(plain.len().max(offset + bytes.len()), 0);
                    plain[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                prop_assert_eq!(image.len(), plain.len());
                let mut buffer = vec![7; 100];
                let there = image.read(offset, &mut buffer);
                prop_assert_eq!(there, plain.len().saturating_sub(offset).min(100));
            }
            prop_assert!(image.to_vec() == plain);
            prop_assert!(copy.0.to_vec() == copy.1);
        }
    }
}

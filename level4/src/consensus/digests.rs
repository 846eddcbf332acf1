//! What nodes tell one another about the entries that they applied: links of a chain of digests.

use crate::codec::{Malformed, Reader, Writer};
use crate::ids::Index;

/// Values before a difference that are told to find where it began, at most.
pub const DETAIL: u64 = 1_024;

/// Which chain a value belongs to: only values of one chain can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// Names what executes the entries, and its version.
    pub engine: u64,
    /// The index that the chain began after.
    pub since: Index,
}

/// The chain's value after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Which chain.
    pub chain: Chain,
    /// The entry.
    pub index: Index,
    /// The digest of everything up to it.
    pub value: u64,
}

/// What nodes tell one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// The values are of the content at the index, rather than of a chain.
    pub content: bool,
    /// Everybody is asked to tell the same.
    pub question: bool,
    /// Of the values.
    pub chain: Chain,
    /// Of the first value.
    pub first: Index,
    /// Of `first` and the entries after it.
    pub values: Vec<u64>,
}

impl Digests {
    /// Appends the message.
    pub fn encode(&self, writer: &mut Writer) {
        writer.byte(u8::from(self.content) | u8::from(self.question) << 1);
        writer.uint(self.chain.engine);
        writer.uint(self.chain.since.get());
        writer.uint(self.first.get());
        for value in &self.values {
            writer.raw(&value.to_le_bytes());
        }
    }

    /// Reads what [`Digests::encode`] wrote, which is the rest of the message.
    ///
    /// # Errors
    ///
    /// If it is not in the format.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let flags = reader.byte()?;
        let chain = Chain {
            engine: reader.uint()?,
            since: Index::new(reader.uint()?),
        };
        let first = Index::new(reader.uint()?);
        let (values, rest) = reader.rest().as_chunks::<8>();
        if !rest.is_empty() || values.len() as u64 > DETAIL {
            return Err(Malformed { at: 0 });
        }
        Ok(Self {
            content: flags & 1 != 0,
            question: flags & 2 != 0,
            chain,
            first,
            values: values.iter().copied().map(u64::from_le_bytes).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digests_survive_the_wire_and_garbage_is_refused(
            content: bool, question: bool, engine: u64, since: u64, first: u64,
            values in prop::collection::vec(any::<u64>(), 0..20), garbage: Vec<u8>,
        ) {
            let chain = Chain { engine, since: Index::new(since) };
            let digests = Digests { content, question, chain, first: Index::new(first), values };
            let mut writer = Writer::new();
            digests.encode(&mut writer);
            let bytes = writer.finish();
            prop_assert_eq!(Digests::decode(&mut Reader::new(&bytes)).unwrap(), digests);
            let _ = Digests::decode(&mut Reader::new(&garbage));
        }
    }
}

//! Linearizable reads without a log entry (ReadIndex): asked of the leader in groups, then waiting
//! until everything up to the index it named is applied here.
//!
//! Raft drops the question without a word when there is no leader or when a new leader has committed
//! nothing yet, so a timer asks again.

use std::collections::BTreeMap;

use super::gateway::Token;
use crate::message::Index;

/// Reads by how far they have got.
#[derive(Debug, Default)]
pub struct Reads {
    next_group: u64,
    fresh: Vec<Token>,
    /// By group: the tick of the question, and who waits.
    asked: BTreeMap<u64, (u64, Vec<Token>)>,
    confirmed: Vec<(Index, Vec<Token>)>,
}

impl Reads {
    /// A client wants to read.
    pub fn take(&mut self, token: Token) {
        self.fresh.push(token);
    }

    /// The context of the next question to Raft, if there is anything to ask.
    pub fn ask(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.fresh.is_empty() {
            return None;
        }
        let group = self.next_group;
        self.next_group += 1;
        self.asked
            .insert(group, (now, std::mem::take(&mut self.fresh)));
        Some(group.to_le_bytes().to_vec())
    }

    /// Asks again for groups asked before tick `before`.
    pub fn retry(&mut self, before: u64) {
        for (_, (_, mut tokens)) in self.asked.extract_if(.., |_, (asked, _)| *asked < before) {
            self.fresh.append(&mut tokens);
        }
    }

    /// The leader changed: what an old one confirmed may name entries that will never be committed.
    pub fn restart(&mut self) {
        let asked = std::mem::take(&mut self.asked)
            .into_values()
            .map(|(_, tokens)| tokens);
        let confirmed = std::mem::take(&mut self.confirmed)
            .into_iter()
            .map(|(_, tokens)| tokens);
        self.fresh.extend(asked.chain(confirmed).flatten());
    }

    /// Raft's answer: a read with this context has to see everything up to `index`, and up to the
    /// index that the leader put behind the context.
    pub fn confirm(&mut self, context: &[u8], index: Index) {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
        let (group, floor) = context.split_at(context.len().min(8));
        let Some(group) = number(group) else { return };
        if let Some((_, tokens)) = self.asked.remove(&group) {
            self.confirmed
                .push((index.max(number(floor).unwrap_or(0)), tokens));
        }
    }

    /// The reads that may be executed on a state in which `applied` is applied.
    pub fn release(&mut self, applied: Index) -> Vec<Token> {
        let ready = self
            .confirmed
            .extract_if(.., |(index, _)| *index <= applied);
        ready.flat_map(|(_, tokens)| tokens).collect()
    }
}

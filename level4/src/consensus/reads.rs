//! Linearizable reads without a log entry (ReadIndex): asked of the leader in groups, then waiting
//! until everything up to the index it named is applied here.
//!
//! Raft drops the question without a word when there is no leader or when a new leader has committed
//! nothing yet, so a timer asks again.

use std::collections::BTreeMap;

use super::gateway::Token;
use crate::ids::{Incarnation, Index, NodeId};

/// Reads by how far they have got.
#[derive(Debug)]
pub struct Reads {
    /// Who asks, in which of its lives: Raft tells questions apart by their contexts alone, so no two
    /// nodes may ever give the same, or answers to one would confirm the other.
    asker: (NodeId, Incarnation),
    next_group: u64,
    fresh: Vec<Token>,
    /// By group: the tick of the question, and who waits.
    asked: BTreeMap<u64, (u64, Vec<Token>)>,
    confirmed: Vec<(Index, Vec<Token>)>,
}

/// Length of a context as asked: three integers.
const CONTEXT: usize = 24;

impl Reads {
    /// Nothing has been asked in this life of the node yet.
    pub fn new(node: NodeId, incarnation: Incarnation) -> Self {
        Self {
            asker: (node, incarnation),
            next_group: 0,
            fresh: Vec::new(),
            asked: BTreeMap::new(),
            confirmed: Vec::new(),
        }
    }

    fn context(&self, group: u64) -> Vec<u8> {
        let (node, incarnation) = self.asker;
        [node.get(), incarnation.get(), group]
            .map(u64::to_le_bytes)
            .concat()
    }

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
        Some(self.context(group))
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

    /// Gives all waiting clients up.
    pub fn give_up(&mut self) -> Vec<Token> {
        self.restart();
        std::mem::take(&mut self.fresh)
    }

    /// Raft's answer: a read with this context has to see everything up to `index`, and up to the
    /// index that the leader put behind the context.
    pub fn confirm(&mut self, context: &[u8], index: Index) {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
        let (question, floor) = context.split_at(context.len().min(CONTEXT));
        let Some(group) = question.get(16..).and_then(number) else {
            return;
        };
        if question != self.context(group) {
            return;
        }
        if let Some((_, tokens)) = self.asked.remove(&group) {
            let floor = number(floor).map_or(Index::START, Index::new);
            self.confirmed.push((index.max(floor), tokens));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_question_is_confirmed() {
        let mut reads = Reads::new(NodeId::new(7), Incarnation::new(2));
        reads.take(1);
        let context = reads.ask(0).unwrap();
        for (node, incarnation) in [(8, 2), (7, 1)] {
            let mut other = Reads::new(NodeId::new(node), Incarnation::new(incarnation));
            other.take(1);
            let foreign = other.ask(0).unwrap();
            assert_ne!(foreign, context);
            reads.confirm(&foreign, Index::new(5));
        }
        assert!(reads.release(Index::new(100)).is_empty());
        // The leader puts the end of its log behind the question.
        reads.confirm(&[&context[..], &9u64.to_le_bytes()].concat(), Index::new(5));
        assert!(reads.release(Index::new(8)).is_empty());
        assert_eq!(reads.release(Index::new(9)), [1]);
    }
}

//! Commit by overheard acknowledgements.
//!
//! Every follower tells everybody, not only the leader, which entries of the leader's log are on its
//! disk. Whoever hears of a quorum knows the entry to be committed, by the same rule as the leader,
//! and one network hop earlier than the leader could tell it.
//!
//! Why it is safe: an acknowledgement (T, i) says that the sender's durable log equals that of the
//! leader of term T up to entry i. If a quorum says so and entry i is of term T, the leader of T may
//! commit i, whether it knows it or not. A node that itself has an entry of term T at index j ≤ i
//! shares the leader's log up to j, so its own prefix is committed. A node that has configuration
//! changes it has not applied yet (even if they came just now) does not know the quorum, and waits
//! for the leader's word.

use std::collections::{HashMap, HashSet};

use crate::ids::{Index, NodeId, Term};

/// The acknowledgements heard in the newest term.
#[derive(Debug, Default)]
pub struct Acks {
    term: Term,
    durable: HashMap<NodeId, Index>,
}

impl Acks {
    /// Notes that `node` holds the log of `term`'s leader up to `index`. Older terms are ignored.
    pub fn note(&mut self, node: NodeId, term: Term, index: Index) {
        if term > self.term {
            self.term = term;
            self.durable.clear();
        }
        if term == self.term {
            let known = self.durable.entry(node).or_default();
            *known = index.max(*known);
        }
    }

    /// The highest index that a quorum holds in `term`.
    pub fn committed(
        &self,
        term: Term,
        has_quorum: impl Fn(&HashSet<NodeId>) -> bool,
    ) -> Option<Index> {
        if term != self.term {
            return None;
        }
        let mut indexes: Vec<Index> = self.durable.values().copied().collect();
        indexes.sort_unstable_by(|a, b| b.cmp(a));
        indexes.dedup();
        indexes.into_iter().find(|&index| {
            let holders = self
                .durable
                .iter()
                .filter(|&(_, &i)| i >= index)
                .map(|(&n, _)| n);
            has_quorum(&holders.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Term = Term::new(5);
    const LATER: Term = Term::new(6);

    fn majority_of_three(nodes: &HashSet<NodeId>) -> bool {
        nodes.len() >= 2
    }

    fn note(acks: &mut Acks, node: u64, term: Term, index: u64) {
        acks.note(NodeId::new(node), term, Index::new(index));
    }

    fn committed(acks: &Acks, term: Term) -> Option<u64> {
        acks.committed(term, majority_of_three).map(Index::get)
    }

    #[test]
    fn a_quorum_in_the_same_term_commits() {
        let mut acks = Acks::default();
        note(&mut acks, 1, TERM, 10);
        assert_eq!(committed(&acks, TERM), None);
        note(&mut acks, 2, TERM, 8);
        assert_eq!(committed(&acks, TERM), Some(8));
        note(&mut acks, 3, TERM, 12);
        assert_eq!(committed(&acks, TERM), Some(10));
    }

    #[test]
    fn acknowledgements_of_another_term_do_not_count() {
        let mut acks = Acks::default();
        note(&mut acks, 1, TERM, 10);
        note(&mut acks, 2, LATER, 10);
        note(&mut acks, 3, TERM, 10);
        assert_eq!(committed(&acks, TERM), None);
        assert_eq!(committed(&acks, LATER), None);
    }
}

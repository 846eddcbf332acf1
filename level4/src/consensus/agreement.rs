//! Whether the replicas agree: digests of what was applied, compared by everybody with everybody.
//!
//! Every applied entry adds its answers and change counts to a chain; now and then each node tells all
//! others the chain's value at an index that they all come by, and at the snapshots' indexes a digest of
//! the whole content as well. Whose value is not that of a majority has parted from the others: it stops
//! answering, and is rebuilt. Where values differ and no majority has the same, nobody answers. Values
//! are compared only between nodes with the same engine, for another version may well word an error
//! differently.

use std::collections::{BTreeSet, HashSet};

use super::digests::{Chain, DETAIL, Digests, Link};
use super::tally::{CONTENT_KEPT, Count, KEPT, Quorum, Tally, has_quorum};
use super::{Core, Effects};
use crate::ids::{Index, NodeId};
use crate::message::PeerMessage;

/// All nodes tell their values at the multiples of this.
pub const COMPARE_EVERY: u64 = 256;
/// Questions of others that wait until this node has got there, at most.
const OWED_LIMIT: usize = 16;
/// Values further ahead than so many entries are no correct node's.
const FAR: u64 = 1 << 32;

/// What a node's digests say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Nothing is known against its state.
    #[default]
    Sound,
    /// Replicas differ at this index, and it is not known yet (or cannot be) who is right.
    Doubtful(Index),
    /// This node's state is not that of the majority from this index on.
    Parted(Index),
}

impl Core {
    /// Does something about the agreement under the present membership.
    pub(super) fn with_quorum(&mut self, work: impl FnOnce(&mut Agreement, &Quorum)) {
        let prs = self.raw.raft.prs();
        let voters: HashSet<NodeId> = prs.conf().voters().ids().iter().map(NodeId::new).collect();
        let has_quorum = |nodes: &HashSet<NodeId>| has_quorum(prs, nodes);
        let quorum = Quorum {
            voters: &voters,
            parted: &self.suspects,
            is_majority: &has_quorum,
        };
        work(&mut self.agreement, &quorum);
    }

    /// The membership has changed, or who is known to have parted.
    pub(super) fn recount(&mut self) {
        self.with_quorum(Agreement::recount);
    }

    /// Whether this node's state is known not to be the others'.
    pub(super) fn has_parted(&self) -> bool {
        matches!(self.agreement.standing(), Standing::Parted(_))
    }

    /// Has replicas compared now and then; one that has parted gives leadership away and has itself
    /// rebuilt.
    pub(super) fn compare(&mut self) {
        let is_time = self
            .ticks
            .is_multiple_of(self.timing.compare.next_multiple_of(8));
        if is_time {
            self.report_progress();
            let stands_still = self.agreement.stands_still();
            if self.is_leader() || self.agreement.is_in_doubt() || stands_still {
                self.agreement.ask();
            }
            self.agreement.ask_about_content();
            self.compare_contents();
        }
        if !self.needs_rebuilding() {
            // What it asked for has come, and Raft takes no entries while it asks.
            self.raw.raft.pending_request_snapshot = raft::INVALID_INDEX;
            return;
        }
        let period = self.timing.compare.next_multiple_of(8);
        if self.is_leader() {
            return self.step_down();
        }
        if self.snapshots.is_receiving() {
            return;
        }
        if (self.ticks / period).is_multiple_of(2) {
            // Refused without a leader, or when its request is under way already.
            let _ = self.raw.raft.request_snapshot();
        } else {
            // It takes no entries while it asks, and its disk may be needed for a majority, without which
            // nobody may ever be able to give it a snapshot. So it only asks half of the time.
            self.raw.raft.pending_request_snapshot = raft::INVALID_INDEX;
        }
    }

    /// Whether this node's state has parted, and no other one has been given to put in its place.
    pub(super) fn needs_rebuilding(&self) -> bool {
        self.has_parted() && self.restoring == 0 && self.rebuilt.is_none()
    }

    /// Tells all members what is to be compared.
    pub(super) fn tell_digests(&mut self) {
        let me = self.id();
        for digests in self.agreement.take_outbox() {
            for &member in self.members.keys().filter(|&&member| member != me) {
                let message = PeerMessage::Digests(digests.clone());
                self.outbox.push((member, message));
            }
        }
    }

    /// Lets go of answers and reads, as far as this node's state may be trusted.
    pub(super) fn answer(&mut self, effects: &mut Effects) {
        let standing = self.agreement.standing();
        if standing != self.standing {
            self.standing = standing;
            effects.standing = Some(standing);
            self.report_progress_soon();
        }
        if standing == Standing::Sound {
            effects.answers.append(&mut self.answers);
            effects.reads = self.reads.release(self.applied);
        }
        if self.removed.is_some() || self.has_parted() {
            effects.refused = self.gateway.give_up();
            effects.refused.append(&mut self.reads.give_up());
            let answered = std::mem::take(&mut self.answers);
            effects
                .refused
                .extend(answered.into_iter().map(|(token, _)| token));
        }
    }
}

/// This node's view of who agrees with whom.
#[derive(Debug)]
pub struct Agreement {
    me: NodeId,
    chain: Chain,
    /// The last applied entry.
    last: Index,
    /// The same when somebody last wanted to know whether that changes.
    looked: Index,
    chained: Tally,
    content: Tally,
    /// Values differ at these indexes (of the content: true), and it is not decided who is right.
    split: BTreeSet<(Index, bool)>,
    /// This node's state is another than the majority's from here on.
    parted: Option<Index>,
    /// Others asked for the values at these, where this node has not got yet.
    owed: BTreeSet<Index>,
    /// The detail up to here has been told.
    detailed: Index,
    /// Members with another engine.
    foreign: BTreeSet<NodeId>,
    /// Somebody else asked about a content that differs.
    asked: bool,
    outbox: Vec<Digests>,
}

impl Agreement {
    /// Nothing has been compared yet. `parted`: what was known when the process ended.
    pub fn new(me: NodeId, parted: Option<Index>) -> Self {
        Self {
            me,
            chain: Chain::default(),
            last: Index::START,
            looked: Index::START,
            chained: Tally::default(),
            content: Tally::default(),
            split: BTreeSet::new(),
            parted,
            owed: BTreeSet::new(),
            detailed: Index::START,
            foreign: BTreeSet::new(),
            asked: false,
            outbox: Vec::new(),
        }
    }

    /// What is known about this node's state.
    pub fn standing(&self) -> Standing {
        match (self.parted, self.split.first()) {
            (Some(index), _) => Standing::Parted(index),
            (None, Some(&(index, _))) => Standing::Doubtful(index),
            (None, None) => Standing::Sound,
        }
    }

    /// Whether values differ, and it is not decided who is right.
    pub fn is_in_doubt(&self) -> bool {
        !self.split.is_empty()
    }

    /// Whether this node, or another one since the last call, is in doubt about its content.
    pub fn take_doubt(&mut self) -> bool {
        let asked = std::mem::take(&mut self.asked);
        asked || self.split.iter().any(|&(_, content)| content)
    }

    /// Whether a member has another engine, so that its values say nothing.
    pub fn is_mixed(&self) -> bool {
        !self.foreign.is_empty()
    }

    /// This node's state has to be rebuilt for another reason than a digest.
    pub fn part(&mut self, index: Index) {
        self.parted = Some(self.parted.map_or(index, |known| known.min(index)));
    }

    /// The state was replaced by a snapshot of somebody else's: values from before are not of it. What
    /// was known against it holds until [`Agreement::rebuilt`].
    pub fn restart(&mut self) {
        let foreign = std::mem::take(&mut self.foreign);
        *self = Self {
            foreign,
            ..Self::new(self.me, self.parted)
        };
    }

    /// The new state is on disk as well.
    pub fn rebuilt(&mut self) {
        self.parted = None;
    }

    /// This node applied entries.
    pub fn applied(&mut self, links: &[Link], quorum: &Quorum) {
        for link in links {
            if link.chain != self.chain {
                self.chain = link.chain;
                self.chained = Tally::default();
            }
            self.last = link.index;
            self.chained.own.insert(link.index, link.value);
            let owed = !self.owed.is_empty() && self.owed.remove(&link.index);
            if owed || link.index.is_multiple_of(COMPARE_EVERY) {
                self.tell(link.index, link.index, false);
            }
        }
        self.chained.keep(self.last.saturating_sub(KEPT));
        self.owed.retain(|&index| index > self.last);
        for link in links {
            self.weigh(link.index, false, quorum);
        }
    }

    /// The digest of this node's content at `index`.
    pub fn note_content(&mut self, index: Index, value: u64, quorum: &Quorum) {
        self.content.own.insert(index, value);
        self.content.keep(index.saturating_sub(CONTENT_KEPT));
        self.tell_content(index, false);
        self.weigh(index, true, quorum);
    }

    /// Another node told its values.
    pub fn receive(&mut self, from: NodeId, digests: &Digests, quorum: &Quorum) {
        if self.last == Index::START {
            // Nothing was applied yet, so there is nothing to compare.
            return;
        }
        if digests.chain.engine != self.chain.engine {
            self.foreign.insert(from);
            return;
        }
        self.foreign.remove(&from);
        let elsewhere = digests.chain.since != self.chain.since && !digests.content;
        if elsewhere || digests.first > self.last.saturating_add(FAR) {
            return;
        }
        let tally = if digests.content {
            &mut self.content
        } else {
            &mut self.chained
        };
        let indexes = digests.first.onwards();
        for (index, &value) in indexes.clone().zip(&digests.values) {
            if digests.content || self.last.since(index) < KEPT {
                tally.others.entry(index).or_default().insert(from, value);
            }
        }
        let kept = if digests.content { CONTENT_KEPT } else { KEPT };
        tally.keep(self.last.saturating_sub(kept));
        for (index, _) in indexes.zip(&digests.values) {
            self.weigh(index, digests.content, quorum);
        }
        if digests.question && digests.content {
            self.asked = true;
            self.tell_content(digests.first, false);
        } else if digests.question && digests.first <= self.last {
            self.tell(digests.first, digests.first, false);
        } else if digests.question && self.owed.len() < OWED_LIMIT {
            self.owed.insert(digests.first);
        }
    }

    /// A node has another state than the one that it has told of.
    pub fn forget(&mut self, node: NodeId) {
        for tally in [&mut self.chained, &mut self.content] {
            for values in tally.others.values_mut() {
                values.remove(&node);
            }
        }
    }

    /// Whether nothing was applied since this was last called. Then nobody else may ask any more: the leader does
    /// not once a majority agrees, and this node may have been behind, and come to the end since.
    pub fn stands_still(&mut self) -> bool {
        std::mem::replace(&mut self.looked, self.last) == self.last
    }

    /// Asks everybody for their values at the last applied entry, unless a majority's is known and nothing
    /// else is in doubt.
    pub fn ask(&mut self) {
        if self.last > self.chained.agreed || self.is_in_doubt() {
            self.tell(self.last, self.last, true);
        }
    }

    /// Asks everybody for their digests of the contents that differ, and of the last one: each tells its
    /// own only once, and that may have been lost. Nobody comes by the same index again.
    pub fn ask_about_content(&mut self) {
        let differ = self.split.iter().filter(|(_, content)| *content);
        let mut undecided: BTreeSet<Index> = differ.map(|&(index, _)| index).collect();
        let last = self.content.own.last_key_value();
        let last = last.filter(|_| !undecided.is_empty());
        undecided.extend(last.map(|(&index, _)| index));
        for index in undecided {
            self.tell_content(index, true);
        }
    }

    fn tell_content(&mut self, index: Index, question: bool) {
        if let Some(&value) = self.content.own.get(&index) {
            self.outbox.push(Digests {
                content: true,
                question,
                chain: self.chain,
                first: index,
                values: vec![value],
            });
        }
    }

    /// What is to be told to all members.
    pub fn take_outbox(&mut self) -> Vec<Digests> {
        std::mem::take(&mut self.outbox)
    }

    fn tell(&mut self, first: Index, last: Index, question: bool) {
        let range = self.chained.own.range(first..=last);
        let values: Vec<u64> = range.map(|(_, &value)| value).collect();
        if values.len() as u64 == last.since(first) + 1 {
            self.outbox.push(Digests {
                content: false,
                question,
                chain: self.chain,
                first,
                values,
            });
        }
    }

    /// Decides by the values at one index.
    fn weigh(&mut self, index: Index, content: bool, quorum: &Quorum) {
        let tally = if content {
            &mut self.content
        } else {
            &mut self.chained
        };
        match tally.count(self.me, index, quorum) {
            Count::With => {
                // Equal chains were equal before, too; and whose content is the majority's now need not
                // know who was right before, when nobody may be left who can tell.
                tally.agreed = tally.agreed.max(index);
                self.split
                    .retain(|&(split, of)| of != content || split > index);
                self.details(index, content);
            }
            Count::Against => {
                self.part(index);
                self.details(index, content);
            }
            Count::Split => {
                if index > tally.agreed {
                    self.split.insert((index, content));
                }
                self.details(index, content);
            }
            Count::Open => {
                self.split.remove(&(index, content));
            }
        }
    }

    /// Somebody differs at `index`: tells the values before, so that it is seen where that began.
    fn details(&mut self, index: Index, content: bool) {
        let others = self.chained.others.get(&index);
        let own = self.chained.own.get(&index);
        let differs = others.is_some_and(|others| others.values().any(|value| Some(value) != own));
        if content || !differs || index <= self.detailed {
            return;
        }
        self.detailed = index;
        let oldest = self.chained.own.first_key_value();
        let oldest = oldest.map_or(index, |(&oldest, _)| oldest);
        let first = index.next().saturating_sub(DETAIL).max(oldest);
        self.tell(first, index, false);
    }

    /// Whoever has left the members or has parted has no say any more.
    pub fn recount(&mut self, quorum: &Quorum) {
        for (index, content) in std::mem::take(&mut self.split) {
            self.weigh(index, content, quorum);
        }
        self.foreign.retain(|&node| quorum.is_voter(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Chain = Chain {
        engine: 9,
        since: Index::START,
    };

    const SECOND: NodeId = NodeId::new(2);
    const THIRD: NodeId = NodeId::new(3);

    fn at(index: u64) -> Index {
        Index::new(index)
    }

    fn with_quorum<T>(size: u64, work: impl FnOnce(&Quorum) -> T) -> T {
        with_parted(size, &[], work)
    }

    fn with_parted<T>(size: u64, parted: &[NodeId], work: impl FnOnce(&Quorum) -> T) -> T {
        let parted = parted.iter().copied().collect();
        let voters: HashSet<NodeId> = (1..=size).map(NodeId::new).collect();
        let has_quorum =
            |nodes: &HashSet<NodeId>| nodes.intersection(&voters).count() > size as usize / 2;
        work(&Quorum {
            voters: &voters,
            parted: &parted,
            is_majority: &has_quorum,
        })
    }

    /// Nodes 1.. that apply entries 1..=`last`; `value` gives each one's chain.
    fn run(size: u64, last: u64, value: impl Fn(u64, u64) -> u64) -> Vec<Agreement> {
        let ids = (1..=size).map(NodeId::new);
        let mut nodes: Vec<Agreement> = ids.map(|id| Agreement::new(id, None)).collect();
        with_quorum(size, |quorum| {
            for index in 1..=last {
                for node in &mut nodes {
                    let link = Link {
                        chain: CHAIN,
                        index: at(index),
                        value: value(node.me.get(), index),
                    };
                    node.applied(&[link], quorum);
                }
            }
            nodes[0].ask();
            exchange(&mut nodes, quorum);
        });
        nodes
    }

    /// Everything told reaches everybody, until nothing more is told.
    fn exchange(nodes: &mut [Agreement], quorum: &Quorum) {
        for round in 0.. {
            assert!(round < 10, "they never stop");
            let told: Vec<(NodeId, Vec<Digests>)> = nodes
                .iter_mut()
                .map(|node| (node.me, node.take_outbox()))
                .collect();
            if told.iter().all(|(_, digests)| digests.is_empty()) {
                return;
            }
            for node in &mut *nodes {
                let me = node.me;
                for (from, digests) in told.iter().filter(|(from, _)| *from != me) {
                    for digests in digests {
                        node.receive(*from, digests, quorum);
                    }
                }
            }
        }
    }

    fn standings(nodes: &[Agreement]) -> Vec<Standing> {
        nodes.iter().map(Agreement::standing).collect()
    }

    #[test]
    fn equal_replicas_are_sound_and_say_little() {
        let nodes = run(3, 1_000, |_, index| index * 7);
        assert_eq!(standings(&nodes), [Standing::Sound; 3]);
        assert!(nodes.iter().all(|node| node.chained.agreed == at(1_000)));
    }

    #[test]
    fn the_one_that_differs_learns_the_index_where_it_parted() {
        let parted = |node, index| index * 7 + u64::from(node == 2 && index >= 777);
        let nodes = run(3, 1_000, parted);
        let expected = [Standing::Sound, Standing::Parted(at(777)), Standing::Sound];
        assert_eq!(standings(&nodes), expected);
    }

    #[test]
    fn without_a_majority_everybody_is_in_doubt() {
        let nodes = run(2, 300, |node, index| index * 10 + node);
        assert!(
            nodes
                .iter()
                .all(|node| matches!(node.standing(), Standing::Doubtful(_)))
        );
        let nodes = run(3, 300, |node, index| index * 10 + node);
        assert!(
            nodes
                .iter()
                .all(|node| matches!(node.standing(), Standing::Doubtful(_)))
        );
    }

    #[test]
    fn what_a_node_told_before_it_was_rebuilt_says_nothing() {
        let mut nodes = run(3, 300, |node, index| if node == 1 { 7 } else { index });
        let first = nodes[0].me;
        let node = &mut nodes[1];
        node.forget(first);
        // The third has got the first one's state by a snapshot from before.
        let told = Digests {
            content: false,
            question: false,
            chain: CHAIN,
            first: at(300),
            values: vec![7],
        };
        with_quorum(3, |quorum| node.receive(THIRD, &told, quorum));
        assert_eq!(node.standing(), Standing::Sound);
    }

    #[test]
    fn who_comes_late_to_a_cluster_that_stands_still_asks() {
        let mut nodes = run(4, 100, |_, index| index);
        let late = NodeId::new(5);
        nodes.push(Agreement::new(late, None));
        with_quorum(5, |quorum| {
            let link = Link {
                chain: CHAIN,
                index: at(100),
                value: 1,
            };
            nodes[4].applied(&[link], quorum);
            nodes[0].ask();
            exchange(&mut nodes, quorum);
            assert_eq!(
                nodes[4].standing(),
                Standing::Sound,
                "the others agree, and ask nothing"
            );
            assert!(!nodes[4].stands_still());
            assert!(nodes[4].stands_still());
            nodes[4].ask();
            exchange(&mut nodes, quorum);
        });
        assert_eq!(nodes[4].standing(), Standing::Parted(at(100)));
    }

    #[test]
    fn a_removed_member_has_no_say() {
        let mut nodes = run(2, 300, |node, index| index * 10 + node);
        with_quorum(1, |quorum| nodes[0].recount(quorum));
        assert_eq!(nodes[0].standing(), Standing::Sound);
    }

    #[test]
    fn what_nodes_have_that_know_that_they_have_parted_says_nothing_against_others() {
        // Both others are to be rebuilt, say because they had applied what the first one skipped.
        let alike = |node: u64, index: u64| index * 7 + u64::from(node > 1 && index > 100);
        let differing = |node: u64, index: u64| index * 7 + if index > 100 { node } else { 0 };
        for value in [alike as fn(u64, u64) -> u64, differing] {
            let mut nodes = run(3, 100, value);
            with_parted(3, &[SECOND, THIRD], |quorum| {
                for node in &mut nodes {
                    let link = Link {
                        chain: CHAIN,
                        index: at(101),
                        value: value(node.me.get(), 101),
                    };
                    node.applied(&[link], quorum);
                }
                nodes[0].ask();
                exchange(&mut nodes, quorum);
            });
            assert_eq!(nodes[0].standing(), Standing::Sound);
        }
    }

    #[test]
    fn a_doubt_ends_when_the_other_one_is_known_to_have_parted() {
        let mut nodes = run(2, 300, |node, index| index * 10 + node);
        assert!(nodes[0].is_in_doubt());
        with_parted(2, &[SECOND], |quorum| nodes[0].recount(quorum));
        assert_eq!(nodes[0].standing(), Standing::Sound);
    }

    #[test]
    fn a_difference_in_the_content_alone_is_found() {
        let mut nodes = run(3, 512, |_, index| index);
        with_quorum(3, |quorum| {
            for node in &mut nodes {
                let value = if node.me == THIRD { 1 } else { 2 };
                node.note_content(at(512), value, quorum);
            }
            exchange(&mut nodes, quorum);
        });
        let expected = [Standing::Sound, Standing::Sound, Standing::Parted(at(512))];
        assert_eq!(standings(&nodes), expected);
    }

    #[test]
    fn who_is_in_doubt_about_the_content_asks_again() {
        let mut nodes = run(3, 512, |_, index| index);
        with_quorum(3, |quorum| {
            for node in &mut nodes {
                let value = if node.me == THIRD { 1 } else { 2 };
                node.note_content(at(512), value, quorum);
            }
            // What 2 told is lost on its way to 1, which hears 3 only.
            let lost = nodes[1].take_outbox();
            let told = nodes[2].take_outbox();
            nodes[0].receive(THIRD, &told[0], quorum);
            assert_eq!(nodes[0].standing(), Standing::Doubtful(at(512)));
            nodes[2].receive(SECOND, &lost[0], quorum);
            nodes[0].ask_about_content();
            exchange(&mut nodes, quorum);
        });
        let expected = [Standing::Sound, Standing::Sound, Standing::Parted(at(512))];
        assert_eq!(standings(&nodes), expected);
    }

    #[test]
    fn contents_that_agree_later_end_a_doubt_that_nobody_can_decide() {
        let mut nodes = run(3, 512, |_, index| index);
        with_quorum(3, |quorum| {
            nodes[0].note_content(at(256), 1, quorum);
            nodes[2].note_content(at(256), 2, quorum);
            let told = nodes[2].take_outbox();
            nodes[0].receive(THIRD, &told[0], quorum);
            assert_eq!(nodes[0].standing(), Standing::Doubtful(at(256)));
            // As after a restart.
            nodes[2].content = Tally::default();
            for node in &mut nodes {
                node.note_content(at(512), 3, quorum);
            }
            exchange(&mut nodes, quorum);
            nodes[0].receive(THIRD, &told[0], quorum);
        });
        assert_eq!(standings(&nodes), [Standing::Sound; 3]);
    }

    #[test]
    fn a_digest_of_the_content_is_kept_while_the_others_are_behind() {
        let mut nodes = run(3, 512, |_, index| index);
        with_quorum(3, |quorum| {
            nodes[0].note_content(at(256), 1, quorum);
            // Far ahead of the others by now.
            nodes[0].last = at(256 + 10 * KEPT);
            for (place, from) in [(1, SECOND), (2, THIRD)] {
                nodes[place].note_content(at(256), 2, quorum);
                let told = nodes[place].take_outbox();
                nodes[0].receive(from, &told[0], quorum);
            }
        });
        assert_eq!(nodes[0].standing(), Standing::Parted(at(256)));
    }

    #[test]
    fn other_engines_are_not_compared() {
        let mut nodes = run(2, 100, |_, index| index);
        with_quorum(2, |quorum| {
            let foreign = Digests {
                content: false,
                question: false,
                chain: Chain {
                    engine: 8,
                    since: Index::START,
                },
                first: at(100),
                values: vec![1],
            };
            nodes[0].receive(SECOND, &foreign, quorum);
        });
        assert_eq!(nodes[0].standing(), Standing::Sound);
        assert!(nodes[0].is_mixed());
    }

    #[test]
    fn a_rebuilt_node_is_sound() {
        let mut nodes = run(3, 300, |node, index| index * 7 + u64::from(node == 1));
        assert_eq!(nodes[0].standing(), Standing::Parted(at(1)));
        nodes[0].restart();
        assert_eq!(nodes[0].standing(), Standing::Parted(at(1)));
        nodes[0].rebuilt();
        assert_eq!(nodes[0].standing(), Standing::Sound);
    }
}

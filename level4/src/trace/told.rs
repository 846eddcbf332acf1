//! What becomes of a core, as seen between two looks at it: its role and term, votes, entries, commits.

use raft::eraftpb::{Entry, HardState};
use raft::{GetEntriesContext, Storage as _};

use super::{Line, NameOf};
use crate::consensus::{MemoryLog, Outline, Persist};

/// Entries of its log that a node is said to start with.
const SHOWN: u64 = 12;

/// How nodes are called, by Raft's number; nobody: none.
type NodeName<'a> = &'a dyn Fn(u64) -> Option<String>;

/// What was last told of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    outline: Outline,
    vote: u64,
    vote_term: u64,
}

impl Told {
    /// A process begins with this log; its line gets what that has.
    pub fn restarted(
        log: &MemoryLog,
        line: &mut Line,
        node_name: NodeName,
        name_of: NameOf,
    ) -> Self {
        let state = log.initial_state().unwrap_or_default().hard_state;
        let first = log.first_index().unwrap_or_default();
        let last = log.last_index().unwrap_or_default();
        let first = first.max((last + 1).saturating_sub(SHOWN));
        let context = GetEntriesContext::empty(false);
        let entries = log.entries(first, last + 1, None, context);
        line.number("term", state.term)
            .number("index", last)
            .number("commit", state.commit)
            .entries(&entries.unwrap_or_default(), name_of);
        if let Some(vote) = node_name(state.vote) {
            line.word("for", &vote);
        }
        Self {
            outline: Outline {
                role: "",
                term: state.term,
                commit: state.commit,
            },
            vote: state.vote,
            vote_term: state.term,
        }
    }

    /// The core is like this now, and writes this; `tell` gets the kind of each event and what fills it.
    pub fn flushed(
        &mut self,
        now: Outline,
        writes: &[Persist],
        node_name: NodeName,
        name_of: NameOf,
        mut tell: impl FnMut(&str, &dyn Fn(&mut Line)),
    ) {
        let before = std::mem::replace(&mut self.outline, now);
        if (before.role, before.term) != (now.role, now.term) {
            tell("become", &|line| {
                line.word("role", now.role).number("term", now.term);
            });
        }
        for HardState { term, vote, .. } in writes.iter().filter_map(|w| w.hard_state.as_ref()) {
            let is_new = (*vote, *term) != (self.vote, self.vote_term);
            (self.vote, self.vote_term) = (*vote, *term);
            if let Some(vote) = node_name(*vote).filter(|_| is_new) {
                tell("vote", &|line| {
                    line.number("term", *term).word("for", &vote);
                });
            }
        }
        let entries = || writes.iter().flat_map(|write| &write.entries);
        if entries().next().is_some() {
            tell("append", &|line| {
                line.entries(entries(), name_of);
            });
        }
        if now.commit > before.commit {
            tell("commit", &|line| {
                line.number("index", now.commit);
            });
        }
    }
}

/// How far a write takes the log; `None`: not at all.
pub fn last_of(write: &Persist) -> Option<u64> {
    let entry = write.entries.last().map(|entry: &Entry| entry.index);
    entry.or_else(|| Some(write.snapshot.as_ref()?.get_metadata().index))
}

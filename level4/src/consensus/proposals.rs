//! The leader's side of requests: what goes into the next entries, and what is in the log already.

use std::collections::{HashSet, VecDeque};

use crate::ids::{Index, NodeId, Term};
use crate::message::{Request, RequestId};

/// Requests of one log entry, bytes at most (a single larger request is an entry of its own).
const BATCH_LIMIT: usize = 256 * 1024;

/// Requests on their way into the log.
#[derive(Debug, Default)]
pub struct Proposals {
    /// For the next entries.
    queue: Vec<Request>,
    /// Ids in this leader's entries, or queued, that are not applied yet.
    under_way: HashSet<RequestId>,
    /// Those of each entry that is not applied yet.
    entries: VecDeque<(Index, Vec<RequestId>)>,
    /// Term and leader at the last flush.
    leadership: (Term, Option<NodeId>),
}

impl Proposals {
    /// Whether term or leader are others than at the last look. Then what an old leader had taken is
    /// forgotten: its gateways send it again.
    pub fn is_new_leadership(&mut self, leadership: (Term, Option<NodeId>)) -> bool {
        if leadership == self.leadership {
            return false;
        }
        *self = Self {
            leadership,
            ..Self::default()
        };
        true
    }

    /// Takes requests for the log, leaving out those that are on their way into it already.
    pub fn enqueue(&mut self, requests: Vec<Request>) {
        for request in requests {
            if self.under_way.insert(request.id) {
                self.queue.push(request);
            }
        }
    }

    /// The contents of the next entries.
    pub fn take(&mut self) -> Vec<Vec<Request>> {
        batches(std::mem::take(&mut self.queue))
    }

    /// These were not taken into the log, and may come again.
    pub fn refused<'a>(&mut self, requests: impl IntoIterator<Item = &'a Request>) {
        for request in requests {
            self.under_way.remove(&request.id);
        }
    }

    /// These are in the entry at `index` now.
    pub fn taken(&mut self, index: Index, requests: &[Request]) {
        let ids = requests.iter().map(|request| request.id).collect();
        self.entries.push_back((index, ids));
    }

    /// Everything up to `index` has been applied. What has not been executed by that may come again: its
    /// gateway was no member then, and may be one now.
    pub fn applied(&mut self, index: Index) {
        while let Some((_, ids)) = self.entries.pop_front_if(|(at, _)| *at <= index) {
            for id in ids {
                self.under_way.remove(&id);
            }
        }
    }
}

/// Splits requests into the contents of entries of at most [`BATCH_LIMIT`] bytes.
fn batches(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut batches: Vec<Vec<Request>> = Vec::new();
    let mut room = 0;
    for request in requests {
        let size = request.size();
        match batches.last_mut() {
            Some(batch) if size <= room => {
                room -= size;
                batch.push(request);
            }
            _ => {
                room = BATCH_LIMIT.saturating_sub(size);
                batches.push(vec![request]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::message::Command;

    fn request(counter: u64) -> Request {
        let id = RequestId {
            node: NodeId::new(1),
            incarnation: Incarnation::new(1),
            counter,
        };
        Request {
            id,
            floor: 0,
            key: None,
            command: Command::Shell("SELECT 1".into()),
        }
    }

    #[test]
    fn a_request_is_proposed_once_until_its_entry_is_applied_whatever_came_of_it() {
        let mut proposals = Proposals::default();
        let [first, second] = [5, 6].map(Index::new);
        for (index, counter) in [(first, 0), (second, 1)] {
            proposals.enqueue(vec![request(counter)]);
            let batches = proposals.take();
            proposals.taken(index, &batches[0]);
        }
        let resent = || vec![request(0), request(1)];
        proposals.enqueue(resent());
        assert!(proposals.take().is_empty());
        proposals.applied(first);
        proposals.enqueue(resent());
        assert_eq!(proposals.take(), [[request(0)]]);
        proposals.applied(second);
        proposals.enqueue(resent());
        assert_eq!(proposals.take(), [[request(1)]]);
    }
}

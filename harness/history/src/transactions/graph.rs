//! Who came before whom: a graph whose circles are what is wrong.
//!
//! One transaction comes before another if it has appended what the other appended behind (*ww*), or what the other
//! has read last (*wr*), or if it has read a list without what the other appended next (*rw*). In real time, one
//! that was answered before another was sent comes before that as well: instead of an edge for each such pair
//! there is a line of moments, one for each answer, from which those that were sent later hang.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Step, TransactionOutput, versions::Versions};
use crate::{
    check::Verdict,
    collections::{start, wrong},
    operations::{History, OperationId},
};

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The other has appended to this list behind it.
    Written(i64),
    /// The other has read what it had appended to this list.
    Read(i64),
    /// The other has appended to this list what it has not seen.
    Overwritten(i64),
    /// The other was sent later than it was answered.
    Time,
}

/// Transactions by their numbers, then the moments of answers.
#[derive(Debug)]
struct Graph {
    edges: Vec<Vec<(usize, Why)>>,
    transactions: usize,
}

/// The kinds of circles, the worst first: edges that they may have besides one of the last kind, which they must not
/// have twice where it says so.
const KINDS: [(&str, Allowed); 4] = [
    ("G0", Allowed::Writes),
    ("G1c", Allowed::Information),
    ("G-single", Allowed::OneOverwritten),
    ("G2", Allowed::All),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    Writes,
    Information,
    OneOverwritten,
    All,
}

/// Whether there is an order.
pub(super) fn check(
    history: &History<Vec<Step>, TransactionOutput>,
    versions: &Versions,
) -> Verdict {
    let mut graph = Graph::of(history, versions);
    for is_timed in [false, true] {
        if is_timed {
            graph.add_time(history);
        }
        let suspects = graph.in_circles(|_| true);
        if suspects.is_empty() {
            continue;
        }
        for (name, allowed) in KINDS {
            if let Some(circle) = graph.circle(allowed, &suspects) {
                return told(name, is_timed, &circle, &graph, history);
            }
        }
    }
    Verdict::Right
}

impl Graph {
    fn of(history: &History<Vec<Step>, TransactionOutput>, versions: &Versions) -> Self {
        let transactions = history.operations().len();
        let mut graph = Self {
            edges: vec![Vec::new(); transactions],
            transactions,
        };
        for (&key, order) in &versions.orders {
            let writers: Vec<OperationId> = order
                .iter()
                .map(|&element| versions.writers[&(key, element)])
                .collect();
            for two in writers.windows(2) {
                graph.add(two[0], two[1], Why::Written(key));
            }
            if let Some(&last) = writers.last() {
                let behind = versions.unread.iter().filter(|(list, _)| *list == key);
                for &(_, writer) in behind {
                    graph.add(last, writer, Why::Written(key));
                }
            }
        }
        for read in &versions.reads {
            let order = &versions.orders[&read.key];
            let writer = |place: usize| versions.writers[&(read.key, order[place])];
            if let Some(place) = read.length.checked_sub(1) {
                graph.add(writer(place), read.by, Why::Read(read.key));
            }
            // Behind all that it has seen, but for its own.
            let mut next = (read.length..order.len()).map(writer);
            if let Some(next) = next.find(|&next| next != read.by) {
                graph.add(read.by, next, Why::Overwritten(read.key));
            } else {
                let behind = versions.unread.iter().filter(|(list, _)| *list == read.key);
                for &(_, writer) in behind {
                    graph.add(read.by, writer, Why::Overwritten(read.key));
                }
            }
        }
        graph
    }

    fn add(&mut self, from: OperationId, to: OperationId, why: Why) {
        if from != to {
            self.edges[from.index()].push((to.index(), why));
        }
    }

    /// Adds the order of real time among those that were executed.
    fn add_time(&mut self, history: &History<Vec<Step>, TransactionOutput>) {
        let mut answers: Vec<(u64, usize)> = Vec::new();
        for (id, transaction) in history.operations() {
            if let Some(answer) = transaction.answer()
                && matches!(answer.output, TransactionOutput::Committed(_))
            {
                answers.push((answer.at, id.index()));
            }
        }
        answers.sort_unstable();
        let first = self.edges.len();
        for (place, &(_, transaction)) in answers.iter().enumerate() {
            let moment = first + place;
            self.edges.push(Vec::new());
            self.edges[transaction].push((moment, Why::Time));
            if place > 0 {
                self.edges[moment - 1].push((moment, Why::Time));
            }
        }
        for (id, transaction) in history.operations() {
            let sent = start(transaction);
            let before = answers.partition_point(|&(at, _)| at < sent);
            if let Some(latest) = before.checked_sub(1) {
                self.edges[first + latest].push((id.index(), Why::Time));
            }
        }
    }

    fn next(&self, node: usize, allowed: impl Fn(Why) -> bool) -> impl Iterator<Item = usize> {
        let edges = self.edges[node].iter();
        edges.filter_map(move |&(to, why)| allowed(why).then_some(to))
    }

    /// Whatever is in a circle of allowed edges: the strongly connected parts of two and more (Tarjan, 1972),
    /// without recursion.
    fn in_circles(&self, allowed: impl Fn(Why) -> bool + Copy) -> FxHashMap<usize, usize> {
        const NEW: usize = usize::MAX;
        let count = self.edges.len();
        let (mut number, mut low) = (vec![NEW; count], vec![NEW; count]);
        let mut waiting = Vec::new();
        let mut is_waiting = vec![false; count];
        let mut parts = FxHashMap::default();
        let (mut numbered, mut part) = (0, 0);
        for root in 0..count {
            if number[root] != NEW {
                continue;
            }
            let mut path: Vec<(usize, usize)> = vec![(root, 0)];
            while let Some(&mut (node, ref mut edge)) = path.last_mut() {
                if *edge == 0 {
                    (number[node], low[node]) = (numbered, numbered);
                    numbered += 1;
                    waiting.push(node);
                    is_waiting[node] = true;
                }
                let next = self.edges[node].get(*edge);
                *edge += 1;
                match next {
                    Some(&(_, why)) if !allowed(why) => {}
                    Some(&(to, _)) if number[to] == NEW => path.push((to, 0)),
                    Some(&(to, _)) if is_waiting[to] => low[node] = low[node].min(number[to]),
                    Some(_) => {}
                    None => {
                        path.pop();
                        if let Some(&(above, _)) = path.last() {
                            low[above] = low[above].min(low[node]);
                        }
                        if low[node] == number[node] {
                            let from = waiting.iter().rposition(|&one| one == node).unwrap_or(0);
                            let members = waiting.split_off(from);
                            for &member in &members {
                                is_waiting[member] = false;
                            }
                            if members.len() > 1 {
                                parts.extend(members.into_iter().map(|member| (member, part)));
                                part += 1;
                            }
                        }
                    }
                }
            }
        }
        parts
    }

    /// A short circle of a kind, among the suspects.
    fn circle(&self, allowed: Allowed, suspects: &FxHashMap<usize, usize>) -> Option<Vec<usize>> {
        let is_plain = |why: Why| match allowed {
            Allowed::Writes => matches!(why, Why::Written(_) | Why::Time),
            Allowed::Information | Allowed::OneOverwritten => !matches!(why, Why::Overwritten(_)),
            Allowed::All => true,
        };
        if allowed == Allowed::OneOverwritten {
            let mut from: Vec<usize> = suspects.keys().copied().collect();
            from.sort_unstable();
            let edges = from.iter().flat_map(|&from| {
                let next = self.next(from, |why| matches!(why, Why::Overwritten(_)));
                next.map(move |to| (from, to))
            });
            let inside = edges.filter(|(from, to)| suspects.get(from) == suspects.get(to));
            let mut circles = inside.filter_map(|(from, to)| self.path(to, from, is_plain));
            return circles.next();
        }
        let parts = self.in_circles(is_plain);
        // Of the part that has the least transaction, so that the same history is always told in the same way.
        let first = parts
            .keys()
            .filter(|&&node| node < self.transactions)
            .min()?;
        let mut members: Vec<usize> = parts
            .iter()
            .filter(|(_, part)| *part == &parts[first])
            .map(|(&member, _)| member)
            .collect();
        members.sort_unstable();
        let starts = members.iter().filter(|&&node| node < self.transactions);
        let circles = starts.take(MOST_STARTS).filter_map(|&start| {
            let next = self.next(start, is_plain);
            let back = next.filter_map(|next| self.path(next, start, is_plain));
            back.min_by_key(Vec::len)
        });
        circles.min_by_key(Vec::len)
    }

    /// A shortest way, both ends included.
    fn path(
        &self,
        from: usize,
        to: usize,
        allowed: impl Fn(Why) -> bool + Copy,
    ) -> Option<Vec<usize>> {
        let mut came: FxHashMap<usize, usize> = FxHashMap::default();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                let mut path = vec![to];
                let mut at = to;
                while at != from {
                    at = came[&at];
                    path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            for next in self.next(node, allowed) {
                if next != from && !came.contains_key(&next) {
                    came.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// Why one comes before the other, the plainest reason first.
    fn why(&self, from: usize, to: usize) -> Option<Why> {
        let rank = |why: &Why| match why {
            Why::Written(_) => 0,
            Why::Read(_) => 1,
            Why::Overwritten(_) => 2,
            Why::Time => 3,
        };
        let edges = self.edges[from].iter().filter(|(other, _)| *other == to);
        edges.map(|&(_, why)| why).min_by_key(rank)
    }
}

/// From how many transactions of a part a shortest circle is looked for.
const MOST_STARTS: usize = 50;

fn told(
    name: &str,
    is_timed: bool,
    circle: &[usize],
    graph: &Graph,
    history: &History<Vec<Step>, TransactionOutput>,
) -> Verdict {
    // A way through moments of time is one step from the one that was answered to the one that was sent.
    let start_at = circle.iter().position(|&node| node < graph.transactions);
    let mut round = circle.to_vec();
    round.rotate_left(start_at.unwrap_or(0));
    let first = round[0];
    round.push(first);
    let mut words = Vec::new();
    let mut last = first;
    let mut names: FxHashMap<usize, usize> = FxHashMap::default();
    let mut through_time = false;
    let mut name_of = |node: usize| {
        let next = names.len() + 1;
        *names.entry(node).or_insert(next)
    };
    name_of(first);
    for two in round.windows(2) {
        let why = graph.why(two[0], two[1]).unwrap_or(Why::Time);
        if two[1] >= graph.transactions {
            through_time = true;
            continue;
        }
        let (one, other) = (name_of(last), name_of(two[1]));
        words.push(match why {
            _ if through_time => format!("T{one} was answered before T{other} was sent"),
            Why::Written(key) => {
                format!("T{other} has appended to list {key} behind T{one}")
            }
            Why::Read(key) => format!("T{other} has read what T{one} appended to list {key}"),
            Why::Overwritten(key) => {
                format!("T{one} has read list {key} without what T{other} appended")
            }
            Why::Time => format!("T{one} was answered before T{other} was sent"),
        });
        through_time = false;
        last = two[1];
    }
    let distinct: FxHashSet<usize> = round.iter().copied().collect();
    let ids = history.operations().map(|(id, _)| id);
    let operations: Vec<OperationId> = ids.filter(|id| distinct.contains(&id.index())).collect();
    let order = if is_timed {
        "no order of real time"
    } else {
        "no order"
    };
    let message = format!(
        "{order} of {} transactions explains what they have read ({name}): {}",
        operations.len(),
        words.join("; ")
    );
    wrong(message, &operations)
}

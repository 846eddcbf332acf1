//! Where the leader should be: round trips are measured between all voters, and leadership moves away
//! from a node that is badly connected.
//!
//! Every node pings every voter, one ping to each at a time, and tells the leader what it measured.
//! The leader estimates for each voter how long clients would wait for a commit if that voter led, and
//! transfers when another has been clearly better for a while. A transfer stops the cluster for about
//! two round trips, so small or short differences are not worth one.

use std::collections::BTreeMap;

use crate::ids::NodeId;

/// Length of a round trip, in eighths of a tick.
pub type RoundTrip = u64;

/// Parts of a tick.
const PARTS: u64 = 8;
/// A voter that nobody has measured counts as this far away, in parts of a tick.
const UNKNOWN: RoundTrip = 1_000 * PARTS;
/// Between two pings to the same node, in ticks.
const PING_EVERY: u64 = 16;
/// A ping without answer is given up for lost after this many ticks.
const PING_LOST: u64 = 100;
/// Another place has to be better for this long, in ticks.
const PATIENCE: u64 = 30;
/// A new leader stays for this long, in ticks.
const SETTLE: u64 = 150;
/// What another place has to be better by, besides a quarter: one tick, which is the resolution.
const MARGIN: RoundTrip = PARTS;

#[derive(Debug, Default)]
struct Link {
    /// Smoothed; `None` until the first answer.
    round_trip: Option<RoundTrip>,
    /// When the last ping was sent, and whether it is still unanswered.
    pinged: Option<(u64, bool)>,
}

impl Link {
    /// The estimate now: an overdue answer counts as far as it is overdue.
    fn estimate(&self, now: u64) -> Option<RoundTrip> {
        let overdue = match self.pinged {
            Some((sent, true)) => (now - sent) * PARTS,
            _ => 0,
        };
        self.round_trip.map(|smoothed| smoothed.max(overdue))
    }
}

/// What this node knows about distances, and the leader's doubts about its own place.
#[derive(Debug, Default)]
pub struct Placement {
    links: BTreeMap<NodeId, Link>,
    /// What others measured, as they told.
    reports: BTreeMap<NodeId, BTreeMap<NodeId, RoundTrip>>,
    /// Since when this node leads.
    leading_since: Option<u64>,
    /// Since when another place is better.
    worse_since: Option<u64>,
}

impl Placement {
    /// The nodes to ping now, of these.
    pub fn pings(&mut self, peers: &[NodeId], now: u64) -> Vec<NodeId> {
        self.links.retain(|id, _| peers.contains(id));
        self.reports.retain(|id, _| peers.contains(id));
        let mut due = Vec::new();
        for &peer in peers {
            let link = self.links.entry(peer).or_default();
            let is_due = match link.pinged {
                None => true,
                Some((sent, waiting)) => now >= sent + if waiting { PING_LOST } else { PING_EVERY },
            };
            if is_due {
                if let Some((_, true)) = link.pinged {
                    link.round_trip = Some(UNKNOWN);
                }
                link.pinged = Some((now, true));
                due.push(peer);
            }
        }
        due
    }

    /// The answer to the ping sent to `peer` at tick `sent` came.
    pub fn pong(&mut self, peer: NodeId, sent: u64, now: u64) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        if link.pinged != Some((sent, true)) {
            return;
        }
        link.pinged = Some((sent, false));
        let measured = (now - sent) * PARTS;
        link.round_trip = Some(match link.round_trip {
            Some(smoothed) if smoothed < UNKNOWN => (3 * smoothed + measured) / 4,
            _ => measured,
        });
    }

    /// What this node has measured, for the leader.
    pub fn report(&self, now: u64) -> BTreeMap<NodeId, RoundTrip> {
        let known = self
            .links
            .iter()
            .filter_map(|(&id, link)| Some((id, link.estimate(now)?)));
        known.collect()
    }

    /// What `from` has measured.
    pub fn note_report(&mut self, from: NodeId, report: BTreeMap<NodeId, RoundTrip>) {
        let capped = report.into_iter().map(|(id, far)| (id, far.min(UNKNOWN)));
        self.reports.insert(from, capped.collect());
    }

    /// A better leader than `me`, the leader, if one has been better for long enough. `voters`
    /// includes `me`.
    pub fn better_leader(&mut self, me: NodeId, voters: &[NodeId], now: u64) -> Option<NodeId> {
        let leading_since = *self.leading_since.get_or_insert(now);
        // Whoever is out of everybody's reach says nothing about who should lead.
        let gateways: Vec<NodeId> = voters
            .iter()
            .copied()
            .filter(|&a| {
                let mut others = voters.iter().filter(|&&b| a != b);
                others.any(|&b| self.distance(me, a, b, now) < UNKNOWN)
            })
            .collect();
        let cost = |leader| self.cost(me, leader, voters, &gateways, now);
        let others = gateways.iter().copied().filter(|&id| id != me);
        let (best, lowest) = others
            .map(|id| (id, cost(id)))
            .min_by_key(|&(_, cost)| cost)?;
        if lowest * 5 / 4 + MARGIN * gateways.len() as u64 >= cost(me) {
            self.worse_since = None;
            return None;
        }
        let worse_since = *self.worse_since.get_or_insert(now);
        if now < worse_since + PATIENCE || now < leading_since + SETTLE {
            return None;
        }
        self.worse_since = None;
        // If the transfer fails, the next attempt has to wait as well.
        self.leading_since = Some(now);
        Some(best)
    }

    /// This node does not lead (any more).
    pub fn follow(&mut self) {
        self.leading_since = None;
        self.worse_since = None;
    }

    /// The sum over `gateways` of the time from a client's request there to its commit there, if
    /// `leader` led. In round trips, which are twice the delays.
    fn cost(
        &self,
        me: NodeId,
        leader: NodeId,
        voters: &[NodeId],
        gateways: &[NodeId],
        now: u64,
    ) -> RoundTrip {
        let distance = |a, b| self.distance(me, a, b, now);
        let quorum = voters.len() / 2 + 1;
        let mut total = 0;
        for &gateway in gateways {
            let there = distance(leader, gateway);
            // The gateway hears of each copy: its own and the leader's when the entry comes, the
            // others' by their acknowledgements.
            let mut copies: Vec<RoundTrip> = voters
                .iter()
                .map(|&holder| match holder {
                    _ if holder == leader || holder == gateway => there,
                    _ => distance(leader, holder) + distance(holder, gateway),
                })
                .collect();
            copies.sort_unstable();
            total += there + copies[quorum - 1].max(there);
        }
        total
    }

    fn distance(&self, me: NodeId, a: NodeId, b: NodeId, now: u64) -> RoundTrip {
        if a == b {
            return 0;
        }
        let measured = |from: NodeId, to: NodeId| {
            if from == me {
                self.links.get(&to)?.estimate(now)
            } else {
                self.reports.get(&from)?.get(&to).copied()
            }
        };
        // Both ends measure the same link; the worse news is the newer, as a rule.
        measured(a, b).max(measured(b, a)).unwrap_or(UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: NodeId = NodeId::new(1);
    const SECOND: NodeId = NodeId::new(2);
    const THIRD: NodeId = NodeId::new(3);
    const FIFTH: NodeId = NodeId::new(5);
    const VOTERS: [NodeId; 5] = [FIRST, SECOND, THIRD, NodeId::new(4), FIFTH];

    /// Node 1's view of a network in which `round_trip` gives the ticks between two nodes.
    fn view(round_trip: impl Fn(NodeId, NodeId) -> u64) -> Placement {
        let mut placement = Placement::default();
        let now = 1_000;
        assert_eq!(placement.pings(&VOTERS[1..], now), VOTERS[1..]);
        for &peer in &VOTERS[1..] {
            placement.pong(peer, now, now + round_trip(FIRST, peer));
            let others = VOTERS.iter().filter(|&&other| other != peer);
            let report = others.map(|&other| (other, round_trip(peer, other) * PARTS));
            placement.note_report(peer, report.collect());
        }
        placement
    }

    /// Whether, and to whom, node 1 gives leadership in the ten seconds after.
    fn successor(placement: &mut Placement) -> Option<NodeId> {
        (1_000..2_000).find_map(|now| placement.better_leader(FIRST, &VOTERS, now))
    }

    #[test]
    fn a_leader_in_the_middle_stays() {
        assert_eq!(successor(&mut view(|_, _| 5)), None);
        // Everybody else is further from the others.
        assert_eq!(
            successor(&mut view(|a, b| if a.min(b) == FIRST { 3 } else { 6 })),
            None
        );
    }

    #[test]
    fn a_leader_behind_slow_links_gives_way_to_the_best_connected() {
        let round_trip = |a: NodeId, b: NodeId| match (a.min(b), a.max(b)) {
            (FIRST, _) => 30,
            (THIRD, _) | (_, THIRD) => 3,
            _ => 6,
        };
        assert_eq!(successor(&mut view(round_trip)), Some(THIRD));
    }

    #[test]
    fn a_voter_that_nobody_reaches_does_not_hide_the_difference() {
        let round_trip = |a: NodeId, b: NodeId| match (a.min(b), a.max(b)) {
            (_, FIFTH) => UNKNOWN,
            (FIRST, _) => 30,
            _ => 6,
        };
        assert!(successor(&mut view(round_trip)).is_some());
    }

    #[test]
    fn small_differences_and_short_ones_are_not_worth_a_transfer() {
        let mut placement = view(|a, b| if a.min(b) == FIRST { 6 } else { 5 });
        assert_eq!(successor(&mut placement), None);
        let mut placement = view(|a, b| if a.min(b) == FIRST { 30 } else { 5 });
        let until = 1_000 + SETTLE;
        assert!((1_000..until).all(|now| placement.better_leader(FIRST, &VOTERS, now).is_none()));
        assert!(placement.better_leader(FIRST, &VOTERS, until).is_some());
    }

    #[test]
    fn pings_are_one_at_a_time_and_a_lost_one_counts_as_far() {
        let mut placement = Placement::default();
        assert_eq!(placement.pings(&[SECOND], 0), [SECOND]);
        assert!(placement.pings(&[SECOND], PING_EVERY).is_empty());
        placement.pong(SECOND, 0, 4);
        assert_eq!(placement.report(10), BTreeMap::from([(SECOND, 4 * PARTS)]));
        assert_eq!(placement.pings(&[SECOND], PING_EVERY), [SECOND]);
        // An answer to another ping says nothing.
        placement.pong(SECOND, 0, PING_EVERY + 1);
        let later = PING_EVERY + 50;
        assert_eq!(
            placement.report(later),
            BTreeMap::from([(SECOND, 50 * PARTS)])
        );
        let late = PING_EVERY + PING_LOST;
        assert_eq!(placement.pings(&[SECOND], late), [SECOND]);
        let report = placement.report(late);
        assert_eq!(report, BTreeMap::from([(SECOND, UNKNOWN)]));
    }
}

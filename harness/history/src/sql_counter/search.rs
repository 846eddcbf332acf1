//! Whether the unanswered updates of one person can be shared out among the gaps so that each gets
//! what it demands: so many, bringing so many friends together, the last of them leaving a word.
//!
//! The search is complete: it says no only when every way has been tried or excluded. It goes from
//! what leaves no choice to what does:
//!
//! 1. *Last words.* The update that left a visible word is one of those with that word. The choice,
//!    if there is any (words are long and random, so there is none as a rule), is tried in full.
//! 2. *Single updates.* A gap that wants one more update with so many friends says which.
//! 3. *Sums.* What remains are gaps that want two or more updates. In the order of the gaps, updates
//!    with the same number of friends are exchangeable: what is available now is so later, and
//!    their words are not seen. So the choice is how many of each number of friends to take. The
//!    sums that can be reached at all are tabulated (subset sums with a count), so that no branch
//!    is entered that cannot serve its own gap; and what was left over when the later gaps could
//!    not be served is remembered, so that it is not tried twice.
//!
//! Every step of every table and branch is paid from the budget.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    gaps::Demand,
    stock::{Copies, Updates},
};
use crate::{Budget, Exhausted};

/// Whether all demands can be satisfied together.
///
/// # Errors
/// When the budget is spent before that is known.
pub fn satisfies(
    updates: &Updates<'_>,
    demands: &[Demand<'_>],
    budget: &mut Budget,
) -> Result<bool, Exhausted> {
    if demands.is_empty() {
        return Ok(true);
    }
    let mut by_word: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
    for (kind, update) in updates.kinds.iter().enumerate() {
        by_word.entry(update.word).or_default().push(kind);
    }
    let mut search = LastWords {
        updates,
        by_word,
        copies: updates
            .kinds
            .iter()
            .map(|kind| kind.copies.clone())
            .collect(),
        rest: Vec::with_capacity(demands.len()),
    };
    search.assign(demands, budget)
}

/// What a gap still demands when its last update is fixed.
#[derive(Clone, Copy, Debug)]
struct Rest {
    place: usize,
    count: u64,
    friends: u64,
}

/// The first step.
struct LastWords<'a> {
    updates: &'a Updates<'a>,
    by_word: FxHashMap<&'a str, Vec<usize>>,
    /// What is left of each kind.
    copies: Vec<Copies>,
    rest: Vec<Rest>,
}

impl LastWords<'_> {
    /// Whether the demands can be satisfied, given what was taken for those before. Leaves
    /// everything as it was.
    fn assign(&mut self, demands: &[Demand<'_>], budget: &mut Budget) -> Result<bool, Exhausted> {
        let depth = self.rest.len();
        let mut taken = Vec::new();
        let found = self.assign_from(demands, &mut taken, budget);
        self.rest.truncate(depth);
        for (kind, copy) in taken.into_iter().rev() {
            self.copies[kind].put_back(copy);
        }
        found
    }

    /// Goes on as long as there is no choice; where there is one, tries each.
    fn assign_from(
        &mut self,
        demands: &[Demand<'_>],
        taken: &mut Vec<(usize, usize)>,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        for (at, demand) in demands.iter().enumerate() {
            let place = demand.around.1;
            let candidates = self.candidates(demand);
            budget.spend(1 + candidates.as_ref().map_or(0, Vec::len) as u64)?;
            let Some(candidates) = candidates else {
                self.rest.push(Rest {
                    place,
                    count: demand.count,
                    friends: demand.friends,
                });
                continue;
            };
            let [others @ .., (last, rest)] = candidates.as_slice() else {
                return Ok(false);
            };
            for (kind, rest) in others {
                let Some(copy) = self.copies[*kind].take(place) else {
                    continue;
                };
                self.rest.push(*rest);
                let found = self.assign(&demands[at + 1..], budget);
                self.rest.pop();
                self.copies[*kind].put_back(copy);
                if found? {
                    return Ok(true);
                }
            }
            let Some(copy) = self.copies[*last].take(place) else {
                return Ok(false);
            };
            taken.push((*last, copy));
            self.rest.push(*rest);
        }
        self.share_out(budget)
    }

    /// The kinds that can have left the last word, with what remains; `None` if it is not seen.
    fn candidates(&self, demand: &Demand<'_>) -> Option<Vec<(usize, Rest)>> {
        let place = demand.around.1;
        let kinds = self.by_word.get(demand.last?).into_iter().flatten();
        let rest = |&kind: &usize| {
            let friends = demand
                .friends
                .checked_sub(self.updates.kinds[kind].friends)?;
            let rest = Rest {
                place,
                count: demand.count - 1,
                friends,
            };
            let is_left = self.copies[kind].available(place) > 0;
            (is_left && (rest.count > 0 || friends == 0)).then_some((kind, rest))
        };
        Some(kinds.filter_map(rest).collect())
    }

    /// The second step, and the third.
    fn share_out(&self, budget: &mut Budget) -> Result<bool, Exhausted> {
        let mut by_friends: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        for (kind, copies) in self.updates.kinds.iter().zip(&self.copies) {
            budget.spend(1 + copies.places().len() as u64)?;
            by_friends
                .entry(kind.friends)
                .or_default()
                .extend(copies.places());
        }
        let mut shelves: FxHashMap<u64, Copies> = by_friends
            .into_iter()
            .map(|(friends, places)| (friends, Copies::new(places)))
            .collect();
        for single in self.rest.iter().filter(|rest| rest.count == 1) {
            budget.spend(1)?;
            let shelf = shelves.get_mut(&single.friends);
            if shelf.and_then(|shelf| shelf.take(single.place)).is_none() {
                return Ok(false);
            }
        }
        let demands: Vec<Rest> = self
            .rest
            .iter()
            .filter(|rest| rest.count > 1)
            .copied()
            .collect();
        let mut shelves: Vec<(u64, Copies)> = shelves
            .into_iter()
            .filter(|(_, copies)| !copies.is_empty())
            .collect();
        shelves.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let mut sums = Sums {
            used: vec![0; shelves.len()],
            shelves,
            demands,
            hopeless: FxHashSet::default(),
        };
        sums.serve(budget)
    }
}

/// The third step.
struct Sums {
    /// Exchangeable updates by the friends that each brings, most first.
    shelves: Vec<(u64, Copies)>,
    /// How many of each shelf are used.
    used: Vec<u32>,
    demands: Vec<Rest>,
    /// From which demand on, and with what used, nothing was found.
    hopeless: FxHashSet<(usize, Box<[u32]>)>,
}

/// A demand that is being served, and those used when it began to be.
struct Level {
    ways: Ways,
    /// The shelves that the ways take from, in their order.
    shelves: Vec<usize>,
    used_before: Box<[u32]>,
}

impl Sums {
    /// Whether all demands can be served: goes through them with a stack of its own, since there
    /// may be thousands.
    fn serve(&mut self, budget: &mut Budget) -> Result<bool, Exhausted> {
        let mut levels: Vec<Level> = Vec::new();
        loop {
            if levels.len() == self.demands.len() {
                return Ok(true);
            }
            let held = levels
                .iter()
                .map(|level| level.ways.reachable.bits.len())
                .sum();
            if let Some(level) = self.open(levels.len(), held, budget)? {
                // Any way to serve the last one will do.
                if levels.len() + 1 == self.demands.len() {
                    return Ok(true);
                }
                levels.push(level);
            }
            loop {
                let Some(level) = levels.last_mut() else {
                    return Ok(false);
                };
                self.used.copy_from_slice(&level.used_before);
                if level.ways.next(budget)? {
                    for (shelf, taken) in level.shelves.iter().zip(&level.ways.taken) {
                        self.used[*shelf] += *taken as u32;
                    }
                    break;
                }
                let at = levels.len() - 1;
                if let Some(level) = levels.pop() {
                    self.hopeless.insert((at, level.used_before));
                }
            }
        }
    }

    /// Begins to serve a demand, if that has not failed before and can be done at all.
    fn open(
        &mut self,
        at: usize,
        held_words: usize,
        budget: &mut Budget,
    ) -> Result<Option<Level>, Exhausted> {
        let demand = self.demands[at];
        // A state that is remembered takes memory.
        budget.spend(16 * (1 + self.shelves.len() as u64))?;
        let state = (at, self.used.clone().into_boxed_slice());
        if !self.within_bounds(at) || self.hopeless.contains(&state) {
            return Ok(None);
        }
        let offer = self.offer(demand.place);
        let mut reachable = None;
        let shelves = self.oldest_first(&offer, demand);
        if is_in_reach(&offer, demand) {
            let offer: Vec<_> = shelves.iter().map(|&shelf| offer[shelf]).collect();
            reachable = Reachable::new(&offer, demand, held_words, budget)?
                .map(|reachable| Ways::new(reachable, offer, demand));
        }
        if reachable.is_none() {
            self.hopeless.insert(state.clone());
        }
        Ok(reachable.map(|ways| Level {
            ways,
            shelves,
            used_before: state.1,
        }))
    }

    /// The shelves that a demand can take from, those whose newest update is the oldest first.
    ///
    /// The ways leave the first shelves alone as long as they can. What was sent last is most likely
    /// what was executed last, so the first ways are those that honest stores went.
    fn oldest_first(&self, offer: &[(u64, u64)], demand: Rest) -> Vec<usize> {
        let can_serve = |&shelf: &usize| {
            let (friends, available) = offer[shelf];
            available > 0 && friends <= demand.friends
        };
        let newest = |&shelf: &usize| {
            let copies = &self.shelves[shelf].1;
            let last = copies.available(demand.place).checked_sub(1);
            last.map(|last| copies.places()[last])
        };
        let mut shelves: Vec<usize> = (0..offer.len()).filter(can_serve).collect();
        shelves.sort_by_key(newest);
        shelves
    }

    /// How many of each number of friends are left for a place.
    fn offer(&self, place: usize) -> Vec<(u64, u64)> {
        let left = |((friends, copies), &used): (&(u64, Copies), &u32)| {
            (*friends, copies.available(place) as u64 - u64::from(used))
        };
        self.shelves.iter().zip(&self.used).map(left).collect()
    }

    /// Whether the smallest and the largest updates that will ever be there leave a chance for the
    /// demands from one on together.
    fn within_bounds(&self, from: usize) -> bool {
        let (mut count, mut friends) = (0_u64, 0_u64);
        for demand in &self.demands[from..] {
            count += demand.count;
            friends = friends.saturating_add(demand.friends);
        }
        let last = self.demands.last().map_or(0, |demand| demand.place);
        let together = Rest {
            place: last,
            count,
            friends,
        };
        is_in_reach(&self.offer(last), together)
    }
}

/// Whether a demand lies between the smallest and the largest updates of an offer, largest first.
fn is_in_reach(offer: &[(u64, u64)], demand: Rest) -> bool {
    let most = take(offer.iter(), demand.count);
    let least = take(offer.iter().rev(), demand.count);
    most.is_some_and(|most| demand.friends <= most)
        && least.is_some_and(|least| demand.friends >= least)
}

/// The friends of the first so many updates; `None` if there are fewer.
fn take<'a>(shelves: impl Iterator<Item = &'a (u64, u64)>, mut count: u64) -> Option<u64> {
    let mut friends: u64 = 0;
    for &(each, available) in shelves {
        let taken = available.min(count);
        friends = friends.saturating_add(each.saturating_mul(taken));
        count -= taken;
    }
    (count == 0).then_some(friends)
}

/// All ways to serve a demand, one after the other.
struct Ways {
    reachable: Reachable,
    offer: Vec<(u64, u64)>,
    /// How many are taken from each shelf.
    taken: Vec<u64>,
    /// What each shelf and those after it must give: how many, and how many friends.
    wanted: Vec<(u64, u64)>,
    begun: bool,
}

impl Ways {
    fn new(reachable: Reachable, offer: Vec<(u64, u64)>, demand: Rest) -> Self {
        Self {
            taken: vec![0; offer.len()],
            wanted: vec![(demand.count, demand.friends); offer.len() + 1],
            reachable,
            offer,
            begun: false,
        }
    }

    /// Goes to the next way; false when there are no more.
    fn next(&mut self, budget: &mut Budget) -> Result<bool, Exhausted> {
        let shelves = self.offer.len();
        let (mut shelf, mut first) = (0, 0);
        if std::mem::replace(&mut self.begun, true) {
            let Some(last) = shelves.checked_sub(1) else {
                return Ok(false);
            };
            (shelf, first) = (last, self.taken[last] + 1);
        }
        while shelf < shelves {
            budget.spend(1)?;
            if self.take_from(shelf, first, budget)? {
                (shelf, first) = (shelf + 1, 0);
            } else if shelf > 0 {
                (shelf, first) = (shelf - 1, self.taken[shelf - 1] + 1);
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes so many from a shelf, or the next larger number from which the others can go on.
    fn take_from(
        &mut self,
        shelf: usize,
        first: u64,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let (each, available) = self.offer[shelf];
        let (count, friends) = self.wanted[shelf];
        for taken in first..=available.min(count) {
            budget.spend(1)?;
            let Some(left) = each
                .checked_mul(taken)
                .and_then(|sum| friends.checked_sub(sum))
            else {
                break;
            };
            if self.reachable.contains(shelf + 1, count - taken, left) {
                self.taken[shelf] = taken;
                self.wanted[shelf + 1] = (count - taken, left);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Which counts and sums can be taken from the shelves from one on: a bit for each.
struct Reachable {
    count: usize,
    /// Words of 64 sums, for each count.
    words: usize,
    /// By shelf, count, sum.
    bits: Vec<u64>,
}

/// With larger tables than this together, in words of 8 bytes, the search is given up.
const TABLE_WORDS: u64 = 1 << 25;

impl Reachable {
    /// The table for a demand, if it can be served at all.
    fn new(
        offer: &[(u64, u64)],
        demand: Rest,
        held_words: usize,
        budget: &mut Budget,
    ) -> Result<Option<Self>, Exhausted> {
        let words = demand.friends / 64 + 1;
        let layer = (demand.count + 1).checked_mul(words).ok_or(Exhausted)?;
        let size = layer
            .checked_mul(offer.len() as u64 + 1)
            .filter(|&size| size + held_words as u64 <= TABLE_WORDS)
            .ok_or(Exhausted)?;
        budget.spend(size)?;
        let mut table = Self {
            count: demand.count as usize,
            words: words as usize,
            bits: vec![0; size as usize],
        };
        // Nothing of no shelf makes the sum of zero.
        let end = table.at(offer.len(), 0);
        table.bits[end] = 1;
        for (shelf, &(each, available)) in offer.iter().enumerate().rev() {
            let taken_at_most = available.min(demand.count);
            budget.spend(layer.saturating_mul(taken_at_most))?;
            for taken in 0..=taken_at_most {
                let Some(shift) = each.checked_mul(taken).filter(|&sum| sum <= demand.friends)
                else {
                    break;
                };
                for count in taken as usize..=table.count {
                    table.add(shelf, count, count - taken as usize, shift as usize);
                }
            }
        }
        let served = table.contains(0, demand.count, demand.friends);
        Ok(served.then_some(table))
    }

    fn at(&self, shelf: usize, count: usize) -> usize {
        (shelf * (self.count + 1) + count) * self.words
    }

    /// Adds the sums of a count at the next shelf, each larger by `shift`, to those of a count.
    fn add(&mut self, shelf: usize, count: usize, next_count: usize, shift: usize) {
        let (to, from) = (self.at(shelf, count), self.at(shelf + 1, next_count));
        let (skip, bits) = (shift / 64, shift % 64);
        for word in 0..self.words - skip {
            let value = self.bits[from + word];
            self.bits[to + word + skip] |= value << bits;
            if bits > 0 && word + skip + 1 < self.words {
                self.bits[to + word + skip + 1] |= value >> (64 - bits);
            }
        }
    }

    fn contains(&self, shelf: usize, count: u64, friends: u64) -> bool {
        let word = self.bits[self.at(shelf, count as usize) + friends as usize / 64];
        word >> (friends % 64) & 1 == 1
    }
}

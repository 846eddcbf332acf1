//! Which chunks of a segment can contain a match.

use crate::index::{ChunkSet, Gram, IndexError, Segment};

/// How many posting lists a conjunction reads at most. The rarest come first, so that the tenth
/// rarely removes a candidate that the nine before it have left.
const MAX_LISTS: usize = 10;

/// Candidates below which a further posting list costs more than verifying them.
const FEW_CHUNKS: usize = 2;

/// A condition on the grams of a chunk, necessary for a match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// No condition: every chunk has to be read.
    All,
    /// Nothing can match.
    Nothing,
    /// The chunk contains the gram.
    Gram(Gram),
    /// All conditions hold.
    And(Vec<Plan>),
    /// Any condition holds.
    Or(Vec<Plan>),
}

impl Plan {
    /// The condition for containing `needle`.
    pub fn literal(needle: &[u8]) -> Self {
        if needle.contains(&b'\n') {
            return Self::Nothing;
        }
        let length = needle.len().min(Gram::MAX_BYTES);
        Self::and(
            needle
                .windows(length.max(1))
                .filter_map(Gram::of)
                .map(Self::Gram),
        )
    }

    /// All of `plans`.
    pub fn and(plans: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for plan in plans {
            match plan {
                Self::All => {}
                Self::Nothing => return Self::Nothing,
                Self::And(inner) => all.extend(inner),
                other => all.push(other),
            }
        }
        all.sort_unstable();
        all.dedup();
        match all.len() {
            0 => Self::All,
            1 => all.swap_remove(0),
            _ => Self::And(all),
        }
    }

    /// Any of `plans`.
    pub fn or(plans: impl IntoIterator<Item = Self>) -> Self {
        let mut any = Vec::new();
        for plan in plans {
            match plan {
                Self::All => return Self::All,
                Self::Nothing => {}
                Self::Or(inner) => any.extend(inner),
                other => any.push(other),
            }
        }
        any.sort_unstable();
        any.dedup();
        match any.len() {
            0 => Self::Nothing,
            1 => any.swap_remove(0),
            _ => Self::Or(any),
        }
    }

    /// How many grams it names.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::All | Self::Nothing => 0,
            Self::Gram(_) => 1,
            Self::And(plans) | Self::Or(plans) => plans.iter().map(Self::size).sum(),
        }
    }

    /// Whether the index helps at all.
    pub fn prunes(&self) -> bool {
        *self != Self::All
    }

    /// The chunks of `segment` that fulfil the condition, and perhaps a few more: conditions that
    /// would cost more to check than they save are skipped.
    pub fn candidates(&self, segment: &Segment) -> Result<ChunkSet, IndexError> {
        match self {
            Self::All => Ok(ChunkSet::all(segment.chunks())),
            Self::Nothing => Ok(ChunkSet::none(segment.chunks())),
            Self::Gram(gram) => segment.postings(*gram),
            Self::Or(plans) => {
                let mut any = ChunkSet::none(segment.chunks());
                for plan in plans {
                    any.unite(&plan.candidates(segment)?);
                }
                Ok(any)
            }
            Self::And(plans) => {
                let mut by_cost: Vec<(u64, &Self)> = plans
                    .iter()
                    .map(|plan| (plan.cost(segment), plan))
                    .collect();
                by_cost.sort_by_key(|&(cost, _)| cost);
                let mut all = ChunkSet::all(segment.chunks());
                for (cost, plan) in by_cost.into_iter().take(MAX_LISTS) {
                    if cost == 0 {
                        return Ok(ChunkSet::none(segment.chunks()));
                    }
                    all.intersect(&plan.candidates(segment)?);
                    if all.len() <= FEW_CHUNKS {
                        break;
                    }
                }
                Ok(all)
            }
        }
    }

    /// Bytes of posting lists behind the condition; 0 only if no chunk fulfils it.
    fn cost(&self, segment: &Segment) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::Nothing => 0,
            Self::Gram(gram) => segment.list_bytes(*gram),
            Self::And(plans) => plans
                .iter()
                .map(|plan| plan.cost(segment))
                .min()
                .unwrap_or(0),
            Self::Or(plans) => plans
                .iter()
                .fold(0, |sum, plan| plan.cost(segment).saturating_add(sum)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(text: &str) -> Plan {
        Plan::Gram(Gram::of(text.as_bytes()).unwrap())
    }

    #[test]
    fn needles_become_their_longest_grams() {
        assert_eq!(Plan::literal(b"a"), gram("a"));
        assert_eq!(Plan::literal(b"ab"), gram("ab"));
        assert_eq!(Plan::literal(b"abc"), gram("abc"));
        assert_eq!(
            Plan::literal(b"abcd"),
            Plan::And(vec![gram("abc"), gram("bcd")])
        );
        assert_eq!(Plan::literal(b"aaaa"), gram("aaa"));
        assert_eq!(Plan::literal(b"a\nb"), Plan::Nothing);
        assert_eq!(Plan::literal(b""), Plan::All);
    }

    #[test]
    fn neutral_and_absorbing_parts_vanish() {
        assert_eq!(Plan::and([Plan::All, gram("abc")]), gram("abc"));
        assert_eq!(Plan::and([Plan::Nothing, gram("abc")]), Plan::Nothing);
        assert_eq!(Plan::or([Plan::All, gram("abc")]), Plan::All);
        assert_eq!(
            Plan::or([Plan::Nothing, gram("abc"), gram("abc")]),
            gram("abc")
        );
        assert_eq!(Plan::and([]), Plan::All);
        assert_eq!(Plan::or([]), Plan::Nothing);
    }
}

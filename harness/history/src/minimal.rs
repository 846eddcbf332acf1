//! Smallest conflicts: QuickXplain (Junker, AAAI 2004). Of n things of which k contradict each
//! other it finds such k with about k × log₂(n ÷ k) questions, where leaving out one after the other
//! would take n.

/// A part of `all` that is a conflict, as no part of it is, given that all of it is one and that
/// whatever contains a conflict is one.
pub fn conflict<T: Copy>(all: &[T], is_conflict: impl Fn(&[T]) -> bool) -> Vec<T> {
    if all.is_empty() || is_conflict(&[]) {
        return Vec::new();
    }
    search(&[], false, all, &is_conflict)
}

/// The smallest part of `candidates` that is a conflict together with `given`; `changed` says
/// whether `given` has grown since it was last asked about.
fn search<T: Copy>(
    given: &[T],
    changed: bool,
    candidates: &[T],
    is_conflict: &impl Fn(&[T]) -> bool,
) -> Vec<T> {
    if changed && is_conflict(given) {
        return Vec::new();
    }
    if let [only] = candidates {
        return vec![*only];
    }
    let (first, second) = candidates.split_at(candidates.len() / 2);
    let with_first = [given, first].concat();
    let from_second = search(&with_first, !first.is_empty(), second, is_conflict);
    let with_second = [given, &from_second].concat();
    let from_first = search(&with_second, !from_second.is_empty(), first, is_conflict);
    [from_first, from_second].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_conflict_is_found_whole_and_alone(
            cores in prop::collection::vec(
                prop::collection::btree_set(0_u32..200, 1..5), 1..4),
        ) {
            let is_conflict = |part: &[u32]| {
                cores.iter().any(|core| core.iter().all(|member| part.contains(member)))
            };
            let found = conflict(&(0..200).collect::<Vec<u32>>(), is_conflict);
            prop_assert!(is_conflict(&found));
            for left_out in &found {
                let rest: Vec<u32> = found.iter().copied().filter(|m| m != left_out).collect();
                prop_assert!(!is_conflict(&rest));
            }
        }
    }

    #[test]
    fn few_questions_are_put() {
        let asked = std::cell::Cell::new(0);
        let found = conflict(&(0..20_000).collect::<Vec<u32>>(), |part: &[u32]| {
            asked.set(asked.get() + 1);
            part.contains(&123) && part.contains(&17_000)
        });
        assert_eq!(found, [123, 17_000]);
        assert!(asked.get() < 80, "{}", asked.get());
    }
}

//! What the expressions of one query may take together.
//!
//! A query can have so many of them that each of the largest size would be gigabytes on every node,
//! and seconds of a processor before the search begins.

use super::pattern::PatternError;
use super::required::MAX_STEPS;

/// Memory for all expressions of a query as they are compiled, in bytes: one of the largest, which
/// is compiled forwards and backwards, and half as much again.
pub(super) const COMPILED_BYTES: usize = 12 << 20;

/// Memory for the states of the automata that are built while they run, in bytes for each thread.
const AUTOMATA_BYTES: usize = 1 << 20;

/// But for each expression so much: below it, states would be thrown away and built again and again.
const MIN_AUTOMATON_BYTES: usize = 128 << 10;

/// What is left for the expressions of a query that are still to be compiled.
pub(crate) struct Allowance {
    compiled_bytes: usize,
    automaton_bytes: usize,
    steps: usize,
}

impl Allowance {
    /// For a query of so many texts and expressions.
    pub(crate) fn for_terms(terms: usize) -> Self {
        Self {
            compiled_bytes: COMPILED_BYTES,
            automaton_bytes: (AUTOMATA_BYTES / terms.max(1)).max(MIN_AUTOMATON_BYTES),
            steps: MAX_STEPS,
        }
    }

    /// Memory for the states of one automaton, in bytes for each thread.
    pub(super) fn automaton_bytes(&self) -> usize {
        self.automaton_bytes
    }

    /// Steps that planning may still take.
    pub(super) fn steps(&mut self) -> &mut usize {
        &mut self.steps
    }

    /// Takes what an expression needs.
    pub(super) fn take(&mut self, compiled_bytes: usize) -> Result<(), PatternError> {
        let left = self.compiled_bytes.checked_sub(compiled_bytes);
        self.compiled_bytes = left.ok_or(PatternError::TogetherTooCostly)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::Pattern;

    #[test]
    fn expressions_of_a_query_spend_together_what_one_may_spend() {
        let letters: String = (0..200_u32)
            .map(|at| char::from(b'a' + (at * at % 23) as u8))
            .collect();
        let mut allowance = Allowance::for_terms(64);
        let mut word = || Pattern::of_query(&letters, false, true, &mut allowance).unwrap();
        assert!(word().plan().prunes());
        let words: Vec<Pattern> = (0..63).map(|_| word()).collect();
        assert!(!words[62].plan().prunes());
        let mut word = || Pattern::of_query(r"\w{60}", true, false, &mut allowance);
        let refused = (0..64).find_map(|_| word().err());
        assert!(matches!(refused, Some(PatternError::TogetherTooCostly)));
    }
}

//! Searching a long line a byte at a time, so that it can be ended in the middle.
//!
//! The engines of `regex-automata` search a text in one call, which for a heavy expression takes
//! minutes on a line of a mebibyte. Here the same lazily built automata are driven byte by byte,
//! forwards to the end of the leftmost match and backwards to its start, with a look at the budget
//! after each small amount of work.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;

use super::budget::{Budget, Spent};

/// Work between looks at the budget, in bytes times the expression's weight.
const STEPS_BETWEEN_LOOKS: usize = 1 << 20;

/// What came of a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// The leftmost match.
    Found(Range<usize>),
    /// There is none.
    Nothing,
    /// The automaton cannot tell: a word's border beside characters beyond ASCII.
    Unknown,
}

/// The automata of an expression.
#[derive(Debug)]
pub(crate) struct Stepper {
    forward: DFA,
    reverse: DFA,
    /// Bytes between looks at the budget.
    stride: usize,
    /// States built by searches that have ended, for the next ones to go on with.
    caches: Mutex<Vec<(Cache, Cache)>>,
}

impl Stepper {
    /// Automata for an expression of this weight; `None` if they cannot be built in so much memory.
    /// The states of either take `automaton_bytes` for each search at work, and those of a heavy
    /// expression more, if only to hold two.
    pub(crate) fn new(
        hir: &Hir,
        compiled_bytes: usize,
        automaton_bytes: usize,
        weight: usize,
    ) -> Option<Self> {
        let config = thompson::Config::new()
            .nfa_size_limit(Some(compiled_bytes))
            .which_captures(thompson::WhichCaptures::None);
        let build = |reverse: bool| {
            let nfa = thompson::Compiler::new()
                .configure(config.clone().reverse(reverse))
                .build_from_hir(hir)
                .ok()?;
            let kind = if reverse {
                MatchKind::All
            } else {
                MatchKind::LeftmostFirst
            };
            let config = Config::new()
                .match_kind(kind)
                .unicode_word_boundary(true)
                .cache_capacity(automaton_bytes)
                .skip_cache_capacity_check(true);
            DFA::builder().configure(config).build_from_nfa(nfa).ok()
        };
        Some(Self {
            forward: build(false)?,
            reverse: build(true)?,
            stride: (STEPS_BETWEEN_LOOKS / weight.max(1)).clamp(1, 1 << 16),
            caches: Mutex::default(),
        })
    }

    /// The leftmost match that starts and ends within `range` of `text`, of which what is in front
    /// and behind is seen by assertions.
    pub(crate) fn find(
        &self,
        text: &[u8],
        range: Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<Stepped, Spent> {
        let kept = self.caches().pop();
        let mut caches =
            kept.unwrap_or_else(|| (self.forward.create_cache(), self.reverse.create_cache()));
        let found = self.find_with(&mut caches, text, range, budget);
        self.caches().push(caches);
        found
    }

    fn caches(&self) -> std::sync::MutexGuard<'_, Vec<(Cache, Cache)>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_with(
        &self,
        (forward, reverse): &mut (Cache, Cache),
        text: &[u8],
        range: Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<Stepped, Spent> {
        let end = match self.forward_end(forward, text, range.clone(), budget)? {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(Stepped::Nothing),
            Err(Quit) => return Ok(Stepped::Unknown),
        };
        match self.reverse_start(reverse, text, range.start..end, budget)? {
            Ok(Some(start)) => Ok(Stepped::Found(start..end)),
            Ok(None) | Err(Quit) => Ok(Stepped::Unknown),
        }
    }

    /// Where the leftmost match ends.
    fn forward_end(
        &self,
        cache: &mut Cache,
        text: &[u8],
        range: Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<Result<Option<usize>, Quit>, Spent> {
        let dfa = &self.forward;
        let input = Input::new(text).range(range.clone());
        let Ok(mut state) = dfa.start_state_forward(cache, &input) else {
            return Ok(Err(Quit));
        };
        let mut end = None;
        for at in range.clone() {
            if (at - range.start).is_multiple_of(self.stride) {
                budget.check()?;
            }
            let Ok(next) = dfa.next_state(cache, state, text[at]) else {
                return Ok(Err(Quit));
            };
            state = next;
            if state.is_tagged() {
                if state.is_match() {
                    // Matches are noticed one byte late.
                    end = Some(at);
                } else if state.is_dead() {
                    return Ok(Ok(end));
                } else if state.is_quit() {
                    return Ok(Err(Quit));
                }
            }
        }
        let last = match text.get(range.end) {
            Some(&byte) => dfa.next_state(cache, state, byte),
            None => dfa.next_eoi_state(cache, state),
        };
        match last {
            Ok(state) if state.is_match() => Ok(Ok(Some(range.end))),
            Ok(state) if !state.is_quit() => Ok(Ok(end)),
            _ => Ok(Err(Quit)),
        }
    }

    /// Where the longest match that ends with `range` starts.
    fn reverse_start(
        &self,
        cache: &mut Cache,
        text: &[u8],
        range: Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<Result<Option<usize>, Quit>, Spent> {
        let dfa = &self.reverse;
        let input = Input::new(text)
            .range(range.clone())
            .anchored(Anchored::Yes);
        let Ok(mut state) = dfa.start_state_reverse(cache, &input) else {
            return Ok(Err(Quit));
        };
        let mut start = None;
        for at in range.clone().rev() {
            if (range.end - at).is_multiple_of(self.stride) {
                budget.check()?;
            }
            let Ok(next) = dfa.next_state(cache, state, text[at]) else {
                return Ok(Err(Quit));
            };
            state = next;
            if state.is_tagged() {
                if state.is_match() {
                    start = Some(at + 1);
                } else if state.is_dead() {
                    return Ok(Ok(start));
                } else if state.is_quit() {
                    return Ok(Err(Quit));
                }
            }
        }
        let last = match range.start.checked_sub(1) {
            Some(before) => dfa.next_state(cache, state, text[before]),
            None => dfa.next_eoi_state(cache, state),
        };
        match last {
            Ok(state) if state.is_match() => Ok(Ok(Some(range.start))),
            Ok(state) if !state.is_quit() => Ok(Ok(start)),
            _ => Ok(Err(Quit)),
        }
    }
}

/// The automaton has met what it cannot handle.
struct Quit;

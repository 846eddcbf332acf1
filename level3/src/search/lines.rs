//! Finding the lines that a whole query matches: all of some patterns and none of others.
//!
//! One pattern runs over the text; the others are asked of the lines that it finds.

use std::ops::Range;

use super::allowance::Allowance;
use super::budget::{Budget, Spent};
use super::pattern::{Pattern, PatternError, line_end};
use super::plan::Plan;
use super::query::{Query, Term};

/// Text between looks at the budget where no pattern drives the search, in bytes.
const BLOCK_BYTES: usize = 1 << 16;

/// What a line must match and must not.
#[derive(Debug)]
pub(crate) struct LineMatcher {
    /// The first of them runs over the text.
    all: Vec<Pattern>,
    none: Vec<Pattern>,
    plan: Plan,
}

impl LineMatcher {
    /// Compiles the terms of a query.
    pub(crate) fn new(query: &Query) -> Result<Self, PatternError> {
        let mut allowance = Allowance::for_terms(query.all.len() + query.none.len());
        let mut compile = |terms: &[Term]| {
            let compile = |term: &Term| {
                Pattern::of_query(&term.text, term.regex, term.ignore_case, &mut allowance)
            };
            terms.iter().map(compile).collect::<Result<Vec<_>, _>>()
        };
        let (mut all, none) = (compile(&query.all)?, compile(&query.none)?);
        all.sort_by_key(Pattern::cost);
        let plan = Plan::and(all.iter().map(|pattern| pattern.plan().clone()));
        Ok(Self { all, none, plan })
    }

    /// The condition on chunks that can match.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The patterns whose matches are worth a mark.
    pub(super) fn marks(&self) -> &[Pattern] {
        &self.all
    }

    /// Calls `each` for the lines of `text` that match, without their ends, until it says `false`.
    /// `text` is whole lines, as for [`Pattern::lines`].
    pub(crate) fn lines(
        &self,
        text: &[u8],
        budget: &Budget<'_>,
        mut each: impl FnMut(Range<usize>) -> bool,
    ) -> Result<(), Spent> {
        let Some((driver, others)) = self.all.split_first() else {
            return self.lines_without(text, budget, each);
        };
        if others.is_empty() && self.none.is_empty() {
            return driver.lines(text, budget, each);
        }
        let mut spent = None;
        driver.lines(text, budget, |line| {
            match self.admits(others, text, &line, budget) {
                Ok(true) => each(line),
                Ok(false) => true,
                Err(what) => {
                    spent = Some(what);
                    false
                }
            }
        })?;
        spent.map_or(Ok(()), Err)
    }

    /// Likewise where every line is found that does not match what it must not.
    fn lines_without(
        &self,
        text: &[u8],
        budget: &Budget<'_>,
        mut each: impl FnMut(Range<usize>) -> bool,
    ) -> Result<(), Spent> {
        let (mut start, mut looked) = (0, 0);
        while start < text.len() {
            if start >= looked {
                budget.check()?;
                looked = start + BLOCK_BYTES;
            }
            let line = start..line_end(text, start);
            start = line.end + 1;
            if self.admits(&[], text, &line, budget)? && !each(line) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a line matches these and none of what it must not.
    fn admits(
        &self,
        others: &[Pattern],
        text: &[u8],
        line: &Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<bool, Spent> {
        let matches = |pattern: &Pattern| {
            Ok(pattern
                .find(&text[..line.end], line.start, budget)?
                .is_some())
        };
        for pattern in others {
            if !matches(pattern)? {
                return Ok(false);
            }
        }
        for pattern in &self.none {
            if matches(pattern)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

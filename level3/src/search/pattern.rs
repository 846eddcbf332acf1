//! Finding the matching lines of a text.
//!
//! A pattern matches within one line, as in `grep`. Running an expression on every line by itself
//! would be slow, and running it on the text as it stands could match across lines, so the
//! expression is rewritten: nothing in it can match a newline any more, and `\A` and `\z` mean
//! the ends of the line. The rewritten one can then run over many lines at once.
//!
//! Where an expression needs something that is found faster than by running it, a
//! [prefilter](super::prefilter) finds that, and the expression runs on the lines around.
//!
//! How much text it runs over at once depends on the expression's [weight](super::weight), so that
//! a [`Budget`] is looked at often enough; a single line that is too long for that is searched by
//! the [`Stepper`], a byte at a time.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use memchr::memmem::Finder;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Input, meta};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;
use thiserror::Error;

use super::allowance::{self, Allowance};
use super::budget::{Budget, Spent};
use super::line::{uses_crlf, within_line};
use super::plan::Plan;
use super::prefilter::Prefilter;
use super::required::required;
use super::stepper::{Stepped, Stepper};
use super::weight::weight;

/// Memory that a compiled expression may take, in bytes.
const COMPILED_BYTES: usize = 4 << 20;

/// Expressions longer than this are refused, in bytes: parsing takes time and memory as well.
const MAX_EXPRESSION_BYTES: usize = 16 << 10;

/// What may be searched without a look at the budget, in bytes times the expression's weight. At
/// some nanoseconds each that is less than 50 ms, at worst.
const STEPS_AT_ONCE: usize = 8 << 20;

/// Less text than this is not worth a call of its own, in bytes.
const MIN_BLOCK_BYTES: usize = 64;

/// A prefilter is given up, for the text at hand, when it has led to this many lines without a match
/// and to more than one for so many bytes.
const MAX_IN_VAIN: usize = 16;
const BYTES_FOR_ONE: usize = 128;

/// Why an expression was refused.
#[derive(Debug, Error)]
pub enum PatternError {
    /// It is not an expression.
    #[error("the expression does not compile: {}", kind(.0))]
    Syntax(Box<regex_syntax::Error>),
    /// It is one, but would need too much memory.
    #[error(
        "the expression is too costly: compiled, it exceeds the budget of {COMPILED_BYTES} bytes: {0}"
    )]
    TooCostly(String),
    /// With the others of its query it would.
    #[error(
        "the query is too costly: compiled, its expressions exceed the budget of {} bytes together",
        allowance::COMPILED_BYTES
    )]
    TogetherTooCostly,
    /// It is too long to be looked at.
    #[error("the expression is too costly: it exceeds the budget of {MAX_EXPRESSION_BYTES} bytes")]
    TooLong,
}

impl PatternError {
    /// Where in `expression` the mistake is, in characters.
    pub(super) fn place(&self, expression: &str) -> Option<Range<usize>> {
        let Self::Syntax(error) = self else {
            return None;
        };
        let span = match &**error {
            regex_syntax::Error::Parse(error) => error.span(),
            regex_syntax::Error::Translate(error) => error.span(),
            _ => return None,
        };
        let characters = |bytes: usize| expression.get(..bytes).map(|front| front.chars().count());
        Some(characters(span.start.offset)?..characters(span.end.offset)?)
    }
}

/// What is wrong, in one line: the error itself draws a picture of the place.
fn kind(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Pattern {
    matcher: Matcher,
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Matcher {
    Literal(Box<Finder<'static>>),
    Expression(Box<Expression>),
}

#[derive(Clone, Debug)]
struct Expression {
    regex: meta::Regex,
    hir: Hir,
    /// Finds the lines that are worth a look.
    prefilter: Option<Prefilter>,
    /// Text that is searched at once, in bytes.
    block_bytes: usize,
    /// Memory for the states of an automaton, in bytes for each thread.
    automaton_bytes: usize,
    /// Whether each line has to be searched by itself, because what is behind it would matter.
    isolated: bool,
    /// Made when the first line needs it.
    stepper: Arc<OnceLock<Option<Stepper>>>,
}

impl Pattern {
    /// A pattern that is all of a query: see [`Pattern::of_query`].
    pub fn new(text: &str, regex: bool, ignore_case: bool) -> Result<Self, PatternError> {
        Self::of_query(text, regex, ignore_case, &mut Allowance::for_terms(1))
    }

    /// A pattern for the bytes of `query`, or for the expression it is if `regex` says so; it takes
    /// what it needs of the allowance of its query.
    pub(crate) fn of_query(
        query: &str,
        regex: bool,
        ignore_case: bool,
        allowance: &mut Allowance,
    ) -> Result<Self, PatternError> {
        if query.len() > MAX_EXPRESSION_BYTES {
            return Err(PatternError::TooLong);
        }
        // Other characters than these may have a small and a capital form.
        let is_caseless = |byte: u8| byte.is_ascii() && !byte.is_ascii_alphabetic();
        let ignore_case = ignore_case && (regex || !query.bytes().all(is_caseless));
        if !regex && !ignore_case {
            let matcher = Matcher::Literal(Box::new(Finder::new(query).into_owned()));
            return Ok(Self {
                matcher,
                plan: Plan::literal(query.as_bytes()),
            });
        }
        let escaped;
        let expression = if regex {
            query
        } else {
            escaped = regex_syntax::escape(query);
            &escaped
        };
        let parsed = ParserBuilder::new()
            .case_insensitive(ignore_case)
            .build()
            .parse(expression)
            .map_err(|error| PatternError::Syntax(Box::new(error)))?;
        let isolated = uses_crlf(&parsed);
        let hir = within_line(parsed);
        let config = meta::Config::new()
            .nfa_size_limit(Some(COMPILED_BYTES))
            .hybrid_cache_capacity(allowance.automaton_bytes())
            // Groups are of no interest, nor an engine that is only for them.
            .which_captures(WhichCaptures::Implicit)
            .onepass(false);
        let regex = meta::Builder::new()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|error| PatternError::TooCostly(error.to_string()))?;
        allowance.take(regex.memory_usage())?;
        let plan = required(&hir, allowance.steps());
        let expression = Expression {
            regex,
            block_bytes: (STEPS_AT_ONCE / weight(&hir).max(1)).max(MIN_BLOCK_BYTES),
            automaton_bytes: allowance.automaton_bytes(),
            isolated,
            prefilter: Prefilter::new(&hir),
            hir,
            stepper: Arc::default(),
        };
        Ok(Self {
            matcher: Matcher::Expression(Box::new(expression)),
            plan,
        })
    }

    /// What it costs to run over a text, to compare: literals before expressions, long before short.
    pub(super) fn cost(&self) -> usize {
        match &self.matcher {
            Matcher::Literal(finder) => usize::from(u8::MAX).saturating_sub(finder.needle().len()),
            Matcher::Expression(expression) => {
                let prunes = if self.plan.prunes() { 1 } else { 1 << 20 };
                weight(&expression.hir).saturating_add(256) * prunes
            }
        }
    }

    /// The condition on chunks that can match.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Calls `each` for the lines of `text` that match, without their ends, until it says `false`.
    ///
    /// `text` is whole lines: it starts where a line does, and ends behind a newline or at the end
    /// of the file.
    pub(crate) fn lines(
        &self,
        text: &[u8],
        budget: &Budget<'_>,
        mut each: impl FnMut(Range<usize>) -> bool,
    ) -> Result<(), Spent> {
        let mut from = 0;
        let mut aim = Aim::new(self.prefilter());
        while from < text.len() {
            budget.check()?;
            let block = self.block_end(text, from);
            while from < block {
                let line = match aim.line(text, from..block) {
                    Target::All => from..block,
                    Target::Line(line) => line,
                    Target::Nothing => {
                        from = block;
                        break;
                    }
                };
                let searched = line.end;
                let Some(at) = self.find_in_block(text, line, budget)? else {
                    aim.missed();
                    from = searched;
                    continue;
                };
                // Behind the last newline there is no line, though an empty match would fit.
                if at == text.len() && text.ends_with(b"\n") {
                    return Ok(());
                }
                let start = memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1);
                let end = line_end(text, at);
                from = end + 1;
                if !each(start..end) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn prefilter(&self) -> Option<&Prefilter> {
        match &self.matcher {
            Matcher::Expression(expression) => expression.prefilter.as_ref(),
            Matcher::Literal(_) => None,
        }
    }

    /// Where to stop searching at once: behind a newline, or at the end of the text.
    fn block_end(&self, text: &[u8], from: usize) -> usize {
        let bytes = match &self.matcher {
            Matcher::Literal(_) => return text.len(),
            Matcher::Expression(expression) if expression.isolated => 0,
            Matcher::Expression(expression) => expression.block_bytes,
        };
        if text.len() - from <= bytes {
            return text.len();
        }
        match memchr::memrchr(b'\n', &text[from..from + bytes]) {
            Some(newline) => from + newline + 1,
            None => (line_end(text, from) + 1).min(text.len()),
        }
    }

    /// A place in the first line that matches, of whole lines of `text`.
    fn find_in_block(
        &self,
        text: &[u8],
        block: Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<Option<usize>, Spent> {
        let found = match &self.matcher {
            Matcher::Literal(_) => self
                .find(text, block.start, budget)?
                .map(|found| found.start),
            Matcher::Expression(expression) => {
                let end = block.end;
                // A block that is a single line is searched without its end.
                let has_newline = text[block.clone()].ends_with(b"\n");
                let line = block.start..end - usize::from(has_newline);
                if expression.isolated {
                    let found = Self::find_isolated(expression, &text[line.clone()], 0, budget)?;
                    return Ok(found.map(|found| line.start + found.start));
                }
                let is_long = block.len() > expression.block_bytes;
                if is_long && expression.stepper().is_some() {
                    let found = self.find_in_line(text, line.start, line, budget)?;
                    found.map(|found| found.start)
                } else {
                    // Where a match ends first is in the first line that matches, as no match
                    // goes beyond a line. Where it starts would have to be searched for backwards.
                    let input = Input::new(text).range(block).earliest(true);
                    let found = expression.regex.search_half(&input);
                    // An empty match behind the block belongs to the next line.
                    found
                        .map(|found| found.offset())
                        .filter(|&at| at < end || end == text.len())
                }
            }
        };
        Ok(found)
    }

    /// The first match that starts at `from` or behind, in a line of `text` that ends with it.
    pub(crate) fn find(
        &self,
        text: &[u8],
        from: usize,
        budget: &Budget<'_>,
    ) -> Result<Option<Range<usize>>, Spent> {
        if from > text.len() {
            return Ok(None);
        }
        match &self.matcher {
            Matcher::Literal(finder) => {
                let found = finder.find(&text[from..]);
                Ok(found.map(|start| from + start..from + start + finder.needle().len()))
            }
            Matcher::Expression(expression) => {
                let line = memchr::memrchr(b'\n', &text[..from]).map_or(0, |newline| newline + 1);
                if expression.isolated {
                    let found =
                        Self::find_isolated(expression, &text[line..], from - line, budget)?;
                    return Ok(found.map(|found| line + found.start..line + found.end));
                }
                self.find_in_line(text, from, line..text.len(), budget)
            }
        }
    }

    /// The first match at `from` or behind in one line of `text`.
    fn find_in_line(
        &self,
        text: &[u8],
        from: usize,
        line: Range<usize>,
        budget: &Budget<'_>,
    ) -> Result<Option<Range<usize>>, Spent> {
        let Matcher::Expression(expression) = &self.matcher else {
            return Ok(None);
        };
        if line.len() > expression.block_bytes
            && let Some(stepper) = expression.stepper()
        {
            match stepper.find(text, from..line.end, budget)? {
                Stepped::Found(found) => return Ok(Some(found)),
                Stepped::Nothing => return Ok(None),
                // Words beyond ASCII are for the other engines.
                Stepped::Unknown => {}
            }
        }
        let found = expression
            .regex
            .find(Input::new(text).range(from..line.end));
        Ok(found.map(|found| found.range()))
    }

    /// The first match in a line that is looked at as if it were all there is.
    fn find_isolated(
        expression: &Expression,
        line: &[u8],
        from: usize,
        budget: &Budget<'_>,
    ) -> Result<Option<Range<usize>>, Spent> {
        if line.len() > expression.block_bytes
            && let Some(stepper) = expression.stepper()
        {
            match stepper.find(line, from..line.len(), budget)? {
                Stepped::Found(found) => return Ok(Some(found)),
                Stepped::Nothing => return Ok(None),
                Stepped::Unknown => {}
            }
        }
        let found = expression.regex.find(Input::new(line).range(from..));
        Ok(found.map(|found| found.range()))
    }
}

impl Expression {
    /// The engine for lines that are too long for the others.
    fn stepper(&self) -> Option<&Stepper> {
        let make = || {
            let (compiled, automaton) = (COMPILED_BYTES, self.automaton_bytes);
            Stepper::new(&self.hir, compiled, automaton, weight(&self.hir))
        };
        self.stepper.get_or_init(make).as_ref()
    }
}

/// What of a block to search.
enum Target {
    /// All of it, by the expression itself.
    All,
    /// The first line that may match, with its end.
    Line(Range<usize>),
    /// It cannot match.
    Nothing,
}

/// A prefilter at work on a text.
struct Aim<'a> {
    prefilter: Option<&'a Prefilter>,
    /// Lines that it has led to and that did not match.
    in_vain: usize,
}

impl<'a> Aim<'a> {
    fn new(prefilter: Option<&'a Prefilter>) -> Self {
        Self {
            prefilter,
            in_vain: 0,
        }
    }

    /// What to search of a block of whole lines.
    fn line(&mut self, text: &[u8], block: Range<usize>) -> Target {
        // It costs more than it saves where it leads to most lines.
        if self.in_vain > MAX_IN_VAIN && block.start / self.in_vain < BYTES_FOR_ONE {
            self.prefilter = None;
        }
        let Some(prefilter) = self.prefilter else {
            return Target::All;
        };
        let Some(found) = prefilter.find(&text[block.clone()]) else {
            return Target::Nothing;
        };
        let at = block.start + found;
        let start = memchr::memrchr(b'\n', &text[block.start..at])
            .map_or(block.start, |newline| block.start + newline + 1);
        let end = (line_end(text, at) + 1).min(block.end);
        Target::Line(start..end)
    }

    /// Takes note that the last line did not match, or the last block.
    fn missed(&mut self) {
        self.in_vain += 1;
    }
}

/// Where the line that `at` is in ends: its newline, or the end of the text.
pub(super) fn line_end(text: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::byte_pool::BytePool;

    /// Line numbers that match, by running the expression on each line alone.
    fn plain(expression: &str, text: &str) -> Vec<usize> {
        let regex = meta::Regex::new(expression).unwrap();
        let lines = text
            .split_inclusive('\n')
            .map(|line| line.strip_suffix('\n').unwrap_or(line));
        lines
            .enumerate()
            .filter(|(_, line)| regex.is_match(line))
            .map(|(at, _)| at)
            .collect()
    }

    fn ours(pattern: &Pattern, text: &str) -> Vec<usize> {
        let pool = BytePool::new(0);
        let budget = Budget::new(None, &|| false, &pool);
        let mut lines = Vec::new();
        let each = |line: Range<usize>| {
            lines.push(text[..line.start].matches('\n').count());
            true
        };
        pattern.lines(text.as_bytes(), &budget, each).unwrap();
        lines
    }

    /// The pattern as it is, and as if it were so heavy that hardly anything is done at once.
    fn light_and_heavy(expression: &str) -> [Pattern; 2] {
        let light = Pattern::new(expression, true, false).unwrap();
        let mut heavy = light.clone();
        if let Matcher::Expression(expression) = &mut heavy.matcher {
            expression.block_bytes = 1;
        }
        [light, heavy]
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[ab]{1,2}",
            prop::sample::select(vec![
                "\\n",
                "\\r",
                ".",
                "^",
                "$",
                "\\A",
                "\\z",
                "\\b",
                "\\B",
                "\\s",
                "\\S",
                "\\w",
                "[^a]",
                "(?m:^)",
                "(?-m:$)",
                "(?s:.)",
                "(?R:$)",
                "(?R:^)",
                "(?i:B)",
                "\u{e9}",
                "\\b{start}",
                "(?-u:\\b)",
                "(?-u:\\w)",
                "[^\\n]",
                "(\\n|$)",
                "\\r?\\n",
                "",
            ])
            .prop_map(str::to_owned),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..3)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                (
                    inner,
                    prop::sample::select(vec!["*", "+", "?", "{2}", "*?"])
                )
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn expressions_see_one_line_at_a_time(
            expression in expression(),
            text in "[ab \r\n\u{e9}]{0,20}",
        ) {
            let expected = plain(&expression, &text);
            for pattern in light_and_heavy(&expression) {
                prop_assert_eq!(ours(&pattern, &text), expected.clone(), "{:?} in {:?}", expression, text);
            }
        }
    }

    /// Each of these used to ask the matcher for a match behind the end of the text.
    #[test]
    fn matches_at_the_end_of_a_text_without_a_newline() {
        for (expression, expected) in [
            (r"\w\);(\n|$)", vec![1]),
            (r"\w\(\n*", vec![1]),
            (r"\s*;(\r?\n|$)", vec![1]),
            ("x*", vec![0, 1]),
            ("$", vec![0, 1]),
            (r"\n", vec![]),
        ] {
            for pattern in light_and_heavy(expression) {
                assert_eq!(
                    ours(&pattern, "hello\nthe_end(x);"),
                    expected,
                    "{expression}"
                );
            }
        }
    }

    #[test]
    fn refusals_say_why() {
        let refusal = |expression: &str| Pattern::new(expression, true, false).err();
        assert!(matches!(refusal("a("), Some(PatternError::Syntax(_))));
        assert!(matches!(
            refusal("(\\w{100}){1000}"),
            Some(PatternError::TooCostly(_))
        ));
        assert!(matches!(
            refusal(&"a".repeat(1 << 20)),
            Some(PatternError::TooLong)
        ));
    }

    #[test]
    fn case_can_be_ignored_without_special_characters_becoming_special() {
        let pattern = Pattern::new("A.b", false, true).unwrap();
        let pool = BytePool::new(0);
        let budget = Budget::new(None, &|| false, &pool);
        assert_eq!(pattern.find(b"xab a.B", 0, &budget), Ok(Some(4..7)));
    }

    /// 160 microseconds a byte made that minutes for a file of a mebibyte.
    #[test]
    fn a_heavy_expression_on_a_long_line_ends_with_its_time() {
        let pattern = Pattern::new("a{100000}", true, false).unwrap();
        let text = "ab".repeat(1 << 19);
        let pool = BytePool::new(0);
        let limit = std::time::Duration::from_millis(20);
        let budget = Budget::new(Some(limit), &|| false, &pool);
        let outcome = pattern.lines(text.as_bytes(), &budget, |_| true);
        // It may be done in time; but what is said is never wrong.
        if outcome.is_ok() {
            assert_eq!(budget.check(), Ok(()));
        }
    }
}

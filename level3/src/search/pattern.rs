//! Finding the matching lines of a text.
//!
//! A pattern matches within one line, as in `grep`. Running an expression on every line by itself
//! would be slow, and running it on the text as it stands could match across lines, so the
//! expression is rewritten: nothing in it can match a newline any more, and `\A` and `\z` mean
//! the ends of the line. The rewritten one can then run over many lines at once.

use std::ops::Range;

use memchr::memmem::Finder;
use regex_automata::{Input, meta};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange};
use regex_syntax::hir::{Hir, HirKind, Look};
use thiserror::Error;

use super::plan::Plan;
use super::required::required;

/// Memory that a compiled expression may take, in bytes.
const COMPILED_BYTES: usize = 4 << 20;

/// Why an expression was refused.
#[derive(Debug, Error)]
pub enum PatternError {
    /// It is not an expression.
    #[error("the expression does not compile: {0}")]
    Syntax(String),
    /// It is one, but would need too much memory.
    #[error("the expression is too costly: {0}")]
    TooCostly(String),
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
    Expression(meta::Regex),
}

impl Pattern {
    /// A pattern for the bytes of `query`, or for the expression it is if `regex` says so.
    pub fn new(query: &str, regex: bool, ignore_case: bool) -> Result<Self, PatternError> {
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
            .multi_line(true)
            .case_insensitive(ignore_case)
            .build()
            .parse(expression)
            .map_err(|error| PatternError::Syntax(error.to_string()))?;
        let hir = within_line(parsed);
        let config = meta::Config::new().nfa_size_limit(Some(COMPILED_BYTES));
        let compiled = meta::Builder::new().configure(config).build_from_hir(&hir);
        let matcher = compiled
            .map(Matcher::Expression)
            .map_err(|error| PatternError::TooCostly(error.to_string()))?;
        Ok(Self {
            matcher,
            plan: required(&hir),
        })
    }

    /// The condition on chunks that can match.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The first match that starts at `from` or behind.
    pub fn find(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        match &self.matcher {
            Matcher::Literal(finder) => {
                let start = from + finder.find(text.get(from..)?)?;
                Some(start..start + finder.needle().len())
            }
            Matcher::Expression(regex) => {
                let found = regex.find(Input::new(text).range(from..))?;
                Some(found.range())
            }
        }
    }

    /// The lines that match, without their ends.
    pub fn lines<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut from = 0;
        std::iter::from_fn(move || {
            // Behind the last newline there is no line, though an empty match would fit there.
            let at = self.find(text, from).filter(|_| from < text.len())?.start;
            if at == text.len() && text.ends_with(b"\n") {
                return None;
            }
            let start = memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1);
            let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length);
            from = end + 1;
            Some(start..end)
        })
    }
}

/// The same expression, confined to one line.
fn within_line(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(mut class)) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(within_line(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => within_line(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(within_line).collect()),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.into_iter().map(within_line).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    fn ours(expression: &str, text: &str) -> Vec<usize> {
        let pattern = Pattern::new(expression, true, false).unwrap();
        pattern
            .lines(text.as_bytes())
            .map(|line| text[..line.start].matches('\n').count())
            .collect()
    }

    proptest! {
        #[test]
        fn expressions_see_one_line_at_a_time(
            at in 0..16_usize,
            text in "[ab \n]{0,40}",
        ) {
            let expression = [
                "a[^b]*a", "a\\s+b", "^a", "b$", "^$", "\\Aa", "b\\z", "a*", "(?s)a.*b", "\\bab",
                "x|a$", "(a|b){2,3}", "a\\nb", "[^a]b", "\\n", "(?m:^)b",
            ][at];
            prop_assert_eq!(ours(expression, &text), plain(expression, &text), "{}", expression);
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
    }

    #[test]
    fn case_can_be_ignored_without_special_characters_becoming_special() {
        let pattern = Pattern::new("A.b", false, true).unwrap();
        assert_eq!(pattern.find(b"xab a.B", 0), Some(4..7));
    }
}

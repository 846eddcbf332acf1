//! How much work an expression can be: about the number of states of its automaton.
//!
//! An engine that follows all states at once does as many steps for each byte, in the worst case.

use regex_syntax::hir::{Class, Hir, HirKind};

/// States of the automaton for `hir`, roughly, and at least 1.
pub(crate) fn weight(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        // A range of characters takes one to four ranges of bytes.
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() * 2 + 1,
        HirKind::Capture(capture) => weight(&capture.sub),
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min).max(1);
            weight(&repetition.sub)
                .saturating_add(1)
                .saturating_mul(copies as usize)
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts
            .iter()
            .fold(1, |sum: usize, part| sum.saturating_add(weight(part))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply() {
        let weight = |expression: &str| weight(&regex_syntax::parse(expression).unwrap());
        assert!(weight("abc") < 5);
        assert!((100_000..300_000).contains(&weight("a{100000}")));
        assert!(weight("(?:(?:a{1000}){1000}){1000}") > 1_000_000_000);
        assert!(weight(r"\w") > 100 && weight(r"(?-u:\w)") < 5);
    }
}

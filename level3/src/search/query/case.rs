//! Smart case: a text that has a capital means it.

use regex_syntax::ast::{self, Ast, Visitor};

/// Whether upper and lower case are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Case {
    /// They are if there is no capital.
    #[default]
    Auto,
    /// They are not.
    Yes,
    /// They are.
    No,
}

impl Case {
    /// Whether to ignore case in this text.
    pub(super) fn ignores(self, text: &str) -> bool {
        match self {
            Self::Yes => false,
            Self::No => true,
            Self::Auto => !text.chars().any(char::is_uppercase),
        }
    }

    /// Whether to ignore case in this expression, in which `\W` is no capital.
    pub(super) fn ignores_in(self, expression: &str) -> bool {
        match self {
            Self::Yes => false,
            Self::No => true,
            Self::Auto => {
                let parsed = ast::parse::Parser::new().parse(expression);
                parsed.is_ok_and(|ast| ast::visit(&ast, Capitals).is_ok())
            }
        }
    }
}

/// Ends a visit at the first capital.
struct Capitals;

struct Found;

impl Capitals {
    fn look(literal: &ast::Literal) -> Result<(), Found> {
        if literal.c.is_uppercase() {
            return Err(Found);
        }
        Ok(())
    }
}

impl Visitor for Capitals {
    type Output = ();
    type Err = Found;

    fn finish(self) -> Result<(), Found> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Found> {
        match ast {
            Ast::Literal(literal) => Self::look(literal),
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Found> {
        match item {
            ast::ClassSetItem::Literal(literal) => Self::look(literal),
            ast::ClassSetItem::Range(range) => {
                Self::look(&range.start)?;
                Self::look(&range.end)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_capitals_that_are_looked_for_count() {
        for (expression, ignores) in [
            (r"foo\W+\S\bbar", true),
            (r"\p{Lu}x", true),
            ("fooBar", false),
            ("[A-Z]x", false),
            ("[^a-z]x", true),
            ("(?:a|(b|C))", false),
            (r"\x41", false),
        ] {
            assert_eq!(Case::Auto.ignores_in(expression), ignores, "{expression}");
        }
        assert!(Case::Auto.ignores("stra\u{df}e") && !Case::Auto.ignores("\u{c4}"));
        assert!(Case::No.ignores("A") && !Case::Yes.ignores("a"));
    }
}

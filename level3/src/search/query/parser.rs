//! From tokens to a query, with everything checked that can be refused.

use std::ops::Range;

use globset::{GlobBuilder, GlobMatcher};

use super::case::Case;
use super::lexer::{self, Filter, Kind, Token, Value};
use super::{FilePattern, FileRule, Query, QueryError, Term};
use crate::search::allowance::Allowance;
use crate::search::filter::FileFilter;
use crate::search::language;
use crate::search::pattern::Pattern;

/// More terms and patterns than this are refused: each is compiled, and asked of lines.
const MAX_PARTS: usize = 64;

/// A query as it was meant.
#[derive(Debug, Default)]
pub struct Parsed {
    /// What to ask the shards.
    pub query: Query,
    /// Which roots to ask.
    pub roots: Vec<RootRule>,
}

impl Parsed {
    /// A query of the root that has no name.
    pub fn of_unnamed(query: Query) -> Self {
        let unnamed = RootRule {
            any: Vec::new(),
            negated: false,
            at: 0..0,
        };
        Self {
            query,
            roots: vec![unnamed],
        }
    }

    /// An error that says that no root is asked, and which `names` there are.
    pub fn no_root<'a>(&self, names: impl Iterator<Item = &'a str>) -> QueryError {
        let at = self.roots.first().map_or(0..0, |rule| rule.at.clone());
        let names: Vec<&str> = names
            .map(|name| if name.is_empty() { "\"\"" } else { name })
            .collect();
        let message = format!("there is no such root; there are: {}", names.join(", "));
        error(message, &at)
    }

    /// Whether a root of this name is asked.
    pub fn asks(&self, root: &str) -> bool {
        self.roots.iter().all(|rule| rule.admits(root))
    }
}

/// A condition on the name of a root: it fits one of the patterns, or the empty name one of none.
#[derive(Debug)]
pub struct RootRule {
    any: Vec<GlobMatcher>,
    negated: bool,
    /// Where it stands in the query.
    at: Range<usize>,
}

impl RootRule {
    /// Whether a root of this name is asked.
    pub fn admits(&self, name: &str) -> bool {
        let fits = |glob: &GlobMatcher| glob.is_match(name);
        (self.any.iter().any(fits) || (self.any.is_empty() && name.is_empty())) != self.negated
    }
}

/// Understands a query. With `regex`, words are expressions.
///
/// Everything in it is compiled once, so that nothing is refused later.
pub fn parse(query: &str, regex: bool) -> Result<Parsed, QueryError> {
    let tokens = lexer::tokens(query);
    if let Some(token) = tokens.get(MAX_PARTS) {
        let message =
            format!("the query is too costly: it exceeds the budget of {MAX_PARTS} parts");
        return Err(error(message, &token.at));
    }
    let case = case(&tokens)?;
    let mut parsed = Parsed::default();
    let mut allowance = Allowance::for_terms(tokens.len());
    for token in &tokens {
        match &token.kind {
            Kind::Filter(Filter::Case, _) => {}
            Kind::Filter(Filter::Root, value) => {
                parsed.roots.push(root_rule(value, token.negated)?);
            }
            Kind::Filter(filter @ (Filter::File | Filter::Lang), value) => {
                let rule = file_rule(*filter, value, token.negated, case)?;
                parsed.query.files.push(rule);
            }
            Kind::Word(_) | Kind::Quoted(_) | Kind::Expression(_) => {
                let term = term(token, regex, case, &mut allowance)?;
                let terms = if token.negated {
                    &mut parsed.query.none
                } else {
                    &mut parsed.query.all
                };
                terms.push(term);
            }
        }
    }
    let query = &parsed.query;
    if query.is_about_names() && query.files.is_empty() {
        let message = "the query is empty: it has no word and no filter of files";
        return Err(error(message, &(0..0)));
    }
    Ok(parsed)
}

fn error(message: impl Into<String>, at: &Range<usize>) -> QueryError {
    QueryError {
        message: message.into(),
        position: at.start,
        length: at.len(),
    }
}

/// What the query says of case; the last word counts.
fn case(tokens: &[Token]) -> Result<Case, QueryError> {
    let mut case = Case::default();
    for token in tokens {
        let Kind::Filter(Filter::Case, value) = &token.kind else {
            continue;
        };
        if token.negated {
            return Err(error("`case:` cannot be negated", &token.at));
        }
        case = match value.text.as_str() {
            "auto" => Case::Auto,
            "yes" => Case::Yes,
            "no" => Case::No,
            _ => return Err(error("`case:` takes yes, no or auto", &token.at)),
        };
    }
    Ok(case)
}

/// A word, a quoted text or an expression.
fn term(
    token: &Token,
    regex: bool,
    case: Case,
    allowance: &mut Allowance,
) -> Result<Term, QueryError> {
    let (text, regex, inset) = match &token.kind {
        Kind::Expression(text) => (text, true, 1),
        Kind::Word(text) => (text, regex, 0),
        Kind::Quoted(text) | Kind::Filter(_, Value { text, .. }) => (text, false, 1),
    };
    if text.is_empty() {
        return Err(error("there is nothing between the quotes", &token.at));
    }
    if text.contains('\n') && !regex {
        return Err(error("a line cannot contain the end of a line", &token.at));
    }
    let ignore_case = if regex {
        case.ignores_in(text)
    } else {
        case.ignores(text)
    };
    match Pattern::of_query(text, regex, ignore_case, allowance) {
        Ok(_) => Ok(Term {
            text: text.clone(),
            regex,
            ignore_case,
        }),
        Err(refused) => {
            let start = token.at.start + usize::from(token.negated) + inset;
            let at = refused.place(text);
            let at = at.map(|place| start + place.start..start + place.end);
            Err(error(
                refused.to_string(),
                &at.unwrap_or_else(|| token.at.clone()),
            ))
        }
    }
}

fn file_rule(
    filter: Filter,
    value: &Value,
    negated: bool,
    case: Case,
) -> Result<FileRule, QueryError> {
    let mut any = Vec::new();
    for text in parts(value)? {
        let pattern = if filter == Filter::Lang {
            let Some(name) = language::named(&text) else {
                let known = language::names().collect::<Vec<_>>().join(", ");
                let message = format!("no language is called `{text}`; there are {known}");
                return Err(error(message, &value.at));
            };
            FilePattern::Language(name.to_owned())
        } else {
            let ignore_case = case.ignores(&text);
            if text.contains(['*', '?', '[', '{']) {
                FilePattern::Glob { text, ignore_case }
            } else {
                FilePattern::Part { text, ignore_case }
            }
        };
        any.push(pattern);
    }
    let rule = FileRule { any, negated };
    match FileFilter::new(std::slice::from_ref(&rule)) {
        Ok(_) => Ok(rule),
        Err(refused) => Err(error(refused.to_string(), &value.at)),
    }
}

fn root_rule(value: &Value, negated: bool) -> Result<RootRule, QueryError> {
    let texts = if value.quoted {
        vec![value.text.clone()]
    } else {
        parts(value)?
    };
    let glob = |text: &String| {
        let glob = GlobBuilder::new(text).case_insensitive(true).build();
        let glob = glob.map_err(|refused| error(format!("bad pattern: {refused}"), &value.at));
        glob.map(|glob| glob.compile_matcher())
    };
    Ok(RootRule {
        any: texts.iter().map(glob).collect::<Result<_, _>>()?,
        negated,
        at: value.at.clone(),
    })
}

/// The alternatives of a value: between commas that are not in braces or brackets.
fn parts(value: &Value) -> Result<Vec<String>, QueryError> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in value.text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 && !value.quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        return Err(error(
            "a filter needs something behind its colon",
            &value.at,
        ));
    }
    if parts.len() > MAX_PARTS {
        let message =
            format!("the filter is too costly: it exceeds the budget of {MAX_PARTS} patterns");
        return Err(error(message, &value.at));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(query: &str) -> (usize, usize, String) {
        let error = parse(query, false).unwrap_err();
        (error.position, error.length, error.message)
    }

    #[test]
    fn terms_and_filters_are_told_apart() {
        let parsed = parse("foo Bar -baz file:*.{c,h},sched -lang:Rust /x+/", false).unwrap();
        let query = &parsed.query;
        let texts: Vec<_> = query.all.iter().map(|term| term.text.as_str()).collect();
        assert_eq!(texts, ["foo", "Bar", "x+"]);
        assert!(query.all[0].ignore_case && !query.all[1].ignore_case && query.all[2].regex);
        assert_eq!(query.none[0].text, "baz");
        assert_eq!(query.files[0].any.len(), 2);
        assert_eq!(query.files[1].any, [FilePattern::Language("rust".into())]);
        assert!(query.files[1].negated);
        assert!(parse("file:a", false).unwrap().query.is_about_names());
    }

    #[test]
    fn the_switch_makes_words_expressions() {
        let query = parse("a+ \"b+\"", true).unwrap().query;
        assert!(query.all[0].regex && !query.all[1].regex);
    }

    #[test]
    fn errors_point_at_the_place() {
        for (query, position, length) in [
            ("a case:maybe", 2, 10),
            ("a -case:no", 2, 8),
            ("foo file:", 9, 0),
            ("foo file:,,", 9, 2),
            ("x lang:klingon", 7, 7),
            ("\u{e9} /(b/", 3, 1),
            ("file:a{", 5, 2),
            ("a \"\"", 2, 2),
            ("  ", 0, 0),
            ("case:no", 0, 0),
        ] {
            let (at, characters, message) = fault(query);
            assert_eq!((at, characters), (position, length), "{query}: {message}");
        }
    }

    #[test]
    fn roots_are_named_by_globs() {
        let parsed = parse("x root:lin*,bsd -root:linux-5", false).unwrap();
        let admits = |name: &str| parsed.roots.iter().all(|rule| rule.admits(name));
        assert!(admits("linux") && admits("BSD") && !admits("linux-5") && !admits(""));
        assert!(parse("x root:\"\"", false).unwrap().roots[0].admits(""));
    }
}

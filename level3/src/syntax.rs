//! Colours for people who read source: which parts of a text are comments, strings, keywords.
//!
//! The grammars are Sublime Text's as `bat` keeps them (crates `syntect` and `two-face`). They are
//! expressions that can be slow on odd text, so the work has a budget of time, looked at after each
//! line, and lines that are very long end it. What has no colour is plain, never wrong: colours
//! only ever come on top of a text that is shown already.

use std::sync::LazyLock;
use std::time::Instant;

use serde::{Serialize, Serializer};
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};

/// The longest text that gets colours, in bytes. It takes about a second.
pub(crate) const MAX_TEXT_BYTES: usize = 512 << 10;

/// A longer line ends the colours, in bytes. The time that a line takes cannot be bounded from
/// outside, so whoever asks for colours must not wait for them without end.
const MAX_LINE_BYTES: usize = 2000;

/// What a part of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Comment,
    Text,
    Constant,
    Keyword,
    Type,
    Function,
    Preprocessor,
}

impl Token {
    /// The name by which the page knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Text => "string",
            Self::Constant => "constant",
            Self::Keyword => "keyword",
            Self::Type => "type",
            Self::Function => "function",
            Self::Preprocessor => "preprocessor",
        }
    }
}

/// Part of a line: from where and how long, in characters, and what it is. As JSON, three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub length: usize,
    pub token: Token,
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.start, self.length, self.token.name()).serialize(serializer)
    }
}

/// The colours of a text.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Colours {
    /// Name of the language; none if it is not known, and then there are no colours.
    pub language: Option<String>,
    /// The coloured parts of each line, up to the last line that has colours.
    pub lines: Vec<Vec<Span>>,
    /// Why colours end before the text does, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
}

static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(two_face::syntax::extra_newlines);

/// Colours a text of the file `path`, as far as it gets until `deadline`.
pub(crate) fn colour(path: &str, text: &str, deadline: Instant) -> Colours {
    let Some(syntax) = syntax_of(path, text) else {
        return Colours::default();
    };
    let mut colours = Colours {
        language: Some(syntax.name.clone()),
        ..Colours::default()
    };
    if text.len() > MAX_TEXT_BYTES {
        colours.ended = Some("the file is too long for colours");
        return colours;
    }
    let mut state = ParseState::new(syntax);
    let mut stack = ScopeStack::new();
    for line in text.split_inclusive('\n') {
        if line.len() > MAX_LINE_BYTES {
            colours.ended = Some("a line is too long for colours");
            break;
        }
        let Some(spans) = colour_line(line, &mut state, &mut stack) else {
            colours.ended = Some("the grammar has come to its limits");
            break;
        };
        colours.lines.push(spans);
        if Instant::now() > deadline {
            colours.ended = Some("colours took too long");
            break;
        }
    }
    colours
}

/// The coloured parts of the next line; nothing if the grammar fails.
fn colour_line(line: &str, state: &mut ParseState, stack: &mut ScopeStack) -> Option<Vec<Span>> {
    let changes = state.parse_line(line, &SYNTAXES).ok()?;
    let mut spans: Vec<Span> = Vec::new();
    let visible = line.trim_end_matches(['\n', '\r']);
    let (mut from, mut characters) = (0, 0);
    let ends = changes.iter().map(|(at, _)| *at).chain([visible.len()]);
    let mut changes = changes.iter();
    for end in ends {
        let part = visible
            .get(from..end.min(visible.len()))
            .unwrap_or_default();
        if !part.is_empty() {
            let length = part.chars().count();
            let token = token_of(stack.as_slice()).filter(|_| !part.trim().is_empty());
            match (token, spans.last_mut()) {
                (Some(token), Some(last))
                    if last.token == token && last.start + last.length == characters =>
                {
                    last.length += length;
                }
                (Some(token), _) => spans.push(Span {
                    start: characters,
                    length,
                    token,
                }),
                (None, _) => {}
            }
            characters += length;
            from = end;
        }
        if let Some((_, change)) = changes.next() {
            stack.apply(change).ok()?;
        }
    }
    Some(spans)
}

/// The grammar for a file, by its name or else by its first line. Plain text is no language.
fn syntax_of(path: &str, text: &str) -> Option<&'static SyntaxReference> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    // Headers are C's more often than C++'s or Objective-C's, which claim them as well.
    let by_name = match extension {
        Some("h") => SYNTAXES.find_syntax_by_name("C"),
        _ => SYNTAXES
            .find_syntax_by_extension(name)
            .or_else(|| SYNTAXES.find_syntax_by_extension(extension?)),
    };
    let by_first_line = || {
        let line = text.lines().next()?;
        // Grammars try expressions on it, which take their time on a long one.
        let line = &line[..line.floor_char_boundary(MAX_LINE_BYTES)];
        SYNTAXES.find_syntax_by_first_line(line)
    };
    let syntax = by_name.or_else(by_first_line)?;
    (syntax.name != "Plain Text").then_some(syntax)
}

/// Scopes of grammars and what they are here. The first that fits counts; `None` is plain.
static MEANINGS: LazyLock<Vec<(Scope, Option<Token>)>> = LazyLock::new(|| {
    let meanings = [
        ("comment", Some(Token::Comment)),
        ("string", Some(Token::Text)),
        ("constant.character", Some(Token::Text)),
        ("constant", Some(Token::Constant)),
        ("variable.language", Some(Token::Constant)),
        ("keyword.control.import", Some(Token::Preprocessor)),
        ("keyword.control.directive", Some(Token::Preprocessor)),
        ("keyword.operator.word", Some(Token::Keyword)),
        ("keyword.operator", None),
        ("keyword", Some(Token::Keyword)),
        ("storage", Some(Token::Keyword)),
        ("entity.name.function", Some(Token::Function)),
        ("variable.function", Some(Token::Function)),
        ("support.function", Some(Token::Function)),
        ("support.macro", Some(Token::Function)),
        ("entity.name.tag", Some(Token::Keyword)),
        ("entity.name", Some(Token::Type)),
        ("entity.other", Some(Token::Type)),
        ("support.type", Some(Token::Type)),
        ("support.class", Some(Token::Type)),
        ("markup.heading", Some(Token::Keyword)),
        ("markup.raw", Some(Token::Text)),
    ];
    let parse = |(scope, token)| Some((Scope::new(scope).ok()?, token));
    meanings.into_iter().filter_map(parse).collect()
});

/// What the innermost scope that has a meaning says.
fn token_of(scopes: &[Scope]) -> Option<Token> {
    let meaning = |scope: &Scope| {
        let mut meanings = MEANINGS.iter();
        meanings.find(|(prefix, _)| prefix.is_prefix_of(*scope))
    };
    scopes.iter().rev().find_map(meaning)?.1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn patient() -> Instant {
        Instant::now() + Duration::from_mins(10)
    }

    /// The parts of each line that are of a kind.
    fn parts(path: &str, text: &str, token: Token) -> Vec<String> {
        let colours = colour(path, text, patient());
        let of_line = |(line, spans): (&str, &Vec<Span>)| {
            let characters: Vec<char> = line.chars().collect();
            let spans = spans.iter().filter(|span| span.token == token);
            spans
                .map(|span| {
                    characters[span.start..span.start + span.length]
                        .iter()
                        .collect()
                })
                .collect::<Vec<String>>()
        };
        text.lines().zip(&colours.lines).flat_map(of_line).collect()
    }

    #[test]
    fn comments_strings_and_keywords_are_told_apart() {
        let c = "/* \u{e9} begins\n ends */ int main(void) { return puts(\"hi\"); }\n";
        assert_eq!(
            parts("a.c", c, Token::Comment),
            ["/* \u{e9} begins", " ends */"]
        );
        assert_eq!(parts("a.c", c, Token::Text), ["\"hi\""]);
        assert!(parts("a.c", c, Token::Keyword).contains(&"return".to_owned()));
        assert_eq!(parts("a.h", "// x", Token::Comment), ["// x"]);
        assert_eq!(parts("Makefile", "# x\n", Token::Comment), ["# x"]);
        assert_eq!(parts("a.ts", "// x\n", Token::Comment), ["// x"]);
        assert_eq!(
            parts("script", "#!/bin/sh\n# x\n", Token::Comment)
                .last()
                .unwrap(),
            "# x"
        );
    }

    #[test]
    fn unknown_languages_and_long_texts_have_no_colours() {
        for (path, text) in [("a.unknown", "int x;\n"), ("a.txt", "int x;\n"), ("", "")] {
            let colours = colour(path, text, patient());
            assert!(colours.language.is_none() && colours.lines.is_empty());
        }
        let long = "int x;\n".repeat(MAX_TEXT_BYTES / 7 + 1);
        let colours = colour("a.c", &long, patient());
        assert!(colours.ended.is_some() && colours.lines.is_empty());
        let wide = format!("int x;\nint {};\nint y;\n", "x".repeat(MAX_LINE_BYTES));
        let colours = colour("a.c", &wide, patient());
        assert!(colours.ended.is_some());
        assert_eq!(colours.lines.len(), 1);
    }

    #[test]
    fn the_budget_of_time_ends_it() {
        let text = "int x;\n".repeat(1000);
        let colours = colour("a.c", &text, Instant::now());
        assert!(colours.ended.is_some() && colours.lines.len() < 1000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Spans are ascending, within their line, and not empty, whatever the text is. Of languages
        /// whose grammars keep within bounds: some take minutes for a line of JavaScript that is
        /// made for it, which is why nobody waits for colours.
        #[test]
        fn spans_lie_within_their_lines(
            text in "([a-z0-9 \"'/*#<>(){}\\\\\u{e9}\u{1f600}]|\r|\n|fn |int |/\\*|\\*/){0,80}",
            path in prop::sample::select(vec!["a.c", "b.rs", "c.py", "e.h"]),
        ) {
            let colours = colour(path, &text, patient());
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            prop_assert!(colours.lines.len() <= lines.len());
            for (line, spans) in lines.iter().zip(&colours.lines) {
                let mut end = 0;
                for span in spans {
                    prop_assert!(span.start >= end && span.length > 0);
                    end = span.start + span.length;
                }
                prop_assert!(end <= line.trim_end_matches('\n').chars().count());
            }
        }
    }
}

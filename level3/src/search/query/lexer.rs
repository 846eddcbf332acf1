//! Cutting a query into tokens. Nothing is an error here: what is not closed is literal.
//!
//! White space separates tokens. A quote or a slash at the start of a token opens, and closes only
//! in front of white space or the end; so code that is pasted, such as `"foo",` or `/usr/include`, is
//! taken as it stands.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Characters without white space.
    Word(String),
    /// What stood between quotes.
    Quoted(String),
    /// What stood between slashes.
    Expression(String),
    /// One of the named prefixes and what stood behind it.
    Filter(Filter, Value),
}

/// The named prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    File,
    Lang,
    Case,
    Root,
}

/// What stands behind a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub text: String,
    /// Whether it stood between quotes, and so is one text whatever is in it.
    pub quoted: bool,
    /// Where it is, in characters.
    pub at: Range<usize>,
}

/// A token and its place in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// Whether there is a `-` in front that negates it.
    pub negated: bool,
    /// Where it is, in characters, with its `-`.
    pub at: Range<usize>,
}

const FILTERS: [(&str, Filter); 4] = [
    ("file:", Filter::File),
    ("lang:", Filter::Lang),
    ("case:", Filter::Case),
    ("root:", Filter::Root),
];

/// The tokens of a query in their order.
pub(super) fn tokens(query: &str) -> Vec<Token> {
    let chars: Vec<char> = query.chars().collect();
    let mut lexer = Lexer {
        unclosed: [None; 2],
        chars: &chars,
        at: 0,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        if lexer.at == chars.len() {
            return tokens;
        }
        tokens.push(lexer.token());
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    /// From where on no quote, and no slash, closes: looked for once, or many openings would cost
    /// the square of the query's length.
    unclosed: [Option<usize>; 2],
}

impl Lexer<'_> {
    fn skip_space(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn token(&mut self) -> Token {
        let start = self.at;
        let next = self.peek(1);
        let negated = self.peek(0) == Some('-')
            && next.is_some_and(|next| next.is_alphabetic() || next == '"');
        self.at += usize::from(negated);
        let kind = match (self.filter(), self.peek(0)) {
            (Some((name, length)), _) => {
                self.at += length;
                Kind::Filter(name, self.value())
            }
            (None, Some('"')) => match self.quoted() {
                Some(text) => Kind::Quoted(text),
                None => Kind::Word(self.word()),
            },
            (None, Some('/')) if !negated => match self.expression() {
                Some(text) => Kind::Expression(text),
                None => Kind::Word(self.word()),
            },
            _ => Kind::Word(self.word()),
        };
        Token {
            kind,
            negated,
            at: start..self.at,
        }
    }

    /// The prefix that the token starts with, and its length.
    fn filter(&self) -> Option<(Filter, usize)> {
        let rest = &self.chars[self.at..];
        let mut found = FILTERS.iter().filter(|(name, _)| {
            rest.len() >= name.len() && name.chars().zip(rest).all(|(a, b)| a == *b)
        });
        found.next().map(|(name, filter)| (*filter, name.len()))
    }

    /// All up to white space.
    fn word(&mut self) -> String {
        let rest = &self.chars[self.at..];
        let word: String = rest.iter().take_while(|c| !c.is_whitespace()).collect();
        self.at += word.chars().count();
        word
    }

    /// A text between quotes, or nothing if no quote closes it.
    fn quoted(&mut self) -> Option<String> {
        let end = self.closing('"', 0)?;
        let mut text = String::new();
        let mut inner = self.chars[self.at + 1..end].iter().peekable();
        while let Some(&c) = inner.next() {
            let escaped = inner.next_if(|&&next| c == '\\' && (next == '"' || next == '\\'));
            text.push(*escaped.unwrap_or(&c));
        }
        self.at = end + 1;
        Some(text)
    }

    /// What is between slashes, or nothing if no slash closes it or it starts as no expression does.
    fn expression(&mut self) -> Option<String> {
        let first = self.peek(1)?;
        if first.is_whitespace() || first == '/' || first == '*' {
            return None;
        }
        let end = self.closing('/', 1)?;
        let text = self.chars[self.at + 1..end].iter().collect();
        self.at = end + 1;
        Some(text)
    }

    /// Where the `mark` is that closes the one here: in front of white space or the end, and without
    /// a backslash in front of it that is not itself behind one.
    fn closing(&mut self, mark: char, kind: usize) -> Option<usize> {
        if self.unclosed[kind].is_some_and(|from| self.at >= from) {
            return None;
        }
        let mut at = self.at + 1;
        while at < self.chars.len() {
            let ends = || {
                let next = self.chars.get(at + 1);
                next.is_none_or(|next| next.is_whitespace())
            };
            match self.chars[at] {
                '\\' => at += 2,
                c if c == mark && ends() => return Some(at),
                _ => at += 1,
            }
        }
        self.unclosed[kind] = Some(self.at);
        None
    }

    /// What stands behind a prefix.
    fn value(&mut self) -> Value {
        let start = self.at;
        let quoted = if self.peek(0) == Some('"') {
            self.quoted()
        } else {
            None
        };
        let is_quoted = quoted.is_some();
        let text = quoted.unwrap_or_else(|| self.word());
        Value {
            text,
            quoted: is_quoted,
            at: start..self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens as text: `w`ord, `q`uoted, e`x`pression, filter with its name.
    fn shown(query: &str) -> Vec<String> {
        let show = |token: Token| {
            let minus = if token.negated { "-" } else { "" };
            match token.kind {
                Kind::Word(text) => format!("{minus}w {text}"),
                Kind::Quoted(text) => format!("{minus}q {text}"),
                Kind::Expression(text) => format!("{minus}x {text}"),
                Kind::Filter(name, value) => format!("{minus}{name:?} {}", value.text),
            }
        };
        tokens(query).into_iter().map(show).collect()
    }

    #[test]
    fn tokens_are_what_they_look_like() {
        for (query, expected) in [
            ("a  b\t", &["w a", "w b"][..]),
            ("\"a b\" c", &["q a b", "w c"]),
            (r#""say \"hi\" \\ \n""#, &[r#"q say "hi" \ \n"#]),
            ("/a b/ /c\\/d/", &["x a b", r"x c\/d"]),
            ("/a/b/", &["x a/b"]),
            (
                "file:*.c -file:a,b lang:c",
                &["File *.c", "-File a,b", "Lang c"],
            ),
            ("file:\"a b\" x", &["File a b", "w x"]),
            ("-foo -\"a b\"", &["-w foo", "-q a b"]),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }

    #[test]
    fn what_only_resembles_the_language_is_literal() {
        for (query, expected) in [
            ("std::vec", &["w std::vec"][..]),
            ("->next", &["w ->next"]),
            ("- -1 --x -/a/", &["w -", "w -1", "w --x", "w -/a/"]),
            ("/usr/include", &["w /usr/include"]),
            ("a / b /", &["w a", "w /", "w b", "w /"]),
            ("// TODO", &["w //", "w TODO"]),
            ("/* x */", &["w /*", "w x", "w */"]),
            ("\"open here", &["w \"open", "w here"]),
            ("\"foo\", bar", &["w \"foo\",", "w bar"]),
            ("printf(\"x", &["w printf(\"x"]),
            ("File:x profile:y", &["w File:x", "w profile:y"]),
            ("\"\"", &["q "]),
            ("-\"open", &["-w \"open"]),
        ] {
            assert_eq!(shown(query), expected, "{query}");
        }
    }

    #[test]
    fn places_count_characters() {
        let tokens = tokens("\u{e9}\u{e9} -file:\u{e9}x");
        assert_eq!((tokens[0].at.clone(), tokens[1].at.clone()), (0..2, 3..11));
        let Kind::Filter(_, value) = &tokens[1].kind else {
            panic!("{tokens:?}")
        };
        assert_eq!(value.at, 9..11);
    }

    #[test]
    fn many_openings_cost_no_more_than_one() {
        let query = "\"a /b ".repeat(200_000);
        assert_eq!(tokens(&query).len(), 400_000);
    }
}

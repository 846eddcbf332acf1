//! Whether lines of SQL make complete statements, found line by line: each byte is looked at once, where
//! `sqlite3_complete` would go through all lines again for every one that is added.
//!
//! The states and their transitions are those of SQLite's `complete.c`.

/// What a token means for where a statement ends.
#[derive(Debug, Clone, Copy)]
enum Token {
    Semicolon,
    Blank,
    Other,
    Explain,
    Create,
    Temp,
    Trigger,
    End,
}

/// Nothing but blanks so far; SQLite's other states follow, of which 1 is the end of a statement.
const NOTHING: u8 = 0;
const COMPLETE: u8 = 1;
/// By state (nothing, start, normal, EXPLAIN, CREATE, TRIGGER, `;` within it, END) and [`Token`].
const NEXT: [[u8; 8]; 8] = [
    [1, 0, 2, 3, 4, 2, 2, 2],
    [1, 1, 2, 3, 4, 2, 2, 2],
    [1, 2, 2, 2, 2, 2, 2, 2],
    [1, 3, 3, 2, 4, 2, 2, 2],
    [1, 4, 2, 2, 2, 4, 5, 2],
    [6, 5, 5, 5, 5, 5, 5, 5],
    [6, 6, 5, 5, 5, 5, 5, 7],
    [1, 7, 5, 5, 5, 5, 5, 5],
];

/// How far the lines so far have got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completeness {
    state: u8,
    /// What ends the string, quoted name or comment that is open: a quote, `]`, or `/`.
    open: Option<u8>,
}

impl Completeness {
    /// Whether all statements so far are complete, and there is one.
    pub fn is_complete(self) -> bool {
        self.state == COMPLETE && self.open.is_none()
    }

    /// Whether there are only blanks and finished comments so far.
    pub fn is_blank(self) -> bool {
        self.state == NOTHING && self.open.is_none()
    }

    /// This, with another line.
    #[must_use]
    pub fn with_line(mut self, line: &[u8]) -> Self {
        let mut at = 0;
        while at < line.len() {
            at += self.take(&line[at..]);
        }
        // The line's end is a blank.
        if self.open.is_none() {
            self.advance(Token::Blank);
        }
        self
    }

    /// Takes a line up to the end of a statement, which is told, or the whole of it.
    pub fn to_end(&mut self, line: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < line.len() {
            at += self.take(&line[at..]);
            if self.is_complete() {
                return Some(at);
            }
        }
        if self.open.is_none() {
            self.advance(Token::Blank);
        }
        None
    }

    fn advance(&mut self, token: Token) {
        self.state = NEXT[usize::from(self.state)][token as usize];
    }

    /// Takes one token, or what is left of one, from the front; gives its length.
    fn take(&mut self, text: &[u8]) -> usize {
        if let Some(end) = self.open {
            return self.close(end, text);
        }
        let (token, length) = match text {
            [b';', ..] => (Token::Semicolon, 1),
            [b' ' | b'\r' | b'\t' | b'\n' | b'\x0c', ..] => (Token::Blank, 1),
            [b'-', b'-', ..] => (Token::Blank, text.len()),
            [b'/', b'*', ..] => {
                self.open = Some(b'/');
                return 2;
            }
            [b'[', ..] => {
                self.open = Some(b']');
                return 1;
            }
            [quote @ (b'`' | b'"' | b'\''), ..] => {
                self.open = Some(*quote);
                return 1;
            }
            _ => word(text),
        };
        self.advance(token);
        length
    }

    /// Looks for the end of what is open.
    fn close(&mut self, end: u8, text: &[u8]) -> usize {
        let found = if end == b'/' {
            memchr::memmem::find(text, b"*/").map(|at| (Token::Blank, at + 2))
        } else {
            memchr::memchr(end, text).map(|at| (Token::Other, at + 1))
        };
        let Some((token, length)) = found else {
            return text.len();
        };
        self.open = None;
        self.advance(token);
        length
    }
}

/// A word, or a character that is none.
fn word(text: &[u8]) -> (Token, usize) {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
    let length = text.iter().take_while(|&byte| is_word(byte)).count();
    let word = &text[..length];
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let token = match () {
        () if is("create") => Token::Create,
        () if is("trigger") => Token::Trigger,
        () if is("temp") || is("temporary") => Token::Temp,
        () if is("end") => Token::End,
        () if is("explain") => Token::Explain,
        () => Token::Other,
    };
    (token, length.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::engine::statement::is_complete;
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            ";", "'", "\"", "[", "]", "`", "--", "/*", "*/", "\n", " ", "CREATE", "temp",
            "Trigger", "END", "explain", "a", "é", "-", "/", "*", "(", ")", "begin ",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn lines_are_complete_where_sqlite_says_so(parts in prop::collection::vec(part(), 0..14)) {
            let text = parts.concat();
            let mut completeness = Completeness::default();
            let mut so_far = String::new();
            for line in text.split('\n') {
                completeness = completeness.with_line(line.as_bytes());
                so_far += line;
                so_far += "\n";
                prop_assert_eq!(completeness.is_complete(), is_complete(so_far.as_bytes()), "{}", so_far);
            }
        }
    }
}

//! The tokens of SQL, as far as the texts of statements and views have to be understood before SQLite compiles
//! them. Requests have megabytes at times, so that no token takes memory.

/// Whether this word, in capitals or not, is anywhere in a request's bytes.
pub fn says_explain(bytes: &[u8]) -> bool {
    // Of its letters that is the rarest.
    memchr::memchr2_iter(b'x', b'X', bytes).any(|at| {
        let begin = at.checked_sub(1);
        let word = begin.and_then(|begin| bytes.get(begin..begin + 7));
        word.is_some_and(|word| word.eq_ignore_ascii_case(b"explain"))
    })
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, a name or a number.
    Word,
    /// A name or a text between this quote and its like.
    Quoted(u8),
    /// Anything else.
    Sign,
}

/// A word, a name, a text or a sign.
#[derive(Debug, Clone, Copy)]
pub struct Token<'s> {
    /// Without the quotes around it.
    pub text: &'s [u8],
    /// What it is.
    pub kind: Kind,
}

impl Token<'_> {
    /// As far as it means something by itself.
    pub fn word(&self) -> Word {
        match self.kind {
            Kind::Quoted(_) => Word::Other,
            Kind::Word | Kind::Sign => Word::of(self.text),
        }
    }

    /// In lower case, and without what quotes are doubled by.
    pub fn name(&self) -> String {
        let name = String::from_utf8_lossy(self.text).to_ascii_lowercase();
        match self.kind {
            Kind::Quoted(quote @ (b'\'' | b'"' | b'`')) => {
                let quote = char::from(quote).to_string();
                name.replace(&quote.repeat(2), &quote)
            }
            _ => name,
        }
    }
}

/// A word or sign that means something to whoever looks for nested SELECTs, or none of those.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// What may stand before the word TRIGGER that makes one: EXPLAIN QUERY PLAN CREATE TEMP TEMPORARY.
    TriggerBegins,
    Trigger,
    End,
    With,
    As,
    Select,
    From,
    Join,
    Into,
    Update,
    Delete,
    In,
    /// What may stand after UPDATE OR: ABORT FAIL IGNORE REPLACE ROLLBACK.
    OnConflict,
    /// Where no more tables come: WHERE GROUP ORDER HAVING LIMIT UNION EXCEPT INTERSECT SET VALUES.
    EndsFrom,
    Dot,
    Comma,
    Open,
    Close,
    Semicolon,
    #[default]
    Other,
}

/// The length of the longest of them.
const LONGEST_WORD: usize = 9;

impl Word {
    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; LONGEST_WORD];
        let Some(word) = bytes.get_mut(..text.len()) else {
            return Self::Other;
        };
        word.copy_from_slice(text);
        word.make_ascii_lowercase();
        match &*word {
            b"explain" | b"query" | b"plan" | b"create" | b"temp" | b"temporary" => {
                Self::TriggerBegins
            }
            b"trigger" => Self::Trigger,
            b"end" => Self::End,
            b"with" => Self::With,
            b"as" => Self::As,
            b"select" => Self::Select,
            b"from" => Self::From,
            b"join" => Self::Join,
            b"into" => Self::Into,
            b"update" => Self::Update,
            b"delete" => Self::Delete,
            b"in" => Self::In,
            b"abort" | b"fail" | b"ignore" | b"replace" | b"rollback" => Self::OnConflict,
            b"where" | b"group" | b"order" | b"having" | b"limit" | b"union" | b"except"
            | b"intersect" | b"set" | b"values" => Self::EndsFrom,
            b"." => Self::Dot,
            b"," => Self::Comma,
            b"(" => Self::Open,
            b")" => Self::Close,
            b";" => Self::Semicolon,
            _ => Self::Other,
        }
    }
}

/// The tokens of SQL, but for blanks and comments.
pub struct Tokens<'s> {
    /// What is left of it.
    pub sql: &'s [u8],
}

impl<'s> Tokens<'s> {
    /// Goes on behind what `is_in` is true for.
    fn skip(&mut self, is_in: impl Fn(u8) -> bool) {
        let end = self.sql.iter().position(|&byte| !is_in(byte));
        self.sql = &self.sql[end.unwrap_or(self.sql.len())..];
    }

    fn skip_blanks(&mut self) {
        loop {
            self.skip(|byte| byte.is_ascii_whitespace());
            let end = if self.sql.starts_with(b"--") {
                memchr::memchr(b'\n', self.sql)
            } else if self.sql.starts_with(b"/*") {
                memchr::memmem::find(&self.sql[2..], b"*/").map(|place| place + 3)
            } else {
                return;
            };
            self.sql = end.map_or(&[], |end| &self.sql[end + 1..]);
        }
    }

    /// What is between this quote and `end`.
    fn quoted(&mut self, end: u8) -> &'s [u8] {
        let text = &self.sql[1..];
        let mut length = 0;
        while let Some(place) = memchr::memchr(end, &text[length..]) {
            length += place;
            // A quote that is doubled stands for one.
            if end == b']' || text.get(length + 1) != Some(&end) {
                self.sql = &text[length + 1..];
                return &text[..length];
            }
            length += 2;
        }
        self.sql = &[];
        text
    }
}

impl<'s> Iterator for Tokens<'s> {
    type Item = Token<'s>;

    fn next(&mut self) -> Option<Token<'s>> {
        self.skip_blanks();
        let start = self.sql;
        let first = *start.first().filter(|&&byte| byte != 0)?;
        let is_of_word =
            |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_$".contains(&byte);
        Some(if b"'\"`[".contains(&first) {
            Token {
                text: self.quoted(if first == b'[' { b']' } else { first }),
                kind: Kind::Quoted(first),
            }
        } else if is_of_word(first) {
            self.skip(is_of_word);
            Token {
                text: &start[..start.len() - self.sql.len()],
                kind: Kind::Word,
            }
        } else {
            self.sql = &start[1..];
            Token {
                text: &start[..1],
                kind: Kind::Sign,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_word_is_found_wherever_it_is(bytes in "[ex ]{0,9}(exp|EXPLAIN|explain|Explai)?[nxX]{0,3}") {
            let mut windows = bytes.as_bytes().windows(7);
            let found = windows.any(|word| word.eq_ignore_ascii_case(b"explain"));
            prop_assert_eq!(says_explain(bytes.as_bytes()), found);
        }
    }
}

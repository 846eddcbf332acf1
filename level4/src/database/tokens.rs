//! The tokens of SQL, as far as the texts of statements and views have to be understood before SQLite compiles
//! them. Requests have megabytes at times, so that no token takes memory.

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
            Kind::Quoted(_) => Word::default(),
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

/// The length of the longest word that is looked for.
const LONGEST_WORD: usize = 9;

/// A word or sign in lower case; empty if it is none that is looked for. Requests are megabytes at times, so
/// that none of this may take memory.
#[derive(Debug, Default, Clone, Copy)]
pub struct Word {
    bytes: [u8; LONGEST_WORD],
    length: usize,
}

impl Word {
    fn of(text: &[u8]) -> Self {
        let mut word = Self::default();
        if text.is_ascii()
            && let Some(bytes) = word.bytes.get_mut(..text.len())
        {
            bytes.copy_from_slice(text);
            bytes.make_ascii_lowercase();
            word.length = text.len();
        }
        word
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
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

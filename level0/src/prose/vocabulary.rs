//! Which words are known: those of word lists, of hunspell's dictionaries, and one's own.

use super::code;
use super::error::ProseError;
use super::fold::{Diacritics, folded};
use super::hunspell::Hunspell;
use super::skip::{is_number, is_unspaced};
use super::suggest::suggestions;
use super::words::{HYPHENS, Place};
use crate::lines::for_each_line;
use crate::table::{Request, Table, TableBuilder};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// The words that are known, and how spellings are compared.
///
/// ```
/// use level0::prose::{Diacritics, VocabularyBuilder};
///
/// let mut builder = VocabularyBuilder::new(Diacritics::Kept);
/// builder.add_lines("Straße\nwell-being\nnaïve".as_bytes());
/// let vocabulary = builder.build();
/// assert!(vocabulary.knows("STRASSE") && vocabulary.knows("Well-being"));
/// assert!(!vocabulary.knows("naive"));
/// ```
pub struct Vocabulary {
    /// Folded entries.
    list: Table,
    hunspells: Vec<Hunspell>,
    diacritics: Diacritics,
    code: bool,
}

/// Words that are judged together, so that their look-ups wait for memory together.
pub(crate) struct Batch {
    words: [Option<(Place, Request)>; BATCH],
    len: usize,
}

/// Words to a batch: few enough for it and its cache lines to stay in the first-level cache.
const BATCH: usize = 64;

/// A longer line in bytes of a list is passed over, so that a list of any length and form can be read.
const LONGEST_LINE: usize = 64 * 1024;

impl Default for Batch {
    fn default() -> Self {
        Self {
            words: [None; BATCH],
            len: 0,
        }
    }
}

/// Collects words for a [`Vocabulary`].
pub struct VocabularyBuilder {
    list: TableBuilder,
    hunspells: Vec<Hunspell>,
    diacritics: Diacritics,
    code: bool,
}

impl VocabularyBuilder {
    /// No words yet.
    pub fn new(diacritics: Diacritics) -> Self {
        Self {
            list: TableBuilder::default(),
            hunspells: Vec::new(),
            diacritics,
            code: false,
        }
    }

    /// Takes names like `camelCase` and `snake_case` apart when they are not known whole.
    #[must_use]
    pub fn with_code(mut self, code: bool) -> Self {
        self.code = code;
        self
    }

    /// Adds a word. All its spellings by case are known then.
    pub fn add(&mut self, word: &str) {
        self.list.add(folded(word, self.diacritics).as_bytes());
    }

    /// Adds each line as a word, without white space around it. Bytes that are no UTF-8 are in no word
    /// of a text, so a line with some is left out.
    pub fn add_lines(&mut self, lines: &[u8]) {
        for line in lines.split(|&byte| byte == b'\n') {
            self.add_line(line);
        }
    }

    /// Adds the built-in list, Webster's Second, its names included.
    pub fn add_built_in(&mut self) {
        self.add_lines(crate::WORDS);
    }

    /// Adds a dictionary file: one of hunspell's, told by its name (`.dic` or `.aff`), or a word list,
    /// of which lines of more than 64 KiB are passed over.
    ///
    /// # Errors
    /// A file cannot be read, or hunspell's rules in it are broken.
    pub fn read(&mut self, path: &Path) -> Result<(), ProseError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("dic" | "aff")) {
            self.hunspells.push(Hunspell::read(path, self.diacritics)?);
            return Ok(());
        }
        let read = File::open(path).and_then(|file| self.read_lines(file));
        read.map_err(|source| ProseError::Dictionary {
            path: path.to_owned(),
            source,
        })
    }

    /// Adds the system's hunspell dictionary of a language, such as `en_GB`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read_language(&mut self, language: &str) -> Result<(), ProseError> {
        let path = Hunspell::find(language)?;
        self.hunspells.push(Hunspell::read(&path, self.diacritics)?);
        Ok(())
    }

    /// Adds each line of a list of one's own; `#` begins a comment.
    pub(crate) fn read_personal(&mut self, source: impl Read) -> std::io::Result<()> {
        for_each_line(source, LONGEST_LINE, |line| {
            let words = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            self.add_line(words);
        })
    }

    fn read_lines(&mut self, source: impl Read) -> std::io::Result<()> {
        for_each_line(source, LONGEST_LINE, |line| self.add_line(line))
    }

    fn add_line(&mut self, line: &[u8]) {
        let word = line.trim_ascii();
        if word.is_ascii() {
            self.list.add_folded(word);
        } else if let Ok(word) = std::str::from_utf8(word) {
            self.add(word);
        }
    }

    /// The vocabulary of all that was added.
    pub fn build(self) -> Vocabulary {
        Vocabulary {
            list: self.list.build(),
            hunspells: self.hunspells,
            diacritics: self.diacritics,
            code: self.code,
        }
    }
}

impl Vocabulary {
    /// Whether a word is known as it stands.
    pub fn knows(&self, word: &str) -> bool {
        self.list_knows(word) || self.hunspell_knows(word)
    }

    fn hunspell_knows(&self, word: &str) -> bool {
        self.hunspells.iter().any(|hunspell| hunspell.knows(word))
    }

    /// Whether the list has the word; it folds ASCII itself.
    fn list_knows(&self, word: &str) -> bool {
        if word.is_ascii() {
            self.list.knows(word.as_bytes())
        } else {
            self.list.knows(folded(word, self.diacritics).as_bytes())
        }
    }

    /// The form that a word shares with those that are compared as equal to it.
    pub(crate) fn folded(&self, word: &str) -> String {
        folded(word, self.diacritics).into_owned()
    }

    /// At most `limit` words that may have been meant, the likeliest first: hunspell's if there is such
    /// a dictionary, else the list's.
    pub fn suggestions(&self, word: &str, limit: usize) -> Vec<String> {
        if self.hunspells.is_empty() {
            let knows = |word: &str| self.list.knows(word.as_bytes());
            return suggestions(&self.folded(word), limit, knows);
        }
        let mut found: Vec<String> = Vec::new();
        for hunspell in &self.hunspells {
            for suggestion in hunspell.suggestions(word) {
                if !found.contains(&suggestion) {
                    found.push(suggestion);
                }
            }
        }
        found.truncate(limit);
        found
    }

    /// Adds a word of `text` to the batch, for which its look-up is begun; says whether the batch is full
    /// and must be judged.
    #[inline]
    pub(crate) fn begin(&self, text: &[u8], batch: &mut Batch, place: Place) -> bool {
        // Most of what is not plain is a number. What is joined to one has still to be looked at.
        let word = &text[place.start..place.end];
        if !place.plain && word[0].is_ascii_digit() && place.ascii && !word.contains(&b'-') {
            return false;
        }
        let request = self.list.request(text, place.start, place.end);
        batch.words[batch.len] = Some((place, request));
        batch.len += 1;
        batch.len == BATCH
    }

    /// Calls `unknown` with the place of what is unknown of each word of the batch, in order, and
    /// empties it: a word without a possessive `'s`, or those of its parts, between hyphens or by
    /// `--code`, that are unknown.
    pub(crate) fn judge(
        &self,
        text: &[u8],
        batch: &mut Batch,
        unknown: &mut impl FnMut(Range<usize>),
    ) {
        // Whether a word is known is hard to predict, so those that are not are noted without a branch.
        let mut others = [Place::default(); BATCH];
        let mut count = 0;
        for &(place, request) in batch.words[..batch.len].iter().flatten() {
            others[count] = place;
            let is_known = self.list.answer(request, text, place.start, place.end);
            count += usize::from(!is_known);
        }
        batch.len = 0;
        // There is nobody else to ask, and nothing to take apart.
        let is_final = self.hunspells.is_empty() && !self.code;
        for &place in &others[..count] {
            if place.plain && is_final {
                unknown(place.start..place.end);
            } else {
                self.judge_slowly(text, place, unknown);
            }
        }
    }

    #[inline(never)]
    fn judge_slowly(&self, text: &[u8], place: Place, unknown: &mut impl FnMut(Range<usize>)) {
        // Words are found in UTF-8 only.
        let Ok(word) = std::str::from_utf8(&text[place.start..place.end]) else {
            return;
        };
        // Of what is not ASCII, and so not folded, the list has not been asked yet.
        let is_known = || (!place.ascii && self.list_knows(word)) || self.hunspell_knows(word);
        if is_passed_over(word) || is_known() {
            return;
        }
        let base = without_possessive(word);
        if base.len() < word.len() && self.knows(base) {
            return;
        }
        let mut start = place.start;
        for part in base.split(HYPHENS) {
            let len = part.len();
            if len < base.len() {
                self.judge_part(part, start, unknown);
            } else {
                self.judge_name(part, start, unknown);
            }
            let hyphen = base[start - place.start + len..].chars().next();
            start += len + hyphen.map_or(0, char::len_utf8);
        }
    }

    /// Judges what stands between hyphens.
    fn judge_part(&self, part: &str, start: usize, unknown: &mut impl FnMut(Range<usize>)) {
        if is_passed_over(part) || self.knows(part) {
            return;
        }
        let base = without_possessive(part);
        if base.len() == part.len() || !self.knows(base) {
            self.judge_name(base, start, unknown);
        }
    }

    /// Judges an unknown word: as a name of code if that is asked for and it is one.
    fn judge_name(&self, word: &str, start: usize, unknown: &mut impl FnMut(Range<usize>)) {
        let parts = if self.code {
            code::parts(word)
        } else {
            Vec::new()
        };
        let [_, _, ..] = parts[..] else {
            unknown(start..start + word.len());
            return;
        };
        for part in parts {
            let name = &word[part.clone()];
            let is_short = name.chars().count() < code::SHORTEST_PART;
            if !is_short && !self.knows(name) {
                unknown(start + part.start..start + part.end);
            }
        }
    }
}

/// Whether a word is none, such as a number; what a number is joined to by a hyphen may be one.
fn is_passed_over(word: &str) -> bool {
    (is_number(word) && !word.contains(HYPHENS)) || is_unspaced(word)
}

/// The word without `'s` at its end.
fn without_possessive(word: &str) -> &str {
    let base = word.strip_suffix(['s', 'S']);
    base.and_then(|base| base.strip_suffix(['\'', '\u{2019}', '\u{FF07}']))
        .filter(|base| !base.is_empty())
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::{Batch, Diacritics, Vocabulary, VocabularyBuilder};
    use crate::prose::words::for_each_word;

    fn vocabulary(words: &str, diacritics: Diacritics, code: bool) -> Vocabulary {
        let mut builder = VocabularyBuilder::new(diacritics).with_code(code);
        builder.add_lines(words.as_bytes());
        builder.build()
    }

    fn unknown<'t>(vocabulary: &Vocabulary, text: &'t str) -> Vec<&'t str> {
        let mut found = Vec::new();
        let mut take = |range| found.push(&text[range]);
        let mut batch = Batch::default();
        for_each_word(text.as_bytes(), |place| {
            if vocabulary.begin(text.as_bytes(), &mut batch, place) {
                vocabulary.judge(text.as_bytes(), &mut batch, &mut take);
            }
        });
        vocabulary.judge(text.as_bytes(), &mut batch, &mut take);
        found
    }

    #[test]
    fn case_possessives_and_hyphens_do_not_make_a_word_unknown() {
        let words = vocabulary(
            "dog\nLondon\nwell\nknown\ne-mail\ndon't",
            Diacritics::Kept,
            false,
        );
        let text = "Dog DOG'S dogs dog\u{2019}s london London's well-known e-mail mail Don\u{2019}t \
            well-knwon's xx-well \u{410} 3rd 0xFFAA \u{6F22}";
        assert_eq!(
            unknown(&words, text),
            ["dogs", "mail", "knwon", "xx", "\u{410}"]
        );
    }

    #[test]
    fn what_is_joined_to_a_number_is_looked_at() {
        let words = vocabulary("known", Diacritics::Kept, false);
        let text = "3-knwon 64\u{2010}knwon 3-known 2024-01-05 3-4th 0xAB-12 x1-2";
        assert_eq!(unknown(&words, text), ["knwon", "knwon", "x1"]);
    }

    #[test]
    fn names_of_code_are_taken_apart_if_asked() {
        let list = "camel\ncase\nhttp\nserver\nsnake";
        let text = "camelCase HTTPSrver snake_kase rx_case camelkase plian";
        let plain = vocabulary(list, Diacritics::Kept, false);
        assert_eq!(
            unknown(&plain, text),
            [
                "camelCase",
                "HTTPSrver",
                "snake_kase",
                "rx_case",
                "camelkase",
                "plian"
            ]
        );
        let code = vocabulary(list, Diacritics::Kept, true);
        assert_eq!(
            unknown(&code, text),
            ["Srver", "kase", "camelkase", "plian"]
        );
    }

    #[test]
    fn diacritics_count_unless_they_are_ignored() {
        let text = "naive na\u{EF}ve NAI\u{308}VE";
        let kept = vocabulary("na\u{EF}ve", Diacritics::Kept, false);
        assert_eq!(unknown(&kept, text), ["naive"]);
        let ignored = vocabulary("na\u{EF}ve", Diacritics::Ignored, false);
        assert!(unknown(&ignored, text).is_empty());
    }
}

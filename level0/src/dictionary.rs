//! What a word is looked up in.

use crate::compact;
use crate::lines::{self, for_each_line};
use crate::table::{Table, TableBuilder};
use std::io::{self, Read};

/// A set of entries that says which words are known.
///
/// A word is known if it equals an entry after its ASCII letters have been turned to lower case.
/// Entries are compared as they are, so one with an upper-case letter never matches.
///
/// ```
/// use level0::Dictionary;
///
/// let webster = Dictionary::built_in();
/// assert!(webster.knows(b"Highlight"));
/// assert!(!webster.knows(b"highlight."));
///
/// let ours = Dictionary::from_lines(b"highlight.\nna\xC3\xAFve");
/// assert!(ours.knows(b"HIGHLIGHT.") && !ours.knows(b"highlight"));
/// ```
pub struct Dictionary {
    pub(crate) lookup: Lookup,
}

/// The two ways to look a word up.
pub(crate) enum Lookup {
    /// In the built-in list where it lies: nothing to build, tens of nanoseconds a word.
    BuiltIn,
    /// In a table in memory: milliseconds to build, a few nanoseconds a word.
    Table(Table),
}

impl Dictionary {
    /// The built-in dictionary, Webster's Second ([`crate::WORDS`]). Costs nothing to make.
    pub fn built_in() -> Self {
        Self {
            lookup: Lookup::BuiltIn,
        }
    }

    /// The same dictionary, prepared for a long document.
    ///
    /// The built-in dictionary is made into a table in memory, which takes some milliseconds and
    /// pays from about a hundred thousand words on. Other dictionaries are tables already.
    #[must_use]
    pub fn for_long_documents(self) -> Self {
        match self.lookup {
            Lookup::BuiltIn => Self::from_lines(crate::WORDS),
            Lookup::Table(_) => self,
        }
    }

    /// A dictionary of the lines of `text`, each without its newline.
    pub fn from_lines(text: &[u8]) -> Self {
        let mut builder = DictionaryBuilder::default();
        text.split(|&byte| byte == b'\n')
            .for_each(|line| builder.add(line));
        builder.build()
    }

    /// Whether `word` is known. Bytes that separate words are not looked for: `"a b"` is unknown.
    pub fn knows(&self, word: &[u8]) -> bool {
        match &self.lookup {
            Lookup::BuiltIn => compact::built_in_knows(word, 0, word.len()),
            Lookup::Table(table) => table.knows(word),
        }
    }

    /// Length in bytes of the longest entry that a word can match; any longer word is unknown.
    pub fn longest_entry(&self) -> usize {
        match &self.lookup {
            Lookup::BuiltIn => compact::LONGEST_ENTRY,
            Lookup::Table(table) => table.longest(),
        }
    }
}

/// Collects entries, from any number of sources, for a [`Dictionary`].
#[derive(Default)]
pub struct DictionaryBuilder {
    table: TableBuilder,
}

impl DictionaryBuilder {
    /// Adds one entry. Entries that no word can match (empty, or with an upper-case letter, a space
    /// or a newline) are left out.
    pub fn add(&mut self, entry: &[u8]) {
        self.table.add(entry);
    }

    /// Adds each line of `source`, without its newline.
    ///
    /// # Errors
    /// What reading the source gave; the entries read until then are kept.
    pub fn read(&mut self, source: impl Read) -> io::Result<()> {
        for_each_line(source, lines::UNLIMITED, |line| self.add(line))
    }

    /// The dictionary of all entries added.
    pub fn build(self) -> Dictionary {
        Dictionary {
            lookup: Lookup::Table(self.table.build()),
        }
    }
}

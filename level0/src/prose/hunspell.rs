//! Dictionaries of hunspell: found by language, read in any of their encodings, asked once a word.
//!
//! The rules of `.aff` files are the `spellbook` crate's; here are the system's folders, the
//! encodings of before UTF-8, and a memory of what has been asked.

use super::error::ProseError;
use super::fold::{Diacritics, composed, folded, without_diacritics};
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::{env, fs};

/// Where systems keep dictionaries; `DICPATH` comes before them, as with hunspell.
const FOLDERS: [&str; 4] = [
    "/usr/share/hunspell",
    "/usr/share/myspell",
    "/usr/share/myspell/dicts",
    "/usr/local/share/hunspell",
];

/// A longer word in bytes is unknown unasked: what rules cost grows with a word's length.
const LONGEST_WORD: usize = 128;

/// A word that only suggestions can tell (without diacritics) is asked for up to so many bytes.
const LONGEST_SUGGESTED: usize = 48;

/// Locks of the memory, so that threads seldom wait for one another.
const SHARDS: usize = 64;

/// Words that are remembered in all: some hundred megabytes at the very most.
const REMEMBERED: usize = 2_000_000;

/// One hunspell dictionary and what it has been asked.
pub(crate) struct Hunspell {
    dictionary: spellbook::Dictionary,
    diacritics: Diacritics,
    shards: Vec<RwLock<HashMap<Box<str>, bool, FxBuildHasher>>>,
}

impl Hunspell {
    /// Reads the `.aff` and the `.dic` file beside each other, given either or the name of both.
    pub(crate) fn read(path: &Path, diacritics: Diacritics) -> Result<Self, ProseError> {
        let (aff, dic) = (path.with_extension("aff"), path.with_extension("dic"));
        let affixes = read(&aff)?;
        let label = encoding_label(&affixes);
        let affixes = decode(&aff, &affixes, &label)?;
        let words = decode(&dic, &read(&dic)?, &label)?;
        let dictionary =
            spellbook::Dictionary::new(&affixes, &words).map_err(|error| ProseError::Hunspell {
                path: dic,
                message: one_line(&error.to_string()),
            })?;
        Ok(Self {
            dictionary,
            diacritics,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        })
    }

    /// The path of a language's dictionary, without its extension.
    pub(crate) fn find(language: &str) -> Result<PathBuf, ProseError> {
        let named = env::var_os("DICPATH");
        let named = named.iter().flat_map(env::split_paths);
        let folders: Vec<PathBuf> = named.chain(FOLDERS.iter().map(PathBuf::from)).collect();
        let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '@');
        if !language.is_empty() && language.chars().all(is_name) {
            for folder in &folders {
                let path = folder.join(language);
                if path.with_extension("aff").is_file() && path.with_extension("dic").is_file() {
                    return Ok(path);
                }
            }
        }
        Err(ProseError::NoLanguage {
            language: language.to_owned(),
            known: languages(&folders),
        })
    }

    /// Whether the dictionary knows the word. A word that was asked for is remembered.
    pub(crate) fn knows(&self, word: &str) -> bool {
        if word.len() > LONGEST_WORD {
            return false;
        }
        let hash = FxBuildHasher.hash_one(word);
        // Other bits of the hash than those by which a map finds its places and tells them apart.
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        let remembered = shard.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = remembered.get(word) {
            return known;
        }
        // Nobody waits for an answer but who asked: two threads may ask at once for the same word.
        drop(remembered);
        let known = self.ask(word);
        let mut remembered = shard.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < REMEMBERED / SHARDS {
            remembered.insert(word.into(), known);
        }
        known
    }

    fn ask(&self, word: &str) -> bool {
        let composed = composed(word);
        if self.dictionary.check(&composed) || (composed != word && self.dictionary.check(word)) {
            return true;
        }
        if self.diacritics == Diacritics::Kept {
            return false;
        }
        // The word's marks may be too many, or too few: then the right ones are among the suggestions.
        let bare = folded(word, Diacritics::Ignored);
        self.dictionary.check(&without_diacritics(&composed))
            || self
                .suggestions(word)
                .iter()
                .any(|suggestion| folded(suggestion, Diacritics::Ignored) == bare)
    }

    /// Words that the writer may have meant, the likeliest first.
    pub(crate) fn suggestions(&self, word: &str) -> Vec<String> {
        let mut suggestions = Vec::new();
        if word.len() <= LONGEST_SUGGESTED {
            self.dictionary.suggest(&composed(word), &mut suggestions);
        }
        suggestions
    }

    /// How many distinct words have been asked for and are remembered.
    #[cfg(test)]
    fn remembered(&self) -> usize {
        let len = |shard: &RwLock<HashMap<_, _, _>>| shard.read().map_or(0, |words| words.len());
        self.shards.iter().map(len).sum()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ProseError> {
    fs::read(path).map_err(|source| ProseError::Dictionary {
        path: path.to_owned(),
        source,
    })
}

/// What the `SET` line of an `.aff` file names; hunspell takes ISO 8859-1 where there is none.
fn encoding_label(affixes: &[u8]) -> String {
    let line = affixes
        .split(|&byte| matches!(byte, b'\n' | b'\r'))
        .map(|line| line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line))
        .find_map(|line| line.strip_prefix(b"SET"));
    line.map_or_else(
        || "ISO8859-1".to_owned(),
        |label| String::from_utf8_lossy(label).trim().to_owned(),
    )
}

fn decode(path: &Path, bytes: &[u8], label: &str) -> Result<String, ProseError> {
    let refused = |message: String| ProseError::Hunspell {
        path: path.to_owned(),
        message,
    };
    // Hunspell's names for two families of encodings are not the registered ones.
    let registered = label
        .replace("microsoft-cp", "windows-")
        .replace("TIS620-2533", "TIS-620");
    let encoding = encoding_rs::Encoding::for_label(registered.as_bytes())
        .ok_or_else(|| refused(format!("its encoding '{}' is not known", one_line(label))))?;
    if encoding == encoding_rs::UTF_8 {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count();
            refused(format!(
                "line {line} is not the UTF-8 that it is said to be"
            ))
        })?;
        return Ok(text.to_owned());
    }
    Ok(encoding.decode_without_bom_handling(bytes).0.into_owned())
}

fn one_line(message: &str) -> String {
    message.replace(char::is_control, " ")
}

/// The names of all languages in the folders, sorted.
fn languages(folders: &[PathBuf]) -> Vec<String> {
    let files = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "dic"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::{Hunspell, decode, encoding_label};
    use crate::prose::Diacritics;
    use std::fs;
    use std::path::Path;

    fn dictionary(aff: &[u8], dic: &[u8], diacritics: Diacritics) -> Hunspell {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("xx.aff"), aff).expect("written");
        fs::write(folder.path().join("xx.dic"), dic).expect("written");
        Hunspell::read(&folder.path().join("xx"), diacritics).expect("a dictionary")
    }

    #[test]
    fn affixes_make_words_and_each_is_asked_for_once() {
        let aff = b"SET UTF-8\nSFX S Y 1\nSFX S 0 s .\n";
        let words = dictionary(aff, b"2\nword/S\nLondon\n", Diacritics::Kept);
        for _ in 0..3 {
            for (word, known) in [
                ("word", true),
                ("words", true),
                ("Words", true),
                ("wrods", false),
                ("London", true),
                ("london", false),
            ] {
                assert_eq!(words.knows(word), known, "{word}");
            }
        }
        assert_eq!(words.remembered(), 6);
        assert!(!words.knows(&"word".repeat(1000)));
        assert_eq!(words.suggestions("wrods")[0], "words");
    }

    #[test]
    fn marks_may_be_left_out_or_added_if_they_do_not_count() {
        let kept = dictionary(
            b"SET UTF-8\n",
            "2\nna\u{EF}ve\ncafe\n".as_bytes(),
            Diacritics::Kept,
        );
        assert!(kept.knows("nai\u{308}ve") && !kept.knows("naive") && !kept.knows("caf\u{E9}"));
        let ignored = dictionary(
            b"SET UTF-8\nTRY \xC3\xAFi\n",
            "2\nna\u{EF}ve\ncafe\n".as_bytes(),
            Diacritics::Ignored,
        );
        assert!(ignored.knows("naive") && ignored.knows("caf\u{E9}") && !ignored.knows("naove"));
    }

    #[test]
    fn old_encodings_are_read() {
        let german = dictionary(b"SET ISO8859-1\n", b"1\nStra\xDFe\n", Diacritics::Kept);
        assert!(german.knows("Straße"));
        let nothing_said = dictionary(b"", b"1\nStra\xDFe\n", Diacritics::Kept);
        assert!(nothing_said.knows("Straße"));
        assert_eq!(encoding_label(b"# x\r\nSET KOI8-R\r\n"), "KOI8-R");
        for label in [
            "ISO8859-2",
            "ISO8859-10",
            "ISO8859-13",
            "ISO8859-15",
            "KOI8-R",
            "KOI8-U",
            "microsoft-cp1251",
            "TIS620-2533",
            "utf-8",
        ] {
            assert!(decode(Path::new("x"), b"abc", label).is_ok(), "{label}");
        }
        assert!(decode(Path::new("x"), b"abc", "EBCDIC").is_err());
        assert!(decode(Path::new("x"), b"a\xFF", "UTF-8").is_err());
    }
}

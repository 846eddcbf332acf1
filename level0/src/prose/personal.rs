//! Words of one's own: `.level0.txt`, one a line, `#` before a comment.
//!
//! The list nearest to the working directory, upwards, is used, and the one in the home directory.

use super::error::ProseError;
use super::vocabulary::VocabularyBuilder;
use super::words::for_each_word;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The lists' name.
const NAME: &str = ".level0.txt";

/// The lists that are used: the named one, or those that are found.
pub(crate) fn lists(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_owned()];
    }
    let mut lists: Vec<PathBuf> = nearest().into_iter().collect();
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    let of_home = home.map(|home| PathBuf::from(home).join(NAME));
    lists.extend(of_home.filter(|path| path.is_file() && !lists.contains(path)));
    lists
}

fn nearest() -> Option<PathBuf> {
    let directory = env::current_dir().ok()?;
    let mut lists = directory.ancestors().map(|folder| folder.join(NAME));
    lists.find(|path| path.is_file())
}

/// Adds the words of a list to the vocabulary.
pub(crate) fn read(path: &Path, builder: &mut VocabularyBuilder) -> Result<(), ProseError> {
    let read = File::open(path).and_then(|file| builder.read_personal(file));
    read.map_err(|source| ProseError::Dictionary {
        path: path.to_owned(),
        source,
    })
}

/// Writes words that are not there yet behind the list's others: in the named list, or the nearest
/// one, or a new one in the working directory.
pub(crate) fn add(words: &[String], named: Option<&Path>) -> Result<(), ProseError> {
    if let Some(word) = words.iter().find(|word| !is_one_word(word)) {
        return Err(ProseError::NotAWord { word: word.clone() });
    }
    let path = named.map(Path::to_owned).or_else(nearest);
    let path = path.unwrap_or_else(|| PathBuf::from(NAME));
    append(&path, words).map_err(|source| ProseError::Personal { path, source })
}

/// Appends in one write, so that two programs that add at once lose nothing.
fn append(path: &Path, words: &[String]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).open(path)?;
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    match file.read_to_string(&mut text) {
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"));
        }
        other => other?,
    };
    let mut lines = String::new();
    if !text.is_empty() && !text.ends_with('\n') {
        lines.push('\n');
    }
    let begun = lines.len();
    for word in words {
        let has = |text: &str| text.lines().any(|line| line.trim() == word);
        if !has(&text) && !has(&lines) {
            lines.push_str(word);
            lines.push('\n');
        }
    }
    if lines.len() > begun {
        file.write_all(lines.as_bytes())?;
    }
    Ok(())
}

fn is_one_word(word: &str) -> bool {
    let mut places = Vec::new();
    for_each_word(word.as_bytes(), |place| places.push(place));
    matches!(places[..], [place] if (place.start, place.end) == (0, word.len()))
}

#[cfg(test)]
mod tests {
    use super::{append, is_one_word};
    use std::fs;

    #[test]
    fn words_are_added_once_each_on_a_line_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list");
        fs::write(&path, "# ours\none").expect("written");
        let words = ["two".to_owned(), "one".to_owned(), "two".to_owned()];
        append(&path, &words).expect("added");
        append(&path, &words).expect("added");
        assert_eq!(
            fs::read_to_string(&path).expect("read"),
            "# ours\none\ntwo\n"
        );
    }

    #[test]
    fn only_a_word_can_be_added() {
        for word in ["foo", "well-known", "Don't", "na\u{EF}ve"] {
            assert!(is_one_word(word), "{word}");
        }
        for no_word in ["", "two words", "a.b", "/etc", " foo", "foo,"] {
            assert!(!is_one_word(no_word), "{no_word}");
        }
    }
}

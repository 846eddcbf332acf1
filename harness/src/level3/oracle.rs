//! What a search must find, by brute force: every file is read and searched for every needle.
//!
//! It is judge and not contestant, so it is plain rather than clever; but a tree of a gigabyte and a
//! few hundred needles should take a minute, so files are shared among threads and hits are kept as
//! pairs of numbers.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use memchr::memmem::Finder;

use octopus::interrupt;

/// Files above this are not indexed, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A line of a file: the file's place in [`Expected::files`], and the line's number from 1.
pub type Hit = (u32, u32);

/// The right answers to all needles.
pub struct Expected {
    /// Paths of the indexed files, relative to the root.
    pub files: Vec<String>,
    /// The hits of each needle, ascending.
    pub hits: Vec<Vec<Hit>>,
    /// Bytes of the indexed files.
    pub bytes: u64,
    places: HashMap<String, u32>,
}

/// The difference between what must be found and what was: how many lines, and the first of each
/// kind as `path:LINE`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Lines that were not found.
    pub missing: Lines,
    /// Results that are no hits.
    pub unexpected: Lines,
    /// Hits that are listed again.
    pub twice: Lines,
}

/// A number of lines, and the first of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// How many.
    pub count: usize,
    /// The first, if there is one.
    pub first: Option<String>,
}

impl Lines {
    fn add(&mut self, shown: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(shown);
    }

    /// `3 lines are missing, the first a/one:3`; none of none.
    fn told(&self, one: &str, several: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(match self.count {
            1 => format!("{first} {one}"),
            count => format!("{count} lines {several}, the first {first}"),
        })
    }
}

impl Difference {
    fn is_none(&self) -> bool {
        self.missing.count + self.unexpected.count + self.twice.count == 0
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.missing.told("is missing", "are missing"),
            self.unexpected.told(
                "should not be among the results",
                "should not be among the results",
            ),
            self.twice
                .told("is listed twice", "are listed twice or more"),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

impl Expected {
    /// Searches a tree for all needles.
    pub fn search(root: &Path, needles: &[&str]) -> Result<Self> {
        let mut paths = Vec::new();
        collect(root, &mut paths)?;
        paths.sort();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = paths.len().div_ceil(threads).max(1);
        let finders: Vec<Finder<'_>> = needles.iter().map(Finder::new).collect();
        let parts = std::thread::scope(|scope| {
            let workers: Vec<_> = paths
                .chunks(share)
                .map(|paths| scope.spawn(|| search_files(root, paths, &finders)))
                .collect();
            let joined = workers.into_iter().map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("the brute-force search panicked")))
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        let mut all = Self {
            files: Vec::new(),
            hits: vec![Vec::new(); needles.len()],
            bytes: 0,
            places: HashMap::new(),
        };
        for part in parts {
            let before = all.files.len() as u32;
            all.files.extend(part.files);
            all.bytes += part.bytes;
            for (hits, found) in all.hits.iter_mut().zip(part.hits) {
                hits.extend(found.into_iter().map(|(file, line)| (file + before, line)));
            }
        }
        let places = all
            .files
            .iter()
            .zip(0..)
            .map(|(path, place)| (path.clone(), place));
        all.places = places.collect();
        Ok(all)
    }

    /// A hit as a result of the contract, `path:LINE`.
    fn shown(&self, (file, line): Hit) -> String {
        format!("{}:{line}", self.files[file as usize])
    }

    /// Compares the results for a needle, in any order, with the hits; none if they are the same.
    pub fn compare(&self, needle: usize, results: &[String]) -> Option<Difference> {
        let mut difference = Difference::default();
        let mut found = Vec::with_capacity(results.len());
        for result in results {
            match self.hit(result) {
                Some(hit) => found.push(hit),
                None => difference.unexpected.add(|| result.clone()),
            }
        }
        found.sort_unstable();
        for pair in found.windows(2).filter(|pair| pair[0] == pair[1]) {
            difference.twice.add(|| self.shown(pair[0]));
        }
        found.dedup();
        let expected = &self.hits[needle];
        let (mut wanted, mut given) = (expected.iter().peekable(), found.iter().peekable());
        loop {
            let order = match (wanted.peek(), given.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(wanted), Some(given)) => wanted.cmp(given),
            };
            let missing = if order.is_le() { wanted.next() } else { None };
            let unexpected = if order.is_ge() { given.next() } else { None };
            match (missing, unexpected) {
                (Some(&hit), None) => difference.missing.add(|| self.shown(hit)),
                (None, Some(&hit)) => difference.unexpected.add(|| self.shown(hit)),
                _ => {}
            }
        }
        (!difference.is_none()).then_some(difference)
    }

    /// The hit that a result names, if it has the contract's form.
    fn hit(&self, result: &str) -> Option<Hit> {
        let (path, line) = result.rsplit_once(':')?;
        let number: u32 = line.parse().ok()?;
        // "+7" and "07" are numbers to the parser, but not to the contract.
        let plain = line.starts_with(|digit: char| ('1'..='9').contains(&digit));
        plain.then_some((*self.places.get(path)?, number))
    }
}

/// The paths of regular files that are not hidden, below a folder.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    interrupt::check()?;
    let shown = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {shown}"))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {shown}"))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // The entry's own type: a symbolic link is neither a folder nor a file.
        let kind = entry
            .file_type()
            .with_context(|| format!("cannot read {shown}"))?;
        if kind.is_dir() {
            collect(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// The files that are to be indexed, in no particular order.
pub fn indexed_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    collect(root, &mut paths)?;
    let mut indexed = Vec::new();
    for path in paths {
        if read_indexed(&path)?.is_some() {
            indexed.push(path);
        }
    }
    Ok(indexed)
}

/// The text of a file, if it is to be indexed.
fn read_indexed(path: &Path) -> Result<Option<Vec<u8>>> {
    let cannot_read = || format!("cannot read {}", path.display());
    if fs::metadata(path).with_context(cannot_read)?.len() > MAX_FILE {
        return Ok(None);
    }
    let text = fs::read(path).with_context(cannot_read)?;
    let is_text = std::str::from_utf8(&text).is_ok() && !text.contains(&0);
    Ok(is_text.then_some(text))
}

struct Part {
    files: Vec<String>,
    hits: Vec<Vec<Hit>>,
    bytes: u64,
}

fn search_files(root: &Path, paths: &[PathBuf], finders: &[Finder<'_>]) -> Result<Part> {
    let mut part = Part {
        files: Vec::new(),
        hits: vec![Vec::new(); finders.len()],
        bytes: 0,
    };
    for path in paths {
        interrupt::check()?;
        let Some(text) = read_indexed(path)? else {
            continue;
        };
        let file = part.files.len() as u32;
        for (finder, hits) in finders.iter().zip(&mut part.hits) {
            hits.extend(
                matching_lines(&text, finder)
                    .into_iter()
                    .map(|line| (file, line)),
            );
        }
        part.bytes += text.len() as u64;
        let relative = path.strip_prefix(root).unwrap_or(path);
        part.files.push(relative.to_string_lossy().into_owned());
    }
    Ok(part)
}

/// Numbers of the lines that hold the needle, each once.
fn matching_lines(text: &[u8], finder: &Finder<'_>) -> Vec<u32> {
    let mut lines = Vec::new();
    if finder.needle().is_empty() || finder.needle().contains(&b'\n') {
        return lines;
    }
    let mut line = 1;
    let mut from = 0;
    while let Some(offset) = finder.find(&text[from..]) {
        let at = from + offset;
        line += memchr::memchr_iter(b'\n', &text[from..at]).count() as u32;
        lines.push(line);
        // On with the next line.
        let Some(end) = memchr::memchr(b'\n', &text[at..]) else {
            break;
        };
        from = at + end + 1;
        line += 1;
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word: lines between newlines, windows of the needle's length.
    fn by_definition(text: &[u8], needle: &[u8]) -> Vec<u32> {
        let lines = text.split(|&byte| byte == b'\n').zip(1..);
        let matching =
            lines.filter(|(line, _)| line.windows(needle.len()).any(|window| window == needle));
        matching.map(|(_, number)| number).collect()
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_definition(text in "[ab\n]{0,60}", needle in "[ab\n]{1,4}") {
            prop_assert_eq!(
                matching_lines(text.as_bytes(), &Finder::new(&needle)),
                by_definition(text.as_bytes(), needle.as_bytes())
            );
        }
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, contents: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        };
        write("a/one", b"needle needle\nnothing\nthe needle");
        write("two", b"hay\nneedle\n");
        write(".hidden", b"needle");
        write("a/.git/config", b"needle");
        write("binary", b"needle\0");
        write("latin1", b"needle \xff");
        write(
            "full",
            &[b"needle".as_slice(), &vec![b'x'; (1 << 20) - 6]].concat(),
        );
        write(
            "over",
            &[b"needle".as_slice(), &vec![b'x'; (1 << 20) - 5]].concat(),
        );
        std::os::unix::fs::symlink(root.path().join("two"), root.path().join("link")).unwrap();
        root
    }

    #[test]
    fn only_what_the_contract_indexes_is_searched() {
        let root = tree();
        let expected = Expected::search(root.path(), &["needle", "absent", "y\nn"]).unwrap();
        assert_eq!(expected.files, ["a/one", "full", "two"]);
        let shown: Vec<_> = expected.hits[0]
            .iter()
            .map(|&hit| expected.shown(hit))
            .collect();
        assert_eq!(shown, ["a/one:1", "a/one:3", "full:1", "two:2"]);
        assert!(expected.hits[1].is_empty());
        assert!(
            expected.hits[2].is_empty(),
            "a needle with a newline matches nothing"
        );
    }

    #[test]
    fn answers_are_compared_in_any_order_and_exactly() {
        let root = tree();
        let expected = Expected::search(root.path(), &["needle"]).unwrap();
        let compare = |results: &[&str]| {
            let results: Vec<String> = results.iter().map(ToString::to_string).collect();
            expected.compare(0, &results)
        };
        let right = ["two:2", "full:1", "a/one:3", "a/one:1"];
        let told = |results: &[&str]| compare(results).map(|difference| difference.to_string());
        assert_eq!(told(&right), None);
        let missing = told(&["two:2", "full:1", "a/one:1"]);
        assert_eq!(missing.as_deref(), Some("a/one:3 is missing"));
        let nearly_all = told(&["full:1"]);
        let expected = "3 lines are missing, the first a/one:1";
        assert_eq!(nearly_all.as_deref(), Some(expected));
        let twice = told(&["two:2", "two:2", "full:1", "a/one:3", "a/one:1"]);
        assert_eq!(twice.as_deref(), Some("two:2 is listed twice"));
        for bad in ["two:1", "two:02", "two:+2", "two", "nowhere:1"] {
            let results = [right.as_slice(), &[bad]].concat();
            let expected = format!("{bad} should not be among the results");
            assert_eq!(told(&results), Some(expected));
        }
        let all = told(&["two:1", "two:2", "two:2", "full:1", "a/one:3"]);
        let expected =
            "a/one:1 is missing; two:1 should not be among the results; two:2 is listed twice";
        assert_eq!(all.as_deref(), Some(expected));
    }
}

//! Counting all that matches: totals, and facets by folder and by language.

use std::collections::{BTreeMap, HashMap};

use super::budget::Budget;
use super::hits::SearchError;
use super::language;
use super::request::{Request, Tally};
use super::scan::{Scan, named_files, row};
use crate::index::{IndexError, Snapshot};
use crate::parallel;

/// Counts the matches of a request in a shard, whatever its limit.
pub(crate) fn tally(
    snapshot: &Snapshot,
    request: &Request,
    threads: usize,
    budget: &Budget<'_>,
) -> Result<Tally, SearchError> {
    if request.query.is_about_names() {
        let files = named_files(snapshot, &request.query)?;
        let counts = files.iter().map(|file| (&*row(snapshot, file).path, 1));
        return Ok(Tally::of(counts));
    }
    let scan = Scan::new(snapshot, &request.query, budget)?;
    let count = |text: &mut Vec<u8>, file: &_| {
        let mut lines = 0_u64;
        let complete = scan.visit(*file, text, |_| {
            lines += 1;
            true
        })?;
        Ok::<_, IndexError>((lines, complete))
    };
    let files = scan.files()?;
    let (counts, _) = parallel::map(&files, threads, Vec::new, count)?;
    let is_late = scan.is_late()?;
    let mut tally = Tally::of(
        files
            .iter()
            .zip(&counts)
            .filter(|(_, (lines, _))| *lines > 0)
            .map(|(file, (lines, _))| (scan.path(file), *lines)),
    );
    tally.at_least = is_late || counts.iter().any(|(_, complete)| !complete);
    Ok(tally)
}

impl Tally {
    /// Sums up files and how many lines of each match.
    pub(crate) fn of<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let mut tally = Self::default();
        let mut folders: HashMap<&str, u64> = HashMap::new();
        let mut languages: HashMap<&str, u64> = HashMap::new();
        for (path, lines) in files {
            tally.lines += lines;
            tally.files += 1;
            let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
            *folders.entry(folder).or_default() += lines;
            if let Some(language) = language::of(path) {
                *languages.entry(language).or_default() += lines;
            }
        }
        let mut names = folders.keys().copied();
        let first = names.next().unwrap_or_default();
        names.fold(first, shared).clone_into(&mut tally.folder);
        for (folder, lines) in folders {
            tally.add_folder(folder, lines);
        }
        let languages = languages.into_iter();
        tally.languages = languages
            .map(|(name, lines)| (name.to_owned(), lines))
            .collect();
        tally
    }

    /// Counts lines of a folder for the sub-folder that it is in.
    fn add_folder(&mut self, folder: &str, lines: u64) {
        let behind = &folder[self.folder.len()..];
        if let Some(slash) = behind.find('/') {
            let name = &folder[..=self.folder.len() + slash];
            *self.folders.entry(name.to_owned()).or_default() += lines;
        }
    }

    /// Adds what another shard has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        if other.files > 0 {
            if self.files == 0 {
                self.folder.clone_from(&other.folder);
            }
            let folder = shared(&self.folder, &other.folder).to_owned();
            let mut merged = Self {
                folder,
                ..Self::default()
            };
            for part in [&*self, other] {
                // What is not in a sub-folder is in the folder itself.
                let below: u64 = part.folders.values().sum();
                merged.add_folder(&part.folder, part.lines - below);
                for (name, lines) in &part.folders {
                    merged.add_folder(name, *lines);
                }
            }
            (self.folder, self.folders) = (merged.folder, merged.folders);
        }
        self.lines += other.lines;
        self.files += other.files;
        self.at_least |= other.at_least;
        add_counts(&mut self.languages, &other.languages);
    }
}

fn add_counts(counts: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *counts.entry(name.clone()).or_default() += count;
    }
}

/// The deepest folder that contains both; both end in a slash or are empty.
fn shared<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    let same = &one.as_bytes()[..same.count()];
    let slash = same.iter().rposition(|&byte| byte == b'/');
    slash.map_or("", |slash| &one[..=slash])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn folders_are_those_below_what_all_share() {
        let tally = Tally::of([("a/b/c/x.c", 1), ("a/b/d/y.h", 2), ("a/b/z.rs", 4)].into_iter());
        assert_eq!((tally.lines, tally.files, &*tally.folder), (7, 3, "a/b/"));
        let folders: Vec<_> = tally.folders.into_iter().collect();
        assert_eq!(folders, [("a/b/c/".into(), 1), ("a/b/d/".into(), 2)]);
        let languages: Vec<_> = tally.languages.into_iter().collect();
        assert_eq!(languages, [("c".into(), 3), ("rust".into(), 4)]);
    }

    proptest! {
        /// Shards together count what one that has all files would.
        #[test]
        fn parts_add_up(
            files in prop::collection::btree_map("([ab]/){0,3}[xy]\\.(c|rs|q)", 1..9_u64, 0..8),
            shards in prop::collection::vec(0..3_usize, 8),
        ) {
            let mut sum = Tally::default();
            for shard in 0..3 {
                let part = files.iter().zip(&shards).filter(|(_, of)| **of == shard);
                sum.add(&Tally::of(part.map(|((path, lines), _)| (path.as_str(), *lines))));
            }
            let whole = Tally::of(files.iter().map(|(path, lines)| (path.as_str(), *lines)));
            prop_assert_eq!(sum, whole);
        }
    }
}

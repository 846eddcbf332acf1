//! Totals and facets: how many lines match, in which folders, languages and roots.

use serde_json::{Value, json};

use super::Master;
use super::pages::Page;
use super::trees::Tree;
use crate::search::{Request, Tally};
use crate::wire::Kind;

/// Entries of a facet that are listed.
const MAX_ENTRIES: usize = 20;

/// What was counted.
pub(super) struct Facets {
    all: Tally,
    /// Lines by root, in the order of roots.
    roots: Vec<(String, u64)>,
}

/// Counts all matches.
pub(super) async fn count(master: &Master, trees: &[Tree], request: &Request) -> Facets {
    let parts = master.parts(trees);
    let asked: Vec<_> = parts
        .into_iter()
        .map(|part| (part, request.clone()))
        .collect();
    let mut facets = Facets::new(trees);
    let counted = master.ask_each::<Tally>(Kind::Tally, trees, &asked).await;
    for ((part, _), outcome) in asked.iter().zip(counted) {
        match outcome {
            Ok(tally) => facets.add(part.tree, &tally),
            Err(_) => facets.all.at_least = true,
        }
    }
    facets
}

impl Facets {
    fn new(trees: &[Tree]) -> Self {
        Self {
            all: Tally::default(),
            roots: trees
                .iter()
                .map(|tree| (tree.name().as_str().to_owned(), 0))
                .collect(),
        }
    }

    /// Counts what is on a page.
    pub(super) fn of_page(trees: &[Tree], request: &Request, page: &Page) -> Self {
        let mut facets = Self::new(trees);
        for (at, tree) in trees.iter().enumerate() {
            let hits = page
                .hits
                .iter()
                .filter(|hit| hit.root == tree.name().as_str());
            let mut paths: Vec<&str> = hits.map(|hit| hit.file.as_str()).collect();
            paths.sort_unstable();
            let files = paths.chunk_by(|a, b| a == b);
            facets.add(
                at,
                &Tally::of(files.map(|lines| (lines[0], lines.len() as u64))),
            );
        }
        facets.all.at_least = page.more || request.skip > 0 || !page.missing.is_empty();
        facets
    }

    fn add(&mut self, tree: usize, tally: &Tally) {
        self.roots[tree].1 += tally.lines;
        self.all.add(tally);
    }

    /// Takes note that not everything was counted.
    pub(super) fn at_least(mut self, at_least: bool) -> Self {
        self.all.at_least |= at_least;
        self
    }

    /// Puts `totals` and `facets` into an answer.
    pub(super) fn put(&self, body: &mut Value) {
        let Tally {
            lines,
            files,
            at_least,
            ..
        } = self.all;
        body["totals"] = json!({"lines": lines, "files": files, "at_least": at_least});
        let entries = |counts: &mut dyn Iterator<Item = (&String, &u64)>| -> Vec<Value> {
            let mut counts: Vec<(&String, &u64)> =
                counts.filter(|(_, count)| **count > 0).collect();
            // Equal counts stay in the order of names.
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let entry = |(name, count): &(&String, &u64)| json!({"name": name, "count": count});
            counts.iter().take(MAX_ENTRIES).map(entry).collect()
        };
        body["facets"] = json!({
            "folders": entries(&mut self.all.folders.iter()),
            "languages": entries(&mut self.all.languages.iter()),
            "roots": entries(&mut self.roots.iter().map(|(name, count)| (name, count))),
            "at_least": at_least,
        });
    }
}

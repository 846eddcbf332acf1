//! One page of hits: which shard shows which of its lines, and how their answers become one.
//!
//! A first page is one question to each shard. For a later one, the shards first say how many lines
//! match in which files; from that follows which of its lines each shard has to show, and no text
//! is sent that is then left out. In the order of `best` each shard is asked for all pages so far.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::de::DeserializeOwned;

use super::Master;
use super::trees::Tree;
use crate::master::error::{Cause, MasterError};
use crate::search::{Answer, Counts, Hit, Order, Request};
use crate::wire::{self, Kind};

/// How long after its time limit a search may still be on its way here. A node that says nothing
/// until then is silent.
const MARGIN: Duration = Duration::from_secs(2);

/// Bytes of hits that all shards together may answer with: as many as three shards of one root.
const PAGE_BYTES: usize = 9 << 20;

/// But of each shard so many.
const MIN_BYTES: usize = 64 << 10;

/// Shards of several roots that one search asks at once.
const MAX_ASKED: usize = 24;

/// A shard of one of the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The tree's position among those asked.
    pub tree: usize,
    pub shard: u32,
}

/// What all shards found.
#[derive(Default)]
pub(super) struct Page {
    pub hits: Vec<Hit>,
    pub more: bool,
    pub timed_out: bool,
    pub pruned: bool,
    pub missing: Vec<MasterError>,
}

impl Master {
    /// The hits behind `request.skip`, up to `request.limit` of them.
    pub(super) async fn page(&self, trees: &[Tree], request: &Request) -> Page {
        let mut page = Page::default();
        let parts = self.parts(trees);
        let bytes = (PAGE_BYTES / parts.len().max(1)).max(MIN_BYTES);
        let is_first = request.skip == 0;
        let windows = if is_first {
            vec![(0, request.limit); parts.len()]
        } else if request.order == Order::Best {
            vec![(0, request.skip + request.limit); parts.len()]
        } else {
            self.windows(trees, &parts, request, &mut page).await
        };
        let asked: Vec<(Part, Request)> = parts
            .into_iter()
            .zip(windows)
            .filter(|(_, (_, limit))| *limit > 0 || is_first)
            .map(|(part, (skip, limit))| {
                let request = Request {
                    skip,
                    limit,
                    bytes,
                    ..request.clone()
                };
                (part, request)
            })
            .collect();
        let mut answers: Vec<(usize, Answer)> = Vec::new();
        let outcomes = self.ask_each(Kind::Search, trees, &asked).await;
        for ((part, _), outcome) in asked.iter().zip(outcomes) {
            match outcome {
                Ok(answer) => answers.push((part.tree, answer)),
                Err(error) => page.missing.push(error),
            }
        }
        let tells_more = is_first || request.order == Order::Best;
        for (tree, answer) in &mut answers {
            page.more |= answer.cut || (tells_more && answer.more);
            page.timed_out |= answer.timed_out;
            for hit in &mut answer.hits {
                trees[*tree].name().as_str().clone_into(&mut hit.root);
            }
        }
        page.pruned = answers.iter().all(|(_, answer)| answer.pruned);
        let skip = if request.order == Order::Best {
            request.skip
        } else {
            0
        };
        let (hits, beyond) = merge(answers, skip, request.limit);
        page.hits = hits;
        page.more |= beyond;
        page
    }

    /// All shards of these trees.
    pub(super) fn parts(&self, trees: &[Tree]) -> Vec<Part> {
        let shards = 1..=self.topology.shards();
        (0..trees.len())
            .flat_map(|tree| shards.clone().map(move |shard| Part { tree, shard }))
            .collect()
    }

    /// How many lines each shard is to leave out and to show, by how many it has. Roots are counted
    /// in their order, up to the one in which the page ends.
    async fn windows(
        &self,
        trees: &[Tree],
        parts: &[Part],
        request: &Request,
        page: &mut Page,
    ) -> Vec<(usize, usize)> {
        let wanted = request.skip + request.limit;
        let mut counts: Vec<(usize, Counts)> = Vec::new();
        for parts in parts.chunk_by(|a, b| a.tree == b.tree) {
            let asked: Vec<_> = parts.iter().map(|&part| (part, request.clone())).collect();
            let counted = self.ask_each(Kind::Count, trees, &asked).await;
            for (part, outcome) in parts.iter().zip(counted) {
                let count = outcome.unwrap_or_else(|error| {
                    page.missing.push(error);
                    Counts::default()
                });
                page.more |= count.more;
                page.timed_out |= count.timed_out;
                counts.push((part.tree, count));
            }
            let files = counts.iter().flat_map(|(_, count)| &count.files);
            if files.map(|(_, lines)| lines).sum::<usize>() > wanted {
                break;
            }
        }
        let (mut windows, beyond) = share(&counts, request.skip, request.limit);
        windows.resize(parts.len(), (0, 0));
        page.more |= beyond;
        windows
    }

    /// Asks some shards, each with a request of its own.
    pub(super) async fn ask_each<T: DeserializeOwned>(
        &self,
        kind: Kind,
        trees: &[Tree],
        requests: &[(Part, Request)],
    ) -> Vec<Result<T, MasterError>> {
        let patience = self.config.search_time_limit + MARGIN.max(self.config.node_timeout / 2);
        let ask = async |(part, request): &(Part, Request)| {
            let tree = &trees[part.tree];
            let of = tree.of_shard(part.shard);
            let payload = wire::encode_search(&of, request).map_err(|_| MasterError::Worker)?;
            let frame = wire::frame(kind, &payload);
            let started = self.ask(tree.name(), part.shard, &frame, patience).await?;
            let node = started.node;
            self.topology.pool(node).give_back(started.connection);
            read(&started.payload).ok_or_else(|| MasterError::Shard {
                root: tree.name().clone(),
                shard: part.shard,
                faults: vec![self.topology.fault(node, Cause::Unexpected)],
            })
        };
        let at_once = MAX_ASKED.max(self.topology.shards() as usize);
        let asked = stream::iter(requests.iter().map(ask)).buffered(at_once);
        asked.collect().await
    }
}

fn read<T: DeserializeOwned>(payload: &Bytes) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Which lines of each shard are the ones from `skip` on, up to `limit` of them, in the order of
/// trees and paths: how many to leave out and how many to show. Also says whether there are more.
fn share(counts: &[(usize, Counts)], skip: usize, limit: usize) -> (Vec<(usize, usize)>, bool) {
    let files = counts
        .iter()
        .enumerate()
        .flat_map(|(part, (tree, counts))| {
            let files = counts.files.iter();
            files.map(move |(path, lines)| (*tree, path.as_str(), part, *lines))
        });
    let mut files: Vec<(usize, &str, usize, usize)> = files.collect();
    files.sort_unstable();
    let mut windows = vec![(0, 0); counts.len()];
    let (mut skip, mut limit) = (skip, limit);
    for (_, _, part, lines) in files {
        let skipped = lines.min(skip);
        let shown = (lines - skipped).min(limit);
        skip -= skipped;
        limit -= shown;
        windows[part].0 += skipped;
        windows[part].1 += shown;
        if skipped + shown < lines {
            return (windows, true);
        }
    }
    (windows, false)
}

/// Merges the shards' hits by rank, tree and path, and takes `limit` of them behind `skip`. Also
/// says whether there are more.
///
/// Where a shard was cut for want of memory, what is behind its last hit is left out of the others
/// too: a hit that it does not show would belong in between.
fn merge(answers: Vec<(usize, Answer)>, skip: usize, limit: usize) -> (Vec<Hit>, bool) {
    let mut all: Vec<(usize, Hit)> = Vec::new();
    let mut end: Option<(u64, usize, String, u64)> = None;
    for (tree, answer) in answers {
        if answer.cut {
            let last = answer.hits.last();
            let last = last.map(|hit| (hit.rank, tree, hit.file.clone(), hit.line));
            let last = last.unwrap_or_default();
            end = Some(end.map_or(last.clone(), |end| end.min(last)));
        }
        all.extend(answer.hits.into_iter().map(|hit| (tree, hit)));
    }
    let before = all.len();
    if let Some((rank, tree, file, line)) = end {
        let end = (rank, tree, file.as_str(), line);
        all.retain(|(tree, hit)| (hit.rank, *tree, hit.file.as_str(), hit.line) <= end);
    }
    // A file is in one shard only, so equal paths keep the order of their lines.
    all.sort_by(|(tree, hit), (other_tree, other)| {
        (hit.rank, tree, &hit.file).cmp(&(other.rank, other_tree, &other.file))
    });
    let hits: Vec<Hit> = all
        .into_iter()
        .map(|(_, hit)| hit)
        .skip(skip)
        .take(limit)
        .collect();
    let beyond = hits.len() < before.saturating_sub(skip);
    (hits, beyond)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(files: &[(String, usize)]) -> Counts {
        Counts {
            files: files.to_vec(),
            ..Counts::default()
        }
    }

    proptest! {
        /// The slow way: all lines in order, and then those that are wanted.
        #[test]
        fn windows_cover_the_lines_that_are_wanted(
            lines in prop::collection::vec((0..3_usize, 1..5_usize), 0..12),
            skip in 0..20_usize,
            limit in 0..10_usize,
        ) {
            let mut shards = vec![Vec::new(); 3];
            let mut all = Vec::new();
            for (at, (shard, count)) in lines.into_iter().enumerate() {
                shards[shard].push((format!("file-{at:02}"), count));
                all.extend(std::iter::repeat_n(shard, count));
            }
            let counted: Vec<_> = shards.iter().map(|files| (0, counts(files))).collect();
            let (windows, more) = share(&counted, skip, limit);
            let wanted: Vec<usize> = all.iter().copied().skip(skip).take(limit).collect();
            for (shard, &(skipped, shown)) in windows.iter().enumerate() {
                prop_assert_eq!(shown, wanted.iter().filter(|&&of| of == shard).count());
                let in_front = all.iter().take(skip).filter(|&&of| of == shard).count();
                prop_assert!(shown == 0 || skipped == in_front);
            }
            prop_assert_eq!(more, all.len() > skip + wanted.len() && all.len() > skip + limit);
        }
    }

    #[test]
    fn what_is_behind_a_cut_is_left_out() {
        let hit = |file: &str, line| Hit {
            file: file.to_owned(),
            line,
            ..Hit::default()
        };
        let whole = Answer {
            hits: vec![hit("a", 1), hit("c", 1)],
            ..Answer::default()
        };
        let cut = Answer {
            hits: vec![hit("b", 1)],
            cut: true,
            ..Answer::default()
        };
        let (hits, more) = merge(vec![(0, whole), (0, cut)], 0, 10);
        let places: Vec<_> = hits.iter().map(|hit| hit.file.as_str()).collect();
        assert_eq!((places, more), (vec!["a", "b"], true));
    }
}

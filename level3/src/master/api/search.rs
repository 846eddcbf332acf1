//! `/search`: asks all shards and merges what they found by path.
//!
//! A first page is one question to each shard. For a later one, the shards first say how many lines
//! match in which files; from that follows which of its lines each shard has to show, and no text
//! is sent that is then left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State as Shared};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::failure::{Failure, texts};
use super::{Master, parameters};
use crate::master::error::{Cause, MasterError};
use crate::master::served::State;
use crate::search::{self, Answer, Counts, Hit, Request, SearchError};
use crate::wire::{self, Kind};

/// Hits of `/search` if it says nothing else, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;
const MAX_OFFSET: usize = 100_000;
const MAX_CONTEXT: usize = 20;

/// How long after its time limit a search may still be on its way here. A node that says nothing
/// until then is silent.
const MARGIN: Duration = Duration::from_secs(2);

/// How often to start over because the state that was asked for has been replaced meanwhile.
const ATTEMPTS: usize = 4;

/// Answers `/search`.
pub(super) async fn answer(
    Shared(master): Shared<Arc<Master>>,
    query: RawQuery,
) -> Result<Response, Failure> {
    let started = Instant::now();
    let parameters = parameters(query)?;
    parameters.required("q")?;
    let limit = parameters.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let offset = parameters.number("offset", 0, MAX_OFFSET)?;
    let request = Request {
        query: parameters.text("q")?.unwrap_or_default().to_owned(),
        regex: parameters.switch("regex")?,
        ignore_case: parameters.switch("ignore_case")?,
        path: parameters
            .text("path")?
            .filter(|path| !path.is_empty())
            .map(str::to_owned),
        skip: offset,
        limit,
        context: parameters.number("context", 0, MAX_CONTEXT)?,
        time_limit_ms: master.config.search_time_limit.as_millis() as u64,
    };
    // Each answer takes some memory until it is sent.
    let _turn = master.gates.searches.acquire().await;
    check(&master, &request).await?;
    let mut attempt = 0;
    let page = loop {
        attempt += 1;
        let state = master.served().await?;
        let page = master.page(state, &request).await;
        let is_old = page.missing.iter().any(MasterError::is_about_state);
        if !is_old || attempt == ATTEMPTS || !master.has_moved_on(&page.state).await {
            break page;
        }
    };
    if page.missing.len() == master.topology.shards() as usize {
        return Err(Failure::all_missing(&page.missing));
    }
    Ok(respond(&master, &page, started))
}

/// Refuses a request that no node could answer. Planning it may take some time, which the thread
/// of the server does not have.
async fn check(master: &Master, request: &Request) -> Result<(), Failure> {
    let _turn = master.gates.plans.acquire().await;
    let request = request.clone();
    let checked = tokio::task::spawn_blocking(move || search::check(&request)).await;
    match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ (SearchError::Pattern(_) | SearchError::Filter(_)))) => {
            Err(Failure::bad_request(error.to_string()))
        }
        Ok(Err(error)) => Err(Failure::internal(error.to_string())),
        Err(_) => Err(Failure::bad_request("the query cannot be planned")),
    }
}

/// The answer as JSON.
fn respond(master: &Master, page: &Page, started: Instant) -> Response {
    let mut body = json!({
        "success": true,
        "results": page.hits,
        "more": page.more,
        "pruned": page.pruned,
        "state": page.state.job.to_string(),
        "root": page.state.root,
        "took_us": started.elapsed().as_micros() as u64,
    });
    if master.requests.is_indexing() {
        body["indexing"] = true.into();
    } else if let Some(reason) = master.requests.obstacle() {
        body["stale"] = reason.into();
    }
    if page.timed_out {
        body["timed_out"] = true.into();
    }
    if page.timed_out || !page.missing.is_empty() {
        body["partial"] = true.into();
        body["missing"] = texts(&page.missing).into();
    }
    axum::Json(body).into_response()
}

/// What all shards found, of one state.
struct Page {
    state: Arc<State>,
    hits: Vec<Hit>,
    more: bool,
    timed_out: bool,
    pruned: bool,
    missing: Vec<MasterError>,
}

impl Master {
    /// The hits behind `request.skip`, up to `request.limit` of them.
    async fn page(&self, state: Arc<State>, request: &Request) -> Page {
        let shards = self.topology.shards();
        let mut missing = Vec::new();
        let mut windows = vec![(0, request.limit); shards as usize];
        let (mut more, mut timed_out) = (false, false);
        if request.skip > 0 {
            let counted = self.ask_each(
                Kind::Count,
                &state,
                (1..=shards).map(|shard| (shard, request.clone())),
            );
            let mut counts: Vec<Counts> = Vec::new();
            for outcome in counted.await {
                counts.push(outcome.unwrap_or_else(|error| {
                    missing.push(error);
                    Counts::default()
                }));
            }
            more |= counts.iter().any(|counts| counts.more);
            timed_out |= counts.iter().any(|counts| counts.timed_out);
            let (found, beyond) = share(&counts, request.skip, request.limit);
            windows = found;
            more |= beyond;
        }
        let parts = (1..)
            .zip(&windows)
            .filter(|(_, (_, limit))| *limit > 0 || request.skip == 0);
        let parts = parts.map(|(shard, &(skip, limit))| {
            let part = Request {
                skip,
                limit,
                ..request.clone()
            };
            (shard, part)
        });
        let mut answers: Vec<Answer> = Vec::new();
        for outcome in self.ask_each(Kind::Search, &state, parts).await {
            match outcome {
                Ok(answer) => answers.push(answer),
                Err(error) => missing.push(error),
            }
        }
        let first = request.skip == 0;
        more |= answers
            .iter()
            .any(|answer| answer.cut || (first && answer.more));
        timed_out |= answers.iter().any(|answer| answer.timed_out);
        let pruned = answers.iter().all(|answer| answer.pruned);
        let (hits, beyond) = merge(&mut answers, request.limit);
        more |= beyond;
        Page {
            state,
            hits,
            more,
            timed_out,
            pruned,
            missing,
        }
    }

    /// Asks some shards, each with a request of its own.
    async fn ask_each<T: DeserializeOwned>(
        &self,
        kind: Kind,
        state: &State,
        requests: impl Iterator<Item = (u32, Request)>,
    ) -> Vec<Result<T, MasterError>> {
        let patience = self.config.search_time_limit + MARGIN.max(self.config.node_timeout / 2);
        let ask = async |(shard, request): (u32, Request)| {
            let payload =
                wire::encode_search(shard, state.job, &request).map_err(|_| MasterError::Worker)?;
            let started = self
                .ask(shard, &wire::frame(kind, &payload), patience)
                .await?;
            let node = started.node;
            self.topology.pool(node).give_back(started.connection);
            read(&started.payload).ok_or_else(|| MasterError::Shard {
                shard,
                faults: vec![self.topology.fault(node, Cause::Unexpected)],
            })
        };
        join_all(requests.map(ask)).await
    }
}

fn read<T: DeserializeOwned>(payload: &Bytes) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Which lines of each shard are the ones from `skip` on, up to `limit` of them, in the order of
/// paths: how many to leave out and how many to show. Also says whether there are more.
fn share(counts: &[Counts], skip: usize, limit: usize) -> (Vec<(usize, usize)>, bool) {
    let files = counts.iter().enumerate().flat_map(|(shard, counts)| {
        let files = counts.files.iter();
        files.map(move |(path, lines)| (path.as_str(), shard, *lines))
    });
    let mut files: Vec<(&str, usize, usize)> = files.collect();
    files.sort_unstable();
    let mut windows = vec![(0, 0); counts.len()];
    let (mut skip, mut limit) = (skip, limit);
    for (_, shard, lines) in files {
        let skipped = lines.min(skip);
        let shown = (lines - skipped).min(limit);
        skip -= skipped;
        limit -= shown;
        windows[shard].0 += skipped;
        windows[shard].1 += shown;
        if skipped + shown < lines {
            return (windows, true);
        }
    }
    (windows, false)
}

/// Merges the shards' hits by path and takes `limit` of them. Also says whether there are more.
///
/// Where a shard was cut for want of memory, what is behind its last hit is left out of the others
/// too: a hit that it does not show would belong in between.
fn merge(answers: &mut [Answer], limit: usize) -> (Vec<Hit>, bool) {
    let ends = answers.iter().filter(|answer| answer.cut);
    let ends = ends.map(|answer| answer.hits.last().map(|hit| (hit.file.clone(), hit.line)));
    let end = ends.min().map(Option::unwrap_or_default);
    let mut all: Vec<Hit> = answers
        .iter_mut()
        .flat_map(|answer| std::mem::take(&mut answer.hits))
        .collect();
    let before = all.len();
    if let Some((file, line)) = end {
        all.retain(|hit| (hit.file.as_str(), hit.line) <= (file.as_str(), line));
    }
    // A file is in one shard only, so equal paths keep the order of their lines.
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all.truncate(limit);
    let beyond = all.len() < before;
    (all, beyond)
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
            let counted: Vec<Counts> = shards.iter().map(|files| counts(files)).collect();
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
        let mut answers = [
            Answer {
                hits: vec![hit("a", 1), hit("c", 1)],
                ..Answer::default()
            },
            Answer {
                hits: vec![hit("b", 1)],
                cut: true,
                ..Answer::default()
            },
        ];
        let (hits, more) = merge(&mut answers, 10);
        let places: Vec<_> = hits.iter().map(|hit| hit.file.as_str()).collect();
        assert_eq!((places, more), (vec!["a", "b"], true));
    }
}

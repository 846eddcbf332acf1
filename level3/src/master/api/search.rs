//! `/search`: asks all shards and merges what they found by path.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::join_all;
use serde_json::json;

use super::failure::Failure;
use super::{Master, parameters};
use crate::master::error::{Cause, MasterError};
use crate::search::{self, Answer, Hit, Request, SearchError};
use crate::wire::{self, Kind};

/// Hits of `/search` if it says nothing else, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;
const MAX_OFFSET: usize = 100_000;
const MAX_CONTEXT: usize = 20;

/// Answers `/search`.
pub(super) async fn answer(
    State(master): State<Arc<Master>>,
    query: RawQuery,
) -> Result<Response, Failure> {
    let started = Instant::now();
    let parameters = parameters(query)?;
    parameters.required("q")?;
    let query = parameters.text("q")?.unwrap_or_default();
    let limit = parameters.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let offset = parameters.number("offset", 0, MAX_OFFSET)?;
    let request = Request {
        query: query.to_owned(),
        regex: parameters.switch("regex")?,
        ignore_case: parameters.switch("ignore_case")?,
        path: parameters
            .text("path")?
            .filter(|path| !path.is_empty())
            .map(str::to_owned),
        limit: limit + offset,
        context: parameters.number("context", 0, MAX_CONTEXT)?,
        time_limit_ms: master.config.search_time_limit.as_millis() as u64,
    };
    search::check(&request).map_err(|error| match error {
        SearchError::Pattern(_) | SearchError::Glob(_) => Failure::bad_request(error.to_string()),
        SearchError::Index(_) => Failure::internal(error.to_string()),
    })?;
    let frames: Vec<Vec<u8>> = (1..=master.topology.shards())
        .map(|shard| {
            Ok(wire::frame(
                Kind::Search,
                &wire::encode_search(shard, &request)?,
            ))
        })
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| Failure::internal(error.to_string()))?;
    let asked = (1..).zip(&frames);
    let answers = join_all(asked.map(|(shard, frame)| master.search(shard, frame))).await;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => found.push(answer),
            Err(error) => missing.push(error.to_string()),
        }
    }
    if found.is_empty() {
        return Err(Failure::bad_gateway(missing.join("; ")));
    }
    let more = found.iter().any(|answer| answer.more);
    let (hits, beyond) = merge(&mut found, offset, limit);
    let timed_out = found.iter().any(|answer| answer.timed_out);
    let mut body = json!({
        "success": true,
        "results": hits,
        "more": more || beyond,
        "pruned": found.iter().all(|answer| answer.pruned),
        "took_us": started.elapsed().as_micros() as u64,
    });
    if timed_out {
        body["timed_out"] = true.into();
    }
    if timed_out || !missing.is_empty() {
        body["partial"] = true.into();
        body["missing"] = missing.into();
    }
    Ok(axum::Json(body).into_response())
}

impl Master {
    /// Runs a search on one shard.
    async fn search(&self, shard: u32, frame: &[u8]) -> Result<Answer, MasterError> {
        let started = self.ask(shard, frame).await?;
        let node = started.node;
        self.topology.pool(node).give_back(started.connection);
        serde_json::from_slice(&started.payload).map_err(|_| MasterError::Shard {
            shard,
            faults: vec![self.topology.fault(node, Cause::Unexpected)],
        })
    }
}

/// Merges the shards' hits by path and takes `limit` of them behind `offset`. Also says whether
/// there are more.
fn merge(answers: &mut [Answer], offset: usize, limit: usize) -> (Vec<Hit>, bool) {
    let mut all: Vec<Hit> = answers
        .iter_mut()
        .flat_map(|answer| std::mem::take(&mut answer.hits))
        .collect();
    // A file is in one shard only, so equal paths keep the order of their lines.
    all.sort_by(|a, b| a.file.cmp(&b.file));
    let beyond = all.len() > offset + limit;
    (all.into_iter().skip(offset).take(limit).collect(), beyond)
}

//! The URLs of the master.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::Master;
use super::ask::all;
use super::page;
use super::query::Parameters;
use super::stream;
use crate::search::hits::{self, SearchError};
use crate::wire::{self, Hit, Kind, SearchAnswer, SearchRequest};

/// The longest query string that is accepted, in bytes.
const MAX_QUERY_BYTES: usize = 16 << 10;

/// Hits of `/search` if it says nothing else, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;
const MAX_OFFSET: usize = 100_000;
const MAX_CONTEXT: usize = 20;

/// An answer that is not 200.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: error.into(),
        }
    }

    pub(crate) fn bad_gateway(error: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            error: error.into(),
        }
    }

    fn internal(error: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: error.into(),
        }
    }

    fn not_found(error: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            error: error.into(),
        }
    }
}

impl From<String> for Failure {
    /// Messages without a status of their own are about parameters.
    fn from(error: String) -> Self {
        Self::bad_request(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"success": false, "error": self.error});
        (self.status, axum::Json(body)).into_response()
    }
}

type Answer = Result<Response, Failure>;

/// The routes.
pub(crate) fn router(master: Arc<Master>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/healthcheck", get(healthcheck))
        .route("/index", get(index))
        .route("/isIndexed", get(is_indexed))
        .route("/search", get(search))
        .route("/status", get(status))
        .route("/assets/{name}", get(page::asset))
        .fallback(async || Failure::not_found("no such page"))
        .method_not_allowed_fallback(async || Failure {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: "only GET is known here".to_owned(),
        })
        .with_state(master)
}

/// Decodes the query string, if it is not too long.
fn parameters(RawQuery(query): RawQuery) -> Result<Parameters, Failure> {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        let error = format!("the query is longer than {MAX_QUERY_BYTES} bytes");
        return Err(Failure {
            status: StatusCode::URI_TOO_LONG,
            error,
        });
    }
    Ok(Parameters::parse(&query))
}

fn success() -> Response {
    axum::Json(json!({"success": true})).into_response()
}

async fn root(State(master): State<Arc<Master>>, headers: HeaderMap, query: RawQuery) -> Answer {
    let parameters = parameters(query)?;
    match parameters.bytes("q") {
        Some(b"") => Err(Failure::bad_request("parameter `q` is empty")),
        Some(needle) => stream::answer(master, needle).await,
        None => {
            let accept = headers
                .get(header::ACCEPT)
                .and_then(|value| value.to_str().ok());
            if accept.is_some_and(|accept| accept.contains("text/html")) {
                return Ok(page::index());
            }
            Err(Failure::bad_request("parameter `q` is missing"))
        }
    }
}

async fn healthcheck(State(master): State<Arc<Master>>) -> Answer {
    let problems: Vec<String> = master
        .statuses()
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if problems.is_empty() {
        Ok(success())
    } else {
        Err(Failure::bad_gateway(problems.join("; ")))
    }
}

async fn index(State(master): State<Arc<Master>>, query: RawQuery) -> Answer {
    let parameters = parameters(query)?;
    let path = parameters
        .path("path")
        .ok_or_else(|| Failure::bad_request("parameter `path` is missing"))?;
    let shown = path.display();
    let canonical = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || path.canonicalize()).await
    };
    let root = match canonical.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(root) => root,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::not_found(format!("{shown}: no such folder")));
        }
        Err(error) => return Err(Failure::internal(format!("{shown}: {error}"))),
    };
    if !root.is_dir() {
        return Err(Failure::bad_request(format!("{shown} is not a folder")));
    }
    if root.to_str().is_none() {
        return Err(Failure::bad_request(format!("{shown}: not valid UTF-8")));
    }
    let jobs = &master.jobs;
    jobs.request(root)
        .map_err(|error| Failure::internal(format!("data folder: {error}")))?;
    Ok(success())
}

async fn is_indexed(State(master): State<Arc<Master>>) -> Answer {
    match master.obstacle().await {
        None => Ok(success()),
        Some(obstacle) => Err(Failure::bad_gateway(obstacle)),
    }
}

async fn status(State(master): State<Arc<Master>>) -> Answer {
    let statuses = master.statuses().await;
    let nodes: Vec<Value> = statuses
        .into_iter()
        .zip(&master.nodes)
        .map(|(status, pool)| {
            let answer_us = pool.latency().as_micros() as u64;
            match status {
                Ok(status) => json!({
                    "address": pool.endpoint.to_string(), "latency_us": answer_us, "state": status,
                }),
                Err(error) => json!({"address": pool.endpoint.to_string(), "error": error}),
            }
        })
        .collect();
    let ready = master.obstacle().await;
    let body = json!({
        "success": true,
        "ready": ready.is_none(),
        "obstacle": ready,
        "jobs": master.jobs.status(),
        "replicas": master.config.replicas,
        "nodes": nodes,
    });
    Ok(axum::Json(body).into_response())
}

async fn search(State(master): State<Arc<Master>>, query: RawQuery) -> Answer {
    let started = Instant::now();
    let parameters = parameters(query)?;
    let query = parameters
        .text("q")?
        .ok_or_else(|| "parameter `q` is missing".to_owned())?;
    if query.is_empty() {
        return Err(Failure::bad_request("parameter `q` is empty"));
    }
    let limit = parameters.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let offset = parameters.number("offset", 0, MAX_OFFSET)?;
    let request = SearchRequest {
        shard: 0,
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
    hits::check(&request).map_err(|error| match error {
        SearchError::Pattern(_) | SearchError::Glob(_) => Failure::bad_request(error.to_string()),
        SearchError::Index(_) => Failure::internal(error.to_string()),
    })?;
    let frames: Vec<Vec<u8>> = (1..=master.shards())
        .map(|shard| {
            serde_json::to_vec(&SearchRequest {
                shard,
                ..request.clone()
            })
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::internal(error.to_string()))?;
    let frames: Vec<Vec<u8>> = frames
        .iter()
        .map(|json| wire::frame(Kind::Search, json))
        .collect();
    let answers = all((1..)
        .zip(&frames)
        .map(|(shard, frame)| master.search(shard, frame)))
    .await;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => found.push(answer),
            Err(error) => missing.push(error),
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
    async fn search(&self, shard: u32, frame: &[u8]) -> Result<SearchAnswer, String> {
        let started = self.ask(shard, frame).await?;
        started.pool.give_back(started.connection);
        serde_json::from_slice(&started.payload)
            .map_err(|error| format!("shard {shard}: unexpected answer: {error}"))
    }
}

/// Merges the shards' hits by path and takes `limit` of them behind `offset`. Also says whether
/// there are more.
fn merge(answers: &mut [SearchAnswer], offset: usize, limit: usize) -> (Vec<Hit>, bool) {
    let mut all: Vec<Hit> = answers
        .iter_mut()
        .flat_map(|answer| std::mem::take(&mut answer.hits))
        .collect();
    // A file is in one shard only, so equal paths keep the order of their lines.
    all.sort_by(|a, b| a.file.cmp(&b.file));
    let beyond = all.len() > offset + limit;
    (all.into_iter().skip(offset).take(limit).collect(), beyond)
}

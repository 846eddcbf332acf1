//! `/search`: asks all shards of the roots that are meant, and answers with what they found.
//!
//! `asked` understands the parameters, [`pages`](super::pages) merges hits, and `facets` the counts.
//! With `stream=true` the hits are sent before anything is counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::facets::{self, Facets};
use super::failure::{Failure, texts};
use super::pages::Page;
use super::parameters::Parameters;
use super::trees::Tree;
use super::{Master, parameters};
use crate::master::error::MasterError;
use crate::search::{
    self, FilePattern, FileRule, Order, Parsed, Query, Request, SearchError, Term,
};

/// Hits of `/search` if it says nothing else, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;
const MAX_OFFSET: usize = 100_000;
const MAX_CONTEXT: usize = 20;

/// How often to start over because the state that was asked for has been replaced meanwhile.
const ATTEMPTS: usize = 4;

/// A request, and how it is to be answered.
struct Asked {
    request: Request,
    /// Whether all matches are to be counted.
    count: bool,
    stream: bool,
}

/// Answers `/search`.
pub(super) async fn answer(
    Shared(master): Shared<Arc<Master>>,
    query: RawQuery,
) -> Result<Response, Failure> {
    let started = Instant::now();
    let parameters = parameters(query)?;
    // Each answer takes some memory until it is sent.
    let turn = master.gates.searches.acquire().await;
    let (asked, parsed) = asked(&master, &parameters).await?;
    let mut attempt = 0;
    let (trees, page) = loop {
        attempt += 1;
        let trees = master.trees(&parsed).await?;
        let (missing, trees) = (trees.missing, trees.ready);
        let mut page = master.page(&trees, &asked.request).await;
        let is_old = page.missing.iter().any(MasterError::is_about_state);
        if !is_old || attempt == ATTEMPTS || !master.have_moved_on(&trees).await {
            if page.missing.len() == trees.len() * master.topology.shards() as usize {
                return Err(Failure::all_missing(&page.missing));
            }
            page.missing.extend(missing);
            break (trees, page);
        }
    };
    let is_partial = !page.missing.is_empty();
    let mut body = body(&trees, &page);
    let of_page = Facets::of_page(&trees, &asked.request, &page);
    let is_whole = !page.more && asked.request.skip == 0 && page.missing.is_empty();
    if !asked.count || is_whole || asked.stream {
        of_page.put(&mut body);
    } else {
        facets::count(&master, &trees, &asked.request)
            .await
            .at_least(is_partial)
            .put(&mut body);
    }
    body["took_us"] = (started.elapsed().as_micros() as u64).into();
    drop(turn);
    if !asked.stream {
        return Ok(axum::Json(body).into_response());
    }
    let count = asked.count && !is_whole;
    let counted = async move {
        let _turn = master.gates.searches.acquire().await;
        let facets = if count {
            let facets = facets::count(&master, &trees, &asked.request).await;
            facets.at_least(is_partial)
        } else {
            of_page
        };
        let mut body = json!({});
        facets.put(&mut body);
        line(&body)
    };
    let first = stream::iter([line(&body)]);
    let rest = stream::iter(asked.count.then_some(counted)).then(|counted| counted);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let body = Body::from_stream(first.chain(rest).map(Ok::<Bytes, Infallible>));
    Ok((kind, body).into_response())
}

fn line(body: &Value) -> Bytes {
    format!("{body}\n").into()
}

/// What is asked for, if it can be answered at all. Planning may take some time, which the thread
/// of the server does not have.
async fn asked(master: &Master, parameters: &Parameters) -> Result<(Asked, Parsed), Failure> {
    let order = match parameters.text("sort")? {
        None | Some("path") => Order::Path,
        Some("best") => Order::Best,
        Some(_) => {
            return Err(Failure::bad_request(
                "parameter `sort` must be path or best",
            ));
        }
    };
    let (limit, skip) = (
        parameters.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?,
        parameters.number("offset", 0, MAX_OFFSET)?,
    );
    if order == Order::Best && skip + limit > MAX_LIMIT {
        return Err(Failure::bad_request(format!(
            "with sort=best, parameters `offset` and `limit` together must be at most {MAX_LIMIT}"
        )));
    }
    let context = parameters.number("context", 0, MAX_CONTEXT)?;
    let time_limit_ms = master.config.search_time_limit.as_millis() as u64;
    let (count, stream) = (parameters.switch("count")?, parameters.switch("stream")?);
    let parsed = parsed(master, parameters).await?;
    let request = Request {
        order,
        skip,
        limit,
        context,
        time_limit_ms,
        ..Request::new(parsed.query.clone())
    };
    let asked = Asked {
        request,
        count,
        stream,
    };
    Ok((asked, parsed))
}

/// The query, by `query` in its own language or by `q` and further parameters.
async fn parsed(master: &Master, parameters: &Parameters) -> Result<Parsed, Failure> {
    let regex = parameters.switch("regex")?;
    let _turn = master.gates.plans.acquire().await;
    let failed = |_| Failure::bad_request("the query cannot be planned");
    if parameters.bytes("query").is_some() {
        if parameters.bytes("q").is_some() {
            return Err(Failure::bad_request("give `query` or `q`, not both"));
        }
        let text = parameters.text("query")?.unwrap_or_default().to_owned();
        let parsed = tokio::task::spawn_blocking(move || search::parse(&text, regex)).await;
        return Ok(parsed.map_err(failed)??);
    }
    parameters.required("q")?;
    let term = Term {
        text: parameters.text("q")?.unwrap_or_default().to_owned(),
        regex,
        ignore_case: parameters.switch("ignore_case")?,
    };
    let path = parameters.text("path")?.filter(|path| !path.is_empty());
    let glob = |path: &str| FileRule {
        any: vec![FilePattern::Glob {
            text: path.to_owned(),
            ignore_case: false,
        }],
        negated: false,
    };
    let query = Query {
        all: vec![term],
        none: Vec::new(),
        files: path.map(glob).into_iter().collect(),
    };
    let request = Request::new(query);
    let checked = tokio::task::spawn_blocking(move || search::check(&request).map(|()| request));
    match checked.await.map_err(failed)? {
        Ok(request) => Ok(Parsed::of_unnamed(request.query)),
        Err(error @ (SearchError::Pattern(_) | SearchError::Filter(_))) => {
            Err(Failure::bad_request(error.to_string()))
        }
        Err(error) => Err(Failure::internal(error.to_string())),
    }
}

/// The answer as JSON, all but what is counted.
fn body(trees: &[Tree], page: &Page) -> Value {
    let states: Vec<String> = trees
        .iter()
        .map(|tree| tree.state.job.to_string())
        .collect();
    let roots: Vec<Value> = trees
        .iter()
        .map(|tree| json!({"name": tree.name(), "path": tree.state.root, "state": tree.state.job.to_string()}))
        .collect();
    let mut body = json!({
        "success": true,
        "results": page.hits,
        "more": page.more,
        "pruned": page.pruned,
        "state": states.join(","),
        "root": trees.first().map(|tree| &tree.state.root),
        "roots": roots,
    });
    if trees.iter().any(Tree::is_indexing) {
        body["indexing"] = true.into();
    } else if let Some(reason) = trees.iter().find_map(Tree::stale) {
        body["stale"] = reason.into();
    }
    if page.timed_out {
        body["timed_out"] = true.into();
    }
    if page.timed_out || !page.missing.is_empty() {
        body["partial"] = true.into();
        body["missing"] = texts(&page.missing).into();
    }
    body
}

//! The URLs of the master.
//!
//! `parameters` decodes what was asked, `stream` and `search` answer the two kinds of queries (with
//! `pages` and `facets`), `browse` shows files and folders, `colours` their colours,
//! `guard` says who may ask, `page` holds the page for people, and `failure` is how an error looks over HTTP.

mod browse;
mod colours;
mod facets;
mod failure;
mod guard;
mod page;
mod pages;
mod parameters;
mod search;
mod stream;
mod trees;

use std::io::ErrorKind;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde_json::{Value, json};

use super::Master;
use super::error::Fault;
use super::requests::{Root, Wanted};
use crate::root::{Ignore, RootName};
use failure::Failure;
use parameters::Parameters;

/// The longest query string that is accepted, in bytes.
const MAX_QUERY_BYTES: usize = 16 << 10;

type Answer = Result<Response, Failure>;

/// The routes.
pub(crate) fn router(master: Arc<Master>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/healthcheck", get(healthcheck))
        .route("/index", get(index).post(index))
        .route("/isIndexed", get(is_indexed))
        .route("/search", get(search::answer))
        .route("/file", get(browse::file))
        .route("/tree", get(browse::tree))
        .route("/colours", get(colours::answer))
        .route("/roots", get(trees::roots).delete(trees::remove_unnamed))
        .route("/roots/", delete(trees::remove_unnamed))
        .route("/roots/{name}", get(trees::root).delete(trees::remove))
        .route("/status", get(status))
        .route("/view", get(page::view))
        .route("/help", get(page::help))
        .route("/assets/{*name}", get(page::asset))
        .fallback(async || Failure::not_found("no such page"))
        .method_not_allowed_fallback(async || {
            let error = "only GET is known here, POST at /index, and DELETE at /roots/NAME";
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
        })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&master),
            guard::check,
        ))
        .with_state(master)
}

/// Decodes the query string, if it is not too long.
fn parameters(RawQuery(query): RawQuery) -> Result<Parameters, Failure> {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES {
        let error = format!("the query is longer than {MAX_QUERY_BYTES} bytes");
        return Err(Failure::new(StatusCode::URI_TOO_LONG, error));
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
                return Ok(page::index(&master));
            }
            Err(Failure::bad_request("parameter `q` is missing"))
        }
    }
}

async fn healthcheck(State(master): State<Arc<Master>>) -> Answer {
    let problems: Vec<String> = master
        .statuses()
        .await
        .faults()
        .map(Fault::to_string)
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
    let name = name(&parameters)?;
    let ignore = match parameters.text("ignore")? {
        None => master.config.ignore,
        Some("git") => Ignore::Git,
        Some("nothing") => Ignore::Nothing,
        Some(_) => {
            return Err(Failure::bad_request(
                "parameter `ignore` must be git or nothing",
            ));
        }
    };
    let shown = path.display();
    let canonical = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || path.canonicalize()).await
    };
    let root = match canonical.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(root) => root,
        Err(error) if is_about_path(error.kind()) => {
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
    let wanted = Wanted { path: root, ignore };
    master.roots.request(&name, wanted)?;
    Ok(success())
}

/// Whether a path cannot lead anywhere: nothing is there, or it is no path at all, since it is too
/// long or has a NUL byte.
fn is_about_path(kind: ErrorKind) -> bool {
    use ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    [NotFound, NotADirectory, InvalidInput, InvalidFilename].contains(&kind)
}

/// The root that a request of the contract is about: without `name` the unnamed one.
fn name(parameters: &Parameters) -> Result<RootName, Failure> {
    let Some(name) = parameters.text("name")? else {
        return Ok(RootName::default());
    };
    let parsed = name.parse::<RootName>();
    parsed.map_err(|error| Failure::bad_request(format!("parameter `name`: {error}")))
}

async fn is_indexed(State(master): State<Arc<Master>>, query: RawQuery) -> Answer {
    let name = name(&parameters(query)?)?;
    if master.roots.get(&name).is_none() && !name.is_unnamed() {
        return Err(trees::unknown(&name));
    }
    match master.obstacle(&name).await {
        None => Ok(success()),
        Some(obstacle) => Err(Failure::bad_gateway(obstacle)),
    }
}

async fn status(State(master): State<Arc<Master>>) -> Answer {
    let statuses = master.statuses().await;
    let describe = |node| {
        let pool = master.topology.pool(node);
        let address = pool.endpoint.to_string();
        match statuses.of(node) {
            Ok(status) => json!({
                "address": address, "latency_us": pool.latency().as_micros() as u64, "state": status,
            }),
            Err(fault) => json!({"address": address, "error": fault.to_string()}),
        }
    };
    let nodes: Vec<Value> = master.topology.nodes().map(describe).collect();
    let roots = master.roots.list();
    let obstacle = |root: &Arc<Root>| {
        let why = master.obstacle_by(root.name(), &statuses)?;
        Some(match root.name().as_str() {
            "" => why,
            _ => format!("{}: {why}", root.name()),
        })
    };
    let obstacle = match roots.as_slice() {
        [] => master.obstacle_by(&RootName::default(), &statuses),
        roots => roots.iter().find_map(obstacle),
    };
    let unnamed = master.roots.unnamed();
    let body = json!({
        "success": true,
        "ready": obstacle.is_none(),
        "obstacle": obstacle,
        "roots": roots.iter().map(|root| root.status()).collect::<Vec<_>>(),
        "jobs": unnamed.as_ref().map(|root| root.status()),
        "state": unnamed.as_ref().and_then(|root| root.served()).map(|state| json!({
            "job": state.job.to_string(), "root": state.root,
        })),
        "watch": unnamed.as_ref().and_then(|root| root.status().watch),
        "replicas": master.config.replicas,
        "nodes": nodes,
    });
    Ok(axum::Json(body).into_response())
}

//! `/file` and `/tree`: the text of a file, and what is in a folder, of the state that is searched.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::failure::{Failure, texts};
use super::stream::STATE;
use super::trees::Tree;
use super::{Master, parameters};
use crate::master::error::{Cause, Fault, MasterError};
use crate::search::{Folder, language};
use crate::wire::{self, BrowseRequest, Kind};

/// Names the language of a file.
const LANGUAGE: HeaderName = HeaderName::from_static("x-level3-language");

/// How often to start over because the state that was asked for has been replaced meanwhile.
const ATTEMPTS: usize = 4;

/// A node that has said nothing for this long is asked whether it is there at all. Files and folders
/// take it milliseconds.
const SILENCE: Duration = Duration::from_secs(1);

/// How long it has to say so.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// Answers `/file`.
pub(super) async fn file(
    Shared(master): Shared<Arc<Master>>,
    query: RawQuery,
) -> Result<Response, Failure> {
    let parameters = parameters(query)?;
    parameters.required("path")?;
    let path = parameters.text("path")?.unwrap_or_default();
    let root = parameters.text("root")?.unwrap_or_default();
    let (tree, text) = text(&master, root, path).await?;
    Ok((headers(&tree, path), text).into_response())
}

/// The text of a file, and the tree that it is from.
pub(super) async fn text(
    master: &Master,
    root: &str,
    path: &str,
) -> Result<(Tree, Bytes), Failure> {
    let (tree, answers) = master
        .browse(Kind::File, root, path, |text| !text.is_empty())
        .await?;
    let mut missing = Vec::new();
    for answer in answers {
        match answer {
            Ok(mut text) if !text.is_empty() => {
                text.advance(1);
                return Ok((tree, text));
            }
            Ok(_) => {}
            Err(error) => missing.push(error),
        }
    }
    if missing.is_empty() {
        Err(Failure::not_found(format!("{path}: not in the index")))
    } else {
        Err(Failure::all_missing(&missing))
    }
}

fn headers(tree: &Tree, path: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    // Should a browser ever take the text for a page, it runs nothing.
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(STATE, HeaderValue::from(tree.state.job));
    if let Some(language) = language::of(path) {
        headers.insert(LANGUAGE, HeaderValue::from_static(language));
    }
    headers
}

/// Answers `/tree`.
pub(super) async fn tree(
    Shared(master): Shared<Arc<Master>>,
    query: RawQuery,
) -> Result<Response, Failure> {
    let parameters = parameters(query)?;
    let path = parameters.text("path")?.unwrap_or_default();
    let root = parameters.text("root")?.unwrap_or_default();
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    let below = format!("{path}{slash}");
    let (tree, answers) = master.browse(Kind::Folder, root, &below, |_| false).await?;
    let (mut folder, mut missing) = (Folder::default(), Vec::new());
    for answer in answers {
        match answer {
            Ok(part) => match serde_json::from_slice(&part) {
                Ok(part) => folder.add(part),
                Err(error) => return Err(Failure::bad_gateway(error.to_string())),
            },
            Err(error) => missing.push(error),
        }
    }
    folder.files.sort_unstable();
    let is_empty = folder.files.is_empty() && folder.folders.is_empty();
    if is_empty && !missing.is_empty() {
        return Err(Failure::all_missing(&missing));
    }
    if is_empty && !path.is_empty() {
        return Err(Failure::not_found(format!(
            "{path}: no such folder in the index"
        )));
    }
    let folders = folder.folders.iter();
    let folders: Vec<Value> = folders
        .map(|(name, files)| json!({"name": name, "files": files}))
        .collect();
    let mut body = json!({
        "success": true,
        "state": tree.state.job.to_string(),
        "folders": folders,
        "files": folder.files,
    });
    if !missing.is_empty() {
        body["partial"] = true.into();
        body["missing"] = texts(&missing).into();
    }
    Ok(axum::Json(body).into_response())
}

type Answers = Vec<Result<Bytes, MasterError>>;

impl Master {
    /// Asks all shards of a root about a path, until one gives an answer that `is_enough`: no shard
    /// that is silent is waited for then.
    async fn browse(
        &self,
        kind: Kind,
        root: &str,
        path: &str,
        is_enough: impl Fn(&Bytes) -> bool,
    ) -> Result<(Tree, Answers), Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let tree = self.tree(root).await?;
            let shards = 1..=self.topology.shards();
            let mut asked: FuturesUnordered<_> = shards
                .map(|shard| self.browse_shard(kind, &tree, shard, path))
                .collect();
            let mut answers = Vec::new();
            while let Some(answer) = asked.next().await {
                let ends = answer.as_ref().is_ok_and(&is_enough);
                answers.push(answer);
                if ends {
                    break;
                }
            }
            drop(asked);
            let is_about_state = |answer: &Result<_, MasterError>| {
                answer.as_ref().is_err_and(MasterError::is_about_state)
            };
            let is_found = answers
                .last()
                .is_some_and(|last| last.as_ref().is_ok_and(&is_enough));
            if is_found
                || !answers.iter().any(is_about_state)
                || attempt == ATTEMPTS
                || !self.have_moved_on(std::slice::from_ref(&tree)).await
            {
                return Ok((tree, answers));
            }
        }
    }

    /// Resolves when none of the nodes that hold a shard says anything any more. One that is only
    /// busy still says how it is.
    async fn silence(&self, shard: u32) -> Vec<Fault> {
        let question = wire::frame(Kind::Status, &[]);
        let ask = async |node| {
            let pool = self.topology.pool(node);
            let (connection, _, _) = pool.request(&question, PROBE_TIME).await?;
            pool.give_back(connection);
            Ok(())
        };
        loop {
            sleep(SILENCE).await;
            let nodes = || self.topology.replicas(shard);
            let answers: Vec<Result<(), Cause>> = join_all(nodes().map(ask)).await;
            if answers.iter().all(Result::is_err) {
                let faults = nodes().zip(answers.into_iter().filter_map(Result::err));
                return faults
                    .map(|(node, cause)| self.topology.fault(node, cause))
                    .collect();
            }
        }
    }

    async fn browse_shard(
        &self,
        kind: Kind,
        tree: &Tree,
        shard: u32,
        path: &str,
    ) -> Result<Bytes, MasterError> {
        let (of, path) = (tree.of_shard(shard), path.to_owned());
        let json = serde_json::to_vec(&BrowseRequest { of, path });
        let frame = wire::frame(kind, &json.map_err(|_| MasterError::Worker)?);
        let patience = self.config.node_timeout;
        let started = tokio::select! {
            started = self.ask(tree.name(), shard, &frame, patience) => started?,
            faults = self.silence(shard) => {
                let root = tree.name().clone();
                return Err(MasterError::Shard { root, shard, faults });
            }
        };
        if started.kind != Kind::Last {
            let root = tree.name().clone();
            let faults = vec![self.topology.fault(started.node, Cause::Unexpected)];
            return Err(MasterError::Shard {
                root,
                shard,
                faults,
            });
        }
        self.topology
            .pool(started.node)
            .give_back(started.connection);
        Ok(started.payload)
    }
}

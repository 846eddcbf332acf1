//! Which roots a request is about, and their states; and what can be done with roots.
//!
//! A query asks all roots unless it names some. One that has no state yet is missing from the answer,
//! which says so.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::failure::{Failure, texts};
use super::{Answer, Master, success};
use crate::master::error::MasterError;
use crate::master::requests::Root;
use crate::master::served::State;
use crate::root::RootName;
use crate::search::Parsed;
use crate::wire::ShardState;

/// A root to ask, and its state.
pub(super) struct Tree {
    pub root: Arc<Root>,
    pub state: Arc<State>,
}

/// The roots that a query asks.
pub(super) struct Trees {
    pub ready: Vec<Tree>,
    /// Why others cannot be asked.
    pub missing: Vec<MasterError>,
}

/// Answers `/roots`.
pub(super) async fn roots(Shared(master): Shared<Arc<Master>>) -> Response {
    let roots: Vec<Value> = master
        .roots
        .list()
        .iter()
        .map(|root| describe(root))
        .collect();
    axum::Json(json!({"success": true, "roots": roots})).into_response()
}

/// Answers `GET /roots/NAME`.
pub(super) async fn root(
    Shared(master): Shared<Arc<Master>>,
    name: Result<Path<String>, PathRejection>,
) -> Answer {
    let name = name_of(name)?;
    let root = master.roots.get(&name).ok_or_else(|| unknown(&name))?;
    let mut body = describe(&root);
    body["success"] = true.into();
    Ok(axum::Json(body).into_response())
}

/// Answers `DELETE /roots/NAME`. Its files go from the nodes' disks soon after.
pub(super) async fn remove(
    Shared(master): Shared<Arc<Master>>,
    name: Result<Path<String>, PathRejection>,
) -> Answer {
    let name = name_of(name)?;
    match master.roots.remove(&name) {
        Ok(true) => Ok(success()),
        Ok(false) => Err(unknown(&name)),
        Err(error) => Err(error.into()),
    }
}

/// Answers `DELETE /roots` and `DELETE /roots/`.
pub(super) async fn remove_unnamed() -> Failure {
    let error = "the unnamed root cannot be removed; index another folder in its place, \
                 or name the root to remove: DELETE /roots/NAME";
    Failure::bad_request(error)
}

fn name_of(name: Result<Path<String>, PathRejection>) -> Result<RootName, Failure> {
    let Path(name) = name.map_err(|error| Failure::bad_request(error.body_text()))?;
    let parsed = name.parse::<RootName>();
    parsed.map_err(|error| Failure::bad_request(error.to_string()))
}

fn not_indexed() -> String {
    "not indexed".to_owned()
}

/// There is no root of this name.
pub(super) fn unknown(name: &RootName) -> Failure {
    Failure::not_found(format!("no root is called `{}`", name.as_str()))
}

fn describe(root: &Root) -> Value {
    let (state, wanted) = (root.served(), root.wanted());
    let revision = state.as_ref().and_then(|state| state.revision.as_ref());
    let is_indexing = root.is_indexing();
    json!({
        "name": root.name(),
        // Of what is served, if anything is: another folder may be wanted by now.
        "path": state.as_ref().map_or_else(|| json!(wanted.path), |state| json!(state.root)),
        "ignore": state.as_ref().map_or(wanted.ignore, |state| state.ignore),
        "state": state.as_ref().map(|state| state.job.to_string()),
        "branch": revision.and_then(|revision| revision.branch.as_ref()),
        "commit": revision.and_then(|revision| revision.commit.as_ref()),
        "indexing": is_indexing,
        "error": if is_indexing { None } else { root.obstacle() },
    })
}

impl Master {
    /// The roots that a query asks.
    pub(super) async fn trees(&self, parsed: &Parsed) -> Result<Trees, Failure> {
        if self.roots.list().is_empty() {
            // A master that has just started may have to learn of them, which this does; its error
            // says what is in the way.
            self.served(&RootName::default()).await?;
        }
        let roots = self.roots.list();
        let is_asked = |root: &Arc<Root>| parsed.asks(root.name().as_str());
        let asked: Vec<Arc<Root>> = roots
            .iter()
            .filter(|root| is_asked(root))
            .cloned()
            .collect();
        if asked.is_empty() {
            return Err(parsed
                .no_root(roots.iter().map(|root| root.name().as_str()))
                .into());
        }
        let unready = asked.iter().filter(|root| root.served().is_none());
        let names: Vec<&RootName> = unready.map(|root| root.name()).collect();
        let statuses = if names.is_empty() {
            None
        } else {
            Some(self.learn_of(&names).await)
        };
        let mut trees = Trees {
            ready: Vec::new(),
            missing: Vec::new(),
        };
        for root in asked {
            match (root.served(), &statuses) {
                (Some(state), _) => trees.ready.push(Tree { root, state }),
                (None, Some(statuses)) => trees.missing.push(MasterError::Root {
                    root: root.name().clone(),
                    why: self
                        .obstacle_by(root.name(), statuses)
                        .unwrap_or_else(not_indexed),
                }),
                (None, None) => {}
            }
        }
        if trees.ready.is_empty() {
            let reasons = texts(&trees.missing);
            return Err(Failure::bad_gateway(reasons.join("; ")));
        }
        Ok(trees)
    }

    /// The root of this name.
    pub(super) async fn tree(&self, name: &str) -> Result<Tree, Failure> {
        let name = RootName::try_from(name.to_owned())
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        if self.roots.get(&name).is_none() && !name.is_unnamed() {
            return Err(unknown(&name));
        }
        let state = self.served(&name).await?;
        let root = self.roots.get(&name).ok_or_else(|| unknown(&name))?;
        Ok(Tree { root, state })
    }

    /// Whether there is another state to ask for of one of these, which a node does not hold.
    pub(super) async fn have_moved_on(&self, trees: &[Tree]) -> bool {
        for tree in trees {
            if self.has_moved_on(tree.name(), &tree.state).await {
                return true;
            }
        }
        false
    }
}

impl Tree {
    /// What the root is called.
    pub(super) fn name(&self) -> &RootName {
        self.root.name()
    }

    /// The state of one of its shards.
    pub(super) fn of_shard(&self, shard: u32) -> ShardState {
        ShardState {
            root: self.name().clone(),
            shard,
            job: self.state.job,
        }
    }

    /// Whether another state is being built.
    pub(super) fn is_indexing(&self) -> bool {
        self.root.is_indexing()
    }

    /// Why the last state could not be built, if so.
    pub(super) fn stale(&self) -> Option<String> {
        self.root.obstacle()
    }
}

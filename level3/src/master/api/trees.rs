//! Which roots a request is about, and their states.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Master;
use super::failure::Failure;
use super::pages::Tree;
use crate::search::Parsed;

/// Answers `/roots`.
pub(super) async fn roots(Shared(master): Shared<Arc<Master>>) -> Response {
    let state = master.served.known();
    let is_indexing = master.requests.is_indexing();
    let root = json!({
        "name": "",
        // Of what is served, if anything is: another folder may be wanted by now.
        "path": state
            .as_ref()
            .map(|state| json!(state.root))
            .or_else(|| master.requests.wanted().map(|path| json!(path))),
        "state": state.as_ref().map(|state| state.job.to_string()),
        "indexing": is_indexing,
        "error": if is_indexing { None } else { master.requests.obstacle() },
    });
    let roots = if master.requests.wanted().is_some() {
        vec![root]
    } else {
        Vec::new()
    };
    axum::Json(json!({"success": true, "roots": roots})).into_response()
}

impl Master {
    /// The roots that a query asks.
    pub(super) async fn trees(&self, parsed: &Parsed) -> Result<Vec<Tree>, Failure> {
        if parsed.asks("") {
            return Ok(vec![self.tree("").await?]);
        }
        Err(parsed.no_root().into())
    }

    /// The root of this name.
    pub(super) async fn tree(&self, name: &str) -> Result<Tree, Failure> {
        if !name.is_empty() {
            return Err(Failure::not_found(format!("no root is called `{name}`")));
        }
        Ok(Tree {
            name: String::new(),
            state: self.served().await?,
        })
    }

    /// Whether there is another state to ask for of one of these, which a node does not hold.
    pub(super) async fn have_moved_on(&self, trees: &[Tree]) -> bool {
        for tree in trees {
            if self.has_moved_on(&tree.state).await {
                return true;
            }
        }
        false
    }

    /// Whether another state of a root is being built.
    pub(super) fn is_indexing(&self, _tree: &Tree) -> bool {
        self.requests.is_indexing()
    }

    /// Why the last state could not be built, if so.
    pub(super) fn stale(&self, _tree: &Tree) -> Option<String> {
        self.requests.obstacle()
    }
}

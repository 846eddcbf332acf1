//! The HTTP interface: `/sql` of 2014, rqlite's endpoints, and what an operator asks for.

mod budget;
mod cluster;
mod console;
mod error;
mod guard;
mod metrics;
mod operate;
mod params;
mod ready;
mod rqlite;
mod sql;
mod waiting;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use crate::addresses::Addresses;
use crate::backup::Backups;
use crate::cdc::Sender;
use crate::consensus::{Answer, AnswerKind, Members, Status};
use crate::database::ReadAnswer;
use crate::ids::NodeId;
use crate::message::Command;
use crate::name::MemberName;
use crate::node::{Node, PendingRead};
use crate::reload::Users;
use crate::settings::SnapshotSettings;
use crate::transport::Transport;
use error::ApiError;
pub use guard::Hashing;
pub use rqlite::{
    BACKUPS_AT_A_TIME, Counters, Downloads, Format, Queue, keep_saving, write_backup,
};
pub use waiting::waiting;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    /// The node behind.
    pub node: Arc<Node>,
    /// For status and metrics.
    pub transport: Arc<Transport>,
    /// Set once the process is ending: new work is refused.
    pub ending: Arc<AtomicBool>,
    /// Backups that clients fetch.
    pub backups: Arc<Downloads>,
    /// One permit, for a file that is longer than a body may be.
    pub loads: Arc<Semaphore>,
    /// Where clients and peers reach this node.
    pub addresses: Arc<Addresses>,
    /// How it is kept.
    pub kept: Arc<Kept>,
    /// When the process started.
    pub started: SystemTime,
    /// What it has been asked.
    pub counters: Arc<Counters>,
    /// Writes that nobody waits for.
    pub queue: Queue,
    /// Those that are made by themselves.
    pub auto_backups: Option<Arc<Backups>>,
    /// Who tells others of changes.
    pub sender: Option<Arc<Sender>>,
    /// Who may ask for what.
    pub users: watch::Receiver<Users>,
    /// Who compares passwords with hashes.
    pub hashing: Hashing,
    /// Web pages of this origin may ask.
    pub allow_origin: Option<String>,
}

/// What operators are told of how a node is run.
#[derive(Debug)]
pub struct Kept {
    /// Its folder.
    pub folder: String,
    /// The database is there, and not in memory.
    pub on_disk: bool,
    /// The leader's heartbeat.
    pub heartbeat: Duration,
    /// Silence after which the leader is doubted.
    pub election: Duration,
    /// rqlite's endpoints check foreign keys.
    pub foreign_keys: bool,
    /// The longest body of what is no file, bytes.
    pub body_limit: usize,
    /// By rqlite's command line, whose users know that peers prove nothing there.
    pub is_rqlited: bool,
    /// When it saves its state, where that is for the operator to say.
    pub snapshots: Option<SnapshotSettings>,
    /// How SQLite was compiled, once it has said so.
    pub compile_options: OnceLock<Vec<String>>,
}

/// All routes. Bodies longer than `body_limit` bytes get 413, but those of files.
pub fn router(api: Api, body_limit: usize) -> Router {
    Router::new()
        .route("/sql", post(sql::execute))
        .merge(rqlite::routes())
        .route("/cluster/status", get(cluster::status))
        .route("/cluster/remove", post(cluster::remove))
        .route("/cluster/skip", post(operate::skip))
        .route("/remove", delete(cluster::remove_quietly))
        .route("/remove/", delete(cluster::remove_quietly))
        .route("/cluster/budget", get(budget::show).post(budget::configure))
        .route("/healthcheck", get(cluster::healthcheck))
        .route("/", get(console::go))
        .route("/console", get(console::go))
        .route("/console/", get(console::page))
        .route("/console/console.css", get(console::style))
        .route("/console/console.js", get(console::script))
        .route("/readyz", get(ready::ready))
        .route("/readyz/", get(ready::ready))
        .route("/metrics", get(metrics::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(from_fn_with_state(api.clone(), rqlite::front))
        .layer(from_fn_with_state(api.clone(), guard::guard))
        .layer(from_fn_with_state(api.clone(), rqlite::sign))
        .with_state(api)
}

impl Status {
    /// What the node is called.
    pub(crate) fn called(&self, id: NodeId) -> String {
        let name = self.members.get(&id);
        name.map_or_else(|| id.to_string(), |name| MemberName::parse(name).id(id))
    }

    /// The one member that is named.
    fn member(&self, wanted: &str) -> Result<NodeId, ApiError> {
        match called(&self.members, wanted)[..] {
            [] => Err(ApiError::NotFound(format!("{wanted} is not a member"))),
            [id] => Ok(id),
            ref several => {
                let numbers: Vec<String> = several.iter().map(NodeId::to_string).collect();
                let numbers = numbers.join(", ");
                let reason = format!(
                    "several members are called {wanted}: name one by its number, {numbers}"
                );
                Err(ApiError::Conflict(reason.into()))
            }
        }
    }
}

/// The members that have this number; or else this address; or else are called so, of which there may be
/// several: one that lost its disk and its address comes back as another.
fn called(members: &Members, wanted: &str) -> Vec<NodeId> {
    let ids = |is_it: &dyn Fn(NodeId, MemberName) -> bool| -> Vec<NodeId> {
        let members = members
            .iter()
            .map(|(&id, name)| (id, MemberName::parse(name)));
        members
            .filter(|&(id, name)| is_it(id, name))
            .map(|(id, _)| id)
            .collect()
    };
    let by_number = ids(&|id, _| id.to_string() == wanted);
    let by_address = ids(&|_, name| name.address == wanted);
    let by_label = ids(&|_, name| name.label == Some(wanted));
    let mut found = [by_number, by_address, by_label].into_iter();
    found.find(|ids| !ids.is_empty()).unwrap_or_default()
}

impl Api {
    /// The core's view of the cluster.
    async fn status(&self) -> Result<Status, ApiError> {
        let limit = Some(Duration::from_secs(5));
        answer(Some(self.node.status()), limit, "the node does not answer").await
    }

    /// Takes no new work once the process is ending.
    fn is_open(&self) -> Result<(), ApiError> {
        if self.ending.load(Relaxed) {
            return Err(ApiError::unavailable("the node is ending"));
        }
        Ok(())
    }
}

impl Api {
    /// Puts a command through the log and waits for what came of it, at most for `limit`.
    async fn execute(
        &self,
        key: Option<String>,
        command: Command,
        limit: Option<Duration>,
    ) -> Result<Answer, ApiError> {
        self.is_open()?;
        let pending = self.node.execute(key, command);
        let done = answer(pending, limit, MAYBE_EXECUTED).await?;
        match done.kind {
            AnswerKind::Output => Ok(done),
            AnswerKind::OtherRequest => Err(ApiError::Unprocessable(OTHER_REQUEST.into())),
            AnswerKind::Skipped => Err(ApiError::Internal(SKIPPED.to_owned())),
            AnswerKind::Forgotten => Err(ApiError::unavailable(FORGOTTEN)),
        }
    }
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NotFound(format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::MethodNotAllowed(format!("{method} is not for {}", uri.path()))
}

/// Waits for an answer, at most for `limit`. Without `pending`, the node had too much to do to take the
/// request.
async fn answer<T>(
    pending: Option<oneshot::Receiver<T>>,
    limit: Option<Duration>,
    late: &'static str,
) -> Result<T, ApiError> {
    let pending = pending.ok_or_else(ApiError::too_many)?;
    wait(pending, limit, late).await
}

/// Waits for a read, at most for `limit`. The read ends with the waiting, also if the client hangs up.
async fn read_answer(
    pending: Option<PendingRead>,
    limit: Option<Duration>,
) -> Result<ReadAnswer, ApiError> {
    let mut pending = pending.ok_or_else(ApiError::too_many)?;
    wait(&mut pending.answer, limit, NOT_READ).await
}

async fn wait<T>(
    pending: impl Future<Output = Result<T, oneshot::error::RecvError>>,
    limit: Option<Duration>,
    late: &'static str,
) -> Result<T, ApiError> {
    let result = match limit {
        None => pending.await,
        Some(limit) => match timeout(limit, pending).await {
            Ok(result) => result,
            Err(_) => return Err(ApiError::unavailable(late)),
        },
    };
    result.map_err(|_| ApiError::unavailable(GONE))
}

/// What a node has to say that will never know the answer.
const GONE: &str =
    "the node is ending, has been removed or is being rebuilt: the request may have been executed";
/// What a skipped request's client is told.
const SKIPPED: &str = "not executed: its entry was skipped by an operator";
/// What a key has to say that has been used before.
const OTHER_REQUEST: &str =
    "this Idempotency-Key stands for another request; this one has not been executed";
/// What a node has to say that has lost an answer.
const FORGOTTEN: &str =
    "the request has been executed, but its answer was too long to be remembered";
/// What a timed-out write has to say.
const MAYBE_EXECUTED: &str =
    "timed out: the request has not been executed here yet, and may still be executed";
/// What a timed-out read has to say.
const NOT_READ: &str =
    "timed out: the read was not confirmed or not done in time, and has been ended";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_go_by_number_address_or_label_and_a_label_may_be_of_several() {
        let id = NodeId::new;
        let members = Members::from([
            (id(1), "a:1 id=n1".to_owned()),
            (id(2), "b:1 id=n2".to_owned()),
            (id(3), "c:1 id=n2".to_owned()),
            // One may be called as another's address is.
            (id(4), "d:1 id=a:1".to_owned()),
        ]);
        assert_eq!(called(&members, "n1"), [id(1)]);
        assert_eq!(called(&members, "n2"), [id(2), id(3)]);
        assert_eq!(called(&members, "a:1"), [id(1)]);
        assert_eq!(called(&members, &id(3).to_string()), [id(3)]);
        assert!(called(&members, "n3").is_empty());
    }
}

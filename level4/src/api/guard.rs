//! Turns away who may not ask for what he asks for, where the node has users (`--auth`).
//!
//! The node that a client asks decides; what it passes on to the leader comes from a member, and members
//! prove themselves otherwise.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use tokio::sync::Semaphore;

use super::Api;
use crate::security::Permission::{
    self, All, Backup, Execute, LeaderOps, Load, Query, Ready, Remove, Snapshot, Status, Ui,
};
use crate::security::{Credentials, Known};

/// What a client is asked for, in every answer.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"rqlite\"");

/// What a browser hears.
const ELSEWHERE: &str = "pages of this origin may not change anything here: see --allow-origin\n";

/// So many requests wait for their passwords to be compared with hashes.
const WAITING_FOR_HASH: usize = 32;
const BUSY: &str = "too many passwords are being looked at: try again\n";

/// What a request needs; for what is nowhere here only who may do everything hears that there is nothing.
fn needed(method: &Method, path: &str) -> &'static [Permission] {
    match path.strip_suffix('/').unwrap_or(path) {
        "/sql" | "/db/request" => &[Execute, Query],
        "/db/execute" => &[Execute],
        "/db/query" | "/db/sql" => &[Query],
        "/db/backup" => &[Backup],
        "/db/load" | "/boot" => &[Load],
        "/snapshot" | "/reap" => &[Snapshot],
        "/remove" | "/cluster/remove" => &[Remove],
        "/leader" => &[LeaderOps],
        "/cluster/budget" if method != Method::GET => &[All],
        "/readyz" | "/healthcheck" => &[Ready],
        "" | "/console" | "/console/console.css" | "/console/console.js" => &[Ui],
        "/status" | "/nodes" | "/debug/vars" | "/metrics" | "/cluster/status"
        | "/cluster/budget" => &[Status],
        // /cluster/skip among them.
        _ => &[All],
    }
}

/// Goes before all of a request's work.
pub async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    if !is_welcome(&api, &request) {
        return (StatusCode::FORBIDDEN, ELSEWHERE).into_response();
    }
    let Some(credentials) = api.users.borrow().clone() else {
        return next.run(request).await;
    };
    let needed = needed(request.method(), request.uri().path());
    let shown = shown(request.headers());
    let may = if request.method() == Method::OPTIONS {
        true
    } else {
        let Some(may) = may(&api, credentials, shown, needed).await else {
            return (StatusCode::SERVICE_UNAVAILABLE, BUSY).into_response();
        };
        may
    };
    let counter = if may {
        &api.counters.auth_ok
    } else {
        &api.counters.auth_fail
    };
    counter.fetch_add(1, Relaxed);
    let mut response = if may {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    };
    let head = response.headers_mut();
    head.insert(header::WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// Whether a request is none that another site has a browser send, with the user's password or from within
/// his network, to change something.
fn is_welcome(api: &Api, request: &Request) -> bool {
    if request.method().is_safe() {
        return true;
    }
    let text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let own = origin.split_once("://").map(|(_, authority)| authority);
    // Not of every origin, where a browser may add a password that it has kept.
    let has_users = api.users.borrow().is_some();
    let allowed = api
        .allow_origin
        .as_deref()
        .filter(|&allowed| allowed != "*" || !has_users);
    own.is_some() && own == text(header::HOST) || allowed == Some("*") || allowed == Some(origin)
}

/// Whether he may; `None`: too many want to know.
async fn may(
    api: &Api,
    credentials: Arc<Credentials>,
    shown: Option<(String, String)>,
    needed: &[Permission],
) -> Option<bool> {
    if credentials.everybody_may(needed) {
        return Some(true);
    }
    let Some((name, password)) = shown else {
        return Some(false);
    };
    let is_user = match credentials.look(&name, &password) {
        Known::Right => true,
        Known::Wrong => false,
        Known::NotYet => {
            let waiting = api.hashing.waiting.clone().try_acquire_owned().ok()?;
            // One at a time: whoever tries passwords takes no more than one core, and if he hangs up, the turn
            // is over when the work is.
            let turn = api.hashing.turn.clone().acquire_owned().await.ok()?;
            let (credentials, name) = (credentials.clone(), name.clone());
            let verify = move || {
                let _held = (waiting, turn);
                // The one before may have shown the same.
                credentials.look(&name, &password) == Known::Right
                    || credentials.verify(&name, &password)
            };
            tokio::task::spawn_blocking(verify).await.unwrap_or(false)
        }
    };
    Some(is_user && credentials.user_may(&name, needed))
}

/// Who compares passwords with hashes.
#[derive(Debug, Clone)]
pub struct Hashing {
    /// Whoever has it does.
    turn: Arc<Semaphore>,
    /// Places for it and those who wait for it.
    waiting: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(WAITING_FOR_HASH)),
        }
    }
}

/// Name and password as a client shows them.
fn shown(head: &HeaderMap) -> Option<(String, String)> {
    let value = head.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_read_as_rfc_7617_has_them() {
        let shown_as = |value: &'static str| {
            let mut head = HeaderMap::new();
            head.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            shown(&head)
        };
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(
            shown_as("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            pair("Aladdin", "open sesame")
        );
        assert_eq!(shown_as("basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(shown_as("Bearer YTpi"), None);
        assert_eq!(shown_as("Basic YWI="), None);
        assert_eq!(shown_as("Basic !"), None);
        assert_eq!(shown(&HeaderMap::new()), None);
    }
}

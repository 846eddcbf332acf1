//! What rqlite's clients and web pages find at all endpoints: the heads of answers, also of those that turn
//! somebody away, `OPTIONS`, and sending a client to the leader where it wants to be sent.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError};
use super::params;
use crate::name::MemberName;

/// What this program is, where rqlite says its version.
pub const RELEASE: &str = concat!("level4-", env!("CARGO_PKG_VERSION"));
/// In every answer, what it comes from.
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-rqlite-version"),
    HeaderValue::from_static(RELEASE),
);
const SERVED_BY: HeaderName = HeaderName::from_static("x-rqlite-served-by");
const METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, POST");
const HEADERS: HeaderValue = HeaderValue::from_static("Content-Type");
const HEADERS_WITH_USERS: HeaderValue = HeaderValue::from_static("Content-Type, Authorization");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// These may be answered by the leader alone, if a client wants so.
const LEADERS: [&str; 6] = [
    "/remove",
    "/db/execute",
    "/db/query",
    "/db/request",
    "/db/backup",
    "/db/load",
];

/// Goes after everything else: who answers, and who may read it.
pub async fn sign(State(api): State<Api>, request: Request, next: Next) -> Response {
    let is_data = request.uri().path().starts_with("/db/");
    let mut response = next.run(request).await;
    let is_served = is_data && response.status().is_success();
    let served_by = is_served.then_some(api.addresses.clients.as_str());
    name(&api, response.headers_mut(), served_by);
    response
}

/// Goes before the endpoint's own work.
pub async fn front(
    State(api): State<Api>,
    parameters: Parameters,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    if let Err(error) = params::check(&parameters) {
        return error.into_response();
    }
    match elsewhere(&api, &parameters, request.uri().clone()).await {
        Ok(Some(location)) => {
            let head = [(header::LOCATION, location)];
            (StatusCode::MOVED_PERMANENTLY, head).into_response()
        }
        Ok(None) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn name(api: &Api, head: &mut HeaderMap, served_by: Option<&str>) {
    head.insert(VERSION.0, VERSION.1);
    head.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if api.users.borrow().is_some() {
        head.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS_WITH_USERS);
        head.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    } else {
        head.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    }
    let origin = api.allow_origin.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(origin)) = origin {
        head.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    // The path of a socket may be no header's value.
    if let Some(Ok(address)) = served_by.map(HeaderValue::from_str) {
        head.insert(SERVED_BY, address);
    }
}

/// The leader's URL for this request, where `?redirect` is given and another node leads.
async fn elsewhere(
    api: &Api,
    parameters: &Parameters,
    uri: Uri,
) -> Result<Option<String>, ApiError> {
    let path = uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    if !flag(parameters, "redirect") || !LEADERS.contains(&path) {
        return Ok(None);
    }
    let status = api.status().await?;
    let leader = status.leader.ok_or_else(|| api.no_leader())?;
    let name = status.members.get(&leader).filter(|_| leader != status.id);
    // One at a socket's path has no URL, and this one does as well.
    let url = name.and_then(|name| MemberName::parse(name).url());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(url.map(|url| format!("{url}{path}")))
}

/// What was asked has been taken, but nobody is there to do it.
const NO_LEADER_FOR_LONG: &str = "leader not found: there has been none for some seconds, and a write may be executed when there is one";
/// An election takes less.
const LEADERLESS: Duration = Duration::from_secs(5);

impl Api {
    /// Waits for what needs a leader, but not for long while there is none.
    pub(super) async fn led<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        tokio::pin!(work);
        loop {
            if let Ok(done) = timeout(LEADERLESS, &mut work).await {
                return done;
            }
            if self.status().await?.leader.is_none() {
                self.no_leader();
                return Err(ApiError::unavailable(NO_LEADER_FOR_LONG));
            }
        }
    }

    /// 503 for what needs a leader.
    pub(super) fn no_leader(&self) -> ApiError {
        self.counters.leader_not_found.fetch_add(1, Relaxed);
        ApiError::unavailable("leader not found")
    }
}

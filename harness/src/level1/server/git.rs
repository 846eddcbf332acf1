//! git over HTTP (gitprotocol-http(5)): clones and fetches go to `git http-backend`, pushes are
//! read here.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{Method, Response, StatusCode, header, request::Parts},
    response::IntoResponse,
};

use super::{
    super::{receive, rules::Violation},
    Trouble, cgi,
    site::Site,
};
use crate::web::connections;

/// The most bytes of a request for a clone or a fetch: the commits that each side has.
const FETCH_MAX: usize = 256 << 10;

/// What a push's request may have beside the objects of a coin: the list of refs.
const PUSH_LINES_MAX: usize = 16 << 10;

/// The services of git's smart protocol (gitprotocol-http(5)); plain files are not served.
pub async fn git(
    State(site): State<Arc<Site>>,
    Path((_, service)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Trouble> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let path = format!("{}/{service}", site.path());
    let pushing = match (service.as_str(), query) {
        ("info/refs", "service=git-receive-pack") | ("git-receive-pack", _) => true,
        ("info/refs", "service=git-upload-pack") | ("git-upload-pack", _) => false,
        _ => return Ok((StatusCode::NOT_FOUND, "no such service\n").into_response()),
    };
    if parts.uri.path() != path {
        return Ok((StatusCode::NOT_FOUND, "no such repository\n").into_response());
    }
    let player = site.authenticate(&parts.headers);
    if pushing && player.is_none() {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"gitcoin\"")];
        let text = "to push, give your player's name and token\n";
        return Ok((StatusCode::UNAUTHORIZED, challenge, text).into_response());
    }
    if let Some(player) = &player
        && pushing
        && service == "info/refs"
    {
        site.count_attempt(player);
        if let Some(surprise) = site.take_surprise() {
            let done = tokio::task::spawn_blocking(surprise).await;
            done.context("the surprise was given up")??;
        }
    }
    if let (Some(player), true) = (player, pushing) {
        return push(site, player, &parts, body).await;
    }
    let body = match connections::read(body, FETCH_MAX).await {
        Ok(body) => body,
        Err(status) => return Ok(refuse_body(status, FETCH_MAX)),
    };
    let request = cgi::Request {
        method: parts.method,
        path,
        query: query.to_owned(),
        headers: parts.headers,
        body,
    };
    // A task of its own: it goes on when the client does not wait for its end.
    let running = Arc::clone(&site);
    let task = site.tasks.spawn(async move {
        let _permit = running.git.acquire().await.context("the server ends")?;
        let root = running.repository.dir().parent().map(PathBuf::from);
        cgi::http_backend(&root.unwrap_or_default(), request).await
    });
    Ok(task.await.context("git http-backend was given up")??)
}

/// Both requests of a push: for where `master` stands, and with what is to land on it.
async fn push(
    site: Arc<Site>,
    player: String,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Trouble> {
    if parts.method == Method::GET {
        let head = site.repository.head()?;
        return Ok(answer("advertisement", receive::advertisement(head)));
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let text = "a push is not encoded\n";
        return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
    }
    let reading = Arc::clone(&site);
    let max = tokio::task::spawn_blocking(move || reading.repository.request_max());
    let max = max.await.context("the ledger could not be read")?? + PUSH_LINES_MAX;
    // One at a time for each player, from before its body is read.
    let turn = site.turn(&player);
    let turn = turn.lock_owned().await;
    let body = match connections::read(body, max).await {
        Ok(body) => body,
        Err(status) => {
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                let violation = Violation::TooMuch(format!("a request has at most {max} bytes"));
                let noting = Arc::clone(&site);
                let note = move || noting.repository.note_refusal(&player, &violation);
                let noted = tokio::task::spawn_blocking(note).await;
                noted.context("the refusal could not be noted")??;
            }
            return Ok(refuse_body(status, max));
        }
    };
    // A task of its own: a client that goes away does not leave it half done.
    let landing = Arc::clone(&site);
    let task = site.tasks.spawn_blocking(move || {
        let _turn = turn;
        landing.repository.receive_request(&body, &player)
    });
    Ok(match task.await.context("the push was given up")? {
        Ok(report) => answer("result", report),
        Err(refusal) => (StatusCode::BAD_REQUEST, format!("{refusal}\n")).into_response(),
    })
}

/// An answer of the push's service; none may be kept by anybody on the way.
fn answer(what: &str, body: Vec<u8>) -> Response<Body> {
    let kind = format!("application/x-git-receive-pack-{what}");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, body).into_response()
}

/// Says why a body was not taken.
fn refuse_body(status: StatusCode, max: usize) -> Response<Body> {
    let text = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("a request has at most {max} bytes\n"),
        StatusCode::REQUEST_TIMEOUT => "the request came too slowly\n".to_owned(),
        _ => "the request is cut off\n".to_owned(),
    };
    (status, [(header::CONNECTION, "close")], text).into_response()
}

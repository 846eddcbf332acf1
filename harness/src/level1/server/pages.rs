//! The scoreboard over HTTP: the page, the rounds before, and the same for programs.

use std::sync::Arc;

use anyhow::Context;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, Response, StatusCode, header},
    response::{Html, IntoResponse},
};

use super::{
    super::{
        rounds::{book::Records, export},
        scoreboard::{self, Scoreboard, Visit},
    },
    Trouble,
    site::Site,
};
use crate::web;

/// What a page may load and do: our own style, script and answers, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const SCRIPT: &str = include_str!("../scoreboard/scoreboard.js");

/// The most rounds of an export; beyond, `harness level1 results` has all.
const EXPORT_MAX: u32 = 10_000;

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
) -> Result<Response<Body>, Trouble> {
    let board = read_scoreboard(site).await?;
    Ok(html(board.html(&visit(&headers))))
}

pub async fn json(State(site): State<Arc<Site>>) -> Result<Json<Scoreboard>, Trouble> {
    Ok(Json(read_scoreboard(site).await?))
}

pub async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, web::STYLE)
}

pub async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, SCRIPT)
}

/// The page of a round that is over.
pub async fn round(
    State(site): State<Arc<Site>>,
    Path(number): Path<u64>,
) -> Result<Response<Body>, Trouble> {
    let title = site.title().to_owned();
    let now_s = read_scoreboard(Arc::clone(&site)).await?.now_s;
    let found = read(site, move |records| {
        let Some(round) = records.round(number)? else {
            return Ok(None);
        };
        let coins = records.coins(number)?;
        let newest = records.rounds(1)?.first().map_or(0, |last| last.number);
        let page = scoreboard::round_page(&title, &round, &coins, newest, now_s);
        Ok(Some(page))
    });
    Ok(found.await?.flatten().map_or_else(no_such_round, html))
}

/// The coins of a round that is over.
pub async fn round_coins(
    State(site): State<Arc<Site>>,
    Path(number): Path<u64>,
) -> Result<Response<Body>, Trouble> {
    let found = read(site, move |records| {
        let round = records.round(number)?;
        let coins = round.map(|_| records.coins(number)).transpose()?;
        Ok(coins.map(|coins| export::coins_csv(number, &coins)))
    });
    Ok(found.await?.flatten().map_or_else(no_such_round, csv))
}

/// The results of the rounds that are over.
pub async fn rounds_csv(State(site): State<Arc<Site>>) -> Result<Response<Body>, Trouble> {
    let found = read(site, |records| {
        Ok(export::results_csv(&records.rounds(EXPORT_MAX)?))
    });
    Ok(csv(found
        .await?
        .unwrap_or_else(|| export::results_csv(&[]))))
}

/// The same as JSON.
pub async fn rounds_json(State(site): State<Arc<Site>>) -> Result<Response<Body>, Trouble> {
    let found = read(site, |records| records.rounds(EXPORT_MAX));
    Ok(Json(found.await?.unwrap_or_default()).into_response())
}

/// Reads the scoreboard on a thread that may wait.
pub async fn read_scoreboard(site: Arc<Site>) -> Result<Scoreboard, Trouble> {
    let scoreboard = tokio::task::spawn_blocking(move || site.scoreboard()).await;
    Ok(scoreboard.context("the scoreboard could not be read")??)
}

/// Reads in the book on a thread that may wait; `None` where none is kept.
async fn read<T: Send + 'static>(
    site: Arc<Site>,
    read: impl FnOnce(&Records) -> anyhow::Result<T> + Send + 'static,
) -> Result<Option<T>, Trouble> {
    let read = tokio::task::spawn_blocking(move || site.read_records(read)).await;
    Ok(read.context("the book could not be read")??)
}

fn html(page: String) -> Response<Body> {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}

fn csv(text: String) -> Response<Body> {
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
    (kind, text).into_response()
}

fn no_such_round() -> Response<Body> {
    (StatusCode::NOT_FOUND, "no such round, or it is not over\n").into_response()
}

/// Where the reader sees the page: as the request has it, since proxies and names of this machine
/// are known to nobody else.
fn visit(headers: &HeaderMap) -> Visit {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_plain = |host: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        !host.is_empty() && host.bytes().all(plain)
    };
    let host = text("host").filter(is_plain).unwrap_or("SERVER");
    let is_tls = text("x-forwarded-proto") == Some("https");
    Visit {
        scheme: if is_tls { "https" } else { "http" },
        host: host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_is_what_the_request_says_if_that_can_be_shown() {
        let visit = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            let visit = visit(&headers);
            format!("{}://{}", visit.scheme, visit.host)
        };
        assert_eq!(visit(&[("host", "a.b:80")]), "http://a.b:80");
        assert_eq!(
            visit(&[("host", "[::1]:80"), ("x-forwarded-proto", "https")]),
            "https://[::1]:80"
        );
        assert_eq!(visit(&[("host", "a b")]), "http://SERVER");
        assert_eq!(visit(&[]), "http://SERVER");
    }
}

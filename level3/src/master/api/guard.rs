//! Who may ask: what keeps other people's web pages away from the user's files.
//!
//! A page from anywhere can have a browser send requests to this server. It cannot read the answers
//! of another origin, but it could set off indexing, and with a name of its own that resolves to
//! this host (DNS rebinding) it would be the same origin. So names are checked against a list, and
//! what browsers say about where a request comes from is believed when it speaks against it.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::Master;
use super::failure::Failure;
use crate::master::door::Peer;

/// Where a browser says that a request comes from: `same-origin`, `cross-site` and so on.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a browser wants it for: `navigate` is a user who follows a link.
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Refuses what must not be answered, and marks every answer.
pub(super) async fn check(
    State(master): State<Arc<Master>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&master.config.allow_hosts, peer.is_local(), &request) {
        Ok(()) => {
            let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answer.unwrap_or_else(|_| {
                let error = "this request has run into a fault of the program";
                Failure::internal(error).into_response()
            })
        }
        Err(failure) => failure.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Whether a request may be answered at all.
fn admit(allowed: &[String], is_local: bool, request: &Request) -> Result<(), Failure> {
    let headers = request.headers();
    let host = host(request)?;
    if let Some(host) = host
        && !is_allowed(host, allowed)
    {
        return Err(forbidden(format!(
            "the host `{}` is not served; start the master with --allow-host to serve it",
            host.escape_default()
        )));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let authority = origin.to_str().ok().and_then(|origin| {
            origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
        });
        let is_same =
            |authority: &str| host.is_some_and(|host| authority.eq_ignore_ascii_case(host));
        if !authority.is_some_and(is_same) {
            return Err(forbidden("requests of other origins are not answered"));
        }
    }
    let says = |name: &HeaderName, value: &str| {
        headers
            .get(name)
            .is_some_and(|said| said.as_bytes() == value.as_bytes())
    };
    let is_foreign = says(&FETCH_SITE, "cross-site") || says(&FETCH_SITE, "same-site");
    if is_foreign && !(says(&FETCH_MODE, "navigate") && request.method() == Method::GET) {
        return Err(forbidden("requests of other sites are not answered"));
    }
    if changes_something(request) && !may_change(headers, request.method(), is_local) {
        return Err(forbidden(
            "what is indexed is changed by POST or DELETE from this origin, or by a program's GET on this host",
        ));
    }
    Ok(())
}

/// Whether more than an answer would come of it.
fn changes_something(request: &Request) -> bool {
    request.uri().path() == "/index" || !matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Whether a request that changes something is from where it may come: a page of ours, or a program.
/// A GET, which is the contract's, only from a program on this host; any mark of a browser is
/// against it, since an image on any page sends a GET.
fn may_change(headers: &HeaderMap, method: &Method, is_local: bool) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        let is_marked = headers.keys().any(|name| {
            [header::ORIGIN, header::REFERER, header::COOKIE].contains(name)
                || name.as_str().starts_with("sec-fetch-")
        });
        return is_local && !is_marked;
    }
    let site = headers.get(FETCH_SITE);
    site.is_none_or(|site| site == "same-origin")
}

/// The host and port that were asked for. Only HTTP/1.0 may leave them out; no browser speaks it.
fn host(request: &Request) -> Result<Option<&str>, Failure> {
    let bad = || Failure::bad_request("the request must name one host");
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(Some(host.to_str().map_err(|_| bad())?)),
        (None, _) if request.version() == Version::HTTP_10 => Ok(None),
        _ => Err(bad()),
    }
}

/// Whether a host, with or without a port, is one of ours.
fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_loopback = name
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback());
    let mut names = std::iter::once("localhost").chain(allowed.iter().map(String::as_str));
    is_loopback || names.any(|own| own.eq_ignore_ascii_case(name))
}

fn forbidden(error: impl Into<String>) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, error)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn admits(method: &str, target: &str, is_local: bool, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        admit(&["code.example".to_owned()], is_local, &request).is_ok()
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:9090");

    #[test]
    fn names_that_are_not_ours_are_refused() {
        for (host, expected) in [
            ("127.0.0.1:9090", true),
            ("127.8.8.8", true),
            ("[::1]:9090", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("LOCALHOST:9090", true),
            ("localhost.", true),
            ("code.example:80", true),
            ("evil.example:9090", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:9090", false),
            ("evil.example:80@localhost", false),
            ("", false),
        ] {
            assert_eq!(
                admits("GET", "/search?q=a", true, &[("host", host)]),
                expected,
                "{host}"
            );
        }
        assert!(!admits("GET", "/", true, &[]));
        assert!(!admits("GET", "/", true, &[HOST, HOST]));
    }

    #[test]
    fn other_origins_and_sites_are_refused() {
        let own = ("origin", "http://127.0.0.1:9090");
        assert!(admits("GET", "/search?q=a", true, &[HOST, own]));
        for origin in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:1",
            "file://",
        ] {
            assert!(!admits(
                "GET",
                "/search?q=a",
                true,
                &[HOST, ("origin", origin)]
            ));
        }
        let cross = ("sec-fetch-site", "cross-site");
        assert!(!admits(
            "GET",
            "/search?q=a",
            true,
            &[HOST, cross, ("sec-fetch-mode", "no-cors")]
        ));
        assert!(admits(
            "GET",
            "/",
            true,
            &[HOST, cross, ("sec-fetch-mode", "navigate")]
        ));
    }

    #[test]
    fn only_programs_on_this_host_index_by_get() {
        let index = "/index?path=/etc";
        assert!(admits("GET", index, true, &[HOST]));
        assert!(!admits("GET", index, false, &[HOST]));
        for mark in [
            ("origin", "http://127.0.0.1:9090"),
            ("referer", "http://127.0.0.1:9090/"),
            ("cookie", "a=b"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-dest", "image"),
        ] {
            assert!(!admits("GET", index, true, &[HOST, mark]), "{mark:?}");
        }
    }

    #[test]
    fn pages_of_ours_and_programs_index_by_post() {
        let index = "/index?path=/etc";
        let own = ("origin", "http://127.0.0.1:9090");
        assert!(admits("POST", index, false, &[HOST]));
        assert!(admits(
            "POST",
            index,
            true,
            &[HOST, own, ("sec-fetch-site", "same-origin")]
        ));
        // A form on another page, which may hide where it comes from.
        assert!(!admits("POST", index, true, &[HOST, ("origin", "null")]));
        assert!(!admits(
            "POST",
            index,
            true,
            &[
                HOST,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate")
            ]
        ));
        assert!(!admits(
            "POST",
            index,
            true,
            &[HOST, ("sec-fetch-site", "none")]
        ));
    }
}

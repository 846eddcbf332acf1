//! `git http-backend` as a CGI program (RFC 3875): a request in, a response out.
//!
//! It serves clones and fetches; pushes never get here. Both are read whole: a chain of coins is
//! small (a few hundred bytes a coin).

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncWriteExt, process::Command};

use super::super::git;

/// The longest that git may take to put together what a client wants.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What of a request the program needs to know.
#[derive(Debug)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// The path inside the project's folder, such as `/level1/info/refs`.
    pub path: String,
    /// After the question mark.
    pub query: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body, as it came (perhaps gzipped).
    pub body: Bytes,
}

/// Runs `git http-backend` over the repositories in `root`.
pub async fn http_backend(root: &Path, request: Request) -> Result<Response<Body>> {
    let mut child = command(root, &request)
        .spawn()
        .context("cannot run git http-backend")?;
    let mut guard = Guard(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let Some(mut stdin) = child.stdin.take() else {
        bail!("git http-backend has no pipes");
    };
    let feed = async move {
        // A program that does not want all of it closes the pipe, and its answer says why.
        let _ = stdin.write_all(&request.body).await;
    };
    let work = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(TIME_MAX, work)
        .await
        .with_context(|| format!("git http-backend took over {} s", TIME_MAX.as_secs()))?;
    guard.0 = None;
    parse(output?.stdout)
}

fn command(root: &Path, request: &Request) -> Command {
    let header = |name: HeaderName| {
        let value = request.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .envs(git::environment())
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", request.method.as_str())
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
        .env(
            "GIT_PROTOCOL",
            header(HeaderName::from_static("git-protocol")),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    command
}

/// Splits what the program printed into status, headers and body.
fn parse(printed: Vec<u8>) -> Result<Response<Body>> {
    let printed = Bytes::from(printed);
    let end = printed.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.context("git http-backend ended without an answer")?;
    let head = std::str::from_utf8(&printed[..end]).context("a header is not text")?;
    let mut response = Response::new(Body::from(printed.slice(end + 4..)));
    for line in head.lines() {
        let (name, value) = line
            .split_once(": ")
            .with_context(|| format!("git http-backend printed `{line}`"))?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            let code: StatusCode = code
                .parse()
                .with_context(|| format!("bad status `{value}`"))?;
            *response.status_mut() = code;
        } else {
            let name: HeaderName = name.parse()?;
            response
                .headers_mut()
                .append(name, HeaderValue::from_str(value)?);
        }
    }
    ensure!(
        !response.status().is_informational(),
        "git http-backend answered with {}",
        response.status()
    );
    Ok(response)
}

/// Ends the program and what it started, if we stop waiting for it.
///
/// By SIGTERM, on which git removes its lock files; a lock left behind would stop the game.
struct Guard(Option<Pid>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_output_becomes_a_response() {
        let printed = b"Status: 403 Forbidden\r\nCache-Control: no-cache\r\n\r\nbody\r\n\r\n";
        let response = parse(printed.to_vec()).unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let body = axum::body::to_bytes(response.into_body(), 100)
            .await
            .unwrap();
        assert_eq!(&body[..], b"body\r\n\r\n");
        assert_eq!(
            parse(b"A: b\r\n\r\n".to_vec()).unwrap().status(),
            StatusCode::OK
        );
        for bad in ["", "no end", "Status: x\r\n\r\n", "nonsense\r\n\r\n"] {
            assert!(parse(bad.as_bytes().to_vec()).is_err(), "{bad}");
        }
    }
}

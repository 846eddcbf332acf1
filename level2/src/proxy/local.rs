//! Requests that the proxy answers itself, before anybody is asked whether there is a place for them: those
//! that go no further, those of whoever checks that a name is ours, those that should have come another way.

use std::path::Path;

use super::answer::Answer;
use super::client::{Arrival, Client};
use super::origin::Origin;
use super::record::Ended;
use crate::config::Config;
use crate::http::fields::push_field;
use crate::http::request::{BadRequest, Head};
use crate::http::response::Recipient;

/// Where ACME's authorities look (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Largest answer to a challenge, in bytes; they have less than two hundred.
const LARGEST_CHALLENGE: u64 = 16 * 1024;

/// What the proxy has to say to a request.
#[derive(Debug)]
pub enum Local {
    /// TRACE or OPTIONS that was to go no further (RFC 9110, 7.6.2); for TRACE what is shown.
    EndsHere(Option<Vec<u8>>),
    /// The answer to a challenge, if there is one.
    Challenge(Option<Vec<u8>>),
    /// The same over TLS, at this place.
    Redirect(String),
    /// The connection's certificate is not for this authority (RFC 9110, 15.5.20).
    Misdirected,
}

impl Local {
    /// What there is to be said to a request, if there is anything.
    pub fn find(
        head: &Head<'_, '_>,
        origin: &Origin,
        config: &Config,
    ) -> Result<Option<Self>, BadRequest> {
        if let Some(secured) = &origin.secured
            && let Some(host) = head.host()
            && !secured.identity.covers(host)
        {
            return Ok(Some(Self::Misdirected));
        }
        if let Some(folder) = &config.acme_webroot
            && let Some(token) = head.path().strip_prefix(CHALLENGES)
        {
            return Ok(Some(Self::Challenge(challenge(folder, token))));
        }
        if let Some(port) = config.redirect_to_https
            && origin.secured.is_none()
            && !(origin.trusted && head.came_by_https())
        {
            return redirect(head, port).map(Some);
        }
        Ok(head.request.ends_here.then(|| {
            Self::EndsHere((head.method == "TRACE").then(|| {
                let mut shown = Vec::new();
                head.write_trace(&mut shown);
                shown
            }))
        }))
    }
}

/// The file that answers a challenge. A token is letters of base64 for URLs, so that it names no other file.
fn challenge(folder: &Path, token: &str) -> Option<Vec<u8>> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.is_empty() || token.len() > 255 || !token.bytes().all(allowed) {
        return None;
    }
    let path = folder.join(&CHALLENGES[1..]).join(token);
    let found = std::fs::metadata(&path).ok()?;
    if !found.is_file() || found.len() > LARGEST_CHALLENGE {
        return None;
    }
    std::fs::read(path).ok()
}

fn redirect(head: &Head<'_, '_>, port: u16) -> Result<Local, BadRequest> {
    let host = head.host().and_then(|host| std::str::from_utf8(host).ok());
    let name = match host.unwrap_or_default() {
        "" => return Err(BadRequest::new(400, "no Host to redirect to")),
        host if host.starts_with('[') => host.find(']').map_or(host, |end| &host[..=end]),
        host => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let path = head.path();
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Local::Redirect(match port {
        443 => format!("https://{name}{slash}{path}"),
        port => format!("https://{name}:{port}{slash}{path}"),
    }))
}

impl Client {
    /// Answers a request that goes no further.
    pub(super) async fn answer_here(
        &mut self,
        local: Local,
        arrival: &Arrival,
        to: Recipient,
    ) -> Ended {
        let request = arrival.request;
        match local {
            Local::EndsHere(Some(shown)) => {
                self.answer_body(b"message/http", &shown, request, to).await
            }
            Local::Challenge(Some(body)) => {
                self.answer_body(b"application/octet-stream", &body, request, to)
                    .await
            }
            Local::EndsHere(None) => self.refuse(Answer::new(200, ""), request, to).await,
            Local::Challenge(None) => {
                let answer = Answer::new(404, "no such challenge");
                self.refuse(answer, request, to).await
            }
            Local::Misdirected => {
                let answer = Answer::new(421, "this connection's certificate is not for that host");
                self.refuse(answer, request, to).await
            }
            Local::Redirect(location) => {
                let mut field = Vec::new();
                push_field(&mut field, "Location", location.as_bytes());
                // The method stays as it was (RFC 9110, 15.4.9).
                let answer = Answer::new(308, "this is to be had over https");
                self.refuse_with(answer, &field, request, to).await
            }
        }
    }
}

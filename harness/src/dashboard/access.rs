//! Who may ask: the browser that opened the URL with the token, which is exchanged once for a cookie.
//!
//! A page elsewhere cannot use that cookie (`SameSite=Strict`), cannot post here (its `Origin` is
//! another), and cannot reach us under a name of its own (DNS rebinding: the `Host` is another).

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::web::same;

/// What is checked of every request.
#[derive(Debug)]
pub(super) struct Access {
    address: SocketAddr,
    /// In the URL; gone once it was used.
    token: Mutex<Option<String>>,
    /// In the cookie.
    session: String,
    /// What `Host` may be, in lower case.
    hosts: Vec<String>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is answered.
    Admit,
    /// It has brought the token, and gets this cookie for it.
    Exchange(String),
    /// It is not answered, with a line that says why.
    Refuse(StatusCode, &'static str),
}

impl Access {
    /// For a server at an address, with fresh secrets.
    pub fn new(address: SocketAddr) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if address.ip().is_unspecified() {
            let name = rustix::system::uname();
            let name = name.nodename().to_string_lossy().to_lowercase();
            hosts.extend([format!("127.0.0.1:{port}"), format!("{name}:{port}")]);
        }
        Self {
            address,
            token: Mutex::new(Some(secret())),
            session: secret(),
            hosts,
        }
    }

    /// The URL that lets a browser in.
    pub fn url(&self) -> String {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let token = token.as_deref().unwrap_or_default();
        let host = if self.address.ip().is_unspecified() {
            self.hosts.last()
        } else {
            self.hosts.first()
        };
        format!("http://{}/?token={token}", host.map_or("", String::as_str))
    }

    /// The name of the cookie: other dashboards of the same machine have other ports, and cookies
    /// do not know ports.
    fn cookie(&self) -> String {
        format!("harness-{}", self.address.port())
    }

    /// What becomes of a request with this token in its query, if it has one.
    pub fn decide(&self, method: &Method, headers: &HeaderMap, token: Option<&str>) -> Decision {
        let refuse = |why| Decision::Refuse(StatusCode::FORBIDDEN, why);
        let Some(host) = only(headers, &header::HOST).map(str::to_lowercase) else {
            return Decision::Refuse(StatusCode::BAD_REQUEST, "a request has one Host\n");
        };
        if !self.hosts.contains(&host) {
            return refuse("this dashboard has another name: use the URL that it printed\n");
        }
        let is_reading = method == Method::GET || method == Method::HEAD;
        let has_origin = headers.contains_key(header::ORIGIN);
        let is_ours = only(headers, &header::ORIGIN)
            .is_some_and(|origin| origin.eq_ignore_ascii_case(&format!("http://{host}")));
        if has_origin && !is_ours || !has_origin && !is_reading {
            return refuse("only the dashboard's own pages may ask for this\n");
        }
        if self.has_cookie(headers) {
            return Decision::Admit;
        }
        match token {
            Some(token) if is_reading && self.take(token) => Decision::Exchange(format!(
                "{}={}; HttpOnly; SameSite=Strict; Path=/",
                self.cookie(),
                self.session
            )),
            Some(_) => refuse(
                "this URL was used already, or is another dashboard's: start the dashboard again\n",
            ),
            None => refuse("open the URL that `harness dashboard` printed, with its token\n"),
        }
    }

    /// Whether it is the token; it is none any more then.
    fn take(&self, guess: &str) -> bool {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let is_right = token
            .as_ref()
            .is_some_and(|token| same(token.as_bytes(), guess.as_bytes()));
        if is_right {
            token.take();
        }
        is_right
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie();
        let lines = headers.get_all(header::COOKIE).iter();
        let cookies = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        cookies
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(found, value)| found == name && same(value.as_bytes(), self.session.as_bytes()))
    }
}

/// The value of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// 128 random bits in hex digits.
fn secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access::new("127.0.0.1:8014".parse().unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn token(access: &Access) -> String {
        access.url().split_once("?token=").unwrap().1.to_owned()
    }

    fn admitted(decision: &Decision) -> bool {
        !matches!(decision, Decision::Refuse(..))
    }

    #[test]
    fn the_token_is_exchanged_once_for_a_strict_cookie() {
        let access = access();
        let token = token(&access);
        let host = headers(&[("host", "127.0.0.1:8014")]);
        let wrong = access.decide(&Method::GET, &host, Some("0"));
        assert!(!admitted(&wrong));
        let Decision::Exchange(cookie) = access.decide(&Method::GET, &host, Some(&token)) else {
            panic!("the token is right");
        };
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!admitted(&access.decide(&Method::GET, &host, Some(&token))));
        assert!(!admitted(&access.decide(&Method::GET, &host, None)));
        let pair = cookie.split(';').next().unwrap();
        assert!(
            !pair.contains(&token),
            "the token is in the history of the browser"
        );
        let cookies = format!("theme=dark; {pair}");
        let with = headers(&[("host", "LOCALHOST:8014"), ("cookie", &cookies)]);
        assert_eq!(access.decide(&Method::GET, &with, None), Decision::Admit);
        assert_eq!(
            access.decide(&Method::GET, &with, Some("x")),
            Decision::Admit
        );
        let altered = format!("{pair}0");
        let with = headers(&[("host", "localhost:8014"), ("cookie", &altered)]);
        assert!(!admitted(&access.decide(&Method::GET, &with, None)));
    }

    #[test]
    fn another_host_and_another_origin_are_refused_whatever_else_they_have() {
        let access = access();
        let cookie = format!("{}={}", access.cookie(), access.session);
        let decide = |method: Method, pairs: &[(&'static str, &str)]| {
            let mut headers = headers(pairs);
            headers.append("cookie", cookie.parse().unwrap());
            admitted(&access.decide(&method, &headers, None))
        };
        let ours = ("host", "127.0.0.1:8014");
        assert!(decide(Method::GET, &[ours]));
        assert!(!decide(Method::GET, &[("host", "evil.example:8014")]));
        assert!(!decide(Method::GET, &[("host", "127.0.0.1:80")]));
        assert!(!decide(Method::GET, &[ours, ours]));
        assert!(!decide(Method::GET, &[]));
        let origin = |origin| [ours, ("origin", origin)];
        assert!(decide(Method::POST, &origin("http://127.0.0.1:8014")));
        for other in [
            "http://127.0.0.1:8015",
            "https://127.0.0.1:8014",
            "null",
            "",
        ] {
            assert!(!decide(Method::POST, &origin(other)), "{other}");
            assert!(!decide(Method::GET, &origin(other)), "{other}");
        }
        // The origin is that of the host which was asked.
        assert!(!decide(Method::POST, &origin("http://localhost:8014")));
        assert!(
            !decide(Method::POST, &[ours]),
            "a form of ours has an origin"
        );
    }
}

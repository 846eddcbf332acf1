//! A small HTTP client, for what a node fetches and sends by itself, and for the shell. Each request has a
//! connection of its own.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::security::{Blind, SecurityError, authorities, identity};
use crate::transport::{self, Socket, is_path};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is no URL.
    #[error("{0} is neither a URL such as http://127.0.0.1:4001 nor a socket's path")]
    Url(String),
    /// Certificates cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The system has no authorities' certificates.
    #[error("the system's certificates of authorities cannot be used: {0}")]
    NoAuthorities(String),
    /// Nobody answers, or not whom it should be.
    #[error("cannot reach {address}: {cause}")]
    Connect {
        /// Where.
        address: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The connection breaks off, or speaks no HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be written.
    #[error("{0}")]
    Request(#[from] axum::http::Error),
    /// The answer is too long.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// What comes cannot be kept.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where requests go.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port`, or a socket's path.
    address: String,
    host: String,
    is_https: bool,
    /// Goes before the paths of requests; without a slash at its end.
    base: String,
    /// As a header's value: name and password.
    user: Option<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Without the password.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        if is_path(&self.address) {
            return formatter.write_str(&self.address);
        }
        let scheme = if self.is_https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.address, self.base)
    }
}

impl Target {
    /// A URL, `host:port`, or a socket's path.
    ///
    /// # Errors
    ///
    /// If it is none of them.
    pub fn parse(text: &str) -> Result<Self, FetchError> {
        if is_path(text) {
            return Ok(Self {
                address: text.to_owned(),
                host: "localhost".to_owned(),
                is_https: false,
                base: String::new(),
                user: None,
            });
        }
        // A URL may hold a password, and is not repeated then.
        let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
        let none = || FetchError::Url(shown.to_owned());
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = whole.parse().map_err(|_| none())?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(none()),
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(none)?;
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let user = authority.rsplit_once('@').map(|(user, _)| {
            let plain: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
            basic(&plain)
        });
        Ok(Self {
            address: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            is_https,
            base: uri
                .path_and_query()
                .map_or("", |path| path.as_str())
                .trim_end_matches('/')
                .to_owned(),
            user,
        })
    }

    /// With this name and password.
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = Some(basic(user.as_bytes()));
        self
    }

    /// The value of `Host`: the port is left out where it is the usual one.
    pub fn authority(&self) -> &str {
        let usual = if self.is_https { ":443" } else { ":80" };
        if is_path(&self.address) {
            return &self.host;
        }
        self.address.strip_suffix(usual).unwrap_or(&self.address)
    }

    /// The path of a request.
    pub fn path(&self, path: &str) -> String {
        let whole = format!("{}{path}", self.base);
        if whole.is_empty() {
            "/".to_owned()
        } else {
            whole
        }
    }
}

/// The header for `name:password`.
fn basic(user: &[u8]) -> String {
    format!("Basic {}", BASE64.encode(user))
}

/// Whom to believe that it is who it says, in TLS.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Authorities (PEM); without any, those of the system.
    pub ca: Option<PathBuf>,
    /// Own certificate and private key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Everybody is believed.
    pub is_blind: bool,
    /// Its certificate has to be for this name, and not for the host that is dialled.
    pub server_name: Option<String>,
}

/// Sends requests.
#[derive(Debug, Default)]
pub struct Fetcher {
    trust: Trust,
    /// Read when it is first needed.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// An answer whose body is still to come.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    body: Incoming,
    /// The connection, which ends with the answer.
    _connection: AbortOnDropHandle<()>,
}

impl Fetcher {
    /// Believes those.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            tls: OnceLock::new(),
        }
    }

    /// Sends a request; `path` begins with a slash and may hold a query.
    ///
    /// # Errors
    ///
    /// If no answer comes; one that says no is none.
    pub async fn send(
        &self,
        target: &Target,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<Answer, FetchError> {
        let mut request = Request::builder().method(method).uri(target.path(path));
        request = request.header(header::HOST, target.authority());
        if let Some(user) = &target.user {
            request = request.header(header::AUTHORIZATION, user);
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(axum::http::Error::from)?;
            let value = HeaderValue::from_str(value).map_err(axum::http::Error::from)?;
            request = request.header(name, value);
        }
        let request = request.body(body)?;
        let socket = self.connect(target).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        // Its errors come out at the request, too.
        let driving = tokio::spawn(async move { drop(connection.await) });
        let driving = AbortOnDropHandle::new(driving);
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            _connection: driving,
        })
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Socket>, FetchError> {
        let failed = |cause| FetchError::Connect {
            address: target.address.clone(),
            cause,
        };
        let socket = transport::connect(&target.address)
            .await
            .map_err(failed)?
            .socket;
        if !target.is_https {
            return Ok(socket);
        }
        let connector = TlsConnector::from(self.tls()?);
        let name = self.trust.server_name.as_ref().unwrap_or(&target.host);
        let name = ServerName::try_from(name.clone());
        let name = name.map_err(|error| failed(io::Error::other(error)))?;
        let socket = connector.connect(name, socket).await.map_err(failed)?;
        Ok(Box::new(socket))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::NoAuthorities(error.to_string()))?;
        let builder = match &self.trust.ca {
            _ if self.trust.is_blind => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Blind(provider))),
            Some(path) => builder.with_root_certificates(authorities(path)?),
            None => builder.with_root_certificates(system_authorities()?),
        };
        let config = match &self.trust.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let (chain, private) = identity(cert, key)?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| FetchError::NoAuthorities(error.to_string()))?
            }
        };
        Ok(self.tls.get_or_init(|| Arc::new(config)).clone())
    }
}

/// Bytes of a file that are sent at a time.
const FILE_CHUNK: usize = 256 * 1024;

/// A part of a file as a request's body, read as it is sent.
#[derive(Debug)]
pub struct FileBody {
    file: File,
    left: u64,
}

impl FileBody {
    /// So many bytes from `start` on. A file that turns out to be shorter breaks off.
    ///
    /// # Errors
    ///
    /// If the file has no places.
    pub fn part(mut file: File, start: u64, length: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, left: length })
    }
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    /// Nothing else waits for the thread that reads: the shell's, or one for what was written just now.
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; FILE_CHUNK.min(usize::try_from(this.left).unwrap_or(FILE_CHUNK))];
        let read = this.file.read_exact(&mut chunk);
        this.left -= chunk.len() as u64;
        Poll::Ready(Some(read.map(|()| Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn system_authorities() -> Result<Arc<RootCertStore>, FetchError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(ToString::to_string);
        let reason = reason.unwrap_or_else(|| "there are none".to_owned());
        return Err(FetchError::NoAuthorities(reason));
    }
    Ok(Arc::new(roots))
}

impl Answer {
    /// The body, if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// If it is longer, or breaks off.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, FetchError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(FetchError::TooLong(limit));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }

    /// Writes the body as it comes; gives its length.
    ///
    /// # Errors
    ///
    /// If it breaks off, or cannot be written.
    pub async fn save(mut self, out: &mut (dyn Write + Send)) -> Result<u64, FetchError> {
        let mut length = 0;
        while let Some(chunk) = self.chunk().await? {
            out.write_all(&chunk)?;
            length += chunk.len() as u64;
        }
        Ok(length)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_urls_addresses_and_paths() {
        for (text, shown, authority, path) in [
            ("http://h:4001", "http://h:4001", "h:4001", "/x"),
            ("https://h/", "https://h:443", "h", "/x"),
            ("h:4001", "http://h:4001", "h:4001", "/x"),
            (
                "http://[::1]:80/a/b",
                "http://[::1]:80/a/b",
                "[::1]",
                "/a/b/x",
            ),
            ("./n.sock", "./n.sock", "localhost", "/x"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.to_string(), shown);
            assert_eq!(target.authority(), authority);
            assert_eq!(target.path("/x"), path);
        }
        for text in ["", "ftp://h", "http://", "h h"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_sent_and_never_shown() {
        let target = Target::parse("http://bob:se%3Acret@h:1").unwrap();
        let expected = format!("Basic {}", BASE64.encode("bob:se:cret"));
        assert_eq!(target.user.as_deref(), Some(expected.as_str()));
        assert_eq!(target.to_string(), "http://h:1");
        // What is no part of a URL is taken as it is.
        let target = target.with_user("bob:a%40b");
        let expected = format!("Basic {}", BASE64.encode("bob:a%40b"));
        assert_eq!(target.user.as_deref(), Some(expected.as_str()));
        assert!(!format!("{target:?}").contains("cret"));
        let error = Target::parse("ftp://bob:secret@h").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

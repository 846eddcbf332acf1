//! Backups in a store that speaks S3.

use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::sign::{Signed, Signer, query_text};
use super::{BackupError, Ready, hex, multipart};
use crate::fetch::{Answer, Fetcher, Target};

/// A store takes no more at once, bytes; what is longer goes in parts,
const WHOLE_LIMIT: u64 = 5 * 1024 * 1024 * 1024;
/// which are of so many bytes, or more if they would be too many.
const PART: u64 = 256 * 1024 * 1024;
/// Of a refusal so much is shown, bytes.
const SHOWN: usize = 4096;
/// Under this name the digest of the file stands beside it.
pub(super) const DIGEST: &str = "x-amz-meta-level4-sha256";
/// What stands in paths as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// A bucket, and the name of the object in it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    region: String,
    bucket: String,
    path: String,
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    force_path_style: bool,
    /// Longer files go in parts of so many bytes.
    #[serde(default)]
    part_size: Option<u64>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Without the key.
impl fmt::Display for S3 {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.path)
    }
}

impl S3 {
    /// Whether it can be used.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("region", &self.region),
            ("bucket", &self.bucket),
            ("path", &self.path),
        ] {
            if value.is_empty() {
                return Err(format!("sub: {name} is empty"));
            }
        }
        if self.part_size == Some(0) {
            return Err("sub: part_size is 0".to_owned());
        }
        self.target("")
            .map(|_| ())
            .map_err(|error| format!("sub: {error}"))
    }

    /// Where an object is, and its path there.
    fn target(&self, prefix: &str) -> Result<(Target, String), BackupError> {
        let path = match self.path.rsplit_once('/') {
            Some((folders, name)) => format!("{folders}/{prefix}{name}"),
            None => format!("{prefix}{}", self.path),
        };
        let path = path.trim_start_matches('/');
        let path = utf8_percent_encode(path, ESCAPED).to_string();
        let bucket = &self.bucket;
        let endpoint = self
            .endpoint
            .as_deref()
            .filter(|endpoint| !endpoint.is_empty());
        let (url, path) = match endpoint {
            // Others than Amazon's mostly have no name for each bucket.
            Some(endpoint) => (endpoint.to_owned(), format!("/{bucket}/{path}")),
            None if self.force_path_style => (
                format!("https://s3.{}.amazonaws.com", self.region),
                format!("/{bucket}/{path}"),
            ),
            None => (
                format!("https://{bucket}.s3.{}.amazonaws.com", self.region),
                format!("/{path}"),
            ),
        };
        let url = if url.contains("://") {
            url
        } else {
            format!("https://{url}")
        };
        Ok((Target::parse(&url)?, path))
    }

    /// Sends a request; an answer that says no is one.
    pub(super) async fn ask(&self, asked: Asked<'_>) -> Result<Answer, BackupError> {
        let (target, path) = self.target(asked.prefix)?;
        let nothing = hex(&Sha256::digest(b""));
        let digest = asked.digest.unwrap_or(&nothing);
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let time = now.replace(['-', ':'], "");
        let mut headers = vec![
            ("host", target.authority()),
            ("x-amz-content-sha256", digest),
            ("x-amz-date", &time),
        ];
        headers.extend_from_slice(asked.more);
        let signer = Signer {
            key_id: &self.access_key_id,
            secret: &self.secret_access_key,
            region: &self.region,
        };
        let query = query_text(asked.query);
        let authorization = signer.sign(&Signed {
            method: asked.method.as_str(),
            path: &target.path(&path),
            query: &query,
            headers: &headers,
            digest,
            time: &time,
        });
        // The host is said by whoever sends.
        headers.remove(0);
        headers.push(("authorization", &authorization));
        let path = if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        };
        let answer = Fetcher::default()
            .send(&target, asked.method, &path, &headers, asked.body)
            .await;
        Ok(answer?)
    }

    /// Whether the object there was made of this file.
    pub(super) async fn has(&self, file: &Ready) -> Result<bool, BackupError> {
        let answer = self.ask(Asked::new(Method::HEAD, "")).await?;
        let known = answer
            .headers
            .get(DIGEST)
            .and_then(|value| value.to_str().ok());
        Ok(answer.status == StatusCode::OK && known == Some(&file.digest()))
    }

    /// Puts the file there.
    pub(super) async fn put(&self, file: &Ready, prefix: &str) -> Result<(), BackupError> {
        let (limit, part) = match self.part_size {
            Some(part) => (part.min(WHOLE_LIMIT), part.min(WHOLE_LIMIT)),
            None => (WHOLE_LIMIT, PART),
        };
        if file.length > limit {
            return multipart::put(self, file, prefix, part).await;
        }
        let digest = file.digest();
        let asked = Asked {
            more: &[(DIGEST, &digest)],
            digest: Some(&digest),
            body: Body::new(file.part(0, file.length)?),
            ..Asked::new(Method::PUT, prefix)
        };
        self.accepted(self.ask(asked).await?).await.map(|_| ())
    }

    /// Writes the object into `out`.
    pub(super) async fn get(&self, out: &mut (dyn Write + Send)) -> Result<(), BackupError> {
        let answer = self.ask(Asked::new(Method::GET, "")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(BackupError::Missing(self.to_string()));
        }
        self.accepted(answer).await?.save(out).await?;
        Ok(())
    }

    /// The answer, unless it says no.
    pub(super) async fn accepted(&self, answer: Answer) -> Result<Answer, BackupError> {
        let status = answer.status;
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.bytes(SHOWN).await.unwrap_or_default();
        Err(self.refused(status, &String::from_utf8_lossy(&text)))
    }

    /// An answer that says yes, and holds something else.
    pub(super) fn strange(&self, text: &str) -> BackupError {
        let shown = text.chars().take(SHOWN).collect::<String>();
        self.refused(StatusCode::OK, &shown)
    }

    fn refused(&self, status: StatusCode, text: &str) -> BackupError {
        BackupError::Refused {
            place: self.to_string(),
            status: status.as_u16(),
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

/// A request to a store.
pub(super) struct Asked<'a> {
    /// What is to be done,
    pub method: Method,
    /// with the object whose name begins so.
    pub prefix: &'a str,
    /// By name, in their order.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers besides the usual ones, by their names in lower case, in their order.
    pub more: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, in hexadecimal digits; `None`: it is empty.
    pub digest: Option<&'a str>,
    /// What is sent.
    pub body: Body,
}

impl<'a> Asked<'a> {
    /// Without anything else.
    pub(super) fn new(method: Method, prefix: &'a str) -> Self {
        Self {
            method,
            prefix,
            query: &[],
            more: &[],
            digest: None,
            body: Body::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_where_the_configuration_says() {
        let place = |more: &str, path: &str, prefix: &str| {
            let s3: S3 = serde_json::from_str(&format!(
                r#"{{"region": "r", "bucket": "b", "path": "{path}", "access_key_id": "", "secret_access_key": ""{more}}}"#
            ))
            .unwrap();
            s3.check().unwrap();
            let (target, path) = s3.target(prefix).unwrap();
            format!("{target} {path}")
        };
        assert_eq!(
            place("", "a b/c", ""),
            "https://b.s3.r.amazonaws.com:443 /a%20b/c"
        );
        assert_eq!(
            place("", "a/c", "2026_"),
            "https://b.s3.r.amazonaws.com:443 /a/2026_c"
        );
        assert_eq!(
            place(", \"force_path_style\": true", "c", ""),
            "https://s3.r.amazonaws.com:443 /b/c"
        );
        assert_eq!(
            place(", \"endpoint\": \"http://h:9\"", "c", ""),
            "http://h:9 /b/c"
        );
    }
}

//! Large files on their way into a store that speaks S3: part by part.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Method;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::s3::{Asked, DIGEST, S3};
use super::{BackupError, Ready, hex};
use crate::fetch::Answer;
use crate::notes::{detail, note};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// A store takes no more parts.
const PARTS_LIMIT: u64 = 10_000;
/// Of an answer so much is read, bytes.
const ANSWER_LIMIT: usize = 64 * 1024;
/// A part is sent so often, as long as the store does not refuse it, and after such pauses.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Calling an upload off may take so long.
const ABORT_PATIENCE: Duration = Duration::from_secs(30);

/// An upload that has begun. Dropped before its end, it is called off, so that the store keeps no parts of it.
struct Upload<'a> {
    s3: &'a S3,
    prefix: &'a str,
    /// The store's name for it; none: nothing is left to be called off.
    id: Option<String>,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), Handle::try_current()) else {
            return;
        };
        let (s3, prefix) = (self.s3.clone(), self.prefix.to_owned());
        runtime.spawn(async move {
            let query = [("uploadId", id.as_str())];
            let asked = Asked {
                query: &query,
                ..Asked::new(Method::DELETE, &prefix)
            };
            let aborting = async { s3.accepted(s3.ask(asked).await?).await };
            let failed = match timeout(ABORT_PATIENCE, aborting).await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            note(format_args!(
                "{s3} may keep parts of an upload that was called off ({failed})"
            ));
        });
    }
}

/// Puts the file there in parts of about `part` bytes.
pub(super) async fn put(s3: &S3, file: &Ready, prefix: &str, part: u64) -> Result<(), BackupError> {
    let part = part.max(file.length.div_ceil(PARTS_LIMIT)).max(1);
    let whole = file.digest();
    let begun = Asked {
        query: &[("uploads", "")],
        more: &[(DIGEST, &whole)],
        ..Asked::new(Method::POST, prefix)
    };
    let answer = text(s3.accepted(s3.ask(begun).await?).await?).await?;
    let id = element(&answer, "UploadId").ok_or_else(|| s3.strange(&answer))?;
    let mut upload = Upload {
        s3,
        prefix,
        id: Some(id.clone()),
    };
    let mut list = vec!["<CompleteMultipartUpload>".to_owned()];
    let mut start = 0;
    let mut number = 0u64;
    while start < file.length {
        number += 1;
        let length = part.min(file.length - start);
        let digest = digest_of(file.clone(), start, length).await?;
        let sent = Part {
            id: &id,
            number,
            start,
            length,
            digest: &digest,
        };
        let tag = sent.put(s3, file, prefix).await?;
        list.push(format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
            escaped(&tag)
        ));
        start += length;
    }
    list.push("</CompleteMultipartUpload>".to_owned());
    let list = list.concat();
    let digest = hex(&Sha256::digest(&list));
    let complete = Asked {
        query: &[("uploadId", &id)],
        digest: Some(&digest),
        body: Body::from(list),
        ..Asked::new(Method::POST, prefix)
    };
    let answer = text(s3.accepted(s3.ask(complete).await?).await?).await?;
    // The status is said before it is known whether it works.
    if answer.contains("<Error>") {
        return Err(s3.strange(&answer));
    }
    upload.id = None;
    Ok(())
}

/// One part.
struct Part<'a> {
    /// Of this upload,
    id: &'a str,
    /// the how-manieth, from 1.
    number: u64,
    /// Where it begins in the file, bytes.
    start: u64,
    /// Bytes.
    length: u64,
    /// SHA-256, in hexadecimal digits.
    digest: &'a str,
}

impl Part<'_> {
    /// Sends it, more than once if need be; gives the store's name for what it has got.
    async fn put(&self, s3: &S3, file: &Ready, prefix: &str) -> Result<String, BackupError> {
        let mut tries = 1;
        loop {
            match self.try_put(s3, file, prefix).await {
                Err(error) if tries < TRIES && is_passing(&error) => {
                    detail(format_args!("part {} once more: {error}", self.number));
                    sleep(PAUSE * tries).await;
                    tries += 1;
                }
                tag => return tag,
            }
        }
    }

    async fn try_put(&self, s3: &S3, file: &Ready, prefix: &str) -> Result<String, BackupError> {
        let number = self.number.to_string();
        let asked = Asked {
            query: &[("partNumber", &number), ("uploadId", self.id)],
            digest: Some(self.digest),
            body: Body::new(file.part(self.start, self.length)?),
            ..Asked::new(Method::PUT, prefix)
        };
        let answer = s3.accepted(s3.ask(asked).await?).await?;
        let tag = answer
            .headers
            .get("etag")
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned);
        tag.ok_or_else(|| s3.strange("a part without an ETag"))
    }
}

/// Whether the same may be taken another time.
fn is_passing(error: &BackupError) -> bool {
    match error {
        BackupError::Fetch(_) => true,
        BackupError::Refused { status, .. } => *status >= 500,
        _ => false,
    }
}

/// The digest of a part of the file, in hexadecimal digits.
async fn digest_of(file: Ready, start: u64, length: u64) -> Result<String, BackupError> {
    let read = move || {
        let failed = |cause| BackupError::File {
            path: file.path.clone(),
            cause,
        };
        let mut reader = file.open()?;
        reader.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut reader = reader.take(length);
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut left = length;
        while left > 0 {
            let read = reader.read(&mut chunk).map_err(failed)?;
            if read == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            digest.update(&chunk[..read]);
            left -= read as u64;
        }
        Ok(hex(&digest.finalize()))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|_| BackupError::NoState)?
}

async fn text(answer: Answer) -> Result<String, BackupError> {
    let bytes: Bytes = answer.bytes(ANSWER_LIMIT).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the first element of that name holds, if it holds text alone.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim();
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        // The last: what it makes is no other one's beginning.
        ("&amp;", "&"),
    ];
    let text = plain
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    (!text.is_empty()).then_some(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_and_read() {
        let xml = "<?xml version=\"1.0\"?><R xmlns=\"x\"><UploadId>a&amp;lt;b </UploadId><ETag>&quot;1&quot;</ETag><E></E></R>";
        assert_eq!(element(xml, "UploadId").as_deref(), Some("a&lt;b"));
        assert_eq!(element(xml, "ETag").as_deref(), Some("\"1\""));
        assert_eq!(element(xml, "E"), None);
        assert_eq!(element("<UploadId>open", "UploadId"), None);
        assert_eq!(element("", "UploadId"), None);
    }

    #[tokio::test]
    async fn a_part_that_is_not_there_has_no_digest() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, "abcdef").unwrap();
        let file = Ready {
            path,
            length: 6,
            digest: [0; 32],
        };
        let part = digest_of(file.clone(), 2, 3).await.unwrap();
        assert_eq!(part, hex(&Sha256::digest("cde")));
        assert!(digest_of(file, 4, 3).await.is_err());
    }
}

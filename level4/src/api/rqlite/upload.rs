//! Bodies that may be long. A short one is taken whole; a SQLite file beyond that goes through the log piece by piece,
//! as it comes, so that a file of any size costs this node two pieces of memory.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::super::{Api, ApiError};
use crate::database::{FILE_LIMIT, PIECE, Stage};
use crate::message::Command;
use crate::statement::Outcome;

/// How a SQLite file begins (file format, section 1.3.1).
pub const MAGIC: &[u8] = b"SQLite format 3\0";
/// The longest body that is whole in memory meanwhile, bytes: SQL text, and what is to be a database in memory.
const MEMORY_LIMIT: u64 = 1 << 30;
/// So long may a client take for a piece.
const PATIENCE: Duration = Duration::from_secs(600);
/// So much of a body that is refused is thrown away, bytes, and for so long: a client that is sending would not hear
/// why, if it only was hung up on.
const DRAIN_LIMIT: u64 = 1 << 30;
const DRAIN_TIME: Duration = Duration::from_secs(30);
/// So long is waited for a file to be forgotten.
const DISCARD_LIMIT: Duration = Duration::from_secs(30);

/// What a second large file has to hear.
const BUSY_WITH_A_LOAD: &str =
    "this node is at another large file, and has room for one: try again when that is done";

/// A body of which the beginning is here. One that is longer than others may be has to be the only one.
pub struct Upload {
    source: Source,
    first: Vec<u8>,
    turn: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Api> for Upload {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Response> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let is_long = length.is_none_or(|length: u64| length > api.kept.body_limit as u64);
        let mut source = Source {
            body: request.into_body(),
            over: Bytes::new(),
            length: 0,
            said: length.unwrap_or(0),
        };
        let turn = is_long.then(|| api.loads.clone().try_acquire_owned());
        let Ok(turn) = turn.transpose() else {
            source.drain().await;
            return Err(ApiError::unavailable(BUSY_WITH_A_LOAD).into_response());
        };
        let first = source.piece().await.map_err(IntoResponse::into_response)?;
        Ok(Self {
            source,
            first,
            turn,
        })
    }
}

/// What comes of a body.
pub enum Taken {
    /// It is SQL, or nothing that is known.
    Other(Bytes),
    /// This puts the file into its place.
    File(Command, Option<Box<Staged>>),
}

impl Upload {
    /// Whether it looks like a SQLite file; if not, it may be SQL.
    pub fn is_file(&self) -> bool {
        self.first.starts_with(MAGIC)
    }

    /// How it begins.
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// It is refused: the client, which may be sending still, will hear why.
    pub async fn refuse(mut self, error: ApiError) -> ApiError {
        self.source.drain().await;
        error
    }

    /// Takes the rest. Pieces of a long file go through the log, for each of which the client waits for `limit` at most.
    /// A client that gives a `key` may send the file again under it.
    ///
    /// # Errors
    ///
    /// If it does not come, is too long, or the log takes no more.
    pub async fn take(
        mut self,
        api: &Api,
        key: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<Taken, ApiError> {
        match self.take_all(api, key, limit).await {
            Ok(taken) => Ok(taken),
            // So much is not even thrown away.
            Err(error @ ApiError::TooLong(_)) => Err(error),
            Err(error) => Err(self.refuse(error).await),
        }
    }

    async fn take_all(
        &mut self,
        api: &Api,
        key: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<Taken, ApiError> {
        let in_memory = MEMORY_LIMIT.max(api.kept.body_limit as u64);
        let longest = match (self.is_file(), api.kept.on_disk) {
            (true, true) => FILE_LIMIT,
            _ => in_memory,
        };
        self.source.check(longest)?;
        if !self.is_file() {
            let mut whole = std::mem::take(&mut self.first);
            loop {
                let piece = self.source.piece().await?;
                if piece.is_empty() {
                    return Ok(Taken::Other(whole.into()));
                }
                self.source.check(longest)?;
                whole.extend_from_slice(&piece);
            }
        }
        let mut piece = std::mem::take(&mut self.first);
        if piece.len() < PIECE {
            return Ok(Taken::File(Command::Load(piece.into()), None));
        }
        let mut staged = Box::new(Staged {
            api: api.clone(),
            file: name(key),
            may_stay: true,
            _turn: self.turn.take(),
        });
        let (mut offset, mut sum) = (0, 0);
        while !piece.is_empty() {
            let stage = Stage::Piece {
                file: staged.file,
                offset,
                bytes: &piece,
            };
            offset += piece.len() as u64;
            sum = crc32c::crc32c_append(sum, &piece);
            (piece, ()) = tokio::try_join!(self.source.piece(), staged.put(&stage, limit))?;
            self.source.check(longest)?;
        }
        let adopt = Stage::Adopt {
            file: staged.file,
            length: offset,
            sum,
        };
        staged.may_stay = key.is_some();
        Ok(Taken::File(
            Command::Stage(adopt.encode().into()),
            Some(staged),
        ))
    }
}

/// Tells a file from others: one that is sent again under the same key is the same one.
fn name(key: Option<&str>) -> u64 {
    let Some(key) = key else {
        return rand::random();
    };
    let digest: [u8; 32] = Sha256::digest(key).into();
    let (first, _) = digest.split_at(8);
    first.try_into().map_or(0, u64::from_le_bytes)
}

/// A body on its way.
struct Source {
    body: Body,
    /// What has come after the last piece.
    over: Bytes,
    /// Bytes that have come.
    length: u64,
    /// Bytes that are to come, as far as the client says.
    said: u64,
}

impl Source {
    /// Refuses what is longer than `limit` bytes.
    fn check(&self, limit: u64) -> Result<(), ApiError> {
        if self.length.max(self.said) > limit {
            return Err(ApiError::TooLong(format!(
                "the body has more than {} MiB",
                limit >> 20
            )));
        }
        Ok(())
    }

    /// Throws away what comes, if it is not too much.
    async fn drain(&mut self) {
        let all = async {
            let mut left = DRAIN_LIMIT;
            while let Some(Ok(frame)) = self.body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(length as u64);
                if left == 0 {
                    break;
                }
            }
        };
        // The client has to hear it now.
        let _ = timeout(DRAIN_TIME, all).await;
    }

    /// The next [`PIECE`] bytes, or as many as there are.
    async fn piece(&mut self) -> Result<Vec<u8>, ApiError> {
        let late = |_| ApiError::RequestTimeout("the body takes too long to come".into());
        timeout(PATIENCE, self.read()).await.map_err(late)?
    }

    async fn read(&mut self) -> Result<Vec<u8>, ApiError> {
        let mut piece = Vec::from(std::mem::take(&mut self.over));
        while piece.len() < PIECE
            && let Some(frame) = self.body.frame().await
        {
            let frame = frame.map_err(|e| ApiError::bad(format!("the body breaks off: {e}")))?;
            let data = frame.into_data().unwrap_or_default();
            self.length += data.len() as u64;
            piece.extend_from_slice(&data);
        }
        if piece.len() > PIECE {
            self.over = piece.split_off(PIECE).into();
        }
        Ok(piece)
    }
}

/// A file of which some has come. It is forgotten by all nodes when this is dropped, unless it has been adopted.
pub struct Staged {
    api: Api,
    file: u64,
    /// Something of it may be left.
    may_stay: bool,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Staged {
    async fn put(&self, stage: &Stage<'_>, limit: Option<Duration>) -> Result<(), ApiError> {
        let command = Command::Stage(stage.encode().into());
        let done = self.api.led(self.api.execute(None, command, limit)).await?;
        match Outcome::decode_all(&done.body).as_deref() {
            Ok([Outcome::Error(reason), ..]) => Err(ApiError::unavailable(reason.clone())),
            Ok(_) => Ok(()),
            Err(error) => Err(ApiError::Internal(error.to_string())),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.may_stay {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (api, file) = (self.api.clone(), self.file);
        runtime.spawn(async move {
            let command = Command::Stage(Stage::Discard { file }.encode().into());
            // If it stays, it is forgotten after a while.
            let _ = api.execute(None, command, Some(DISCARD_LIMIT)).await;
        });
    }
}

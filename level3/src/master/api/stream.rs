//! The contract's answer: the items of all shards as one JSON document of any size.
//!
//! Nodes send items as JSON text, each behind a comma, and no file is in two shards; so the master
//! passes frames on as they come. A small answer is one frame from each shard and leaves in one
//! piece. A large one is streamed: its status has been sent when a node dies in the middle, so the
//! mark that something is missing comes behind the results.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes};
use futures_util::future::join_all;
use http_body::Frame;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Master;
use super::failure::Failure;
use crate::master::error::{Cause, MasterError};
use crate::master::pool::Connection;
use crate::master::topology::NodeIndex;
use crate::wire::{self, Kind};

const HEAD: &str = r#"{"success": true, "results": ["#;

/// Frames that may wait for a slow client before their node is held up.
const FRAMES_AHEAD: usize = 8;

/// Answers a query by all shards.
pub(crate) async fn answer(master: Arc<Master>, needle: &[u8]) -> Result<Response, Failure> {
    let frames: Vec<Vec<u8>> = (1..=master.topology.shards())
        .map(|shard| wire::frame(Kind::Query, &wire::encode_query(shard, needle)))
        .collect();
    let asked = (1..).zip(&frames);
    let started = join_all(asked.map(|(shard, frame)| master.ask(shard, frame))).await;
    let mut answer = Answer::default();
    let mut open = Vec::new();
    for (shard, outcome) in (1..).zip(started) {
        match outcome {
            Ok(started) => {
                answer.items.push(started.payload);
                if started.kind == Kind::Last {
                    let pool = master.topology.pool(started.node);
                    pool.give_back(started.connection);
                } else {
                    open.push((shard, started.node, started.connection));
                }
            }
            Err(missing) => answer.missing.push(missing.to_string()),
        }
    }
    if answer.missing.len() == frames.len() {
        return Err(Failure::bad_gateway(answer.missing.join("; ")));
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    if open.is_empty() {
        return Ok((json, answer.into_bytes()).into_response());
    }
    let (sender, parts) = mpsc::channel(FRAMES_AHEAD);
    for (shard, node, connection) in open {
        // Ends by itself: with the answer, with the node, or when the client is gone.
        tokio::spawn(forward(
            Arc::clone(&master),
            shard,
            node,
            connection,
            sender.clone(),
        ));
    }
    let body = Body::new(Streamed {
        answer,
        parts,
        state: State::Head,
    });
    Ok((StatusCode::OK, json, body).into_response())
}

/// A part of a streamed answer.
enum Part {
    Items(Bytes),
    Missing(String),
}

/// Passes on the rest of a shard's answer.
async fn forward(
    master: Arc<Master>,
    shard: u32,
    node: NodeIndex,
    mut connection: Connection,
    parts: mpsc::Sender<Part>,
) {
    let pool = master.topology.pool(node);
    let missing = |cause: Cause| {
        let faults = vec![master.topology.fault(node, cause)];
        Part::Missing(MasterError::Shard { shard, faults }.to_string())
    };
    loop {
        let part = match timeout(master.config.node_timeout, connection.receive()).await {
            Ok(Ok((Kind::Items, items))) => Part::Items(items),
            Ok(Ok((Kind::Last, items))) => {
                pool.give_back(connection);
                // An error means that the client is gone, and then nobody misses this part.
                let _ = parts.send(Part::Items(items)).await;
                return;
            }
            Ok(Ok((Kind::Error, message))) => {
                let said = String::from_utf8_lossy(&message).into_owned();
                missing(Cause::Refused(said))
            }
            Ok(Ok(_)) => missing(Cause::Unexpected),
            Ok(Err(error)) => missing(error.into()),
            Err(_) => missing(Cause::Silent),
        };
        let last = matches!(part, Part::Missing(_));
        if parts.send(part).await.is_err() || last {
            return;
        }
    }
}

/// What has arrived so far.
#[derive(Default)]
struct Answer {
    items: Vec<Bytes>,
    missing: Vec<String>,
}

impl Answer {
    fn tail(&self) -> String {
        if self.missing.is_empty() {
            return "]}".to_owned();
        }
        format!(
            r#"], "partial": true, "missing": {}}}"#,
            json!(self.missing)
        )
    }

    /// The items joined, without the first comma.
    fn joined(&mut self) -> Bytes {
        let mut joined: Bytes = std::mem::take(&mut self.items).concat().into();
        if !joined.is_empty() {
            joined.advance(1);
        }
        joined
    }

    fn into_bytes(mut self) -> Bytes {
        [HEAD.as_bytes(), &self.joined(), self.tail().as_bytes()]
            .concat()
            .into()
    }
}

/// The body of a large answer.
struct Streamed {
    answer: Answer,
    parts: mpsc::Receiver<Part>,
    state: State,
}

enum State {
    Head,
    Items,
    Done,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        loop {
            match self.state {
                // At least one shard has more than one frame, so there is an item here already,
                // and every further one needs the comma that it comes with.
                State::Head => {
                    self.state = State::Items;
                    let items = self.answer.joined();
                    return data([HEAD.as_bytes(), &items].concat().into());
                }
                State::Items => match std::task::ready!(self.parts.poll_recv(context)) {
                    Some(Part::Items(items)) if items.is_empty() => {}
                    Some(Part::Items(items)) => return data(items),
                    Some(Part::Missing(what)) => self.answer.missing.push(what),
                    None => {
                        self.state = State::Done;
                        return data(self.answer.tail().into());
                    }
                },
                State::Done => return Poll::Ready(None),
            }
        }
    }
}

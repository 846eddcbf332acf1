//! The contract's answer: the items of all shards of the unnamed root as one JSON document of any size.
//!
//! Nodes send items as JSON text, each behind a comma, and no file is in two shards; so the master
//! passes frames on as they come. A small answer is one frame from each shard and leaves in one
//! piece. All are of one state, which a header names. A large one is streamed: its status has been sent when a node dies in the middle, so the
//! mark that something is missing comes behind the results.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use futures_util::future::join_all;
use http_body::Frame;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Master;
use super::failure::{Failure, texts};
use crate::master::ask::Started;
use crate::master::error::{Cause, MasterError};
use crate::master::pool::Connection;
use crate::master::served::State;
use crate::master::topology::NodeIndex;
use crate::root::RootName;
use crate::wire::{self, Kind};

const HEAD: &str = r#"{"success": true, "results": ["#;

/// Names the state that an answer comes from, as `state` does in an answer of `/search`.
pub(super) const STATE: HeaderName = HeaderName::from_static("x-level3-state");

/// Is there, and `true`, while another state is being built.
const INDEXING: HeaderName = HeaderName::from_static("x-level3-indexing");

/// Headers that an answer has in the end, so that there is room for them from the start.
const HEADERS: usize = 8;

/// Frames that may wait for a slow client before their node is held up.
const FRAMES_AHEAD: usize = 8;

/// How often to start over because the state that was asked for has been replaced meanwhile.
const ATTEMPTS: usize = 4;

/// Answers a query by all shards, from one state.
pub(crate) async fn answer(master: Arc<Master>, needle: &[u8]) -> Result<Response, Failure> {
    let mut attempt = 0;
    let (state, outcomes) = loop {
        attempt += 1;
        let state = master.served(&RootName::default()).await?;
        let outcomes = ask_all(&master, &state, needle).await;
        let is_about_state =
            |outcome: &Outcome| outcome.as_ref().is_err_and(MasterError::is_about_state);
        let is_old = outcomes.iter().any(is_about_state);
        if !is_old
            || attempt == ATTEMPTS
            || !master.has_moved_on(&RootName::default(), &state).await
        {
            break (state, outcomes);
        }
    };
    let shards = outcomes.len();
    let mut answer = Answer::default();
    let mut open = Vec::new();
    for (shard, outcome) in (1..).zip(outcomes) {
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
            Err(missing) => answer.missing.push(missing),
        }
    }
    if answer.missing.len() == shards {
        return Err(Failure::all_missing(&answer.missing));
    }
    let headers = headers(&master, &state);
    if open.is_empty() {
        return Ok(respond(headers, answer.into_bytes().into()));
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
        state: Progress::Head,
    });
    Ok(respond(headers, body))
}

fn respond(headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

type Outcome = Result<Started, MasterError>;

/// The first frames of all shards, in their order.
async fn ask_all(master: &Master, state: &State, needle: &[u8]) -> Vec<Outcome> {
    let frames: Vec<Vec<u8>> = (1..=master.topology.shards())
        .map(|shard| wire::frame(Kind::Query, &wire::encode_query(shard, state.job, needle)))
        .collect();
    let patience = master.config.node_timeout;
    let asked = (1..).zip(&frames);
    let unnamed = RootName::default();
    join_all(asked.map(|(shard, frame)| master.ask(&unnamed, shard, frame, patience))).await
}

/// Headers of an answer: they name the state that it comes from, and say whether another is being
/// built.
fn headers(master: &Master, state: &State) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(STATE, HeaderValue::from(state.job));
    let unnamed = master.roots.unnamed();
    if unnamed.is_some_and(|root| root.is_indexing()) {
        headers.insert(INDEXING, HeaderValue::from_static("true"));
    }
    headers
}

/// A part of a streamed answer.
enum Part {
    Items(Bytes),
    Missing(MasterError),
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
        let root = RootName::default();
        Part::Missing(MasterError::Shard {
            root,
            shard,
            faults,
        })
    };
    loop {
        let frame = tokio::select! {
            frame = timeout(master.config.node_timeout, connection.receive()) => frame,
            // The client has gone. So does the connection, which ends the work of the node.
            () = parts.closed() => return,
        };
        let part = match frame {
            Ok(Ok((Kind::Items, items))) => Part::Items(items),
            Ok(Ok((Kind::Last, items))) => {
                pool.give_back(connection);
                // An error means that the client is gone, and then nobody misses this part.
                let _ = parts.send(Part::Items(items)).await;
                return;
            }
            Ok(Ok((Kind::Error, message))) => missing(Cause::of_error(&message)),
            Ok(Ok(_)) => missing(Cause::Unexpected),
            Ok(Err(error)) => missing(error.into()),
            Err(_) => {
                pool.mark_down();
                missing(Cause::Silent)
            }
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
    missing: Vec<MasterError>,
}

impl Answer {
    fn tail(&self) -> String {
        if self.missing.is_empty() {
            return "]}".to_owned();
        }
        format!(
            r#"], "partial": true, "missing": {}}}"#,
            json!(texts(&self.missing))
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
    state: Progress,
}

enum Progress {
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
                Progress::Head => {
                    self.state = Progress::Items;
                    let items = self.answer.joined();
                    return data([HEAD.as_bytes(), &items].concat().into());
                }
                Progress::Items => match std::task::ready!(self.parts.poll_recv(context)) {
                    Some(Part::Items(items)) if items.is_empty() => {}
                    Some(Part::Items(items)) => return data(items),
                    Some(Part::Missing(what)) => self.answer.missing.push(what),
                    None => {
                        self.state = Progress::Done;
                        return data(self.answer.tail().into());
                    }
                },
                Progress::Done => return Poll::Ready(None),
            }
        }
    }
}

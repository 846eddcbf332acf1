//! Server-sent events (WHATWG HTML, 9.2) as the body of an answer. Whoever has the sender of its
//! pieces ends it by letting go; a stream that is not read is ended by its connection's time limit.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// How often a stream on which nothing happens says so; who has gone is noticed then.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is sent when nothing changed: a comment.
pub const NOTHING_NEW: &str = ": nothing new\n\n";

/// How long a browser waits before it connects again.
pub const RETRY: &str = "retry: 2000\n\n";

/// One event; its data is the text, whatever lines that has.
pub fn event(name: &str, data: &str) -> String {
    let data = data.replace(['\r', '\n'], "\ndata: ");
    format!("event: {name}\ndata: {data}\n\n")
}

/// An answer that goes on until the sender of its pieces goes; it keeps its place until then.
pub fn answer(chunks: mpsc::Receiver<Bytes>, place: OwnedSemaphorePermit) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let stream = Stream {
        chunks,
        _place: place,
    };
    (headers, Body::new(stream)).into_response()
}

struct Stream {
    chunks: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.chunks.poll_recv(context);
        chunk.map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

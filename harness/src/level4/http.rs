//! A small HTTP/1.1 client over the nodes' unix sockets: connections are kept open and reused,
//! redirects are not followed, and there is no time-out.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use octopus::NodeId;

/// The longest body of an answer, in bytes. A table of five people has a few hundred.
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// Clients of all nodes.
#[derive(Debug)]
pub(super) struct Http {
    sockets: Vec<PathBuf>,
    idle: Vec<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

/// What came back for a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// A whole answer.
    Whole(StatusCode, Bytes),
    /// The head of an answer, whose body broke off.
    BrokenOff(StatusCode, String),
    /// No head at all.
    Nothing(String),
    /// Nobody took the connection: the request was not sent.
    Unsent(String),
}

impl Http {
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        let idle = sockets.iter().map(|_| Mutex::default()).collect();
        Self { sockets, idle }
    }

    pub async fn post(&self, node: NodeId, path: &str, body: String) -> Reply {
        self.send(node, Method::POST, path, body.into()).await
    }

    pub async fn get(&self, node: NodeId, path: &str) -> Reply {
        self.send(node, Method::GET, path, Bytes::new()).await
    }

    async fn send(&self, node: NodeId, method: Method, path: &str, body: Bytes) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, format!("node{node}"))
            .body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Reply::Nothing(error.to_string()),
        };
        let mut sender = match self.connection(node).await {
            Ok(sender) => sender,
            Err(error) => return Reply::Unsent(error),
        };
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Reply::Nothing(told(&error)),
        };
        let status = response.status();
        match whole_body(response.into_body()).await {
            Ok(body) => {
                self.lock(node).push(sender);
                Reply::Whole(status, body)
            }
            Err(error) => Reply::BrokenOff(status, error),
        }
    }

    /// Closes the idle connections.
    pub fn close(&self) {
        for node in 0..self.idle.len() {
            self.lock(node).clear();
        }
    }

    /// An idle connection that still works, or a new one.
    async fn connection(&self, node: NodeId) -> Result<SendRequest<Full<Bytes>>, String> {
        loop {
            let Some(mut idle) = self.lock(node).pop() else {
                break;
            };
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        let stream = UnixStream::connect(&self.sockets[node])
            .await
            .map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| told(&error))?;
        // Ends when its sender is dropped or the node closes; its errors reach the sender.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn lock(&self, node: NodeId) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn whole_body(body: Incoming) -> Result<Bytes, String> {
    match Limited::new(body, BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(error.to_string()),
    }
}

/// An error with its causes, in one line.
fn told(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

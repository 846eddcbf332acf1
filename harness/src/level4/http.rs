//! A small HTTP/1.1 client over the nodes' unix sockets: connections are kept open and reused,
//! redirects are not followed, and there is no time-out. Answers are read by the harness's
//! [`AnswerReader`].

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hyper::{StatusCode, body::Bytes};
use octopus::{NodeId, SocketFile, SocketFileError};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::http::{Answer, AnswerReader};

/// The longest body of an answer, in bytes. A table of five people has a few hundred.
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// Bytes read at a time.
const PIECE: usize = 16 * 1024;

/// Clients of all nodes.
#[derive(Debug)]
pub(super) struct Http {
    sockets: Vec<PathBuf>,
    idle: Vec<Mutex<Vec<UnixStream>>>,
}

/// What came back for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A whole answer.
    Whole(StatusCode, Bytes),
    /// The head of an answer, whose body broke off.
    BrokenOff(StatusCode, String),
    /// No head at all.
    Nothing(String),
    /// Nobody took the connection: the request was not sent.
    Unsent(String),
    /// Nor was it sent to a socket that may be another node's.
    NotItsOwn(String),
}

impl Http {
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        let idle = sockets.iter().map(|_| Mutex::default()).collect();
        Self { sockets, idle }
    }

    pub async fn post(&self, node: NodeId, path: &str, body: String) -> Reply {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: node{node}\r\nContent-Length: {length}");
        self.send(node, format!("{head}\r\n\r\n{body}")).await
    }

    pub async fn get(&self, node: NodeId, path: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: node{node}\r\n\r\n");
        self.send(node, request).await
    }

    async fn send(&self, node: NodeId, request: String) -> Reply {
        let mut stream = match self.connection(node).await {
            Ok(stream) => stream,
            Err(SocketFileError::Link(_)) => {
                return Reply::NotItsOwn(format!(
                    "its socket ./node{node}.sock is a symbolic link: a node has to listen at a \
                     socket of its own, so that the others reach it through the network only"
                ));
            }
            Err(error) => return Reply::Unsent(error.to_string()),
        };
        // A node that does not want all of it may have answered all the same.
        let sent = stream.write_all(request.as_bytes()).await;
        let mut reader = AnswerReader::with_limit(BODY_BYTES);
        let mut piece = vec![0; PIECE];
        loop {
            let read = stream.read(&mut piece).await;
            let count = match (read, &sent) {
                (Ok(0), Err(error)) if reader.status().is_none() => {
                    return Reply::Nothing(error.to_string());
                }
                (Ok(0), _) => {
                    let status = reader.status();
                    return match reader.end() {
                        Ok(answer) => whole(answer),
                        Err(error) => broken(status, error.to_string()),
                    };
                }
                (Ok(count), _) => count,
                (Err(error), _) => return broken(reader.status(), error.to_string()),
            };
            match reader.feed(&piece[..count]) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    if answer.keep_alive {
                        self.lock(node).push(stream);
                    }
                    return whole(answer);
                }
                Err(error) => return broken(reader.status(), error.to_string()),
            }
        }
    }

    /// Closes the idle connections.
    pub fn close(&self) {
        for node in 0..self.idle.len() {
            self.lock(node).clear();
        }
    }

    /// An idle connection that still works, or a new one.
    async fn connection(&self, node: NodeId) -> Result<UnixStream, SocketFileError> {
        loop {
            let Some(idle) = self.lock(node).pop() else {
                break;
            };
            // Between two answers there is nothing to read but the end. The kernel is asked:
            // what the runtime knows of the socket may be older than the end.
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            if recv(&idle, &mut [0], flags).is_err_and(|error| error == Errno::AGAIN) {
                return Ok(idle);
            }
        }
        let file = SocketFile::open(&self.sockets[node])?;
        Ok(UnixStream::connect(file.path()).await?)
    }

    fn lock(&self, node: NodeId) -> MutexGuard<'_, Vec<UnixStream>> {
        self.idle[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole(answer: Answer) -> Reply {
    match StatusCode::from_u16(answer.status) {
        Ok(status) => Reply::Whole(status, answer.body.into()),
        Err(error) => Reply::Nothing(error.to_string()),
    }
}

/// What is left of an answer that broke off; the status, if its head had come.
fn broken(status: Option<u16>, error: String) -> Reply {
    match status.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => Reply::BrokenOff(status, error),
        None => Reply::Nothing(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// The replies to requests one after another, each answered with one of these texts; a
    /// connection is closed behind a text that ends in `!`, and taken anew when it is needed.
    async fn replies(texts: &'static [&str]) -> (Vec<Reply>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node0.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = async {
            let (mut connections, mut texts) = (0, texts.iter());
            let mut text = texts.next();
            while text.is_some() {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections += 1;
                while let Some(answer) = text {
                    let mut request = [0; 1000];
                    let count = stream.read(&mut request).await.unwrap();
                    assert!(
                        request[..count].ends_with(b"\r\n\r\nSELECT"),
                        "{connections}"
                    );
                    stream
                        .write_all(answer.trim_end_matches('!').as_bytes())
                        .await
                        .unwrap();
                    text = texts.next();
                    if answer.ends_with('!') {
                        break;
                    }
                }
            }
            connections
        };
        let http = Http::new(vec![path.clone()]);
        let client = async {
            let mut replies = Vec::new();
            for _ in texts {
                replies.push(http.post(0, "/sql", "SELECT".to_owned()).await);
            }
            replies
        };
        let (replies, connections) = tokio::join!(client, server);
        (replies, connections)
    }

    fn ok(body: &'static str) -> Reply {
        Reply::Whole(StatusCode::OK, Bytes::from_static(body.as_bytes()))
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_one_that_was_closed_is_not() {
        let (replies, connections) = replies(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nb",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end!",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nc!",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nd",
        ])
        .await;
        let refused = Reply::Whole(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"b"));
        assert_eq!(
            replies,
            [ok("a"), refused, ok("until the end"), ok("c"), ok("d")]
        );
        assert_eq!(connections, 3);
    }

    #[tokio::test]
    async fn what_breaks_off_is_told_from_what_never_came() {
        let (replies, _) = replies(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc!",
            "HTTP/1.1 200 OK\r\nConte!",
            "!",
            "SMTP\r\n\r\n!",
        ])
        .await;
        assert!(
            matches!(replies[0], Reply::BrokenOff(StatusCode::OK, _)),
            "{replies:?}"
        );
        for nothing in &replies[1..] {
            assert!(matches!(nothing, Reply::Nothing(_)), "{replies:?}");
        }
        let unsent = Http::new(vec!["/no/such/socket".into()]).get(0, "/").await;
        assert!(matches!(unsent, Reply::Unsent(_)), "{unsent:?}");
    }

    #[tokio::test]
    async fn nothing_is_asked_where_a_link_leads() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let listener = UnixListener::bind(at("node1.sock")).unwrap();
        std::os::unix::fs::symlink("node1.sock", at("node0.sock")).unwrap();
        let reply = Http::new(vec![at("node0.sock")]).get(0, "/").await;
        assert!(
            matches!(&reply, Reply::NotItsOwn(why) if why.contains("node0.sock is a symbolic link")),
            "{reply:?}"
        );
        let called = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
        assert!(called.is_err(), "{called:?}");
    }
}

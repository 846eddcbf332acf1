//! Connections of a server, and what each may cost.
//!
//! A client that opens connections and says nothing, or says it slowly, must not keep others out:
//! a request's head and body have to come in time, and there are only so many connections, few
//! enough that the descriptors suffice for them and for the git processes behind them.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long a client may take to send a request's head, and may be silent between two.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The same while more than half of the places are taken: who says nothing makes room.
const HEAD_TIME_CROWDED: Duration = Duration::from_secs(1);

/// How long a client may take to send a request's body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How long a client may leave what was sent to it unread, before its connection is ended.
#[cfg(target_os = "linux")]
const READ_TIME: Duration = Duration::from_secs(30);

/// One in so many connections may be a stream of events, which stays.
const STREAM_SHARE: usize = 4;

/// The most connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: u64 = 256;

/// Descriptors for each connection: its own, and the pipes of a git process.
const DESCRIPTORS_EACH: u64 = 4;

/// A pause where a connection cannot be taken, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests until `shutdown`, then lets those in progress finish for as long as `grace`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let all = places(getrlimit(Resource::Nofile).current);
    let places = Arc::new(Semaphore::new(all));
    let (ending, ended) = watch::channel(false);
    let tasks = TaskTracker::new();
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let patience = if places.available_permits() < all / 2 {
                HEAD_TIME_CROWDED
            } else {
                HEAD_TIME
            };
            let connection = connection(stream, app.clone(), patience, ended.clone());
            tasks.spawn(async move {
                connection.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    let _ = ending.send(true);
    tasks.close();
    let _ = timeout(grace, tasks.wait()).await;
}

/// How many connections the limit on descriptors (none: no limit) has room for.
fn places(descriptors: Option<u64>) -> usize {
    let room = descriptors.unwrap_or(u64::MAX) / DESCRIPTORS_EACH;
    room.clamp(4, CONNECTIONS_MAX) as usize
}

/// How many of the connections may be streams that stay.
pub fn stream_places() -> usize {
    places(getrlimit(Resource::Nofile).current) / STREAM_SHARE
}

/// Serves one connection until its client has gone, is too slow, or the server ends.
async fn connection(
    stream: TcpStream,
    app: Router,
    patience: Duration,
    mut ended: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(READ_TIME));
    let service = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move {
            Ok::<_, Infallible>(match app.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client's own trouble.
        _ = &mut connection => return,
        _ = ended.wait_for(|ended| *ended) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Reads a body whole, if it comes in time and has at most this many bytes.
///
/// # Errors
/// The status that says what is wrong with it: too large, too slow, or cut off.
pub async fn read(body: Body, max: usize) -> Result<Bytes, StatusCode> {
    read_within(body, max, BODY_TIME).await
}

async fn read_within(body: Body, max: usize, time: Duration) -> Result<Bytes, StatusCode> {
    // One whose length says so is not taken in at all.
    if hyper::body::Body::size_hint(&body).lower() > max as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match timeout(time, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;

    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_is_bounded() {
        let body = |size| Body::from(vec![0; size]);
        assert_eq!(read(body(10), 10).await.unwrap().len(), 10);
        assert_eq!(read(body(11), 10).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::new(Silent);
        let read = read_within(body, 10, Duration::from_millis(1)).await;
        assert_eq!(read, Err(StatusCode::REQUEST_TIMEOUT));
    }

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(places(Some(256)), 64);
        assert_eq!(places(Some(1 << 20)), 256);
        assert_eq!(places(Some(3)), 4);
        assert_eq!(places(None), 256);
    }
}

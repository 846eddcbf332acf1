//! Backends that speak HTTP/2: gRPC, and clients of HTTP/1.1. On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "common/h2.rs"]
mod client;
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use client::{ask, get, run};
use common::{Proxy, STRICT, status};
use http::Request;

/// A server of HTTP/2, as a backend; counts connections.
fn h2_backend(
    answer: impl Fn(Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) + Clone + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("h2:{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                let counter = counter.clone();
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        counter.fetch_add(1, Ordering::SeqCst);
                        answer(request, respond);
                    }
                });
            }
        });
    });
    (name, count)
}

/// What gRPC does: a stream each way, and its status after the answer's body.
fn grpc_like(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.headers()["te"], "trailers");
    let wants_nothing = request.uri().path() == "/nothing";
    tokio::spawn(async move {
        let answer = http::Response::builder().header("content-type", "application/grpc");
        if wants_nothing {
            let answer = answer.header("grpc-status", "12").body(()).unwrap();
            respond.send_response(answer, true).unwrap();
            return;
        }
        let mut out = respond
            .send_response(answer.body(()).unwrap(), false)
            .unwrap();
        let mut body = request.into_body();
        while let Some(Ok(part)) = body.data().await {
            body.flow_control().release_capacity(part.len()).unwrap();
            // Each part is answered as it comes; they are small.
            if out.send_data(part, false).is_err() {
                return;
            }
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _ = out.send_trailers(trailers);
    });
}

/// Sends a part of a body.
async fn parts(stream: &mut h2::SendStream<Bytes>, data: &'static [u8]) {
    stream.send_data(Bytes::from_static(data), false).unwrap();
    tokio::task::yield_now().await;
}

#[test]
fn grpc_passes_to_backends_that_speak_http_2() {
    let (name, _) = h2_backend(grpc_like);
    let proxy = Proxy::start(&[&name], &[&STRICT[..], &["--h2c"]].concat());
    run(async {
        let mut client = client::client(proxy.address).await;
        let request = Request::post("http://h/service/Method")
            .header("content-type", "application/grpc+proto")
            .body(())
            .unwrap();
        let (answer, mut out) = client.send_request(request, false).unwrap();
        // A conversation: each part is answered before the next is sent.
        parts(&mut out, b"first").await;
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        parts(&mut out, b"second").await;
        assert_eq!(body.data().await.unwrap().unwrap(), "second");
        out.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        // An answer that is nothing but a head.
        let answer = ask(&mut client, get("/nothing")).await.unwrap();
        assert_eq!(
            (answer.body.len(), &answer.head.headers()["grpc-status"]),
            (0, &"12".parse().unwrap())
        );
    });
}

#[test]
fn clients_of_http_1_reach_backends_of_http_2_which_are_checked_too() {
    let (name, asked) = h2_backend(|request, mut respond| {
        let status = if request.uri().path() == "/bad" {
            500
        } else {
            200
        };
        let text = request.uri().to_string();
        let answer = http::Response::builder().status(status).body(()).unwrap();
        let mut out = respond.send_response(answer, false).unwrap();
        out.send_data(text.into(), true).unwrap();
    });
    let proxy = Proxy::start(&[&name], &["--health", "/healthy"]);
    let answer = proxy.talk(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&answer), 200);
    assert!(String::from_utf8_lossy(&answer).contains("http://h/x"));
    // The check has a connection of its own, and may come behind the request.
    proxy.wait_for("/backends/0/healthy", |healthy| {
        asked.load(Ordering::SeqCst) >= 2 && *healthy == true
    });
    assert_eq!(proxy.status("/backends/0/address"), name);
}

/// Answers with the names of the fields after the request's body, and has one of its own.
fn names_trailers(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(part)) = body.data().await {
            body.flow_control().release_capacity(part.len()).unwrap();
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        let names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
        let text = names.join(" ");
        let answer = http::Response::builder()
            .header("content-length", text.len())
            .header("trailer", "x-own")
            .body(())
            .unwrap();
        let mut out = respond.send_response(answer, false).unwrap();
        out.send_data(text.into(), false).unwrap();
        let mut own = http::HeaderMap::new();
        own.insert("x-own", "1".parse().unwrap());
        let _ = out.send_trailers(own);
    });
}

/// Where both sides speak HTTP/2, fields after a body need no announcement; what they must not be they are not.
#[test]
fn fields_after_a_request_reach_backends_of_http_2() {
    let (name, _) = h2_backend(names_trailers);
    let proxy = Proxy::start(&[&name], &["--h2c"]);
    let answer = run(async {
        let mut client = client::client(proxy.address).await;
        let request = Request::post("http://h/").body(()).unwrap();
        let (answer, mut out) = client.send_request(request, false).unwrap();
        out.send_data(Bytes::from_static(b"body"), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        for name in ["x-sum", "x-forwarded-for", "authorization", "x-other"] {
            trailers.insert(name, "1".parse().unwrap());
        }
        out.send_trailers(trailers).unwrap();
        client::whole(answer).await.unwrap()
    });
    assert_eq!(answer.text(), "x-sum x-other");
    assert_eq!(answer.trailers.unwrap()["x-own"], "1");
    // From HTTP/1.1 those that were announced.
    let answer = proxy.talk(
        b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
          Trailer: X-Sum\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nX-Other: 1\r\n\r\n",
    );
    assert_eq!(status(&answer), 200);
    assert!(
        answer.windows(9).any(|w| w == b"x-sum\r\n0\r"),
        "{answer:?}"
    );
}

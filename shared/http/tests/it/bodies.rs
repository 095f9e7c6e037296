//! Bodies that are refused, over real connections: what a client reads that is still sending.

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use futures::StreamExt;
use lore_http::{ApiFailure, BodyLimit, ErrorCode, JsonBody, exceeds_limit, limited, sealed};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// More than what sockets buffer between two processes.
const LARGE: usize = 64 << 20;
const PIECE: usize = 64 << 10;
const LIMIT: u64 = 1 << 20;

/// A server whose routes refuse at once, read a stream, and read JSON.
async fn server() -> SocketAddr {
    let refuse = || async { ApiFailure::new(ErrorCode::Conflict, "not now") };
    let streamed = |body: Body| async {
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            if let Err(error) = piece {
                assert!(exceeds_limit(&error), "{error:?}");
                return Err(BodyLimit(LIMIT).exceeded());
            }
        }
        Ok(())
    };
    let json = |JsonBody(_): JsonBody<serde_json::Value>| async {};
    let router = Router::new()
        .route("/streamed", post(streamed))
        .route("/json", post(json));
    let router = limited(router, BodyLimit(LIMIT)).route("/refused", post(refuse));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, sealed(router)).await });
    address
}

/// Sends a head, then all of a body however long that takes, and only then reads the answer.
fn send(to: SocketAddr, path: &str, headers: &str, bytes: usize, chunked: bool) -> String {
    let mut stream = TcpStream::connect(to).expect("it listens");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
    )
    .expect("a head");
    for _ in 0..bytes / PIECE {
        if chunked {
            write!(stream, "{PIECE:x}\r\n").expect("the server goes on reading");
        }
        let sent = stream.write_all(&[b'x'; PIECE]);
        sent.expect("the server goes on reading");
        if chunked {
            stream.write_all(b"\r\n").expect("sent");
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").expect("sent");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn check(answer: &str, status: &str, code: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert!(answer.contains(&format!(r#""code":"{code}""#)), "{answer}");
    assert!(answer.contains("x-request-id"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_while_it_sends_reads_why() {
    let server = server().await;
    let asked = tokio::task::spawn_blocking(move || {
        let length = format!("content-length: {LARGE}\r\n");
        check(
            &send(server, "/refused", &length, LARGE, false),
            "409",
            "conflict",
        );
        check(
            &send(server, "/nowhere", &length, LARGE, false),
            "404",
            "not_found",
        );
        check(
            &send(server, "/json", &length, LARGE, false),
            "413",
            "body_too_large",
        );
        let chunked = "transfer-encoding: chunked\r\n";
        for path in ["/json", "/streamed"] {
            let answer = send(server, path, chunked, LARGE, true);
            check(&answer, "413", "body_too_large");
            assert!(answer.contains("more than 1048576 bytes"), "{answer}");
        }
        check(
            &send(server, "/refused", chunked, LARGE, true),
            "409",
            "conflict",
        );
    });
    asked.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = server().await;
    let asked = tokio::task::spawn_blocking(move || {
        let headers = format!("content-length: {LARGE}\r\nexpect: 100-continue\r\n");
        for (path, status, code) in [
            ("/json", "413", "body_too_large"),
            ("/refused", "409", "conflict"),
        ] {
            check(&send(server, path, &headers, 0, false), status, code);
        }
    });
    asked.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_within_the_limit_arrives_whole() {
    let server = server().await;
    let bytes = usize::try_from(LIMIT).expect("it fits");
    let asked = tokio::task::spawn_blocking(move || {
        let length = format!("content-length: {bytes}\r\n");
        send(server, "/streamed", &length, bytes, false)
    });
    let answer = asked.await.expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

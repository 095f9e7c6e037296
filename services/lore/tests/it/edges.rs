//! What stands before every service, on a server that needs no models.

use crate::command::Home;
use crate::server::Server;
use std::io::{Read, Write};
use std::net::TcpStream;

/// An HTTP/1.1 answer, head and body, as it came.
fn ask(server: &Server, request: &str) -> String {
    ask_host(server, request, "localhost")
}

fn ask_host(server: &Server, request: &str, host: &str) -> String {
    let address = server.url().strip_prefix("http://").expect("http");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "{request}\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    answer
}

#[test]
fn a_server_says_one_line_locks_its_folder_and_stops_on_sigterm() {
    let home = Home::new();
    let server = Server::start(&home, &["trainer"], &[]);
    assert!(
        server.line.starts_with("listening on http://127.0.0.1:"),
        "{}",
        server.line
    );
    assert!(!server.line.trim_end().ends_with(":0"), "{}", server.line);
    let second = home.run(&["serve", "trainer"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second
            .stderr
            .contains(&format!("in use by process {}", server.pid())),
        "{}",
        second.stderr
    );
    let ended = server.terminate();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    Server::start(&home, &["trainer"], &[]).terminate();
}

#[test]
fn every_error_has_the_shape_of_the_api_and_a_request_id() {
    let home = Home::new();
    let mut server = Server::start(&home, &["trainer"], &[]);
    server.ready(&home);
    let unknown = ask(&server, "GET /v1/nothing HTTP/1.1\r\nx-request-id: abc-1");
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert!(unknown.contains("x-request-id: abc-1"), "{unknown}");
    assert!(unknown.contains(r#""code":"not_found""#), "{unknown}");
    assert!(unknown.contains(r#""request_id":"abc-1""#), "{unknown}");
    let method = ask(&server, "DELETE /healthz HTTP/1.1");
    assert!(method.starts_with("HTTP/1.1 405"), "{method}");
    assert!(
        method.contains(r#""code":"method_not_allowed""#),
        "{method}"
    );
    assert!(ask(&server, "GET /healthz HTTP/1.1").contains(r#""status":"ok""#));
    let cross = ask(
        &server,
        "GET /healthz HTTP/1.1\r\norigin: http://evil.example",
    );
    assert!(
        !cross.to_lowercase().contains("access-control-allow-origin"),
        "{cross}"
    );
}

#[test]
fn a_server_without_keys_answers_no_web_page_and_no_other_name() {
    let home = Home::new();
    let mut server = Server::start(&home, &["trainer"], &[]);
    server.ready(&home);
    let refused = [
        ("GET /healthz", "origin: http://evil.example", "403"),
        ("POST /v1/files", "origin: null", "403"),
        ("GET /v1/nothing", "origin: http://localhost:1", "403"),
        ("GET /healthz", "sec-fetch-site: cross-site", "403"),
    ];
    for (line, header, status) in refused {
        let answer = ask(&server, &format!("{line} HTTP/1.1\r\n{header}"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{header}: {answer}"
        );
        assert!(answer.contains(r#""code":"forbidden""#), "{answer}");
    }
    let rebound = ask_host(&server, "GET /healthz HTTP/1.1", "evil.example");
    assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
    assert!(
        rebound.contains(r#""code":"misdirected_request""#),
        "{rebound}"
    );
    let own = ask(
        &server,
        "GET /healthz HTTP/1.1\r\norigin: http://localhost\r\nsec-fetch-site: same-origin",
    );
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
}

#[test]
fn a_body_over_the_limit_is_refused_by_name_and_unknown_routes_are_counted() {
    let home = Home::new();
    let mut server = Server::start(
        &home,
        &["trainer"],
        &[
            ("LORE_SERVER_MAX_BODY", "1 MiB"),
            ("LORE_INGEST_MAX_DOCUMENT", "1 MiB"),
        ],
    );
    server.ready(&home);
    let large = ask(
        &server,
        "POST /v1/files HTTP/1.1\r\ncontent-length: 2000000",
    );
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    for said in ["more than 1048576 bytes", "server.max_body"] {
        assert!(large.contains(said), "{large}");
    }
    ask(&server, "GET /v1/nothing HTTP/1.1");
    ask(&server, "DELETE /healthz HTTP/1.1");
    let metrics = ask(&server, "GET /metrics HTTP/1.1");
    for status in ["404", "405", "413"] {
        let counted = |line: &str| {
            line.starts_with("lore_http_requests_total")
                && line.contains(&format!("status=\"{status}\""))
        };
        assert!(metrics.lines().any(counted), "{status}: {metrics}");
    }
}

#[test]
fn a_server_with_keys_lets_only_their_holders_in() {
    let home = Home::new();
    let server = Server::start(&home, &["trainer"], &[("LORE_API_KEY", "one,two")]);
    let without = ask(&server, "GET /metrics HTTP/1.1");
    assert!(without.starts_with("HTTP/1.1 401"), "{without}");
    assert!(without.contains("www-authenticate: Bearer"), "{without}");
    assert!(without.contains(r#""code":"unauthorized""#), "{without}");
    assert!(
        ask(
            &server,
            "GET /metrics HTTP/1.1\r\nauthorization: Bearer three"
        )
        .starts_with("HTTP/1.1 401")
    );
    let with = ask(
        &server,
        "GET /metrics HTTP/1.1\r\nauthorization: Bearer two",
    );
    assert!(with.starts_with("HTTP/1.1 200"), "{with}");
    assert!(with.contains("lore_http_requests_total"), "{with}");
    for open in ["/healthz", "/openapi.json"] {
        assert!(
            ask(&server, &format!("GET {open} HTTP/1.1")).starts_with("HTTP/1.1 200"),
            "{open}"
        );
    }
    let ready = ask(&server, "GET /readyz HTTP/1.1");
    let open = ["HTTP/1.1 200", "HTTP/1.1 503"]; // it may be loading yet
    assert!(
        open.iter().any(|status| ready.starts_with(status)),
        "{ready}"
    );
}

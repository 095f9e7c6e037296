//! What becomes of an answer under way when the server is told to stop.

use crate::command::Home;
use crate::server::{PATIENCE, Server, log_of};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const MODELS: [&str; 3] = ["smollm2-135m-instruct", "all-minilm-l6-v2", "onnxruntime"];

/// A server with models that grants `grace`; `None`, said aloud, where models are missing.
fn server(home: &Home, grace: &str) -> Option<Server> {
    let missing: Vec<_> = MODELS
        .into_iter()
        .filter(|model| home.run(&["models", "path", model]).code != Some(0))
        .collect();
    if !missing.is_empty() {
        eprintln!(
            "SKIPPED: models are missing; fetch them with: lore models pull {}",
            missing.join(" ")
        );
        return None;
    }
    let envs = [
        ("LORE_MODELS_GENERATOR", MODELS[0]),
        ("LORE_MODELS_EMBEDDER", MODELS[1]),
        ("LORE_SERVER_SHUTDOWN_GRACE", grace),
    ];
    let mut server = Server::start(home, &[], &envs);
    server.ready(home);
    Some(server)
}

/// Begins a long answer, and returns when its first words are there.
fn begun(server: &Server) -> BufReader<TcpStream> {
    let address = server.url().strip_prefix("http://").expect("http");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let body = format!(
        r#"{{"model": "{}", "stream": true, "temperature": 2, "seed": 1, "max_tokens": 7000,
        "messages": [{{"role": "user", "content": "Write a very long story, word by word."}}]}}"#,
        MODELS[0]
    );
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut stream = BufReader::new(stream);
    let mut events = 0;
    while events < 3 {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("UTF-8") > 0, "it ended");
        events += usize::from(line.starts_with("data: "));
    }
    stream
}

#[test]
fn an_answer_longer_than_the_grace_period_ends_with_an_error_and_the_process_in_order() {
    let home = Home::new();
    let Some(server) = server(&home, "1s") else {
        return;
    };
    let mut answer = begun(&server);
    assert_eq!(server.terminate().code, Some(0), "{}", log_of(&home));
    let mut rest = String::new();
    answer.read_to_string(&mut rest).expect("UTF-8");
    assert!(rest.contains(r#""code":"not_ready""#), "{rest}");
    assert!(!rest.contains("[DONE]"), "{rest}");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let home = Home::new();
    let Some(server) = server(&home, "300s") else {
        return;
    };
    let _answer = begun(&server);
    server.signal();
    let deadline = Instant::now() + PATIENCE;
    while !log_of(&home).contains("stopping") {
        assert!(Instant::now() < deadline, "{}", log_of(&home));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(server.terminate().code, Some(1), "{}", log_of(&home));
}

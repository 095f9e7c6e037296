use super::{pdfium, settings};
use lore_ingest::parse::{ParseError, ParseRequest, ParserPool, PoolSettings, WorkerCommand};
use std::path::Path;
use std::time::{Duration, Instant};

fn worker() -> WorkerCommand {
    WorkerCommand {
        exe: env!("CARGO_BIN_EXE_lore-parse-worker").into(),
        args: Vec::new(),
    }
}

fn program(exe: &str, args: &[&str]) -> WorkerCommand {
    WorkerCommand {
        exe: exe.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

fn pool(worker: WorkerCommand, timeout: Duration, memory: u64) -> ParserPool {
    ParserPool::new(PoolSettings {
        worker,
        workers: 2,
        timeout,
        memory,
        parse: settings(),
    })
}

fn request(folder: &Path, name: &str, bytes: &[u8]) -> ParseRequest {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("the file is written");
    ParseRequest {
        path,
        name: name.to_owned(),
        declared_type: None,
    }
}

#[tokio::test]
async fn documents_are_parsed_in_a_child_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(worker(), Duration::from_secs(60), 1 << 30);
    for number in 0..20 {
        let request = request(
            folder.path(),
            "a.md",
            format!("# Title {number}\n\nText.").as_bytes(),
        );
        let parsed = pool.parse(&request).await.expect("it parses");
        assert_eq!(parsed.title, Some(format!("Title {number}")));
    }
    let refused = pool
        .parse(&request(folder.path(), "b.rtf", b"{\\rtf1}"))
        .await
        .expect_err("it is not supported");
    assert_eq!(refused.code(), "unsupported_format");
}

#[tokio::test]
async fn a_document_that_needs_too_much_memory_fails_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(worker(), Duration::from_secs(60), 32 << 20);
    let hungry = request(
        folder.path(),
        "big.html",
        "<p>x</p>".repeat(8 << 20).as_bytes(),
    );
    assert_eq!(
        pool.parse(&hungry).await,
        Err(ParseError::OutOfMemory { mebibytes: 32 })
    );
    let small = request(folder.path(), "small.txt", b"Still here.");
    assert_eq!(
        pool.parse(&small).await.map(|parsed| parsed.text),
        Ok("Still here.".to_owned())
    );
}

#[tokio::test]
async fn a_child_that_does_not_answer_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(
        program("/bin/sleep", &["600"]),
        Duration::from_millis(300),
        1 << 30,
    );
    let start = Instant::now();
    let error = pool
        .parse(&request(folder.path(), "a.txt", b"x"))
        .await
        .expect_err("no answer");
    assert_eq!(error.code(), "parser_timeout");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_crash_says_how_the_child_died() {
    let folder = tempfile::tempdir().expect("a folder");
    let crash = |command: &str| {
        pool(
            program("/bin/sh", &["-c", command]),
            Duration::from_secs(60),
            1 << 30,
        )
    };
    let request = request(folder.path(), "a.txt", b"x");
    let error = crash("head -c 1 > /dev/null; kill -SEGV $$")
        .parse(&request)
        .await
        .expect_err("it crashes");
    assert_eq!(
        error,
        ParseError::Crashed {
            cause: "signal 11, segmentation fault".to_owned()
        }
    );
    let error = crash("head -c 1 > /dev/null; exit 3")
        .parse(&request)
        .await
        .expect_err("it ends");
    assert_eq!(
        error,
        ParseError::Crashed {
            cause: "exit code 3".to_owned()
        }
    );
    let noise = crash("echo this is no frame at all; cat > /dev/null")
        .parse(&request)
        .await
        .expect_err("no frame");
    assert_eq!(noise.code(), "parser_crashed");
}

#[tokio::test]
async fn a_missing_program_or_file_is_not_the_documents_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let request = request(folder.path(), "a.txt", b"x");
    let error = pool(
        program("/no/such/program", &[]),
        Duration::from_secs(1),
        1 << 30,
    )
    .parse(&request)
    .await
    .expect_err("it cannot start");
    assert!(
        error.is_transient() && error.to_string().contains("/no/such/program"),
        "{error}"
    );
    let gone = ParseRequest {
        path: folder.path().join("gone.txt"),
        ..request
    };
    let error = pool(worker(), Duration::from_secs(60), 1 << 30)
        .parse(&gone)
        .await
        .expect_err("there is no file");
    assert!(
        error.is_transient() && error.to_string().contains("gone.txt"),
        "{error}"
    );
}

#[tokio::test]
async fn a_child_ends_with_its_parents_interest() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("pid");
    let command = format!("echo $$ > {}; exec sleep 600", mark.display());
    let pool = pool(
        program("/bin/sh", &["-c", &command]),
        Duration::from_secs(600),
        1 << 30,
    );
    let request = request(folder.path(), "a.txt", b"x");
    let deadline = Instant::now() + Duration::from_secs(30);
    let written = async {
        while std::fs::read_to_string(&mark).map_or(true, |pid| !pid.ends_with('\n'))
            && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = pool.parse(&request) => panic!("it cannot answer"),
        () = written => {}
    }
    let pid = std::fs::read_to_string(&mark).expect("the child wrote its id");
    let process = Path::new("/proc").join(pid.trim());
    let is_gone =
        || std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "));
    while !is_gone() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_gone(), "process {pid} lives on");
}

#[tokio::test]
async fn without_pdfium_a_pdf_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut parse = settings();
    parse.pdfium = Some("/no/such/libpdfium.so".into());
    let pool = ParserPool::new(PoolSettings {
        worker: worker(),
        workers: 1,
        timeout: Duration::from_secs(60),
        memory: 1 << 30,
        parse,
    });
    let error = pool
        .parse(&request(folder.path(), "a.pdf", b"%PDF-1.7\n"))
        .await
        .expect_err("no library");
    assert!(
        error.is_transient()
            && error
                .hint()
                .is_some_and(|hint| hint.contains("lore models pull pdfium")),
        "{error}"
    );
    if pdfium().is_some() {
        let pool = self::pool(worker(), Duration::from_secs(60), 1 << 30);
        let error = pool
            .parse(&request(folder.path(), "a.pdf", b"%PDF-1.7\n"))
            .await
            .expect_err("no pages");
        assert_eq!(error.code(), "malformed_document");
    }
}

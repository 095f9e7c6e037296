use super::{ParseRequest, Setup, frame};
use crate::parse::error::ParseError;
use crate::parse::{Parsed, parse};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{dup, dup2_stdout};
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

/// Stack of the thread that parses.
const STACK: usize = 256 << 20;
/// Address space that the process needs besides what documents may take: code, libraries and the big stack.
const OWN_MEMORY: u64 = (512 << 20) + STACK as u64;

/// The life of a parser's child process (`lore parse-worker`): limits first, then one document after the other until the input ends.
///
/// To be called before anything else is started or written: it takes over standard input and output.
pub fn worker_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parse-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let Some(setup) = frame::read(&mut input)? else {
        return Ok(());
    };
    let setup: Setup = serde_json::from_slice(&setup)?;
    let output = answers()?;
    limit(setup.memory)?;
    let (requests, inbox) = mpsc::channel();
    let parser = thread::Builder::new()
        .name("parser".to_owned())
        .stack_size(STACK)
        .spawn(move || work(&setup, &inbox, output))?;
    while let Some(request) = frame::read(&mut input)? {
        if requests.send(request).is_err() {
            break;
        }
    }
    if requests.send(Vec::new()).is_err() && parser.is_finished() {
        return Err(io::Error::other("the parser's thread ended early"));
    }
    // The parent is gone or lost interest: end at once, even amid a document.
    Ok(())
}

/// The stream for answers. Standard output itself goes to the log, so that nothing a library prints can break a frame.
fn answers() -> io::Result<File> {
    let output = File::from(dup(io::stdout())?);
    dup2_stdout(io::stderr())?;
    Ok(output)
}

/// Bounds memory, and forbids writing files and dumping core.
fn limit(memory: u64) -> io::Result<()> {
    let address_space = memory.saturating_add(OWN_MEMORY);
    setrlimit(Resource::RLIMIT_AS, address_space, address_space)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Answers each request; an empty one is the last.
fn work(setup: &Setup, inbox: &mpsc::Receiver<Vec<u8>>, mut output: File) {
    for request in inbox.iter().take_while(|request| !request.is_empty()) {
        let answer = answer(setup, &request);
        let written = serde_json::to_vec(&answer)
            .map_err(io::Error::from)
            .and_then(|body| frame::write(&mut output, &body));
        if let Err(error) = written {
            eprintln!("parse-worker: cannot answer: {error}");
            return;
        }
    }
}

fn answer(setup: &Setup, request: &[u8]) -> Result<Parsed, ParseError> {
    let request: ParseRequest = serde_json::from_slice(request)
        .map_err(|error| unavailable(format!("a bad request: {error}")))?;
    let bytes = std::fs::read(&request.path).map_err(|error| {
        unavailable(format!(
            "the stored file {} cannot be read: {error}",
            request.path.display()
        ))
    })?;
    let run = || {
        parse(
            &bytes,
            &request.name,
            request.declared_type.as_deref(),
            &setup.parse,
        )
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(ParseError::Crashed {
            cause: said(panic.as_ref()),
        })
    })
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}

fn unavailable(reason: String) -> ParseError {
    ParseError::Unavailable {
        reason,
        remedy: "look into the server's log".to_owned(),
    }
}

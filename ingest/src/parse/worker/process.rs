use super::{ParseRequest, PoolSettings, Setup, frame};
use crate::parse::Parsed;
use crate::parse::error::ParseError;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lines of the child's log that are kept to explain its death.
const KEPT_LINES: usize = 20;
/// How long a child whose output ended may take to be gone.
const GRACE: Duration = Duration::from_secs(5);

/// A child process that parses; killed when dropped.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    log: Arc<Mutex<Vec<String>>>,
    log_reader: JoinHandle<()>,
}

impl Process {
    /// Starts a child and tells it the limits.
    pub(crate) async fn start(settings: &PoolSettings) -> Result<Self, ParseError> {
        let mut child = spawn(settings).map_err(|error| cannot_start(settings, &error))?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(cannot_start(
                settings,
                &io::Error::other("it has no standard streams"),
            ));
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let log_reader = tokio::spawn(follow(errors, Arc::clone(&log)));
        let mut process = Self {
            child,
            input,
            output,
            log,
            log_reader,
        };
        let setup = Setup {
            parse: settings.parse.clone(),
            memory: settings.memory,
        };
        let sent = process.send(&setup).await;
        sent.map(|()| process)
            .map_err(|error| cannot_start(settings, &error))
    }

    /// Asks for one document. After an error other than the parser's own answer the child is of no use any more.
    pub(crate) async fn ask(
        &mut self,
        request: &ParseRequest,
    ) -> io::Result<Result<Parsed, ParseError>> {
        self.send(request).await?;
        let mut header = [0; 8];
        self.output.read_exact(&mut header).await?;
        let length = frame::length(header)?;
        let mut body = Vec::new();
        (&mut self.output)
            .take(length)
            .read_to_end(&mut body)
            .await?;
        if body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&body).map_err(io::Error::from)
    }

    /// Whether the child is still there, as far as can be told without asking it.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How the child died: an exit status, where it did by itself, and the last lines of its log.
    pub(crate) async fn autopsy(mut self) -> (Option<ExitStatus>, String) {
        let status = timeout(GRACE, self.child.wait())
            .await
            .ok()
            .and_then(Result::ok);
        // Its end of the pipe is closed now, so the log ends.
        if status.is_some() && timeout(GRACE, &mut self.log_reader).await.is_err() {
            self.log_reader.abort();
        }
        let log = self
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n");
        (status, log)
    }

    async fn send(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let mut bytes = Vec::with_capacity(body.len() + 8);
        frame::write(&mut bytes, &body)?;
        self.input.write_all(&bytes).await?;
        self.input.flush().await
    }
}

fn spawn(settings: &PoolSettings) -> io::Result<Child> {
    let worker = &settings.worker;
    // Nothing of the service's environment is needed, and its secrets are none of the child's business.
    Command::new(&worker.exe)
        .args(&worker.args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Copies the child's log into ours and keeps its end.
async fn follow(errors: ChildStderr, log: Arc<Mutex<Vec<String>>>) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    // A library may write bytes that are no text, and lines without end.
    while (&mut reader)
        .take(4096)
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::debug!(target: "lore_ingest::parse_worker", "{text}");
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == KEPT_LINES {
            log.remove(0);
        }
        log.push(text);
        line.clear();
    }
}

/// What the death of a child means for the document that it was reading.
pub(crate) fn cause_of_death(
    status: Option<ExitStatus>,
    log: &str,
    settings: &PoolSettings,
) -> ParseError {
    const OUT_OF_MEMORY: [&str; 5] = [
        "memory allocation of",
        "bad_alloc",
        "out of memory",
        "Out of memory",
        "Cannot allocate memory",
    ];
    if OUT_OF_MEMORY.iter().any(|sign| log.contains(sign)) {
        return ParseError::OutOfMemory {
            mebibytes: settings.memory >> 20,
        };
    }
    let cause = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}{}", signal_name(signal)),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "unknown end".to_owned(),
        },
        None => "it stopped answering".to_owned(),
    };
    ParseError::Crashed { cause }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => ", illegal instruction",
        5 => ", trap",
        6 => ", abort",
        7 => ", bus error",
        8 => ", arithmetic error",
        9 => ", killed from outside, perhaps for lack of memory",
        11 => ", segmentation fault",
        _ => "",
    }
}

fn cannot_start(settings: &PoolSettings, error: &io::Error) -> ParseError {
    ParseError::Unavailable {
        reason: format!(
            "the process {} did not start: {error}",
            settings.worker.exe.display()
        ),
        remedy:
            "check that the program is there and may be run, and that processes and memory are left"
                .to_owned(),
    }
}

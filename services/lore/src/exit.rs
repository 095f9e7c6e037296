use crate::terminal::Output;
use lore_client::ClientError;
use lore_types::{ApiError, ErrorBody};
use std::error::Error;
use std::io;
use std::process::ExitCode;

/// What the exit code of `lore` says. `lore --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// Something failed, or a check found a problem.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The collection, document, job, model or file does not exist.
    NotFound = 3,
    /// No server answers.
    Unreachable = 4,
    /// Some documents could not be ingested; the others were.
    Partial = 5,
    /// The configuration is wrong.
    Config = 6,
    /// The server wants another API key.
    Unauthorized = 7,
    /// The server is full or still loading; the same command may succeed later.
    Busy = 8,
}

/// The exit codes, as `lore --help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  everything was done
  1  something failed, or a check found a problem
  2  the command line is wrong
  3  the collection, document, job, model or file does not exist
  4  no server answers
  5  some documents could not be ingested; the others were
  6  the configuration is wrong
  7  the server wants another API key
  8  the server is full or still loading; try again later";

/// Why a command ends without success: one message, its causes, and what to do.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    /// What the server said, where it did.
    said: Option<Box<ApiError>>,
}

impl Exit {
    /// The word of `error.code` for a failure that no server told of.
    fn word(self) -> &'static str {
        match self {
            Self::Ok | Self::Failure => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Unreachable => "unreachable",
            Self::Partial => "partial",
            Self::Config => "config",
            Self::Unauthorized => "unauthorized",
            Self::Busy => "busy",
        }
    }
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failure,
            message: message.into(),
            hint: None,
            said: None,
        }
    }

    /// A failure whose message is an error with all its causes.
    pub fn of(error: &dyn Error) -> Self {
        Self::new(chain(error))
    }

    /// A failure that says nothing more, because everything was said.
    pub fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: String::new(),
            hint: None,
            said: None,
        }
    }

    /// What went wrong with writing to stdout. A reader that went away is no failure.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Ok);
        }
        Self::new(format!("cannot write to stdout: {error}"))
    }

    /// With another exit code.
    pub fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// With what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// As the API would tell it: the server's own words where it is the server that failed.
    pub fn api_error(&self) -> ApiError {
        if let Some(said) = &self.said {
            return (**said).clone();
        }
        ApiError {
            code: self.exit.word().to_owned(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            kind: "client_error".to_owned(),
            ..ApiError::default()
        }
    }

    /// Tells it on stderr, with `--json` also as `{"error": …}` on stdout, and gives the code to exit with.
    pub fn report(&self, output: Output) -> ExitCode {
        if output.is_json() && !self.message.is_empty() {
            // A stdout that is closed or full is told by the exit code alone.
            let _ = output.json_line(&ErrorBody {
                error: self.api_error(),
            });
        }
        if !self.message.is_empty() {
            output.note(format!(
                "{} {}",
                crate::terminal::paint_note("error:").red().bold(),
                self.message
            ));
        }
        if let Some(hint) = &self.hint {
            output.note(format!(
                " {} {hint}",
                crate::terminal::paint_note("hint:").cyan().bold()
            ));
        }
        ExitCode::from(self.exit as u8)
    }
}

/// An error and its causes, joined by colons; causes that the text names already are left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::of(&error);
        match &error {
            ClientError::Api { status, error, .. } => api_failure(*status, error),
            ClientError::Unreachable { .. } => failure
                .exit(Exit::Unreachable)
                .hint("start one with `lore serve`, or name its address with --url or LORE_URL"),
            ClientError::Url { .. } => failure
                .exit(Exit::Usage)
                .hint("an address looks like http://127.0.0.1:7878"),
            ClientError::Key => failure.exit(Exit::Usage),
            ClientError::Malformed { .. } => {
                failure.hint("check that the address is a Lore server's, of this version")
            }
            ClientError::Cut { .. } => failure
                .exit(Exit::Unreachable)
                .hint("the server may have stopped: see its log"),
            _ => failure,
        }
    }
}

fn api_failure(status: u16, error: &ApiError) -> Failure {
    let exit = match status {
        401 | 403 => Exit::Unauthorized,
        404 => Exit::NotFound,
        429 | 503 => Exit::Busy,
        _ => Exit::Failure,
    };
    let request = error.request_id.as_ref().filter(|_| status >= 500);
    let message = match request {
        Some(id) => format!("{} (request {id} in the server's log)", error.message),
        None => error.message.clone(),
    };
    let default = (exit == Exit::Unauthorized)
        .then(|| "name the key with --api-key or LORE_API_KEY".to_owned());
    Failure {
        exit,
        message,
        hint: error.hint.clone().or(default),
        said: Some(Box::new(error.clone())),
    }
}

//! A `lore serve` process that is killed when it goes out of scope.

use crate::command::{Home, Ran};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    child: Child,
    /// The first line of its stdout.
    pub line: String,
}

impl Server {
    /// Starts `lore serve ARGS` and waits until it listens.
    pub fn start(home: &Home, args: &[&str], envs: &[(&str, &str)]) -> Self {
        let log = std::fs::File::create(home.path().join("server.log")).expect("a log");
        let mut command = home.command();
        command
            .arg("serve")
            .args(args)
            .envs(envs.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("lore starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "it ended: {}", log_of(home));
        Self { child, line }
    }

    pub fn url(&self) -> &str {
        self.line
            .trim_end()
            .strip_prefix("listening on ")
            .expect("`listening on URL`")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `/readyz` answers 200.
    pub fn ready(&mut self, home: &Home) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a status") {
                panic!("it ended with {status}: {}", log_of(home));
            }
            let ran = home.run(&["doctor", "--json", "--url", self.url()]);
            if ran.stdout.contains("is ready") {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not ready: {}", log_of(home));
    }

    /// Asks it to stop as a service manager does.
    pub fn signal(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it runs");
    }

    /// Asks it to stop as a service manager does, and waits for its end.
    pub fn terminate(mut self) -> Ran {
        self.signal();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a status") {
                let mut stdout = String::new();
                self.child
                    .stdout
                    .take()
                    .expect("a stdout")
                    .read_to_string(&mut stdout)
                    .expect("UTF-8");
                return Ran {
                    code: status.code(),
                    stdout,
                    stderr: String::new(),
                };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not stop");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn log_of(home: &Home) -> String {
    std::fs::read_to_string(home.path().join("server.log")).unwrap_or_default()
}

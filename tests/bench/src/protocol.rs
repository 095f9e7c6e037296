//! The worker's side of the protocol that all contestants speak, in whatever language they are written.
//!
//! It prints `{"ready": true, "name", "version", "load_seconds", …}` once, and for each line of standard input does one round
//! and prints `{"units", "seconds", "peak_bytes", …}`.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};
use std::time::Instant;

/// What one round came to.
pub struct Round {
    /// How many of what is counted: tokens, passages, questions.
    pub units: usize,
    /// How long they took.
    pub seconds: f64,
    /// What else was measured, by name.
    pub extra: Map<String, Value>,
}

impl Round {
    /// A round in which nothing else was measured.
    pub fn new(units: usize, seconds: f64) -> Self {
        Self {
            units,
            seconds,
            extra: Map::new(),
        }
    }

    fn line(self) -> Result<Value> {
        let mut line = self.extra;
        line.insert("units".to_owned(), json!(self.units));
        line.insert("seconds".to_owned(), json!(self.seconds));
        line.insert("peak_bytes".to_owned(), json!(peak_bytes()?));
        Ok(Value::Object(line))
    }
}

/// Says that the worker, which began to load at `began`, is ready, with `facts` beside that, and does rounds until the input ends.
///
/// # Errors
/// The first that a round gives.
pub fn serve(
    name: &str,
    began: Instant,
    facts: Value,
    mut round: impl FnMut(usize) -> Result<Round>,
) -> Result<()> {
    let mut ready = json!({
        "ready": true,
        "name": name,
        "version": env!("CARGO_PKG_VERSION"),
        "load_seconds": began.elapsed().as_secs_f64(),
    });
    if let (Some(ready), Value::Object(facts)) = (ready.as_object_mut(), facts) {
        ready.extend(facts);
    }
    say(&ready)?;
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        line.context("the input cannot be read")?;
        say(&round(number)?.line()?)?;
    }
    Ok(())
}

fn say(line: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The most memory that this process has held (`VmHWM`).
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes
        .context("no VmHWM in /proc/self/status")?
        .parse()?;
    Ok(kilobytes * 1024)
}

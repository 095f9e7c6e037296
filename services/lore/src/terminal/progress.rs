use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a line is written where no terminal shows a bar.
const INTERVAL: Duration = Duration::from_secs(5);
/// In how many steps a share is shown.
const SHARES: u64 = 1000;
/// How often a bar moves without news.
const TICK: Duration = Duration::from_millis(120);

/// How far a piece of work is: a bar on a terminal, a line every few seconds elsewhere. It writes to stderr.
pub struct Progress {
    bar: ProgressBar,
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    what: String,
    unit: Unit,
    last: Instant,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Things,
    Bytes,
    Share,
    Nothing,
}

impl Progress {
    /// Work that is counted in things.
    pub fn things(what: &str, count: usize) -> Self {
        Self::counted(what, count as u64, Unit::Things)
    }

    /// Work that is counted in bytes.
    pub fn bytes(what: &str, count: u64) -> Self {
        Self::counted(what, count, Unit::Bytes)
    }

    /// Work of which the share that is done is known.
    pub fn percent(what: &str) -> Self {
        let style = "{spinner} {prefix} [{bar:24}] {percent} % {wide_msg}";
        Self::start(ProgressBar::new(SHARES), what, style, Unit::Share)
    }

    /// Work of unknown length.
    pub fn spinner(what: &str) -> Self {
        let style = "{spinner} {prefix} {msg} {elapsed:.dim}";
        Self::start(ProgressBar::new_spinner(), what, style, Unit::Nothing)
    }

    fn counted(what: &str, count: u64, unit: Unit) -> Self {
        let place = if unit == Unit::Bytes {
            "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}"
        } else {
            "{pos}/{len}"
        };
        let style =
            format!("{{spinner}} {{prefix}} [{{bar:24}}] {place} {{eta:.dim}} {{wide_msg}}");
        Self::start(ProgressBar::new(count), what, &style, unit)
    }

    fn start(bar: ProgressBar, what: &str, style: &str, unit: Unit) -> Self {
        let live = io::stderr().is_terminal();
        bar.set_draw_target(if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        if live {
            bar.enable_steady_tick(TICK);
        }
        let lines = Lines {
            what: what.to_owned(),
            unit,
            last: Instant::now(),
        };
        Self {
            bar,
            lines: (!live).then(|| Mutex::new(lines)),
        }
    }

    /// Nothing is shown, whatever happens.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            lines: None,
        }
    }

    /// One thing more is done.
    pub fn advance(&self) {
        self.bar.inc(1);
        self.maybe_line();
    }

    /// So much is done.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
        self.maybe_line();
    }

    /// This share is done, 0..=1.
    pub fn set_share(&self, share: f32) {
        self.set((f64::from(share.clamp(0.0, 1.0)) * SHARES as f64) as u64);
    }

    /// So much there is to do.
    pub fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }

    /// What is being done right now.
    pub fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
        self.maybe_line();
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn maybe_line(&self) {
        let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock) else {
            return;
        };
        if lines.last.elapsed() < INTERVAL {
            return;
        }
        lines.last = Instant::now();
        let text = describe(&lines, &self.bar);
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn describe(lines: &Lines, bar: &ProgressBar) -> String {
    let (position, length) = (bar.position(), bar.length().unwrap_or_default());
    let place = match lines.unit {
        Unit::Things => format!("{position}/{length}"),
        Unit::Bytes => format!("{}/{}", super::bytes(position), super::bytes(length)),
        Unit::Share => format!("{} %", position * 100 / SHARES),
        Unit::Nothing => String::new(),
    };
    let parts = [lines.what.clone(), place, bar.message()];
    parts
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("  ")
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

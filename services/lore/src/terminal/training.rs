use super::chart::chart;
use super::{bytes, elapsed, paint_note, plain};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lore_types::{FineTuningEvent, StepMetrics};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where no terminal shows the view.
const INTERVAL: Duration = Duration::from_secs(5);
/// Steps whose pace says how long the rest takes.
const PACE: usize = 20;
/// Columns of the progress bar.
const BAR: usize = 32;

/// A training as it goes on: a bar, losses, a chart on a terminal; a line every few seconds elsewhere. It writes to stderr.
pub struct Training {
    name: String,
    seen: Seen,
    show: Show,
}

enum Show {
    Live(ProgressBar),
    Lines(Instant),
    Nothing,
}

/// What is known of it.
#[derive(Default)]
struct Seen {
    train: Vec<(u64, f64)>,
    held_out: Vec<(u64, f64)>,
    seconds: Vec<f64>,
    last: Option<StepMetrics>,
    said: String,
}

impl Training {
    /// Shows the training of `name`.
    pub fn new(name: &str) -> Self {
        let show = if io::stderr().is_terminal() {
            Show::Live(live())
        } else {
            Show::Lines(Instant::now())
        };
        Self {
            name: name.to_owned(),
            seen: Seen::default(),
            show,
        }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self {
            name: String::new(),
            seen: Seen::default(),
            show: Show::Nothing,
        }
    }

    /// Takes in what happened.
    pub fn push(&mut self, event: &FineTuningEvent) {
        let metrics = event.data.clone().filter(|_| event.kind == "metrics");
        match metrics.and_then(|data| serde_json::from_value::<StepMetrics>(data).ok()) {
            Some(metrics) => {
                let evaluated = metrics.validation_loss.is_some();
                self.seen.take(metrics);
                self.draw(evaluated);
            }
            None => {
                self.seen.said = plain(&event.message);
                self.say(event);
            }
        }
    }

    fn say(&mut self, event: &FineTuningEvent) {
        let text = match event.level.as_str() {
            "error" => paint_note(plain(&event.message)).red(),
            "warn" => paint_note(plain(&event.message)).yellow(),
            _ => paint_note(plain(&event.message)),
        };
        match &self.show {
            Show::Live(bar) => bar.println(text.to_string()),
            Show::Lines(_) => {
                let _ = writeln!(io::stderr().lock(), "{text}");
            }
            Show::Nothing => {}
        }
        self.draw(false);
    }

    fn draw(&mut self, at_once: bool) {
        match &mut self.show {
            Show::Live(bar) => {
                let width = usize::from(Term::stderr().size().1);
                bar.set_message(self.seen.view(&self.name, width));
            }
            Show::Lines(last) if at_once || last.elapsed() >= INTERVAL => {
                if let Some(line) = self.seen.line() {
                    *last = Instant::now();
                    let _ = writeln!(io::stderr().lock(), "{line}");
                }
            }
            Show::Lines(_) | Show::Nothing => {}
        }
    }

    /// Leaves the last view on the screen.
    pub fn finish(&self) {
        if let Show::Live(bar) = &self.show {
            bar.finish_and_clear();
            let width = usize::from(Term::stderr().size().1);
            let view = self.seen.view(&self.name, width);
            let _ = writeln!(io::stderr().lock(), "{view}\n");
        }
    }
}

fn live() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

impl Seen {
    fn take(&mut self, metrics: StepMetrics) {
        self.train
            .extend(metrics.train_loss.map(|loss| (metrics.step, loss)));
        self.held_out
            .extend(metrics.validation_loss.map(|loss| (metrics.step, loss)));
        if metrics.train_loss.is_some() {
            self.seconds.push(metrics.seconds);
        }
        self.last = Some(match self.last.take() {
            // An evaluation says nothing of the pace; that of the last step stays.
            Some(before) if metrics.train_loss.is_none() => StepMetrics {
                learning_rate: metrics.learning_rate.or(before.learning_rate),
                grad_norm: metrics.grad_norm.or(before.grad_norm),
                tokens_per_second: metrics.tokens_per_second.or(before.tokens_per_second),
                ..metrics
            },
            _ => metrics,
        });
    }

    /// Everything, over several lines of at most `width` columns.
    fn view(&self, name: &str, width: usize) -> String {
        let Some(last) = &self.last else {
            return format!("{name}  {}", self.said);
        };
        let share = last.step as f64 / last.total_steps.max(1) as f64;
        let done = ((BAR as f64 * share) as usize).min(BAR);
        let bar = format!("{}{}", "━".repeat(done), "─".repeat(BAR - done));
        let mut lines = vec![
            format!(
                "{name}  {bar}  step {}/{}  epoch {:.2}",
                last.step, last.total_steps, last.epoch
            ),
            self.losses(),
            self.pace(last),
        ];
        lines.extend(chart(&self.train, &self.held_out, width));
        let cut = |line: String| console::truncate_str(&line, width.max(20), "…").into_owned();
        lines.into_iter().map(cut).collect::<Vec<_>>().join("\n")
    }

    fn losses(&self) -> String {
        let number = |loss: Option<&(u64, f64)>| {
            loss.map_or("–".to_owned(), |(_, loss)| format!("{loss:.4}"))
        };
        let mut text = format!(
            "loss {}   validation {}",
            number(self.train.last()),
            number(self.held_out.last())
        );
        let best = self.held_out.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((step, loss)) = best.filter(|_| self.held_out.len() > 1) {
            text.push_str(&format!(" (best {loss:.4} at step {step})"));
        }
        text
    }

    fn pace(&self, last: &StepMetrics) -> String {
        let mut parts = Vec::new();
        parts.extend(
            last.tokens_per_second
                .map(|speed| format!("{speed:.1} tokens/s")),
        );
        parts.extend(last.learning_rate.map(|rate| format!("lr {rate:.2e}")));
        parts.extend(last.grad_norm.map(|norm| format!("gradient {norm:.2}")));
        if last.peak_memory_bytes > 0 {
            parts.push(bytes(last.peak_memory_bytes));
        }
        parts.extend(
            self.left(last)
                .map(|left| format!("{} left", elapsed(left))),
        );
        parts.join("   ")
    }

    /// The rest at the pace of the last steps.
    fn left(&self, last: &StepMetrics) -> Option<Duration> {
        let some = self.seconds.iter().rev().take(PACE);
        let count = some.clone().count();
        let mean = some.sum::<f64>() / count as f64;
        let steps = last.total_steps.saturating_sub(last.step);
        let seconds = mean * steps as f64;
        (count > 0 && steps > 0 && seconds.is_finite())
            .then(|| Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
    }

    /// Everything in one line.
    fn line(&self) -> Option<String> {
        let last = self.last.as_ref()?;
        let step = format!("step {}/{}", last.step, last.total_steps);
        Some(format!("{step}  {}  {}", self.losses(), self.pace(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64, train: Option<f64>, held_out: Option<f64>) -> StepMetrics {
        StepMetrics {
            step,
            total_steps: 40,
            epoch: step as f64 / 20.0,
            train_loss: train,
            validation_loss: held_out,
            learning_rate: Some(2e-4),
            grad_norm: Some(0.5),
            tokens: Some(100),
            tokens_per_second: Some(50.0),
            seconds: 2.0,
            peak_memory_bytes: 1_200_000_000,
        }
    }

    #[test]
    fn the_view_tells_losses_pace_and_what_is_left() {
        let mut seen = Seen::default();
        seen.take(metrics(0, None, Some(3.0)));
        for step in 1..=10 {
            seen.take(metrics(
                step,
                Some(3.0 - step as f64 * 0.1),
                (step == 10).then_some(2.5),
            ));
        }
        let view = seen.view("tuned", 80);
        let lines: Vec<&str> = view.lines().collect();
        assert_eq!(
            lines[0],
            "tuned  ━━━━━━━━────────────────────────  step 10/40  epoch 0.50"
        );
        assert_eq!(
            lines[1],
            "loss 2.0000   validation 2.5000 (best 2.5000 at step 10)"
        );
        assert_eq!(
            lines[2],
            "50.0 tokens/s   lr 2.00e-4   gradient 0.50   1.20 GB   1 min 0 s left"
        );
        assert_eq!(lines.len(), 13);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
        let evaluation = StepMetrics {
            tokens_per_second: None,
            ..metrics(10, None, Some(2.4))
        };
        seen.take(evaluation);
        let line = seen.line().expect("a line");
        assert!(
            line.contains("validation 2.4000") && line.contains("50.0 tokens/s"),
            "{line}"
        );
        assert!(
            line.starts_with("step 10/40  loss 2.0000") && !line.contains('\n'),
            "{line}"
        );
        assert!(Seen::default().view("tuned", 80).starts_with("tuned"));
    }
}

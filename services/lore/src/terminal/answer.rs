use super::passages::place;
use super::{Output, elapsed, one_line, paint, paint_note, plain, print_passages};
use crate::exit::Failure;
use console::Term;
use lore_types::{Answer, Citation, Claim};
use std::time::Duration;

/// Columns of a quote that are shown.
const QUOTED: usize = 240;

/// An answer as it is being written. The finished answer, with its citations, takes its place.
pub struct Streamed {
    output: Output,
    text: String,
}

impl Streamed {
    /// Nothing written yet.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            text: String::new(),
        }
    }

    /// Shows more of the text.
    pub fn push(&mut self, text: &str) -> Result<(), Failure> {
        let text = plain(text);
        self.text.push_str(&text);
        self.output.raw(text)
    }

    /// Removes what was shown, where it still is on the screen; else begins a new paragraph.
    pub fn erase(self) -> Result<(), Failure> {
        let term = Term::stdout();
        let (height, width) = term.size();
        let rows = rows(&self.text, usize::from(width));
        if rows >= usize::from(height) {
            return self.output.raw("\n\n");
        }
        let cleared = term
            .clear_line()
            .and_then(|()| term.clear_last_lines(rows.saturating_sub(1)));
        cleared.map_err(|error| Failure::output(&error))
    }
}

/// Rows that `text` takes on a screen of this width.
fn rows(text: &str, width: usize) -> usize {
    let width = width.max(1);
    text.split('\n')
        .map(|line| console::measure_text_width(line).div_ceil(width).max(1))
        .sum()
}

/// The answer with its markers, then what each marker stands for.
pub fn print_answer(output: Output, answer: &Answer, explain: bool) -> Result<(), Failure> {
    if explain {
        print_passages(output, &answer.passages)?;
        answer
            .prompt
            .iter()
            .try_for_each(|prompt| output.line(paint(plain(prompt)).dim()))?;
    }
    output.line(marked(answer))?;
    answer.notices.iter().for_each(|notice| {
        output.note(format!(
            "{} {}",
            paint_note("note:").yellow(),
            plain(notice)
        ))
    });
    if !answer.citations.is_empty() {
        output.line("")?;
    }
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for citation in &answer.citations {
        // One place may back several sentences; it is shown once.
        let key = (citation.marker.as_str(), citation.quote.as_str());
        if !seen.contains(&key) {
            seen.push(key);
            print_citation(output, citation)?;
        }
    }
    if explain {
        print_timings(output, answer)
    } else {
        Ok(())
    }
}

/// The answer's text with a note behind each sentence that nothing backs.
fn marked(answer: &Answer) -> String {
    if answer.abstained {
        return paint(plain(&answer.answer)).yellow().to_string();
    }
    let mut text = String::new();
    let mut from = 0;
    let unsupported = answer.claims.iter().filter(|claim| !claim.supported);
    for Claim { answer_span, .. } in unsupported {
        let Some(part) = answer.answer.get(from..answer_span.end) else {
            continue;
        };
        text.push_str(&plain(part));
        text.push_str(&format!(
            " {}",
            paint("(not supported by the documents)").yellow()
        ));
        from = answer_span.end;
    }
    text.push_str(&plain(answer.answer.get(from..).unwrap_or_default()));
    text
}

fn print_citation(output: Output, citation: &Citation) -> Result<(), Failure> {
    let name = paint(plain(&citation.document_name)).bold().cyan();
    let place = place(
        citation.page,
        citation.heading.as_deref().unwrap_or_default(),
    );
    let support = paint(format!("support {:.2}", citation.support)).dim();
    output.line(format!(
        "{} {name}{place}  {support}",
        paint(&citation.marker).bold()
    ))?;
    output.line(format!("    “{}”", one_line(&citation.quote, QUOTED)))
}

fn print_timings(output: Output, answer: &Answer) -> Result<(), Failure> {
    let timings = &answer.timings;
    let told = |ms: f64| elapsed(Duration::from_secs_f64((ms / 1000.0).max(0.0)));
    output.line("")?;
    output.line(paint(format!(
        "{}: {} in all (rewrite {}, embed {}, retrieve {}, generate {}, cite {}), {} prompt and {} answer tokens",
        answer.model,
        told(timings.total_ms),
        told(timings.rewrite_ms),
        told(timings.embed_ms),
        told(timings.retrieve_ms),
        told(timings.generate_ms),
        told(timings.cite_ms),
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    ))
    .dim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_wrapped_and_wide_lines() {
        assert_eq!(rows("", 10), 1);
        assert_eq!(rows("12345678901", 10), 2);
        assert_eq!(rows("年年年年年年\na", 10), 3);
    }
}

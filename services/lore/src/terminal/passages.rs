use super::{Output, one_line, paint, plain};
use crate::exit::Failure;
use lore_types::{Passage, Scores, SideScore};

/// Columns of a passage's text that are shown.
const SHOWN: usize = 300;

/// Passages, the best first, each with its place and the beginning of its text.
pub fn print_passages(output: Output, passages: &[Passage]) -> Result<(), Failure> {
    if passages.is_empty() {
        output.note("nothing found");
    }
    passages
        .iter()
        .enumerate()
        .try_for_each(|(index, passage)| print_passage(output, index + 1, passage))
}

fn print_passage(output: Output, number: usize, passage: &Passage) -> Result<(), Failure> {
    let name = plain(&passage.document_name);
    let place = place(passage.page, &passage.heading.join(" > "));
    let score = paint(format!("{:.4}", passage.score)).dim();
    output.line(format!(
        "{number:>2}. {}{place}  {score}",
        paint(name).bold().cyan()
    ))?;
    if let Some(scores) = &passage.scores {
        output.line(format!("    {}", paint(explain(scores)).dim()))?;
    }
    output.line(format!("    {}", one_line(&passage.text, SHOWN)))?;
    output.line("")
}

/// `, page 3, Leave > Annual leave`, as far as they are known.
pub fn place(page: Option<u32>, heading: &str) -> String {
    let page = page
        .map(|page| format!(", page {page}"))
        .unwrap_or_default();
    let heading = if heading.is_empty() {
        String::new()
    } else {
        format!(", {}", one_line(heading, 80))
    };
    format!("{page}{heading}")
}

fn explain(scores: &Scores) -> String {
    let sides = [
        ("dense", scores.dense),
        ("lexical", scores.lexical),
        ("fused", scores.fused),
        ("rerank", scores.rerank),
    ];
    let tell = |(name, score): (&str, Option<SideScore>)| {
        score.map(|score| format!("{name} {:.4} (rank {})", score.score, score.rank))
    };
    sides
        .into_iter()
        .filter_map(tell)
        .collect::<Vec<_>>()
        .join("  ")
}

//! What stands on page after page: running heads, feet and page numbers.

use super::line::Line;
use std::collections::HashMap;

/// Lines from the top and from the bottom that can be furniture.
const DEPTH: usize = 3;
/// Pages before and after on which a line must come again.
const REACH: usize = 6;
/// Points by which its place may differ.
const SHIFT: f32 = 8.0;

/// A line at an edge of a page.
struct Edge {
    page: usize,
    line: usize,
    y: f32,
}

/// Takes the furniture out of the pages; the first of a line that comes again stays, unless it is nothing but a number.
pub(crate) fn remove(pages: &mut [Vec<Line>]) {
    let mut by_words: HashMap<(bool, String), Vec<Edge>> = HashMap::new();
    for (page, lines) in pages.iter().enumerate() {
        for (top, line) in edges(lines) {
            let Some(found) = lines.get(line) else {
                continue;
            };
            let words = words(&found.text());
            by_words.entry((top, words)).or_default().push(Edge {
                page,
                line,
                y: found.y0,
            });
        }
    }
    let mut dropped: Vec<Vec<usize>> = vec![Vec::new(); pages.len()];
    for ((_, words), edges) in &by_words {
        let number_only = !words.chars().any(char::is_alphabetic) || is_page_word(words);
        let mut kept = number_only;
        for edge in edges {
            if !comes_again(edge, edges, pages.len()) && !is_own_number(edge, pages) {
                continue;
            }
            if std::mem::replace(&mut kept, true)
                && let Some(lines) = dropped.get_mut(edge.page)
            {
                lines.push(edge.line);
            }
        }
    }
    for (lines, dropped) in pages.iter_mut().zip(dropped) {
        let mut place = 0;
        lines.retain(|_| {
            place += 1;
            !dropped.contains(&(place - 1))
        });
    }
}

/// The lines nearest to the top (`true`) and to the bottom of a page.
fn edges(lines: &[Line]) -> Vec<(bool, usize)> {
    let mut by_height: Vec<usize> = (0..lines.len()).collect();
    by_height.sort_by(|a, b| lines[*b].y0.total_cmp(&lines[*a].y0));
    let depth = DEPTH.min(lines.len().div_ceil(2));
    let top = by_height.iter().take(depth).map(|line| (true, *line));
    top.chain(
        by_height
            .iter()
            .rev()
            .take(depth)
            .map(|line| (false, *line)),
    )
    .collect()
}

/// Whether the line stands at the same place on two pages around.
fn comes_again(edge: &Edge, edges: &[Edge], pages: usize) -> bool {
    let near = |other: &&Edge| {
        other.page != edge.page
            && other.page.abs_diff(edge.page) <= REACH
            && (other.y - edge.y).abs() < SHIFT
    };
    let needed = if pages < 3 { usize::MAX } else { 2 };
    edges.iter().filter(near).take(needed).count() == needed
}

/// Whether the line is the number of its page in a document of several pages.
fn is_own_number(edge: &Edge, pages: &[Vec<Line>]) -> bool {
    let text = pages
        .get(edge.page)
        .and_then(|lines| lines.get(edge.line))
        .map(Line::text)
        .unwrap_or_default();
    pages.len() > 1
        && text.trim_matches(|c: char| !c.is_alphanumeric()) == (edge.page + 1).to_string()
}

/// The words of a line with every number made the same, Roman ones included.
fn words(text: &str) -> String {
    let is_roman = |word: &str| word.chars().all(|c| matches!(c, 'i' | 'v' | 'x' | 'l'));
    let plain = |word: &str| {
        let mut out = String::new();
        for c in word.chars() {
            let c = if c.is_numeric() { '#' } else { c };
            if !(c == '#' && out.ends_with('#')) {
                out.push(c);
            }
        }
        out
    };
    let text = text.to_lowercase();
    text.split_whitespace()
        .map(|word| {
            if is_roman(word) {
                "#".to_owned()
            } else {
                plain(word)
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a line says nothing but the number of the page, in words: `page # of #`, `第#页`.
fn is_page_word(words: &str) -> bool {
    let rest: String = words
        .chars()
        .filter(|c| c.is_alphabetic() || c.is_whitespace())
        .collect();
    rest.split_whitespace().all(|word| {
        matches!(
            word,
            "page"
                | "of"
                | "seite"
                | "von"
                | "página"
                | "pagina"
                | "de"
                | "p"
                | "pg"
                | "第"
                | "页"
                | "第页"
                | "頁"
                | "共"
                | "共页"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::pdf::line::{Cell, Word};

    fn line(text: &str, y: f32) -> Line {
        let cells = vec![Cell {
            words: vec![Word {
                text: text.to_owned(),
                x0: 0.0,
                x1: 100.0,
            }],
        }];
        Line {
            cells,
            y0: y,
            y1: y + 10.0,
            size: 10.0,
            bold: false,
            mono: false,
        }
    }

    #[test]
    fn running_heads_and_page_numbers_go_and_text_stays() {
        let mut pages: Vec<Vec<Line>> = (1..=4)
            .map(|page| {
                let mut lines = vec![line("Staff handbook 2024", 780.0)];
                lines.extend((0..8).map(|row| {
                    line(
                        &format!("body {} {row}", "y".repeat(page)),
                        700.0 - 20.0 * row as f32,
                    )
                }));
                lines.push(line(&format!("Page {page} of 4"), 20.0));
                lines
            })
            .collect();
        remove(&mut pages);
        let counts: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(counts, [9, 8, 8, 8]);
        assert_eq!(pages[0][0].text(), "Staff handbook 2024");
    }
}

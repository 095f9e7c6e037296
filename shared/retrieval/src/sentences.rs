//! Texts as sentences: abbreviations, decimals, Chinese punctuation, list items, table rows and code are told apart.

use lore_types::Span;

/// Longest sentence in bytes; text without punctuation is cut at a space before that.
const MAX_SENTENCE: usize = 700;

const ABBREVIATIONS: &str = "mr mrs ms dr prof sr jr st vs no nos fig figs eq eqs sec ch vol pp p ed eds al etc inc ltd co corp dept \
    est approx cf ca jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun ref refs resp art para u.s u.k e.g \
    i.e a.m p.m ph.d";

/// The sentences of `text`, in order, without the space, the bullets and the code fences around them.
///
/// # Guarantees
/// Spans do not overlap, are not empty, end on character borders, and are at most about 700 bytes long.
pub fn sentences(text: &str) -> Vec<Span> {
    let mut out = Vec::new();
    for block in blocks(text) {
        if block.code {
            push_trimmed(text, block.span, &mut out);
        } else {
            split_block(text, block.span, &mut out);
        }
    }
    out
}

/// What can be quoted of a passage, in order: as [`sentences`], with each row of a table (cells with ` | ` between them, as
/// the parsers write them) as one.
pub(crate) fn quotable(text: &str) -> Vec<Span> {
    let (mut out, mut prose, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        let row = Span::new(at, at + line.len());
        at = row.end;
        if line.contains(" | ") {
            push_sentences(text, Span::new(prose, row.start), &mut out);
            push_trimmed(text, row, &mut out);
            prose = at;
        }
    }
    push_sentences(text, Span::new(prose, at), &mut out);
    out
}

fn push_sentences(text: &str, part: Span, out: &mut Vec<Span>) {
    let found = sentences(part.of(text).unwrap_or_default());
    out.extend(
        found
            .into_iter()
            .map(|span| Span::new(part.start + span.start, part.start + span.end)),
    );
}

/// The parts of `text` that are code: fenced blocks and `inline code`.
pub(crate) fn code_spans(text: &str) -> Vec<Span> {
    let mut out: Vec<Span> = blocks(text)
        .into_iter()
        .filter(|block| block.code)
        .map(|block| block.span)
        .collect();
    let mut open: Option<usize> = None;
    for (at, c) in text.char_indices() {
        if out.iter().any(|span| span.range().contains(&at)) || c == '\n' {
            open = None;
        } else if c == '`' {
            match open.take() {
                Some(start) => out.push(Span::new(start, at + 1)),
                None => open = Some(at),
            }
        }
    }
    out
}

struct Block {
    span: Span,
    code: bool,
}

/// Paragraphs, list items, table rows and fenced code: what a sentence never crosses.
fn blocks(text: &str) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    let (mut at, mut fenced, mut joins) = (0, false, false);
    for line in text.split_inclusive('\n') {
        let span = Span::new(at, at + line.len());
        at = span.end;
        let trimmed = line.trim();
        let fence = trimmed.starts_with("```");
        if fence {
            fenced = !fenced;
            joins = false;
        } else if fenced {
            extend_or_push(&mut out, span, joins, true);
            joins = true;
        } else if trimmed.is_empty() {
            joins = false;
        } else {
            let open = opening(line);
            let start = Span::new(span.start + open, span.end);
            let goes_on = joins && open == indent(line) && continues(text, &out, trimmed);
            extend_or_push(&mut out, start, goes_on, false);
            joins = !trimmed.starts_with(['|', '#']);
        }
    }
    out
}

fn extend_or_push(out: &mut Vec<Block>, span: Span, joins: bool, code: bool) {
    match out.last_mut() {
        Some(last) if joins => last.span.end = span.end,
        _ => out.push(Block { span, code }),
    }
}

/// Whether a line goes on with the sentence of the line before it: PDF and hand-wrapped text break lines anywhere.
fn continues(text: &str, out: &[Block], line: &str) -> bool {
    let Some(before) = out.last().and_then(|block| block.span.of(text)) else {
        return false;
    };
    if line.starts_with('|') {
        return false;
    }
    let last_line = before.trim_end().rsplit('\n').next().unwrap_or_default();
    let first = line.chars().next();
    last_line.chars().count() >= 40
        || first.is_some_and(char::is_lowercase)
        || last_line.trim_end().ends_with([',', '，', '、'])
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Bytes of space and bullet at the start of a line.
fn opening(line: &str) -> usize {
    let indent = indent(line);
    let rest = line.get(indent..).unwrap_or_default();
    let bullet = bullet(rest);
    let after = rest.get(bullet..).unwrap_or_default();
    if bullet == 0 || after.trim().is_empty() {
        indent
    } else {
        indent + bullet + self::indent(after)
    }
}

/// Whether the space and the bullet at the start of a line stay as they are, whatever is added to the line.
pub(crate) fn opening_is_certain(line: &str) -> bool {
    let now = opening(line);
    let then = |more: &str| opening(&format!("{line}{more}"));
    ["x", " x", "# x", ". x", ") x", "、x", "．x", "）x"]
        .iter()
        .all(|more| then(more) == now)
}

fn bullet(rest: &str) -> usize {
    let marks = rest.bytes().take_while(|b| *b == b'#').count();
    if marks > 0
        && rest
            .get(marks..)
            .is_some_and(|after| after.starts_with(' '))
    {
        return marks;
    }
    if let Some(c) = rest.chars().next()
        && "-*•·–>".contains(c)
        && rest
            .get(c.len_utf8()..)
            .is_some_and(|after| after.starts_with(' '))
    {
        return c.len_utf8();
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let mark = rest.get(digits..).and_then(|after| after.chars().next());
    match mark {
        Some(c @ ('.' | ')'))
            if (1..=3).contains(&digits)
                && rest
                    .get(digits + 1..)
                    .is_some_and(|after| after.starts_with(' ')) =>
        {
            digits + c.len_utf8()
        }
        Some(c @ ('、' | '．' | '）')) if (1..=3).contains(&digits) => digits + c.len_utf8(),
        _ => 0,
    }
}

fn split_block(text: &str, block: Span, out: &mut Vec<Span>) {
    let mut start = block.start;
    let inside = block.of(text).unwrap_or_default();
    for (offset, c) in inside.char_indices() {
        let at = block.start + offset;
        if at < start || !is_end(text, block, at, c) {
            continue;
        }
        let end = after_closers(text, block, at + c.len_utf8());
        push_trimmed(text, Span::new(start, end), out);
        start = end;
    }
    push_trimmed(text, Span::new(start, block.end), out);
}

fn is_end(text: &str, block: Span, at: usize, c: char) -> bool {
    match c {
        '。' | '！' | '？' | '｡' => true,
        '!' | '?' => ends_before_space(text, block, at + 1),
        '.' => ends_before_space(text, block, at + 1) && !abbreviates(text, block, at),
        _ => false,
    }
}

fn ends_before_space(text: &str, block: Span, after: usize) -> bool {
    let end = after_closers(text, block, after);
    let next = Span::new(end, block.end)
        .of(text)
        .unwrap_or_default()
        .chars()
        .next();
    next.is_none_or(|c| c.is_whitespace() || crate::language::is_han(c))
}

/// The end of the quotation marks, brackets and reference numbers that close a sentence after its full stop.
fn after_closers(text: &str, block: Span, from: usize) -> usize {
    let rest = Span::new(from, block.end).of(text).unwrap_or_default();
    let mut end = 0;
    loop {
        let tail = rest.get(end..).unwrap_or_default();
        let Some(c) = tail.chars().next() else { break };
        if "\"'”’)]）』」】》!?！？。*_".contains(c) {
            end += c.len_utf8();
        } else if let Some(length) = reference(tail) {
            end += length;
        } else {
            break;
        }
    }
    from + end
}

/// Bytes of a reference such as `[12]` at the start of `tail`.
fn reference(tail: &str) -> Option<usize> {
    let inside = tail.strip_prefix('[')?;
    let length = inside
        .find(']')
        .filter(|length| (1..=12).contains(length))?;
    let numbers = inside
        .get(..length)?
        .bytes()
        .all(|b| b.is_ascii_digit() || b", -".contains(&b));
    numbers.then_some(length + 2)
}

/// Whether the full stop at `at` belongs to an abbreviation or an initial.
fn abbreviates(text: &str, block: Span, at: usize) -> bool {
    let before = Span::new(block.start, at).of(text).unwrap_or_default();
    let word = before
        .rsplit(|c: char| c.is_whitespace() || "(\"'“".contains(c))
        .next()
        .unwrap_or_default();
    let after = Span::new(at + 1, block.end)
        .of(text)
        .unwrap_or_default()
        .trim_start();
    let lower_follows = after.chars().next().is_some_and(char::is_lowercase);
    let initial =
        word.chars().count() == 1 && word.chars().all(char::is_uppercase) && !after.is_empty();
    let known = ABBREVIATIONS
        .split_whitespace()
        .any(|known| known == word.to_lowercase());
    initial || lower_follows || (known && !after.is_empty())
}

fn push_trimmed(text: &str, span: Span, out: &mut Vec<Span>) {
    let mut rest = span;
    while rest.len() > MAX_SENTENCE {
        let cut = cut_before(text, rest);
        push_short(text, Span::new(rest.start, cut), out);
        rest.start = cut;
    }
    push_short(text, rest, out);
}

/// Where to cut a span that is too long: after its last space or comma within the limit, or at the limit.
fn cut_before(text: &str, span: Span) -> usize {
    let mut limit = span.start + MAX_SENTENCE;
    while !text.is_char_boundary(limit) {
        limit -= 1;
    }
    let head = Span::new(span.start, limit).of(text).unwrap_or_default();
    let at = head.rfind(|c: char| c.is_whitespace() || "，、；,;".contains(c));
    at.and_then(|at| {
        head.get(at..)?
            .chars()
            .next()
            .map(|c| span.start + at + c.len_utf8())
    })
    .unwrap_or(limit)
}

fn push_short(text: &str, span: Span, out: &mut Vec<Span>) {
    let Some(inside) = span.of(text) else { return };
    let left = inside.len() - inside.trim_start().len();
    let kept = inside.trim().len();
    if kept > 0 {
        out.push(Span::new(span.start + left, span.start + left + kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text)
            .into_iter()
            .filter_map(|span| span.of(text))
            .collect()
    }

    #[test]
    fn abbreviations_and_decimals_do_not_end_a_sentence() {
        assert_eq!(
            split("Dr. Li paid 3.5 percent, e.g. in the U.S. market. It rained."),
            [
                "Dr. Li paid 3.5 percent, e.g. in the U.S. market.",
                "It rained."
            ]
        );
        assert_eq!(
            split("See J. K. Rowling vs. Fig. 3. Done!"),
            ["See J. K. Rowling vs. Fig. 3.", "Done!"]
        );
    }

    #[test]
    fn chinese_sentences_end_without_a_space() {
        assert_eq!(
            split("退款需要14天。“是吗？”他问。好"),
            ["退款需要14天。", "“是吗？”", "他问。", "好"]
        );
    }

    #[test]
    fn list_items_and_headings_stand_alone() {
        assert_eq!(
            split("# Leave\n- first item\n- second item. With more\n\n1. one\n2. two"),
            [
                "Leave",
                "first item",
                "second item.",
                "With more",
                "one",
                "two"
            ]
        );
    }

    #[test]
    fn the_rows_of_a_table_stand_alone() {
        let rows = "Code | Meaning | Remedy\nE-1042 | Pump does not turn | Check connector J7, then replace pump HP-31\nE-1043 | too warm | Wait";
        let text = format!("Prose. More.\n{rows}\nEnd.");
        let found: Vec<_> = quotable(&text)
            .into_iter()
            .filter_map(|span| span.of(&text))
            .collect();
        let expected: Vec<_> = ["Prose.", "More."]
            .into_iter()
            .chain(rows.lines())
            .chain(["End."])
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn wrapped_lines_are_one_sentence() {
        assert_eq!(
            split("The refund is paid within fourteen days after\nthe parcel came back."),
            ["The refund is paid within fourteen days after\nthe parcel came back."]
        );
    }

    #[test]
    fn code_is_one_piece() {
        assert_eq!(
            split("Run:\n```sh\na. b\nc! d\n```\nDone."),
            ["Run:", "a. b\nc! d", "Done."]
        );
    }

    #[test]
    fn a_reference_number_closes_its_sentence() {
        assert_eq!(
            split("Cells die.[3] They grow."),
            ["Cells die.[3]", "They grow."]
        );
    }
}

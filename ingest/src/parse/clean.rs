//! Characters that are no text, and white space.

/// Whether `c` carries no text: controls other than tab and line end, zero-width and bidirectional marks, soft hyphens.
fn is_noise(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' => {
            true
        }
        '\u{202A}'..='\u{202E}' | '\u{FFF9}'..='\u{FFFC}' | '\u{FFFE}' | '\u{FFFF}' => true,
        _ => c.is_control(),
    }
}

/// Whether `c` is white space within a line, the no-break kinds included.
fn is_blank(c: char) -> bool {
    c != '\n' && (c.is_whitespace() || c == '\u{2800}')
}

/// `text` with every run of white space made one space, noise dropped, and each line trimmed. Line ends stay; blank lines go.
pub(crate) fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for c in normal_lines(text) {
        if is_blank(c) {
            space = true;
        } else if c == '\n' {
            space = false;
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
        } else if !is_noise(c) {
            if space && !out.is_empty() && !out.ends_with('\n') {
                out.push(' ');
            }
            space = false;
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// `text` on one line, squeezed.
pub(crate) fn one_line(text: &str) -> String {
    squeeze(text).replace('\n', " ")
}

/// `text` with its layout kept: noise dropped, line ends made `\n`, trailing blanks cut, and at most one blank line in a row.
pub(crate) fn verbatim(text: &str) -> String {
    let clean: String = normal_lines(text).filter(|c| !is_noise(*c)).collect();
    let mut out = String::with_capacity(clean.len());
    let mut blank_lines = 0;
    for line in clean.split('\n') {
        let line = line.trim_end();
        blank_lines = if line.is_empty() { blank_lines + 1 } else { 0 };
        if blank_lines < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    let start = out.len() - out.trim_start_matches('\n').len();
    out.drain(..start);
    out.truncate(out.trim_end().len());
    out
}

/// The characters of `text` with every kind of line or page end made `\n`.
fn normal_lines(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut after_return = false;
    text.chars().filter_map(move |c| {
        let skip = after_return && c == '\n';
        after_return = c == '\r';
        match c {
            _ if skip => None,
            '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
            other => Some(other),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_collapses_but_lines_stay() {
        assert_eq!(
            squeeze("  a\u{A0}\u{A0} b \r\n\r\n c\u{200B}d\u{0}  "),
            "a b\ncd"
        );
        assert_eq!(one_line("a\nb"), "a b");
    }

    #[test]
    fn layout_is_kept_verbatim() {
        assert_eq!(
            verbatim("\n\n  if x:\r\n\ty  \r\r\r\rz\u{C}"),
            "  if x:\n\ty\n\nz"
        );
    }
}

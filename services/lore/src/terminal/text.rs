use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;

/// `text` without characters that could steer a terminal: a document's words are not to be trusted.
pub fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'))
        .collect()
}

/// `text` on one line of at most `width` columns.
pub fn one_line(text: &str, width: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    console::truncate_str(&plain(&words.join(" ")), width, "…").into_owned()
}

/// `7.3 MB`: a number of bytes for a person, in powers of 1,000.
pub fn bytes(count: u64) -> String {
    indicatif::DecimalBytes(count).to_string()
}

/// `850 ms`, `4.2 s`, `3 min 20 s`.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{} ms", duration.as_millis())
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{} min {} s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        )
    }
}

/// `2026-01-31 14:05` in UTC.
pub fn moment(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    time.to_offset(time::UtcOffset::UTC)
        .format(format)
        .unwrap_or_else(|_| time.to_string())
}

/// `1 document`, `2 documents`.
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_documents_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\u{7}\r\n\tc"), "a[31mb\n\tc");
        assert_eq!(one_line(" a \n b\tc ", 80), "a b c");
        assert_eq!(one_line("年假有三十天", 7), "年假有…");
    }

    #[test]
    fn durations_are_told_in_the_unit_that_fits() {
        let told = [0.85, 4.2, 200.0].map(|seconds| elapsed(Duration::from_secs_f64(seconds)));
        assert_eq!(told, ["850 ms", "4.2 s", "3 min 20 s"]);
    }
}

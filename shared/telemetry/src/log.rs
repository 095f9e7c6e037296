//! Log lines on standard error.

use std::io::IsTerminal;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::TelemetryError;

/// Libraries that log what Lore handles and reports itself, or, as the vector engine does, their own start at every
/// collection; `filter` can open them again.
const QUIET: &str = "hf_hub=off,qdrant_edge=error";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error for the whole process.
///
/// `filter` is a level or a list such as `info,lore_ingest=debug`. Colours are used for [`Format::Text`] where standard
/// error is a terminal and `NO_COLOR` is not set.
///
/// # Errors
/// The filter cannot be understood, or the process logs already.
pub fn init(filter: &str, format: Format) -> Result<(), TelemetryError> {
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    subscriber(filter, format, colours, std::io::stderr)?
        .try_init()
        .map_err(|_| TelemetryError::LogTaken)
}

/// A subscriber that writes to `writer`.
pub(crate) fn subscriber<W>(
    filter: &str,
    format: Format,
    colours: bool,
    writer: W,
) -> Result<Dispatch, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|error| {
        TelemetryError::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        }
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_writer(writer);
    Ok(match format {
        Format::Text => builder.with_ansi(colours).into(),
        Format::Json => builder.json().flatten_event(true).into(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: Format) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let dispatch = subscriber(filter, format, false, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(document = "d1", "indexed");
            tracing::debug!("details");
        });
        lines.text()
    }

    #[test]
    fn text_lines_hold_message_and_fields_without_escape_codes() {
        let text = logged("info", Format::Text);
        assert!(
            text.contains("indexed")
                && text.contains("document=\"d1\"")
                && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(!text.contains("details"));
    }

    #[test]
    fn a_filter_can_open_one_crate_only() {
        assert!(logged("error,lore_telemetry=debug", Format::Text).contains("details"));
        assert_eq!(logged("error", Format::Text), "");
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_at_the_top() {
        let text = logged("info", Format::Json);
        assert!(
            text.starts_with('{') && text.contains("\"document\":\"d1\"") && text.ends_with("}\n"),
            "{text}"
        );
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_an_example() {
        let error = subscriber("info,=,[[", Format::Text, false, std::io::sink).unwrap_err();
        assert!(
            error.to_string().contains("info,lore_ingest=debug"),
            "{error}"
        );
    }
}

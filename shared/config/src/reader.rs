//! Values into types, with every problem kept.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;
use url::Url;

use crate::layers::{Layers, Origin};
use crate::paths::BaseDirs;
use crate::{ByteSize, Problem, Secret};

/// Reads keys one by one. A bad value is remembered as a problem and stands in as its default, so that reading goes on.
pub(crate) struct Reader<'a> {
    layers: Layers,
    pub(crate) dirs: BaseDirs<'a>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(mut layers: Layers, env: &'a BTreeMap<String, String>) -> Self {
        let problems = std::mem::take(&mut layers.problems);
        Self {
            layers,
            dirs: BaseDirs::new(env),
            problems,
        }
    }

    pub(crate) fn finish(self) -> (Layers, Vec<Problem>) {
        (self.layers, self.problems)
    }

    /// Remembers that `key` is wrong.
    pub(crate) fn problem(
        &mut self,
        key: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let name = match self.layers.get(key).1 {
            Origin::Default | Origin::File(_) => key.to_owned(),
            origin => format!("{origin} ({key})"),
        };
        self.problems.push(Problem::new(name, what, remedy));
    }

    pub(crate) fn text(&mut self, key: &'static str) -> String {
        match self.layers.get(key).0 {
            Value::String(text) => text.trim().to_owned(),
            other => {
                self.problem(
                    key,
                    format!("is {}, not a string", other.type_str()),
                    "put it in quotes",
                );
                String::new()
            }
        }
    }

    /// A text where empty means not set.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.optional(key).map(Secret::new)
    }

    /// A list of secrets, or one string with commas between them.
    pub(crate) fn secrets(&mut self, key: &'static str) -> Vec<Secret> {
        let texts = match self.layers.get(key).0 {
            Value::String(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            Value::Array(items) => self.strings(key, items),
            other => self.strings(key, vec![other]),
        };
        let valid = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        let (valid, invalid): (Vec<_>, Vec<_>) = texts.into_iter().partition(valid);
        if invalid.iter().any(|text| !text.is_empty()) {
            self.problem(
                key,
                "holds a key with spaces or characters beyond ASCII",
                "write keys of visible ASCII",
            );
        }
        valid.into_iter().map(Secret::new).collect()
    }

    fn strings(&mut self, key: &'static str, items: Vec<Value>) -> Vec<String> {
        let count = items.len();
        let texts: Vec<String> = items
            .into_iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect();
        if texts.len() != count {
            self.problem(
                key,
                "holds something that is not a string",
                "write it as [\"…\", \"…\"]",
            );
        }
        texts
    }

    pub(crate) fn bool(&mut self, key: &'static str) -> bool {
        let value = match self.layers.get(key).0 {
            Value::Boolean(switch) => Some(switch),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        value.unwrap_or_else(|| {
            self.problem(key, "is neither true nor false", "write true or false");
            false
        })
    }

    /// A whole number within `range`.
    pub(crate) fn count(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        let value = match self.layers.get(key).0 {
            Value::Integer(number) => usize::try_from(number).ok(),
            Value::String(text) => text.trim().replace('_', "").parse().ok(),
            _ => None,
        };
        let (low, high) = (*range.start(), *range.end());
        value
            .filter(|number| range.contains(number))
            .unwrap_or_else(|| {
                let shown = self.layers.get(key).0;
                self.problem(
                    key,
                    format!("is {shown}"),
                    format!("write a whole number from {low} to {high}"),
                );
                low
            })
    }

    /// A finite number within `range`.
    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> f64 {
        let value = match self.layers.get(key).0 {
            #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^52")]
            Value::Integer(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let (low, high) = (*range.start(), *range.end());
        value
            .filter(|number| range.contains(number))
            .unwrap_or_else(|| {
                let shown = self.layers.get(key).0;
                self.problem(
                    key,
                    format!("is {shown}"),
                    format!("write a number from {low} to {high}"),
                );
                low
            })
    }

    pub(crate) fn size(&mut self, key: &'static str) -> ByteSize {
        let value = match self.layers.get(key).0 {
            Value::Integer(number) if number > 0 => Ok(ByteSize::new(number.unsigned_abs())),
            Value::String(text) => text.parse::<ByteSize>().map_err(|error| error.to_string()),
            other => Err(format!("`{other}` is not a size")),
        };
        let checked = value.and_then(|size| match size.bytes() {
            0 => Err("is zero".to_owned()),
            _ => Ok(size),
        });
        checked.unwrap_or_else(|what| {
            self.problem(key, what, "write a size such as \"256 MiB\"");
            ByteSize::new(1)
        })
    }

    /// A size, or an empty text for none.
    pub(crate) fn optional_size(&mut self, key: &'static str) -> Option<ByteSize> {
        let empty = matches!(self.layers.get(key).0, Value::String(text) if text.is_empty());
        (!empty).then(|| self.size(key))
    }

    pub(crate) fn duration(&mut self, key: &'static str) -> Duration {
        self.duration_from(key, Duration::ZERO)
    }

    /// A duration of at least `shortest`.
    pub(crate) fn duration_from(&mut self, key: &'static str, shortest: Duration) -> Duration {
        let text = self.text(key);
        let (what, remedy) = match humantime::parse_duration(&text) {
            Ok(length) if length >= shortest => return length,
            Ok(_) => {
                let shortest = humantime::format_duration(shortest);
                let what = format!("`{text}` is shorter than {shortest}");
                (what, format!("write at least \"{shortest}\""))
            }
            Err(error) => {
                let remedy = "write one such as \"30s\" or \"2m\"".to_owned();
                (format!("`{text}` is not a duration ({error})"), remedy)
            }
        };
        self.problem(key, what, remedy);
        shortest
    }

    /// An `http` or `https` address, kept without a trailing slash; empty means not set.
    pub(crate) fn url(&mut self, key: &'static str) -> Option<String> {
        let text = self.optional(key)?;
        let valid = Url::parse(&text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !valid {
            self.problem(
                key,
                format!("`{text}` is not an http address"),
                "write one such as \"http://127.0.0.1:6333\"",
            );
        }
        valid.then(|| text.trim_end_matches('/').to_owned())
    }

    /// A path made absolute, or `default` where the key is empty.
    pub(crate) fn path(&mut self, key: &'static str, default: Option<PathBuf>) -> PathBuf {
        let given = match self.optional(key) {
            Some(text) => self.dirs.resolve(&text),
            None => default,
        };
        given.unwrap_or_else(|| {
            self.problem(
                key,
                "is empty and neither HOME nor an XDG folder is set",
                "write an absolute path",
            );
            PathBuf::new()
        })
    }

    /// What one of a few words stands for.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(key);
        let found = choices
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<String> = choices
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            self.problem(
                key,
                format!("is \"{text}\""),
                format!("write {}", words.join(" or ")),
            );
        }
        found
    }
}

use super::config::{LoraConfig, TargetModules};
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use regex::Regex;

/// The name of the output projection, which `all-linear` leaves out.
const HEAD: &str = "lm_head";

impl LoraConfig {
    /// The slots of the decoder's linear layers that the adapter is on, with rank and scaling of each.
    ///
    /// # Errors
    /// A pattern that is no regular expression; targets that match nothing.
    pub fn targets(&self, decoder: &Decoder) -> Result<Vec<(usize, usize, f64)>> {
        let chosen = Chosen::new(&self.target_modules)?;
        let mut targets = Vec::new();
        for linear in decoder.linears().filter(|linear| chosen.has(&linear.name)) {
            let (rank, scaling) = self.rank_and_scaling(&linear.name)?;
            targets.push((linear.slot, rank, scaling));
        }
        if targets.is_empty() {
            return Err(ModelError::Invalid(format!(
                "`target_modules` = {:?} matches no linear layer of the model",
                self.target_modules
            )));
        }
        Ok(targets)
    }

    /// Rank and scaling of the module at a path.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn rank_and_scaling(&self, path: &str) -> Result<(usize, f64)> {
        let rank = by_pattern(self.rank_pattern.iter(), path)?
            .copied()
            .unwrap_or(self.r);
        let alpha = by_pattern(self.alpha_pattern.iter(), path)?
            .copied()
            .unwrap_or(self.lora_alpha);
        let divisor = if self.use_rslora {
            (rank as f64).sqrt()
        } else {
            rank as f64
        };
        Ok((rank, alpha / divisor))
    }
}

enum Chosen<'a> {
    All,
    Suffixes(&'a [String]),
    Matching(Regex),
}

impl<'a> Chosen<'a> {
    fn new(targets: &'a TargetModules) -> Result<Self> {
        match targets {
            TargetModules::List(list) if list.len() == 1 && list[0] == "all-linear" => {
                Ok(Self::All)
            }
            TargetModules::List(list) => Ok(Self::Suffixes(list)),
            TargetModules::Pattern(pattern) if pattern == "all-linear" => Ok(Self::All),
            TargetModules::Pattern(pattern) => {
                compile(pattern, "target_modules").map(Self::Matching)
            }
        }
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Self::All => path != HEAD,
            Self::Suffixes(list) => list.iter().any(|suffix| {
                path == suffix
                    || path
                        .strip_suffix(suffix.as_str())
                        .is_some_and(|rest| rest.ends_with('.'))
            }),
            Self::Matching(pattern) => pattern.is_match(path),
        }
    }
}

/// The whole text must match, as with Python's `fullmatch`.
fn compile(pattern: &str, setting: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| ModelError::Invalid(format!("`{setting}` = {pattern:?}: {error}")))
}

/// The value of the first pattern that matches the end of a path, at a border of its parts.
fn by_pattern<'a, V>(
    mut patterns: impl Iterator<Item = (&'a String, &'a V)>,
    path: &str,
) -> Result<Option<&'a V>> {
    patterns.try_fold(None, |found: Option<&V>, (pattern, value)| match found {
        Some(found) => Ok(Some(found)),
        None => Ok(
            compile(&format!(r"(?:.*\.)?(?:{pattern})"), "rank_pattern")?
                .is_match(path)
                .then_some(value),
        ),
    })
}

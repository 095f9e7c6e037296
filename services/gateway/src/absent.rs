use serde::{Deserialize, Deserializer};

/// Reads a field whose `null` means what its absence means, as many clients write it. Goes with `#[serde(default)]`.
pub(crate) fn or_default<'de, D, T>(value: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(value).map(Option::unwrap_or_default)
}

/// The oldest server that Lore can use.
const OLDEST: (u32, u32) = (1, 16);

/// Refuses a server that is too old, with the reason.
pub(super) fn check(version: &str) -> Result<(), String> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let found = numbers
        .next()
        .zip(numbers.next())
        .and_then(|(major, minor)| major.ok().zip(minor.ok()));
    match found {
        Some(found) if found >= OLDEST => Ok(()),
        Some(_) => Err(format!(
            "it has version {version}, and Lore needs {}.{} or later: update it",
            OLDEST.0, OLDEST.1
        )),
        None => Err(format!("its version `{version}` cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn servers_before_1_16_are_refused() {
        assert!(check("1.16.0").is_ok() && check("1.20.1-dev").is_ok() && check("2.0.0").is_ok());
        assert!(check("1.15.9").is_err_and(|reason| reason.contains("1.16")));
        assert!(check("").is_err());
    }
}

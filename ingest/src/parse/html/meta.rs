//! What a page says of its own encoding.

/// Bytes in which a declaration is looked for: far more than the 1024 of the standard, for pages with long comments.
const HEAD: usize = 64 << 10;

/// The encoding named in a `<meta>` element or an XML declaration.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let ascii: String = head
        .iter()
        .filter(|byte| **byte != 0)
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    let declaration = ascii
        .trim_start()
        .strip_prefix("<?xml")
        .and_then(|rest| rest.split_once("?>"));
    let of_xml = declaration.and_then(|(inside, _)| value_of(inside, "encoding"));
    of_xml.or_else(|| {
        ascii
            .split("<meta")
            .skip(1)
            .find_map(|rest| value_of(rest.split('>').next()?, "charset"))
    })
}

/// The value after `key =`, with or without quotes.
fn value_of(text: &str, key: &str) -> Option<String> {
    let (_, rest) = text.split_once(key)?;
    let rest = rest
        .trim_start()
        .strip_prefix('=')?
        .trim_start()
        .trim_start_matches(['"', '\'']);
    let end = rest
        .find(['"', '\'', ';', ' ', '>', '/', '\n'])
        .unwrap_or(rest.len());
    rest.get(..end)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_found_in_each_form() {
        for page in [
            "<html><meta charset=\"GB2312\">",
            "<meta http-equiv=Content-Type content='text/html; charset=gb2312'>",
            "<?xml version='1.0' encoding='gb2312'?><html>",
        ] {
            assert_eq!(
                declared_encoding(page.as_bytes()).as_deref(),
                Some("gb2312"),
                "{page}"
            );
        }
        assert_eq!(declared_encoding(b"<p>charset=none</p>"), None);
    }
}

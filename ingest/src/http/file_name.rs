//! `filename*`, the form in which a part's file name carries its own encoding (RFC 5987), as Python's requests sends names
//! beyond ASCII. The form reader below knows `filename` alone.

use axum::extract::multipart::Field;
use axum::http::header::CONTENT_DISPOSITION;

/// The file name of a part; `filename*` wins over `filename` (RFC 6266, 4.3).
pub(crate) fn of(part: &Field<'_>) -> Option<String> {
    let header = part.headers().get(CONTENT_DISPOSITION);
    let header = header.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    header
        .and_then(extended)
        .or_else(|| part.file_name().map(str::to_owned))
}

/// The value of `filename*=UTF-8''…`; nothing where it is not there, in another charset, or broken.
fn extended(header: &str) -> Option<String> {
    let value = parameters(header).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("filename*")
            .then_some(value)
    })?;
    let (charset, rest) = value.trim().split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    String::from_utf8(decoded(text)?).ok()
}

/// The parameters of a header, cut at semicolons that no quotes enclose.
fn parameters(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    header.split(move |letter| {
        let ends = letter == ';' && !quoted;
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = letter == '\\' && quoted && !escaped;
        ends
    })
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::extended;

    #[test]
    fn an_extended_name_is_decoded_and_anything_else_left_to_the_plain_one() {
        let name = |header: &str| extended(header);
        let header = "form-data; name=\"file\"; filename=\"a;b\"; filename*=UTF-8\'de\'%C3%9Cbung%20%E2%82%AC.txt";
        assert_eq!(name(header).as_deref(), Some("Übung €.txt"));
        assert_eq!(
            name("form-data; filename=\"filename*=UTF-8\'\'x; y\""),
            None
        );
        assert_eq!(name("form-data; filename*=latin1\'\'x"), None);
        assert_eq!(name("form-data; filename*=UTF-8\'\'%zz"), None);
        assert_eq!(name("form-data; filename*=UTF-8\'\'%FF"), None);
    }
}

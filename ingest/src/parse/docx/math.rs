//! Formulas in one line: fractions as `(a)/(b)`, powers as `a^b`.

use super::xml::Element;

/// The formula in `element` (`m:oMath` and what stands in it).
pub(crate) fn linear(element: &Element) -> String {
    let text = element.elements().map(piece).collect::<String>();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn piece(element: &Element) -> String {
    let part = |name: &str| element.child(name).map(linear).unwrap_or_default();
    match element.name.as_str() {
        "m:t" | "w:t" => element.text(),
        "m:f" => format!("{}/{}", grouped(&part("m:num")), grouped(&part("m:den"))),
        "m:sSup" => format!("{}^{}", part("m:e"), grouped(&part("m:sup"))),
        "m:sSub" => format!("{}_{}", part("m:e"), grouped(&part("m:sub"))),
        "m:sSubSup" => format!(
            "{}_{}^{}",
            part("m:e"),
            grouped(&part("m:sub")),
            grouped(&part("m:sup"))
        ),
        "m:sPre" => format!(
            "_{}^{} {}",
            grouped(&part("m:sub")),
            grouped(&part("m:sup")),
            part("m:e")
        ),
        "m:rad" => format!("{}√{}", part("m:deg"), grouped(&part("m:e"))),
        "m:nary" => nary(element, &part("m:sub"), &part("m:sup"), &part("m:e")),
        "m:d" => delimited(element),
        "m:func" => format!("{} {}", part("m:fName"), part("m:e")),
        "m:limLow" => format!("{}_{}", part("m:e"), grouped(&part("m:lim"))),
        "m:limUpp" => format!("{}^{}", part("m:e"), grouped(&part("m:lim"))),
        "m:m" | "m:eqArr" => joined(
            element,
            if element.name == "m:m" { "m:mr" } else { "m:e" },
            "; ",
        ),
        "m:mr" => joined(element, "m:e", ", "),
        name if name.ends_with("Pr") => String::new(),
        _ => linear(element),
    }
}

fn nary(element: &Element, low: &str, high: &str, body: &str) -> String {
    let sign = element
        .child("m:naryPr")
        .and_then(|properties| properties.value("m:chr"))
        .unwrap_or("∫");
    let low = if low.is_empty() {
        String::new()
    } else {
        format!("_{}", grouped(low))
    };
    let high = if high.is_empty() {
        String::new()
    } else {
        format!("^{}", grouped(high))
    };
    format!("{sign}{low}{high} {body}")
}

fn delimited(element: &Element) -> String {
    let properties = element.child("m:dPr");
    let sign = |name: &str, usual: &str| {
        properties
            .and_then(|own| own.value(name))
            .unwrap_or(usual)
            .to_owned()
    };
    format!(
        "{}{}{}",
        sign("m:begChr", "("),
        joined(element, "m:e", &sign("m:sepChr", "|")),
        sign("m:endChr", ")")
    )
}

fn joined(element: &Element, name: &str, between: &str) -> String {
    let parts = element
        .elements()
        .filter(|child| child.name == name)
        .map(|child| {
            if name == "m:mr" {
                piece(child)
            } else {
                linear(child)
            }
        });
    parts.collect::<Vec<_>>().join(between)
}

/// In parentheses, unless it is one number or one letter.
fn grouped(text: &str) -> String {
    let single = text.chars().count() == 1 || text.chars().all(|c| c.is_ascii_digit());
    if single {
        text.to_owned()
    } else {
        format!("({text})")
    }
}

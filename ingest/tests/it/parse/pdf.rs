use super::{pdfium, read};

/// A PDF of pages, each a content stream that may use the fonts `/R` (Helvetica) and `/B` (Helvetica-Bold).
fn document(pages: &[String]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len())
        .map(|page| format!("{} 0 R", 5 + 2 * page))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.join(" "),
            pages.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    for (place, content) in pages.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {} 0 R /Resources << /Font << /R 3 0 R /B 4 0 R >> >> >>",
            6 + 2 * place
        ));
        objects.push(format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ));
    }
    let mut out = "%PDF-1.7\n".to_owned();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(out.len());
        out += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let start = out.len();
    out += &format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    places
        .iter()
        .for_each(|place| out += &format!("{place:010} 00000 n \n"));
    out += &format!(
        "trailer\n<< /Root 1 0 R /Size {} >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    );
    out.into_bytes()
}

fn shown(font: &str, size: u32, x: u32, y: u32, text: &str) -> String {
    format!("BT /{font} {size} Tf {x} {y} Td ({text}) Tj ET\n")
}

#[test]
fn paragraphs_headings_and_pages_come_from_the_places_of_glyphs() {
    if pdfium().is_none() {
        return;
    }
    let first = [
        shown("B", 20, 72, 740, "Leave policy"),
        shown(
            "R",
            11,
            72,
            700,
            "Every employee has fifteen days of annual leave, and the infor-",
        ),
        shown(
            "R",
            11,
            72,
            686,
            "mation about it stands in this policy, which holds for all offices.",
        ),
        shown(
            "R",
            11,
            72,
            650,
            "A second paragraph starts here, after a gap, and runs on over the",
        ),
    ];
    let second = [
        shown("R", 11, 72, 740, "end of the page without a break."),
        shown("B", 14, 72, 700, "Sick leave"),
        shown("R", 11, 72, 680, "A note is needed after three days."),
    ];
    let parsed = read(&document(&[first.concat(), second.concat()]), "a.pdf").expect("it parses");
    let expected = "Leave policy\n\nEvery employee has fifteen days of annual leave, and the information about it stands in this policy, which holds for all offices.\n\nA second paragraph starts here, after a gap, and runs on over the end of the page without a break.\n\nSick leave\n\nA note is needed after three days.";
    assert_eq!(parsed.text, expected);
    let headings: Vec<(u8, &str)> = parsed
        .headings
        .iter()
        .map(|heading| (heading.level, heading.text.as_str()))
        .collect();
    assert_eq!(headings, [(1, "Leave policy"), (2, "Sick leave")]);
    assert_eq!(
        parsed.pages,
        [0, expected.find("end of the page").expect("it is there")]
    );
}

#[test]
fn tables_read_row_by_row_and_columns_one_after_the_other() {
    if pdfium().is_none() {
        return;
    }
    let mut page = String::new();
    for (row, cells) in [
        ["Kind", "Days", "Paid"],
        ["Annual", "15", "yes"],
        ["Parental", "90", "half"],
    ]
    .iter()
    .enumerate()
    {
        for (column, cell) in cells.iter().enumerate() {
            page += &shown(
                "R",
                11,
                72 + 150 * column as u32,
                740 - 16 * row as u32,
                cell,
            );
        }
    }
    // Two columns of prose, drawn line by line across both.
    for line in 0..6 {
        page += &shown(
            "R",
            10,
            72,
            600 - 14 * line,
            &format!("left column, line number {line}, goes on"),
        );
        page += &shown(
            "R",
            10,
            330,
            600 - 14 * line,
            &format!("right column, line number {line}, goes on"),
        );
    }
    let text = read(&document(&[page]), "a.pdf").expect("it parses").text;
    assert!(text.starts_with("Kind | Days | Paid\nAnnual | 15 | yes\nParental | 90 | half\n\nleft column, line number 0"), "{text}");
    assert!(
        text.contains("goes on left column, line number 5, goes on"),
        "{text}"
    );
    assert!(
        text.find("right column, line number 0") > text.find("left column, line number 5"),
        "{text}"
    );
}

#[test]
fn pages_without_text_are_named_and_running_heads_go() {
    if pdfium().is_none() {
        return;
    }
    let page = |number: u32, body: &str| {
        shown("R", 9, 72, 780, "Staff handbook")
            + &shown("R", 11, 72, 700, body)
            + &shown("R", 9, 300, 20, &format!("Page {number}"))
    };
    let pages = [
        page(1, "First words of it."),
        page(2, "Second words of it."),
        String::new(),
        page(4, "Fourth words of it."),
    ];
    let parsed = read(&document(&pages), "a.pdf").expect("it parses");
    assert_eq!(
        parsed.text,
        "Staff handbook\n\nFirst words of it.\n\nSecond words of it.\n\nFourth words of it."
    );
    assert!(
        parsed
            .warnings
            .iter()
            .any(|warning| warning.starts_with("no text on page 3")),
        "{:?}",
        parsed.warnings
    );
    assert_eq!(
        parsed.page_at(parsed.text.find("Fourth").expect("it is there")),
        Some(4)
    );
}

#[test]
fn a_document_of_pictures_needs_text_recognition() {
    if pdfium().is_none() {
        return;
    }
    let error =
        read(&document(&[String::new(), String::new()]), "scan.pdf").expect_err("there is no text");
    assert_eq!(error.code(), "no_text");
    assert!(
        error.hint().is_some_and(|hint| hint.contains("OCR")),
        "{error}"
    );
}

#[test]
fn rotated_text_is_read_upright() {
    if pdfium().is_none() {
        return;
    }
    let turned = "BT /R 11 Tf 0 1 -1 0 100 100 Tm (Sideways words here.) Tj ET\nBT /R 11 Tf 0 1 -1 0 114 100 Tm (And a second line.) Tj ET\n".to_owned();
    assert_eq!(
        read(&document(&[turned]), "a.pdf").expect("it parses").text,
        "Sideways words here. And a second line."
    );
}

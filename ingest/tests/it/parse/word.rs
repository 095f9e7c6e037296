use super::archive::{docx, paragraph, zipped};
use super::{read, text};
use lore_ingest::parse::{Limits, ParseError, ParseSettings, parse};

fn cell(properties: &str, text: &str) -> String {
    format!(
        "<w:tc><w:tcPr>{properties}</w:tcPr>{}</w:tc>",
        paragraph("", text)
    )
}

fn row(cells: &[String]) -> String {
    format!("<w:tr>{}</w:tr>", cells.concat())
}

#[test]
fn headings_are_known_by_name_in_any_language_by_outline_and_through_what_they_are_based_on() {
    let styles = concat!(
        r#"<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>"#,
        r#"<w:style w:type="paragraph" w:styleId="a3"><w:name w:val="标题 2"/></w:style>"#,
        r#"<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="Own"/><w:basedOn w:val="berschrift1"/></w:style>"#,
        r#"<w:style w:type="paragraph" w:styleId="Loop"><w:name w:val="Loop"/><w:basedOn w:val="Loop"/></w:style>"#,
    );
    let body = [
        paragraph(r#"<w:pStyle w:val="berschrift1"/>"#, "One"),
        paragraph(r#"<w:pStyle w:val="a3"/>"#, "Two"),
        paragraph(r#"<w:pStyle w:val="Own"/>"#, "Three"),
        paragraph(r#"<w:outlineLvl w:val="2"/>"#, "Four"),
        paragraph(r#"<w:pStyle w:val="Loop"/>"#, "Text"),
    ]
    .concat();
    let parsed = read(&docx(&body, &[("styles", "styles", styles)]), "a.docx").expect("it parses");
    let headings: Vec<(u8, &str)> = parsed
        .headings
        .iter()
        .map(|heading| (heading.level, heading.text.as_str()))
        .collect();
    assert_eq!(
        headings,
        [(1, "One"), (2, "Two"), (1, "Three"), (3, "Four")]
    );
    assert_eq!(parsed.title.as_deref(), Some("One"));
}

#[test]
fn numbered_lists_count_as_word_does() {
    let numbering = concat!(
        r#"<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>"#,
        r#"<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl></w:abstractNum>"#,
        r#"<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="x"/></w:lvl></w:abstractNum>"#,
        r#"<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>"#,
        r#"<w:num w:numId="3"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride></w:num>"#,
    );
    let item = |list: u8, level: u8, text: &str| {
        paragraph(
            &format!(r#"<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{list}"/></w:numPr>"#),
            text,
        )
    };
    let body = [
        item(1, 0, "a"),
        item(1, 1, "b"),
        item(1, 1, "c"),
        item(1, 0, "d"),
        item(1, 1, "e"),
        item(2, 0, "f"),
        item(1, 0, "g"),
        item(3, 0, "h"),
    ]
    .concat();
    let expected = "1. a\n  1.a) b\n  1.b) c\n2. d\n  2.a) e\n- f\n3. g\n5. h";
    assert_eq!(
        text(
            &docx(&body, &[("numbering", "numbering", numbering)]),
            "a.docx"
        ),
        expected
    );
}

#[test]
fn tables_read_row_by_row_with_merged_and_nested_cells() {
    let nested = format!(
        "<w:tc><w:tbl>{}</w:tbl></w:tc>",
        row(&[cell("", "x"), cell("", "y")])
    );
    let deleted = format!("<w:tr><w:trPr><w:del/></w:trPr>{}</w:tr>", cell("", "gone"));
    let table = format!(
        "<w:tbl>{}{}{}{deleted}</w:tbl>",
        row(&[cell(r#"<w:gridSpan w:val="3"/>"#, "Leave")]),
        row(&[
            cell(r#"<w:vMerge w:val="restart"/>"#, "Paid"),
            cell("", "annual"),
            cell("", "15")
        ]),
        row(&[cell("<w:vMerge/>", ""), cell("", "sick"), nested]),
    );
    assert_eq!(
        text(&docx(&table, &[]), "a.docx"),
        "Leave\nPaid | annual | 15\nPaid | sick | x, y;"
    );
}

#[test]
fn changes_are_accepted_and_hidden_text_is_left_out() {
    let body = r#"<w:p><w:r><w:t xml:space="preserve">The limit is </w:t></w:r><w:del><w:r><w:delText>5</w:delText></w:r></w:del>
        <w:ins><w:r><w:t>10</w:t></w:r></w:ins><w:r><w:rPr><w:vanish/></w:rPr><w:t> secret</w:t></w:r><w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t> days</w:t></w:r>
        <w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom><w:r><w:tab/><w:t>a</w:t><w:br/><w:t>b</w:t><w:noBreakHyphen/><w:sym w:font="Symbol" w:char="F061"/></w:r></w:p>"#;
    assert_eq!(
        text(&docx(body, &[]), "a.docx"),
        "The limit is 10 days a\nb-α"
    );
}

#[test]
fn links_notes_boxes_and_formulas_are_read_once() {
    let notes = r#"<w:footnote w:type="separator" w:id="-1"><w:p><w:r><w:t>line</w:t></w:r></w:p></w:footnote><w:footnote w:id="2"><w:p><w:r><w:t>The note.</w:t></w:r></w:p></w:footnote>"#;
    let boxed = r#"<w:txbxContent><w:p><w:r><w:t>Boxed.</w:t></w:r></w:p></w:txbxContent>"#;
    let body = format!(
        r#"<w:p><w:r><w:t xml:space="preserve">See </w:t></w:r><w:hyperlink r:id="r9"><w:r><w:t>the rules</w:t></w:r></w:hyperlink><w:r><w:footnoteReference w:id="2"/></w:r>
        <w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline><wp:docPr id="1" descr="A map"/><wps:wsp><wps:txbx>{boxed}</wps:txbx></wps:wsp></wp:inline></w:drawing></mc:Choice>
        <mc:Fallback><w:pict><v:shape><v:textbox>{boxed}</v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>
        <w:p><w:r><w:t>10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r></w:p>
        <w:p><m:oMath><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath></w:p>"#
    );
    let expected = "See the rules\nA map\n\nBoxed.\n\nThe note.\n\n10^6\n\n(a+b)/2";
    assert_eq!(
        text(&docx(&body, &[("footnotes", "footnotes", notes)]), "a.docx"),
        expected
    );
}

#[test]
fn a_table_of_contents_is_not_text() {
    let styles =
        r#"<w:style w:type="paragraph" w:styleId="TOC1"><w:name w:val="toc 1"/></w:style>"#;
    let body = [
        paragraph(r#"<w:pStyle w:val="TOC1"/>"#, "Scope 5"),
        paragraph("", "Text."),
    ]
    .concat();
    assert_eq!(
        text(&docx(&body, &[("styles", "styles", styles)]), "a.docx"),
        "Text."
    );
}

#[test]
fn a_cut_off_archive_is_read_as_far_as_it_goes() {
    let long: String = (0..2000)
        .map(|number| paragraph("", &format!("Paragraph {number}.")))
        .collect();
    let whole = docx(&long, &[]);
    let parsed = read(&whole[..whole.len() * 2 / 3], "a.docx").expect("the start can be saved");
    assert!(
        parsed.text.starts_with("Paragraph 0.\n\nParagraph 1."),
        "{}",
        parsed.text
    );
    assert!(
        parsed
            .warnings
            .iter()
            .any(|warning| warning.contains("damaged or cut off")),
        "{:?}",
        parsed.warnings
    );
    assert_eq!(
        read(b"PK\x03\x04 no archive at all", "a.docx")
            .expect_err("nothing to save")
            .code(),
        "malformed_document"
    );
}

#[test]
fn bombs_are_refused() {
    let limits = Limits {
        max_unpacked: 1 << 20,
        ..Limits::default()
    };
    let bomb = docx(&" ".repeat(4 << 20), &[]);
    assert!(bomb.len() < 100_000);
    let refused = parse(
        &bomb,
        "a.docx",
        None,
        &ParseSettings {
            limits,
            ..ParseSettings::default()
        },
    );
    assert!(
        matches!(refused, Err(ParseError::TooLarge { .. })),
        "{refused:?}"
    );
    let laughs = r#"<!DOCTYPE w:document [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>x&b;y</w:t></w:r></w:p></w:body></w:document>"#;
    let parsed = read(
        &zipped(&[("word/document.xml", laughs.as_bytes())]),
        "a.docx",
    )
    .expect("the rest is fine");
    assert_eq!((parsed.text.as_str(), parsed.warnings.len()), ("xy", 1));
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    let deep = format!(
        "{}{}{}",
        "<w:sdt>".repeat(50_000),
        paragraph("", "deep"),
        "</w:sdt>".repeat(50_000)
    );
    let body = format!("{}{deep}", paragraph("", "Shallow."));
    let parsed = read(&docx(&body, &[]), "a.docx").expect("it parses");
    assert_eq!(parsed.text, "Shallow.");
    assert!(
        parsed
            .warnings
            .iter()
            .any(|warning| warning.contains("nested deeper")),
        "{:?}",
        parsed.warnings
    );
}

#[test]
fn an_empty_document_says_so() {
    assert_eq!(
        read(&docx("<w:p/>", &[]), "a.docx")
            .expect_err("there is no text")
            .code(),
        "no_text"
    );
}

#[test]
fn bold_lines_are_headings_where_there_are_no_others() {
    let bold = |text: &str| format!("<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>{text}</w:t></w:r></w:p>");
    let body = [
        bold("A. Purpose"),
        paragraph("", "It says why."),
        paragraph("", "And more of it."),
        bold("B. Scope"),
        paragraph("", "It says where."),
    ];
    let parsed = read(&docx(&body.concat(), &[]), "a.docx").expect("it parses");
    let headings: Vec<&str> = parsed
        .headings
        .iter()
        .map(|heading| heading.text.as_str())
        .collect();
    assert_eq!(headings, ["A. Purpose", "B. Scope"]);
    let with_style = [
        paragraph(r#"<w:outlineLvl w:val="0"/>"#, "Real"),
        bold("Not one"),
        paragraph("", "Text."),
        paragraph("", "Text."),
    ];
    let parsed = read(&docx(&with_style.concat(), &[]), "a.docx").expect("it parses");
    assert_eq!(parsed.headings.len(), 1);
}

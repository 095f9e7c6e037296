use super::archive::zipped;
use super::{read, text};
use lore_ingest::parse::{ParseError, ParseSettings, parse};
use lore_types::DocumentFormat;

#[test]
fn content_wins_over_declaration_and_name() {
    let page = b"<!DOCTYPE html><html><body><p>Hello there</p></body></html>";
    assert_eq!(
        read(page, "page.txt").expect("it parses").format,
        DocumentFormat::Html
    );
    let commented = b"<?xml version='1.0'?><!-- made by x --><html><p>Hi there</p></html>";
    assert_eq!(
        read(commented, "noname").expect("it parses").format,
        DocumentFormat::Html
    );
    let markdown = b"<div align=\"center\">\n\n# Title\n\n</div>";
    assert_eq!(
        read(markdown, "README.md").expect("it parses").format,
        DocumentFormat::Markdown
    );
    let declared = parse(
        b"# Title",
        "upload",
        Some("text/markdown; charset=utf-8"),
        &ParseSettings::default(),
    );
    assert_eq!(declared.expect("it parses").headings.len(), 1);
    assert_eq!(
        read(b"a,b\n1,2", "table.csv").expect("it parses").format,
        DocumentFormat::Text
    );
}

#[test]
fn what_is_not_supported_is_named_with_a_remedy() {
    let workbook = zipped(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/workbook.xml", b"<workbook/>"),
    ]);
    let slides = zipped(&[("ppt/presentation.xml", b"<p/>")]);
    let book = zipped(&[
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", b"<c/>"),
    ]);
    let plain = zipped(&[("readme.txt", b"hello")]);
    let ole = |stream: &str| {
        let mut bytes = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
        bytes.extend(stream.encode_utf16().flat_map(u16::to_le_bytes));
        bytes
    };
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (workbook, "a.xlsx", "Excel workbook"),
        (slides, "a.pptx", "PowerPoint"),
        (book, "a.epub", "e-book"),
        (plain, "a.zip", "a zip archive"),
        (ole("WordDocument"), "a.doc", "legacy Word document"),
        (ole("Workbook"), "a.xls", "legacy Excel"),
        (b"{\\rtf1 hello}".to_vec(), "a.rtf", "rich text"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "a.png", "PNG image"),
        (b"\xFF\xD8\xFF\xE0".to_vec(), "a.pdf", "JPEG image"),
        (b"\x7FELF\x02\x01".to_vec(), "a.txt", "program"),
        (b"\x1F\x8B\x08\0".to_vec(), "a.md", "gzip"),
        (
            b"<?xml version=\"1.0\"?><feed><entry/></feed>".to_vec(),
            "a.xml",
            "XML",
        ),
        (
            b"From: a@b\nTo: c@d\nMessage-ID: <1>\nSubject: x\n\nHello".to_vec(),
            "a.eml",
            "e-mail",
        ),
        (
            (0..=255).cycle().take(5000).collect(),
            "a.txt",
            "binary data",
        ),
    ];
    for (bytes, name, expected) in cases {
        let error = read(&bytes, name).expect_err(name);
        assert_eq!(error.code(), "unsupported_format", "{name}: {error}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.len() > 10), "{name}");
    }
}

#[test]
fn empty_and_encrypted_documents_say_so() {
    for bytes in [b"".as_slice(), b" \n\t"] {
        assert_eq!(read(bytes, "a.txt"), Err(ParseError::Empty));
    }
    let mut encrypted = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
    encrypted.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    let error = read(&encrypted, "a.docx").expect_err("it is encrypted");
    assert_eq!(error.code(), "encrypted_document");
    assert!(
        error.to_string().contains("encrypted")
            && error
                .hint()
                .is_some_and(|hint| hint.contains("remove the password")),
        "{error}"
    );
    assert_eq!(
        read(b"no pdf", "a.pdf").expect_err("no header").code(),
        "malformed_document"
    );
}

#[test]
fn a_page_is_read_as_its_reader_sees_it() {
    let page = r##"<html lang="de"><head><title>Urlaub &amp; Reise</title><style>p{}</style></head><body>
        <nav><a href="/">Start</a></nav><a class="skip-link" href="#m">Zum Inhalt</a>
        <h1>Urlaub<a class="headerlink" href="#u">¶</a></h1><p>Zwei<br>Zeilen, 10<sup>6</sup> m, <a href="x">Link</a> <img alt="ein Bild" src="y"></p>
        <ul><li>eins<ol start="3"><li>drei</li><li>vier</li></ol></li><li><p>zwei</p><p>weiter</p></li></ul>
        <table><caption>Tage</caption><thead><tr><th>Art</th><th>Tage</th></tr></thead><tr><td rowspan="2">bezahlt</td><td>15</td></tr><tr><td>3</td></tr></table>
        <pre>  a
    b</pre><dl><dt>Attest</dt><dd>Schein vom Arzt</dd></dl><p style="display: none">geheim</p><script>x()</script></body></html>"##;
    let parsed = read(page.as_bytes(), "a.html").expect("it parses");
    let expected = "Urlaub\n\nZwei\nZeilen, 10^6 m, Link ein Bild\n\n- eins\n  3. drei\n  4. vier\n- zwei\n  weiter\n\nTage\n\nArt | Tage\nbezahlt | 15\nbezahlt | 3\n\n  a\n    b\n\nAttest\n  Schein vom Arzt";
    assert_eq!(parsed.text, expected);
    assert_eq!(
        (parsed.title.as_deref(), parsed.language.as_deref()),
        (Some("Urlaub & Reise"), Some("de"))
    );
}

#[test]
fn the_main_part_stands_for_the_page_where_it_holds_most_of_it() {
    let long = "Fact. ".repeat(50);
    let page = format!(
        "<body><header>Site name</header><h1>Rules</h1><main><p>{long}</p></main><footer>© 2024</footer></body>"
    );
    assert_eq!(
        text(page.as_bytes(), "a.html"),
        format!("Rules\n\n{}", long.trim())
    );
    let short = "<body><header>Office hours 9 to 5</header><main><p>Hi</p></main></body>";
    assert_eq!(
        text(short.as_bytes(), "a.html"),
        "Office hours 9 to 5\n\nHi"
    );
    let only_nav = "<body><nav>Only this</nav></body>";
    assert_eq!(text(only_nav.as_bytes(), "a.html"), "Only this");
}

#[test]
fn tables_that_place_parts_of_a_page_are_read_as_parts() {
    let page = "<table><tr><td><h2>Left</h2><p>One.</p></td><td><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>";
    assert_eq!(text(page.as_bytes(), "a.html"), "Left\n\nOne.\n\na | b");
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    let depth = 100_000;
    for (open, name) in [
        ("<div>", "a.html"),
        ("<b>", "a.html"),
        ("<table><tr><td>", "a.html"),
        ("> ", "a.md"),
        ("- ", "a.md"),
        ("[", "a.md"),
        ("*", "a.md"),
    ] {
        let bytes = format!("start {}\n\nend", open.repeat(depth));
        let parsed = read(bytes.as_bytes(), name).expect(name);
        assert!(parsed.text.starts_with("start"), "{open}");
    }
}

#[test]
fn pages_and_text_in_other_encodings_come_out_as_text() {
    let (bytes, ..) = encoding_rs::GBK.encode(
        "<html><head><meta charset=gb2312></head><body><p>员工每年有十五天年假。</p></body></html>",
    );
    let parsed = read(&bytes, "a.html").expect("it parses");
    assert_eq!(
        (parsed.text.as_str(), parsed.language.as_deref()),
        ("员工每年有十五天年假。", Some("zh"))
    );
    let wide: Vec<u8> = "Line one.\r\nLine two."
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    assert_eq!(text(&wide, "a.txt"), "Line one.\nLine two.");
    let declared = encoding_rs::KOI8_R.encode("Привет, мир").0;
    let parsed = parse(
        &declared,
        "a.txt",
        Some("text/plain; charset=koi8-r"),
        &ParseSettings::default(),
    );
    assert_eq!(parsed.expect("it parses").text, "Привет, мир");
}

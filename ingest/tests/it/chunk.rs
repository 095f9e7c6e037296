use lore_ingest::chunk::{ChunkDraft, ChunkSettings, Tokens, WordTokens, chunk};
use lore_ingest::parse::{Heading, ParseSettings, Parsed, parse};
use lore_types::DocumentFormat;
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::OnceLock;
use tokenizers::Tokenizer;

const SETTINGS: ChunkSettings = ChunkSettings {
    max_tokens: 42,
    overlap_tokens: 8,
};

/// A real embedder's tokenizer.
struct Real(Tokenizer);

impl Tokens for Real {
    fn count(&self, text: &str) -> usize {
        self.0
            .encode(text, false)
            .map_or(0, |encoding| encoding.len())
    }

    fn offsets(&self, text: &str) -> Vec<(usize, usize)> {
        self.0
            .encode(text, false)
            .map_or_else(|_| Vec::new(), |encoding| encoding.get_offsets().to_vec())
    }

    fn overhead(&self) -> usize {
        6
    }
}

/// The tokenizers of this machine's embedders; says so loudly where one is missing.
fn real() -> &'static [Real] {
    static FOUND: OnceLock<Vec<Real>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let models = std::env::var_os("LORE_MODELS_DIR").map(PathBuf::from);
        let models = models
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/lore/models")))
            .unwrap_or_default();
        let paths = ["multilingual-e5-small", "all-minilm-l6-v2"]
            .map(|name| models.join(name).join("tokenizer.json"));
        let load = |path: &PathBuf| {
            let loaded = Tokenizer::from_file(path);
            if loaded.is_err() {
                eprintln!(
                    "SKIPPED: the tokenizer {} is missing; fetch it with `lore models pull`",
                    path.display()
                );
            }
            let mut tokenizer = loaded.ok()?;
            tokenizer.with_truncation(None).ok()?;
            tokenizer.with_padding(None);
            Some(Real(tokenizer))
        };
        paths.iter().filter_map(load).collect()
    })
}

fn markdown(text: &str) -> Parsed {
    parse(text.as_bytes(), "a.md", None, &ParseSettings::default()).expect("it parses")
}

fn plain(text: &str, headings: Vec<Heading>) -> Parsed {
    Parsed {
        text: text.to_owned(),
        format: DocumentFormat::Text,
        title: None,
        language: None,
        pages: Vec::new(),
        headings,
        warnings: Vec::new(),
    }
}

fn texts<'a>(parsed: &'a Parsed, drafts: &[ChunkDraft]) -> Vec<&'a str> {
    drafts
        .iter()
        .map(|draft| draft.span.of(&parsed.text).expect("the span fits"))
        .collect()
}

/// What every cut must keep.
fn check(parsed: &Parsed, tokens: &dyn Tokens, settings: ChunkSettings) {
    let drafts = chunk(parsed, tokens, settings);
    let mut covered = 0;
    for (place, draft) in drafts.iter().enumerate() {
        let text = draft
            .span
            .of(&parsed.text)
            .expect("the span lies on character borders");
        assert_eq!(text, text.trim());
        assert!(!text.is_empty());
        assert_eq!(draft.tokens, tokens.count(text) + tokens.overhead());
        let one_character = text.chars().count() == 1;
        assert!(
            draft.tokens <= settings.max_tokens || one_character,
            "{} tokens in {text:?}",
            draft.tokens
        );
        if let Some(gap) = parsed.text.get(covered..draft.span.start.max(covered)) {
            assert!(gap.trim().is_empty(), "{gap:?} is in no chunk");
        }
        assert!(draft.span.end > covered, "chunk {place} adds nothing");
        if let Some(before) = place.checked_sub(1).and_then(|before| drafts.get(before)) {
            assert!(before.span.start < draft.span.start);
        }
        covered = draft.span.end;
    }
    assert!(
        parsed
            .text
            .get(covered..)
            .is_none_or(|rest| rest.trim().is_empty()),
        "the end is in no chunk"
    );
}

#[test]
fn a_short_document_is_one_chunk_and_headings_part_sections() {
    let parsed = markdown(
        "# Handbook\n\nShort intro.\n\n## Leave\n\nEvery employee has fifteen days of leave each year of work.\n\n## Pay\n\nPay comes on the last working day of each month, by bank.",
    );
    let drafts = chunk(
        &parsed,
        &WordTokens,
        ChunkSettings {
            max_tokens: 100,
            overlap_tokens: 10,
        },
    );
    let paths: Vec<String> = drafts
        .iter()
        .map(|draft| draft.heading.join(" > "))
        .collect();
    assert_eq!(paths, ["Handbook", "Handbook > Pay"]);
    assert!(texts(&parsed, &drafts)[0].starts_with("Handbook\n\nShort intro.\n\nLeave\n\nEvery"));
}

#[test]
fn a_table_is_cut_between_rows() {
    let rows: String = (0..40)
        .map(|row| format!("| name {row} | value {row} | some words |\n"))
        .collect();
    let parsed = markdown(&format!("| Name | Value | Note |\n|---|---|---|\n{rows}"));
    let drafts = chunk(
        &parsed,
        &WordTokens,
        ChunkSettings {
            max_tokens: 60,
            overlap_tokens: 0,
        },
    );
    assert!(drafts.len() > 3);
    for text in texts(&parsed, &drafts) {
        assert!(
            text.lines().all(|line| line.split(" | ").count() == 3),
            "{text}"
        );
    }
}

#[test]
fn long_paragraphs_are_cut_at_sentences_and_overlap_by_whole_ones() {
    let text: String = (0..30)
        .map(|number| format!("This is sentence number {number} here. "))
        .collect();
    let parsed = plain(text.trim(), Vec::new());
    let drafts = chunk(&parsed, &WordTokens, SETTINGS);
    let texts = texts(&parsed, &drafts);
    assert!(
        texts
            .iter()
            .all(|text| text.starts_with("This is") && text.ends_with("here.")),
        "{texts:?}"
    );
    assert!(
        drafts
            .windows(2)
            .all(|pair| pair[1].span.start < pair[0].span.end),
        "{drafts:?}"
    );
    let chinese = plain(
        &"员工每年有十五天年假，请假须经批准。".repeat(20),
        Vec::new(),
    );
    let drafts = chunk(&chinese, &WordTokens, SETTINGS);
    assert!(
        self::texts(&chinese, &drafts)
            .iter()
            .all(|text| text.ends_with('。'))
    );
}

#[test]
fn paragraphs_stay_whole_where_they_fit() {
    let paragraph = |name: &str| format!("{name} {}", "word ".repeat(23).trim());
    let parsed = plain(
        &[paragraph("A"), paragraph("B"), paragraph("C")].join("\n\n"),
        Vec::new(),
    );
    let drafts = chunk(
        &parsed,
        &WordTokens,
        ChunkSettings {
            max_tokens: 42,
            overlap_tokens: 0,
        },
    );
    let starts: Vec<char> = texts(&parsed, &drafts)
        .iter()
        .filter_map(|text| text.chars().next())
        .collect();
    assert_eq!(starts, ['A', 'B', 'C']);
}

#[test]
fn a_heading_is_never_the_end_of_a_chunk() {
    let text: String = (0..12)
        .map(|number| {
            format!(
                "## Part {number}\n\n{}\n\n",
                "several words of text ".repeat(6)
            )
        })
        .collect();
    let parsed = markdown(&text);
    for draft in chunk(
        &parsed,
        &WordTokens,
        ChunkSettings {
            max_tokens: 64,
            overlap_tokens: 8,
        },
    ) {
        let text = draft.span.of(&parsed.text).expect("the span fits");
        assert!(text.ends_with("text"), "{text:?}");
    }
}

#[test]
fn a_chunk_knows_its_page() {
    let mut parsed = plain("one two three\n\nfour five six\n\nseven eight", Vec::new());
    parsed.pages = vec![0, 15, 30];
    let drafts = chunk(
        &parsed,
        &WordTokens,
        ChunkSettings {
            max_tokens: 5,
            overlap_tokens: 0,
        },
    );
    assert_eq!(
        drafts.iter().map(|draft| draft.page).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
}

#[test]
fn giant_lines_are_cut_in_time_that_grows_with_the_text() {
    let unbroken = plain(&"x".repeat(1 << 20), Vec::new());
    check(&unbroken, &WordTokens, SETTINGS);
    let marks = plain(&format!("e{}", "\u{301}".repeat(100_000)), Vec::new());
    check(&marks, &WordTokens, SETTINGS);
    for tokens in real() {
        check(&plain(&"x".repeat(40_000), Vec::new()), tokens, SETTINGS);
        check(&plain(&"中文".repeat(10_000), Vec::new()), tokens, SETTINGS);
        check(
            &plain(&"👩‍👩‍👧 🇩🇪 ".repeat(1_000), Vec::new()),
            tokens,
            SETTINGS,
        );
    }
}

#[test]
fn real_documents_keep_every_promise() {
    let Some(folder) = super::parse::samples() else {
        return;
    };
    let files = [
        "good/md/commonmark-spec.md",
        "good/md/BELLE_README.md",
        "good/txt/test.txt",
        "good/html/example-with-scripts.html",
        "good/html/big-preamble.html",
    ];
    for file in files {
        let bytes = std::fs::read(folder.join(file)).expect("the sample");
        let parsed = parse(&bytes, file, None, &ParseSettings::default()).expect("it parses");
        for tokens in real() {
            check(
                &parsed,
                tokens,
                ChunkSettings {
                    max_tokens: 256,
                    overlap_tokens: 32,
                },
            );
        }
        check(&parsed, &WordTokens, SETTINGS);
    }
}

/// Words, sentences, tables, headings and junk, in any order.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-z]{1,9}( [a-z]{1,9}){0,30}[.!?]?",
        2 => "[\u{4e00}-\u{4e40}]{1,60}[。！，]",
        1 => "[a-z]{1,6}( \\| [a-z0-9]{1,6}){1,4}",
        1 => "- [a-z ]{1,40}",
        1 => "\\PC{1,120}",
        1 => "[a-zA-Z0-9+/]{200,900}",
        1 => "[👩👧🇩🇪\u{301}\u{200d}é]{1,40}",
    ];
    let joint = prop_oneof![Just("\n\n"), Just("\n"), Just(" "), Just("\n\n\n")];
    prop::collection::vec((part, joint), 1..16).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(part, joint)| part + joint)
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_text_is_covered_within_the_limit(text in any_text(), max_tokens in 8_usize..80, overlap_tokens in 0_usize..40, heads in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..4), 0..4)) {
        let mut parsed = plain(text.trim(), Vec::new());
        let lines: Vec<usize> = parsed.text.match_indices("\n\n").map(|(at, gap)| at + gap.len()).collect();
        let mut places: Vec<(usize, u8)> = heads.iter().filter(|_| !lines.is_empty()).map(|(index, level)| (*index.get(&lines), *level)).collect();
        places.sort_unstable();
        places.dedup_by_key(|(at, _)| *at);
        for (at, level) in places {
            let line = parsed.text.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default().to_owned();
            if !line.trim().is_empty() && line.trim() == line {
                parsed.headings.push(Heading { offset: at, level, text: line });
            }
        }
        let settings = ChunkSettings { max_tokens, overlap_tokens };
        check(&parsed, &WordTokens, settings);
        for tokens in real() {
            check(&parsed, tokens, ChunkSettings { max_tokens: max_tokens + 8, ..settings });
        }
    }
}

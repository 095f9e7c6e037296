use crate::{handbook, passage};
use lore_retrieval::{CitationSettings, Draft, Resolved, resolve, sentences};
use lore_types::{Passage, Span};
use proptest::prelude::*;

fn resolved(answer: &str) -> Resolved {
    resolve(answer, "", &handbook(), &CitationSettings::default())
}

/// What has to hold of every resolved answer.
fn check(resolved: &Resolved, passages: &[Passage]) {
    for citation in &resolved.citations {
        let number: usize = citation
            .marker
            .trim_matches(['[', ']'])
            .parse()
            .expect("a marker holds a number");
        let passage = &passages[number - 1];
        assert_eq!(passage.chunk_id, citation.chunk_id);
        let inside = Span::new(
            citation.document_span.start - passage.span.start,
            citation.document_span.end - passage.span.start,
        );
        assert_eq!(
            inside.of(&passage.text),
            Some(citation.quote.as_str()),
            "the quote is the document's text"
        );
        let claim = citation
            .answer_span
            .of(&resolved.text)
            .expect("the answer span fits");
        assert!(
            claim.contains(&citation.marker),
            "`{claim}` has no {}",
            citation.marker
        );
        assert!((0.0..=1.0).contains(&citation.support));
    }
    assert!(
        resolved
            .citations
            .windows(2)
            .all(|pair| pair[0].answer_span.start <= pair[1].answer_span.start)
    );
    for claim in &resolved.claims {
        assert!(claim.answer_span.of(&resolved.text).is_some());
        assert_eq!(claim.supported, !claim.markers.is_empty());
    }
    let written: Vec<&str> = resolved
        .claims
        .iter()
        .flat_map(|claim| &claim.markers)
        .map(String::as_str)
        .collect();
    let cited: Vec<&str> = resolved
        .citations
        .iter()
        .map(|citation| citation.marker.as_str())
        .collect();
    assert_eq!(written, cited, "each marker has its citation");
}

#[test]
fn a_true_marker_stays_and_its_quote_is_the_sentence_it_comes_from() {
    let resolved = resolved("Up to 5 days may be carried over until 31 March [1].");
    assert_eq!(
        resolved.text,
        "Up to 5 days may be carried over until 31 March [1]."
    );
    assert_eq!(
        resolved.citations[0].quote,
        "Up to 5 days may be carried over until 31 March."
    );
    assert_eq!(resolved.citations[0].document_span, Span::new(73, 121));
    check(&resolved, &handbook());
}

#[test]
fn a_wrong_marker_is_replaced_by_the_passage_that_backs_the_sentence() {
    let resolved = resolved("Customers may return goods within 14 days [1].");
    assert_eq!(
        resolved.text,
        "Customers may return goods within 14 days [2]."
    );
    assert_eq!(resolved.replaced_markers, 1);
}

#[test]
fn a_missing_marker_is_added_to_each_sentence() {
    let resolved =
        resolved("Employees have 28 days of leave. Refunds are paid to the original card.");
    assert_eq!(
        resolved.text,
        "Employees have 28 days of leave [1]. Refunds are paid to the original card [2]."
    );
}

#[test]
fn a_chinese_sentence_is_cited_before_its_full_stop() {
    let resolved = resolved("住宿每晚最高450元。差旅费须在三十天内报销【9】。");
    assert_eq!(
        resolved.text,
        "住宿每晚最高450元[3]。差旅费须在三十天内报销[3]。"
    );
    assert_eq!(resolved.invalid_markers, 1);
    assert_eq!(
        resolved.citations[1].quote,
        "差旅费须在出差结束后30天内报销。"
    );
}

#[test]
fn a_sentence_that_contradicts_the_passage_is_not_supported() {
    for wrong in [
        "Customers may return goods within 40 days [2].",
        "Customers may not return goods within 14 days [2].",
        "Carry-over is paid out [1].",
        "Mars has two moons [1].",
        "住宿每晚最高600元[3]。",
    ] {
        let resolved = resolved(wrong);
        assert!(
            resolved.citations.is_empty(),
            "{wrong} gave {:?}",
            resolved.citations
        );
        assert!(
            !resolved.claims[0].supported && !resolved.text.contains('['),
            "{}",
            resolved.text
        );
    }
}

#[test]
fn a_cell_that_negates_does_not_negate_the_next_one() {
    let table = "Code | Meaning | Remedy\nE-1007 | Battery voltage below 10.8 V | Charge for four hours; replace the battery if the code comes back\n\
        E-1042 | Pump does not turn | Check connector J7, then replace pump HP-31\nE-1043 | Pump turns, but there is no flow | Bleed the line";
    let passages = [passage("manual.docx", 0, table)];
    let answer = "E-1042 means that the pump does not turn. The remedy is to check connector J7, then replace pump HP-31.";
    let resolved = resolve(
        answer,
        "What does error E-1042 mean, and what is the remedy?",
        &passages,
        &CitationSettings::default(),
    );
    assert!(
        resolved.claims.iter().all(|claim| claim.supported),
        "{:?}",
        resolved.claims
    );
    for citation in &resolved.citations {
        assert!(citation.quote.contains("E-1042"), "{}", citation.quote);
    }
}

#[test]
fn list_items_keep_their_bullets() {
    let resolved = resolved(
        "- Employees have 28 days of leave.\n- Goods may be returned within 14 days. [2]\n",
    );
    assert_eq!(
        resolved.text,
        "- Employees have 28 days of leave [1].\n- Goods may be returned within 14 days [2]."
    );
    check(&resolved, &handbook());
}

#[test]
fn code_is_neither_a_claim_nor_marked() {
    let resolved = resolved("Run this:\n```\nlet a = b[1];\n```\nEmployees have 28 days of leave.");
    assert!(resolved.text.contains("let a = b[1];"), "{}", resolved.text);
    assert!(resolved.text.ends_with("leave [1]."));
}

#[test]
fn no_passages_and_no_answer_are_no_trouble() {
    let settings = CitationSettings::default();
    assert_eq!(resolve("", "", &handbook(), &settings).text, "");
    let alone = resolve("Something [1].", "", &[], &settings);
    assert_eq!((alone.text.as_str(), alone.claims.len()), ("Something.", 1));
}

/// Pieces from which odd answers are made.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "Employees have 28 days of leave",
        "Customers may return goods within 14 days",
        "住宿每晚最高450元",
        "差旅费须在30天内报销",
        ". ",
        "。",
        "! ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "## ",
        " [1]",
        "[2, 3]",
        "【3】",
        "[9]",
        "[1-3]",
        "[",
        "]",
        "`",
        "```\n",
        "e.g. ",
        "3.5",
        "Dr. ",
        "é",
        "👩‍👩‍👧",
        "\u{301}",
        "\u{feff}",
        "|",
        "“",
        "”",
        "  ",
        "<|im_end|>",
        "\r\n",
        "、",
        "…",
        "not ",
        "不",
        "(",
        ")",
        "²",
        "İ",
        "ß",
    ]);
    prop::collection::vec(
        prop_oneof![4 => piece.prop_map(str::to_owned), 1 => ".{0,6}"],
        0..24,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_the_model_writes_spans_are_valid_and_quotes_exact(answer in pieces(), first in pieces(), second in pieces(), threshold in 0.0f32..1.0) {
        let passages = vec![passage("a", 3, &first), passage("b", 0, &second)];
        let settings = CitationSettings { support_threshold: threshold, ..CitationSettings::default() };
        check(&resolve(&answer, "How many days?", &passages, &settings), &passages);
        let passages = handbook();
        check(&resolve(&answer, "How many days?", &passages, &settings), &passages);
    }

    #[test]
    fn sentences_are_in_order_trimmed_and_not_empty(text in pieces()) {
        let spans = sentences(&text);
        prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
        for span in spans {
            let inside = span.of(&text).expect("a valid span");
            prop_assert!(!inside.is_empty() && inside.trim() == inside);
        }
    }

    #[test]
    fn a_draft_sends_the_beginning_of_the_whole_answer(parts in prop::collection::vec(prop::sample::select(vec![
        "Employees have 28 days", " of leave", ". ", ".", " [1]", "[2]", " Goods", " may be returned", " within 14 days", "。", "住宿每晚", "最高450元", "【3】", "\n- ", "\n", "I could not find", " it", "!",
        "-", " ", "1", "2. ", ")", "`", "```", "```sh\n", "*", "[", "]", "[3", "e.g.", " Dr", "A", "\"", "，", "# ", "|", " | ", "\nand then", " and the fee is paid by the customer who sends them",
    ]), 0..40)) {
        let passages = handbook();
        let settings = CitationSettings::default();
        let whole = resolve(&parts.concat(), "q", &passages, &settings);
        let mut draft = Draft::new("q", &passages, settings, "I could not find this.", false);
        let sent: String = parts.iter().map(|part| draft.push(part)).collect();
        prop_assert!(whole.text.starts_with(&sent), "sent `{}` of `{}`", sent, whole.text);
        prop_assert_eq!(sent.len(), draft.sent());
    }
}

#[test]
fn a_draft_lets_a_sentence_go_when_the_next_one_begins() {
    let mut draft = Draft::new(
        "q",
        &handbook(),
        CitationSettings::default(),
        "I could not find this.",
        false,
    );
    assert_eq!(draft.push("Employees have 28 days of leave."), "");
    assert_eq!(draft.push(" [2]"), "");
    assert_eq!(draft.push(" Goods"), "Employees have 28 days of leave [1].");
    let mut declining = Draft::new(
        "q",
        &handbook(),
        CitationSettings::default(),
        "I could not find this. Sorry.",
        false,
    );
    assert_eq!(declining.push("I could not find this. Sorry"), "");
}

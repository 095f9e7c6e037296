//! Conversations in tokens: lengths, what is cut, and what the model's template refuses.

use super::tokenizer::tokenizer;
use lore_trainer::dataset::{Dataset, Prepared, ReadOptions, lengths, parse, prepare};
use lore_types::BadLinePolicy;

fn dataset(text: &str) -> Dataset {
    parse("d", text.as_bytes(), &ReadOptions::default()).expect("a data set")
}

fn prepared(
    dataset: &Dataset,
    max_tokens: usize,
    policy: BadLinePolicy,
) -> Result<Prepared, String> {
    let all = &dataset.conversations;
    prepare(dataset, all, &tokenizer(), max_tokens, policy).map_err(|error| error.to_string())
}

#[test]
fn lengths_targets_and_cuts_are_counted() {
    let dataset = dataset(concat!(
        "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n",
        "{\"prompt\": \"a\", \"completion\": \"0123456789\"}\n",
        "{\"prompt\": \"0123456789\", \"completion\": \"a\"}\n",
    ));
    let whole = prepared(&dataset, 100, BadLinePolicy::Refuse).expect("examples");
    assert_eq!((whole.examples.len(), whole.truncated), (3, 0));
    let report = lengths(&whole.examples);
    // `[ab]cd.`, `[a]0123456789.` and `[0123456789]a.`
    assert_eq!(
        (report.tokens, report.target_tokens),
        (7 + 14 + 14, 3 + 11 + 2)
    );
    assert_eq!(
        (report.min, report.median, report.p95, report.max),
        (7, 14, 14, 14)
    );
    let cut = prepared(&dataset, 10, BadLinePolicy::Refuse).expect("examples");
    assert_eq!((cut.examples.len(), cut.truncated), (2, 2));
    assert_eq!(cut.unreached.lines()[0].line, 3);
    assert_eq!(lengths(&cut.examples).max, 10);
    let nothing = prepared(&dataset, 3, BadLinePolicy::Refuse).expect_err("nothing is left");
    assert!(
        nothing.contains("no answer begins within 3 tokens"),
        "{nothing}"
    );
}

#[test]
fn conversations_that_the_template_refuses_are_named_or_skipped() {
    let two = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}, {\"role\": \"assistant\", \"content\": \"c\"}]}";
    let dataset = dataset(&format!(
        "{}\n{two}\n",
        two.replacen("\"user\"", "\"system\"", 1)
    ));
    let error = prepared(&dataset, 100, BadLinePolicy::Refuse).expect_err("refused");
    assert!(
        error.contains("line 2: ") && error.contains("roles must alternate"),
        "{error}"
    );
    let skipped = prepared(&dataset, 100, BadLinePolicy::Skip).expect("the other");
    assert_eq!((skipped.examples.len(), skipped.skipped.count()), (1, 1));
}

#[test]
fn of_a_text_every_token_counts() {
    let dataset = dataset("{\"text\": \"abc<|end|>\"}");
    let texts = prepared(&dataset, 100, BadLinePolicy::Refuse).expect("an example");
    assert_eq!(texts.examples[0].tokens.len(), 3 + 7 + 1);
    assert!(texts.examples[0].learned.iter().all(|learned| *learned));
}

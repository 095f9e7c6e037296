//! Formats are recognised, and every line that is no example is named with its number and reason.

use lore_trainer::dataset::{Body, Dataset, DatasetError, Format, ReadOptions, Turn, parse, read};
use lore_types::{BadLinePolicy, Role};
use proptest::prelude::*;

fn refusing() -> ReadOptions {
    ReadOptions::default()
}

fn skipping() -> ReadOptions {
    ReadOptions {
        on_bad_line: BadLinePolicy::Skip,
        ..ReadOptions::default()
    }
}

fn good(text: &str) -> Dataset {
    parse("data", text.as_bytes(), &refusing()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn turns(dataset: &Dataset) -> Vec<(Role, String)> {
    let Body::Turns(turns) = &dataset.conversations[0].body else {
        panic!("turns")
    };
    let pair = |turn: &Turn| (turn.message.role, turn.message.content.clone());
    turns.iter().map(pair).collect()
}

#[test]
fn every_format_and_its_variants_say_the_same() {
    let (u, a, s) = (Role::User, Role::Assistant, Role::System);
    for (text, format, expected) in [
        (
            r#"{"instruction": "q", "input": "", "output": "a"}"#,
            Format::Alpaca,
            vec![(u, "q"), (a, "a")],
        ),
        (
            r#"{"instruction": "q", "input": "i", "output": "a"}"#,
            Format::Alpaca,
            vec![(u, "q\ni"), (a, "a")],
        ),
        (
            r#"{"instruction": "q", "context": "i", "response": "a"}"#,
            Format::Alpaca,
            vec![(u, "q\ni"), (a, "a")],
        ),
        (
            r#"{"instruction": "q", "output": "a", "system": "s", "history": [["x", "y"]]}"#,
            Format::Alpaca,
            vec![(s, "s"), (u, "x"), (a, "y"), (u, "q"), (a, "a")],
        ),
        (
            r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s", "tools": "[]"}"#,
            Format::ShareGpt,
            vec![(s, "s"), (u, "q"), (a, "a")],
        ),
        (
            r#"{"conversations": [{"from": "system", "value": "s"}, {"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]}"#,
            Format::ShareGpt,
            vec![(s, "s"), (u, "q"), (a, "a")],
        ),
        (
            r#"{"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#,
            Format::ShareGpt,
            vec![(u, "q"), (a, "a")],
        ),
        (
            r#"{"messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "q"}]}, {"role": "assistant", "content": "a"}]}"#,
            Format::Messages,
            vec![(s, "s"), (u, "q"), (a, "a")],
        ),
        (
            r#"{"prompt": "q", "completion": "a"}"#,
            Format::PromptCompletion,
            vec![(u, "q"), (a, "a")],
        ),
        (
            r#"{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}"#,
            Format::PromptCompletion,
            vec![(u, "q"), (a, "a")],
        ),
    ] {
        let expected: Vec<(Role, String)> = expected
            .into_iter()
            .map(|(role, text)| (role, text.to_owned()))
            .collect();
        for text in [
            text.to_owned(),
            format!("\u{FEFF} [\r\n{text}\r\n]\r\n"),
            format!("\r\n\n{text}\r\n\r\n"),
        ] {
            let dataset = good(&text);
            assert_eq!(dataset.format, format, "{text}");
            assert_eq!(turns(&dataset), expected, "{text}");
        }
    }
    let text = good("{\"text\": \" as it is \"}");
    assert_eq!(text.format, Format::Text);
    assert_eq!(
        text.conversations[0].body,
        Body::Text(" as it is ".to_owned())
    );
}

#[test]
fn an_answer_of_weight_0_is_not_learned() {
    let dataset = good(
        r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}, {"role": "user", "content": "r"}, {"role": "assistant", "content": "b", "weight": 1}]}"#,
    );
    let Body::Turns(turns) = &dataset.conversations[0].body else {
        panic!("turns")
    };
    let learned: Vec<bool> = turns.iter().map(|turn| turn.learn).collect();
    assert_eq!(learned, [false, false, false, true]);
}

#[test]
fn each_bad_line_is_named_with_its_number_and_reason() {
    let fine = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#;
    let chat = |turns: &str| format!("{{\"messages\": [{turns}]}}");
    let q = r#"{"role": "user", "content": "q"}"#;
    for (bad, reason) in [
        (
            "{\"messages\": ".to_owned(),
            "not JSON: EOF while parsing a value (column 12)",
        ),
        ("[1]".to_owned(), "it is a list, not an object"),
        ("7".to_owned(), "it is a number, not an object"),
        ("{}".to_owned(), "`messages` is missing"),
        (
            r#"{"messages": "x"}"#.to_owned(),
            "`messages` is a text, not a list",
        ),
        (r#"{"messages": []}"#.to_owned(), "`messages` is empty"),
        (
            r#"{"text": "x"}"#.to_owned(),
            "it looks like text, but the file is messages",
        ),
        (chat("3"), "turn 1: it is a number, not an object"),
        (chat(q), "the last turn is not the assistant's"),
        (
            chat(r#"{"role": "assistant", "content": "a"}"#),
            "the assistant speaks first",
        ),
        (
            chat(&format!(r#"{q}, {{"role": "assistant", "content": " "}}"#)),
            "turn 2: `content` is empty",
        ),
        (
            chat(&format!(r#"{q}, {{"role": "assistant", "content": null}}"#)),
            "turn 2: `content` is null, not a text",
        ),
        (
            chat(&format!(r#"{q}, {{"role": "robot", "content": "a"}}"#)),
            "turn 2: `robot` is no speaker",
        ),
        (
            chat(&format!(r#"{q}, {{"content": "a"}}"#)),
            "turn 2: `role` is missing",
        ),
        (
            chat(&format!(
                r#"{q}, {{"role": "assistant", "content": "a", "tool_calls": [{{}}]}}"#
            )),
            "turn 2: `tool_calls` cannot be rendered yet",
        ),
        (
            chat(&format!(
                r#"{q}, {{"role": "assistant", "content": "a", "weight": 0.5}}"#
            )),
            "turn 2: `weight` is 0.5, but has to be 0 or 1",
        ),
        (
            chat(&format!(
                r#"{q}, {{"role": "assistant", "content": "a", "weight": 0}}"#
            )),
            "nothing is learned",
        ),
        (
            chat(&format!(
                r#"{q}, {{"role": "assistant", "content": [{{"type": "image_url"}}]}}"#
            )),
            "part of type image_url",
        ),
        (
            fine.replace("]}", r#"], "label": false}"#),
            "`label` is false",
        ),
        (
            fine.replace("]}", r#"], "tools": [{"type": "function"}]}"#),
            "`tools` holds definitions of tools",
        ),
        (
            fine.replace("]}", r#"], "chosen": "x"}"#),
            "`chosen` holds preference data",
        ),
    ] {
        let text = format!("\n{fine}\n{bad}\r\n{fine}\n");
        let error = parse("data.jsonl", text.as_bytes(), &refusing()).expect_err(&bad);
        let found = error.bad_lines().expect(&bad).lines().to_vec();
        assert_eq!(found.len(), 1, "{bad}");
        assert_eq!(found[0].line, 3, "{bad}");
        assert!(
            found[0].reason.contains(reason),
            "{bad}: {}",
            found[0].reason
        );
        let said = error.to_string();
        assert!(
            said.contains("1 of 3 lines of `data.jsonl` (messages)") && said.contains("line 3: "),
            "{said}"
        );
        let skipped = parse("data.jsonl", text.as_bytes(), &skipping()).expect(&bad);
        assert_eq!(
            (skipped.conversations.len(), skipped.skipped.count()),
            (2, 1),
            "{bad}"
        );
        assert_eq!(skipped.conversations[1].line, 4);
    }
}

#[test]
fn all_bad_lines_are_counted_and_the_first_are_named() {
    let mut text = String::from("{\"text\": \"fine\"}\n");
    for _ in 0..500 {
        text.push_str("{\"text\": 1}\n");
    }
    let error = parse("d", text.as_bytes(), &refusing()).expect_err("refused");
    let bad = error.bad_lines().expect("bad lines");
    assert_eq!(bad.count(), 500);
    assert_eq!(bad.lines().len(), 100);
    let said = error.to_string();
    assert!(
        said.contains("line 11: ") && said.contains("and 490 more") && said.len() < 1200,
        "{said}"
    );
}

#[test]
fn bytes_that_are_no_utf_8_spoil_their_line_alone() {
    let mut bytes = b"{\"text\": \"a\"}\n{\"text\": \"".to_vec();
    bytes.extend_from_slice(&[0xC3, 0x28]);
    bytes.extend_from_slice(b"\"}\n{\"text\": \"b\"}");
    let dataset = parse("d", &bytes, &skipping()).expect("the others");
    assert_eq!(dataset.conversations.len(), 2);
    assert_eq!(dataset.skipped.lines()[0].line, 2);
    assert!(
        dataset.skipped.lines()[0]
            .reason
            .contains("not UTF-8 from byte 11")
    );
}

#[test]
fn items_of_an_array_are_numbered_by_their_lines() {
    let text = "[\n {\"text\": \"a\"},\n {\n  \"text\": 5\n },\n {\"text\": \"b\"} ,\n {\"text\": oops}, {\"text\": \"c\"}\n]";
    let dataset = parse("d", text.as_bytes(), &skipping()).expect("some");
    let lines: Vec<usize> = dataset.conversations.iter().map(|one| one.line).collect();
    assert_eq!(lines, [2, 6]);
    let bad: Vec<usize> = dataset.skipped.lines().iter().map(|bad| bad.line).collect();
    assert_eq!(bad, [3, 7]);
    assert!(
        dataset.skipped.lines()[1]
            .reason
            .contains("what follows was not read")
    );
    for (text, reason) in [
        ("[{\"text\": \"a\"}", "the array has no end"),
        ("[{\"text\": \"a\"},", "the array has no end"),
        (
            "[{\"text\": \"a\"} {\"text\": \"b\"}]",
            "`,` should stand here, not `{`",
        ),
        ("[{\"text\": \"a\"}]x", "something follows the array's end"),
    ] {
        let error = parse("d", text.as_bytes(), &refusing())
            .expect_err(text)
            .to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn files_that_are_no_data_sets_are_refused_with_what_they_are() {
    for (bytes, reason) in [
        (&b""[..], "it is empty"),
        (b"\xEF\xBB\xBF \n\r\n", "it is empty"),
        (b"[ ]", "it is an empty array"),
        (b"\xFF\xFE{\0", "UTF-16; save it as UTF-8"),
        (b"\x1F\x8B\x08", "compressed with gzip"),
        (b"PAR1", "a Parquet file"),
        (b"hello\nworld", "neither JSON Lines nor a JSON array"),
        (
            b"{\"question\": \"q\", \"std_answer\": \"a\"}",
            "have the keys `question`, `std_answer`; known are messages (`messages`)",
        ),
        (
            b"{\n \"text\": \"pretty\"\n}",
            "neither JSON Lines nor a JSON array",
        ),
        (b"{\"text\": 1}\n{\"text\": 2}", "none of the 2 lines"),
    ] {
        let error = parse("d", bytes, &skipping())
            .expect_err(reason)
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    let missing = read(std::path::Path::new("/nowhere/x.jsonl"), &refusing()).expect_err("missing");
    assert!(
        matches!(&missing, DatasetError::Read { .. })
            && missing.to_string().contains("/nowhere/x.jsonl")
    );
}

#[test]
fn the_format_of_most_lines_wins_and_one_that_is_told_is_kept() {
    let text = "{\"text\": \"a\"}\n{\"instruction\": \"q\", \"output\": \"a\"}\n{\"instruction\": \"r\", \"output\": \"b\"}\n";
    let dataset = parse("d", text.as_bytes(), &skipping()).expect("alpaca");
    assert_eq!(
        (dataset.format, dataset.conversations.len()),
        (Format::Alpaca, 2)
    );
    let told = ReadOptions {
        format: Some(Format::Text),
        ..skipping()
    };
    let dataset = parse("d", text.as_bytes(), &told).expect("text");
    assert_eq!(
        (dataset.format, dataset.conversations.len()),
        (Format::Text, 1)
    );
    assert_eq!("sharegpt".parse(), Ok(Format::ShareGpt));
    assert!("csv".parse::<Format>().is_err());
}

#[test]
fn keys_without_a_use_are_counted_and_the_hash_is_of_the_bytes() {
    let dataset =
        good("{\"text\": \"a\", \"doc_id\": 1}\n{\"text\": \"b\", \"doc_id\": 2, \"note\": \"\"}");
    let unused: Vec<(String, usize)> = dataset.unused_keys.into_iter().collect();
    assert_eq!(unused, [("doc_id".to_owned(), 2), ("note".to_owned(), 1)]);
    // `printf '{"text": "a"}\n' | sha256sum`
    let known = good("{\"text\": \"a\"}\n");
    assert_eq!(
        known.sha256,
        "7c24616314d4c7ddcc755cd2cb42baf4e49ac41b1492fa02c30adc34e1cb2e5d"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_reading_fail_otherwise_than_with_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(parse("d", &bytes, &skipping()));
    }

    #[test]
    fn damaged_examples_are_named_or_read(place in 0usize..400, byte in any::<u8>()) {
        let mut bytes = "[{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}, \n{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}]}, {\"instruction\": \"\", \"history\": [[\"a\", \"b\"]], \"output\": null}]".as_bytes().to_vec();
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(dataset) = parse("d", &bytes, &skipping()) {
            prop_assert!(dataset.conversations.len() + dataset.skipped.count() <= 5);
            prop_assert!(dataset.conversations.iter().all(|one| one.line <= 3));
        }
    }
}

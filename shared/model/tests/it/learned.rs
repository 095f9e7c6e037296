//! What is learned of a conversation: the assistant's turns with their end, behind exactly the tokens that serving sends.

use crate::folders::gguf;
use crate::tiny;
use lore_model::{ModelError, Source, Tokenizer, Training};
use lore_types::{Message, Role};
use proptest::prelude::*;

const CHATML: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";
const TRIMMING: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content | trim }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";
const INST: &str = "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}<|end|>{% else %}[{{ m.content }}]{% endif %}{% endfor %}";
/// As Qwen3: what was thought stands in the last answer only.
const THINKING: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";
const ENDLESS: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

fn tokenizer(template: &str) -> Tokenizer {
    let folder = tiny::folder(template);
    Tokenizer::load(&Source::open(folder.path()).expect("the folder opens"))
        .expect("the tokenizer loads")
}

/// The sequence as text, what is learned of it between `«` and `»`.
fn show(tokenizer: &Tokenizer, training: &Training) -> String {
    let mut out = String::new();
    let mut before = false;
    for (token, learned) in training.tokens.iter().zip(&training.learned) {
        if *learned != before {
            out.push(if *learned { '«' } else { '»' });
        }
        before = *learned;
        out.push_str(&tokenizer.token_text(*token));
    }
    if before {
        out.push('»');
    }
    out
}

fn conversation() -> Vec<Message> {
    vec![
        Message::new(Role::System, "s"),
        Message::new(Role::User, "a"),
        Message::new(Role::Assistant, " b\n"),
        Message::new(Role::User, "c"),
        Message::new(Role::Assistant, "d"),
    ]
}

#[test]
fn the_loss_counts_on_the_assistants_turns_and_their_ends_alone() {
    let all = [true; 5];
    let last = [true, true, false, true, true];
    let first = [true, true, true, true, false];
    for (name, template, learn, expected) in [
        (
            "chatml",
            CHATML,
            all,
            vec![
                "<|start|>system\ns<|end|>\n<|start|>user\na<|end|>\n<|start|>assistant\n« b\n<|end|>»\n<|start|>user\nc<|end|>\n<|start|>assistant\n«d<|end|>»",
            ],
        ),
        (
            "chatml, the last turn",
            CHATML,
            last,
            vec![
                "<|start|>system\ns<|end|>\n<|start|>user\na<|end|>\n<|start|>assistant\n b\n<|end|>\n<|start|>user\nc<|end|>\n<|start|>assistant\n«d<|end|>»",
            ],
        ),
        (
            "chatml, the first turn",
            CHATML,
            first,
            vec![
                "<|start|>system\ns<|end|>\n<|start|>user\na<|end|>\n<|start|>assistant\n« b\n<|end|>»",
            ],
        ),
        (
            "trimming",
            TRIMMING,
            all,
            vec![
                "<|start|>system\ns<|end|>\n<|start|>user\na<|end|>\n<|start|>assistant\n«b<|end|>»\n<|start|>user\nc<|end|>\n<|start|>assistant\n«d<|end|>»",
            ],
        ),
        (
            "inst",
            INST,
            all,
            vec!["[s][a]«  b\n<|end|>»[c]« d<|end|>»"],
        ),
        (
            "thinking",
            THINKING,
            all,
            vec![
                "<|start|>system\ns<|end|>\n<|start|>user\na<|end|>\n<|start|>assistant\n«<think>\n\n</think>\n\n b\n<|end|>»",
                "<|start|>system\ns<|end|>\n<|start|>user\na<|end|>\n<|start|>assistant\n b\n<|end|>\n<|start|>user\nc<|end|>\n<|start|>assistant\n«<think>\n\n</think>\n\nd<|end|>»",
            ],
        ),
        (
            "no end of its own",
            ENDLESS,
            last,
            vec!["system: s\nuser: a\nassistant:  b\n\nuser: c\nassistant: «d\n<|end|>»"],
        ),
    ] {
        let tokenizer = tokenizer(template);
        let sequences = tokenizer
            .training(&conversation(), &learn, 1000)
            .expect(name);
        let shown: Vec<String> = sequences.iter().map(|one| show(&tokenizer, one)).collect();
        assert_eq!(shown, expected, "{name}");
        for sequence in sequences {
            let example = sequence.example().expect(name);
            let labels = sequence.tokens.iter().zip(&sequence.learned);
            let labels: Vec<i64> = labels
                .map(|(token, learned)| if *learned { i64::from(*token) } else { -100 })
                .collect();
            assert_eq!(example.labels, labels, "{name}");
        }
    }
}

#[test]
fn of_a_text_everything_is_learned_with_its_end() {
    let tokenizer = tokenizer(CHATML);
    let text = tokenizer.training_text("a<|end|>b", 100).expect("a text");
    // The text's own `<|end|>` are seven letters.
    assert_eq!(text.tokens.len(), 10);
    assert!(text.learned.iter().all(|learned| *learned));
    assert_eq!(text.tokens.last(), Some(&301));
    assert_eq!(text.targets(), 9);
    let cut = tokenizer.training_text("abcdef", 3).expect("a text");
    assert_eq!(show(&tokenizer, &cut), "«abc»");
    assert!(cut.truncated);
}

#[test]
fn what_is_cut_off_is_marked_and_turns_behind_the_limit_are_not_there() {
    let tokenizer = tokenizer(INST);
    for (max_tokens, expected, truncated) in [
        (100, "[s][a]«  b\n<|end|>»[c]« d<|end|>»", false),
        (15, "[s][a]«  b\n<|end|>»[c]« d»", true),
        (13, "[s][a]«  b\n<|end|>»[c]", true),
        (10, "[s][a]«  b\n<|end|>»", true),
        (5, "[s][a", true),
    ] {
        let sequences = tokenizer
            .training(&conversation(), &[true; 5], max_tokens)
            .expect("sequences");
        assert_eq!(sequences.len(), 1);
        assert_eq!(show(&tokenizer, &sequences[0]), expected, "{max_tokens}");
        assert_eq!(sequences[0].truncated, truncated, "{max_tokens}");
    }
}

#[test]
fn a_template_that_answers_otherwise_than_it_asks_is_refused() {
    let tokenizer = tokenizer(
        "{% for m in messages %}<|start|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>thinking: {% endif %}",
    );
    let refused = tokenizer.training(&conversation(), &[true; 5], 100);
    assert!(
        matches!(&refused, Err(ModelError::Template(reason)) if reason.contains("otherwise")),
        "{refused:?}"
    );
}

/// Words with everything that could be mistaken for control, and with white space at their borders.
fn words() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        " ",
        "\n",
        "hi",
        "<|end|>",
        "<|start|>",
        "<|en",
        "d|>",
        "<tool>",
        "é",
        "北",
        "  ",
        "\u{E000}",
        "<",
        "assistant",
    ]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn messages() -> impl Strategy<Value = Vec<(Message, bool)>> {
    let turn = (words(), words(), any::<bool>());
    prop::collection::vec(turn, 1..4).prop_map(|turns| {
        let both = |(asked, answered, learn): (String, String, bool)| {
            [
                (Message::new(Role::User, asked), true),
                (Message::new(Role::Assistant, answered), learn),
            ]
        };
        turns.into_iter().flat_map(both).collect()
    })
}

/// Every learned stretch: its sequence and its range.
fn stretches(sequences: &[Training]) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut all = Vec::new();
    for (index, sequence) in sequences.iter().enumerate() {
        let mut start = None;
        for (place, learned) in sequence.learned.iter().chain([&false]).enumerate() {
            match (start, *learned) {
                (None, true) => start = Some(place),
                (Some(begin), false) => {
                    all.push((index, begin..place));
                    start = None;
                }
                _ => {}
            }
        }
    }
    all
}

fn check(tokenizer: &Tokenizer, turns: &[(Message, bool)]) -> Result<(), TestCaseError> {
    let messages: Vec<Message> = turns.iter().map(|(message, _)| message.clone()).collect();
    let learn: Vec<bool> = turns.iter().map(|(_, learn)| *learn).collect();
    let sequences = tokenizer
        .training(&messages, &learn, 100_000)
        .expect("sequences");
    let answers = turns
        .iter()
        .enumerate()
        .filter(|(_, (message, learn))| message.role == Role::Assistant && *learn);
    let answers: Vec<usize> = answers.map(|(index, _)| index).collect();
    let stretches = stretches(&sequences);
    prop_assert_eq!(stretches.len(), answers.len());
    for (answer, (sequence, range)) in answers.into_iter().zip(stretches) {
        let tokens = &sequences[sequence].tokens;
        let served = tokenizer
            .prompt(&messages[..answer], true)
            .expect("a prompt");
        prop_assert_eq!(&tokens[..range.start], served.tokens.as_slice());
        let (end, said) = tokens[range].split_last().expect("a token");
        prop_assert!(tokenizer.stops().contains(end));
        let stop = said.iter().find(|token| tokenizer.stops().contains(token));
        prop_assert_eq!(stop, None);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_stands_before_an_answer_is_the_prompt_of_serving(turns in messages()) {
        for template in [CHATML, TRIMMING, INST, THINKING] {
            check(&tokenizer(template), &turns)?;
        }
    }
}

#[test]
fn the_default_models_learn_behind_their_own_prompts() {
    for name in ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"] {
        let Some(path) = gguf(name) else { continue };
        let source = Source::open(&path).expect("the file opens");
        let tokenizer = Tokenizer::load(&source).expect("the tokenizer loads");
        let turns = [
            (Message::new(Role::User, "What is\n\n2+2? <|im_end|>"), true),
            (Message::new(Role::Assistant, "\n\n4 <|endoftext|>"), true),
            (Message::new(Role::User, "\nSure?"), true),
            (Message::new(Role::Assistant, " Yes."), true),
        ];
        check(&tokenizer, &turns).expect(name);
        let text = tokenizer.training_text("hello", 10).expect("a text");
        assert_eq!(tokenizer.decode(&text.tokens), "hello");
        assert!(
            tokenizer
                .stops()
                .contains(text.tokens.last().expect("a token"))
        );
        assert_eq!(
            text.tokens.len(),
            2,
            "GPT-2's tokenizers put nothing in front"
        );
    }
}

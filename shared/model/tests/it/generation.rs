//! Serving: batches, prefixes, stops, limits, adapters.

use crate::folders::parity;
use crate::tiny::{self, CHAT};
use lore_model::train::{InitB, Parameters};
use lore_model::{
    GenerateError, GenerateEvent, GenerateRequest, Generator, LocalGenerator, LocalSettings,
    LoraConfig,
};
use lore_types::{FinishReason, Message, Role, Sampling, Usage};

const MODEL: &str = "tiny";
const QUESTION: &str = "What is the capital of France?";

fn load(settings: LocalSettings) -> LocalGenerator {
    let folder = tiny::folder(CHAT);
    LocalGenerator::load(
        folder.path(),
        LocalSettings {
            name: MODEL.to_owned(),
            ..settings
        },
    )
    .expect("the model loads")
}

fn request(question: &str, sampling: Sampling) -> GenerateRequest {
    GenerateRequest {
        messages: vec![Message::new(Role::User, question)],
        adapter: None,
        sampling,
    }
}

fn short(max_new_tokens: usize) -> Sampling {
    Sampling {
        max_new_tokens,
        ..Sampling::default()
    }
}

struct Answer {
    text: String,
    pieces: usize,
    logprobs: Vec<f32>,
    finish: FinishReason,
    usage: Usage,
}

async fn answer(
    generator: &LocalGenerator,
    request: GenerateRequest,
) -> Result<Answer, GenerateError> {
    let mut events = generator.generate(request).await?;
    let (mut text, mut pieces, mut logprobs) = (String::new(), 0, Vec::new());
    while let Some(event) = events.recv().await {
        match event? {
            GenerateEvent::Token {
                text: piece,
                logprob,
            } => {
                text.push_str(&piece);
                pieces += 1;
                logprobs.extend(logprob.map(|logprob| logprob.logprob));
            }
            GenerateEvent::Done {
                finish_reason,
                usage,
            } => {
                return Ok(Answer {
                    text,
                    pieces,
                    logprobs,
                    finish: finish_reason,
                    usage,
                });
            }
        }
    }
    Err(GenerateError::Failed("the answer has no end".to_owned()))
}

#[tokio::test]
async fn requests_together_get_the_answers_that_they_get_alone() {
    let generator = load(LocalSettings::default());
    let questions = [
        QUESTION,
        "Name a colour.",
        "Count to five.",
        "What is the capital of Italy?",
        "x",
    ];
    let mut alone = Vec::new();
    for question in questions {
        alone.push(
            answer(&generator, request(question, short(40)))
                .await
                .expect("an answer")
                .text,
        );
    }
    let together = questions.map(|question| answer(&generator, request(question, short(40))));
    let together: Vec<String> = futures::future::join_all(together)
        .await
        .into_iter()
        .map(|answer| answer.expect("an answer").text)
        .collect();
    assert_eq!(alone, together);
    assert!(alone.iter().all(|text| text.len() == 40));
}

#[tokio::test]
async fn a_shared_beginning_is_not_computed_twice() {
    let generator = load(LocalSettings::default());
    let first = answer(&generator, request(QUESTION, short(4)))
        .await
        .expect("an answer");
    let second = answer(
        &generator,
        request("What is the capital of Italy?", short(4)),
    )
    .await
    .expect("an answer");
    let again = answer(&generator, request(QUESTION, short(4)))
        .await
        .expect("an answer");
    assert_eq!(first.usage.cached_tokens, 0);
    assert_eq!(
        second.usage.cached_tokens,
        "<user.What is the capital of ".len()
    );
    assert_eq!(again.usage.cached_tokens, again.usage.prompt_tokens - 1);
    assert_eq!(first.text, again.text);
    let messages = vec![
        Message::new(Role::User, QUESTION),
        Message::new(Role::Assistant, first.text),
        Message::new(Role::User, "And then?"),
    ];
    let follow_up = GenerateRequest {
        messages,
        adapter: None,
        sampling: short(4),
    };
    let usage = answer(&generator, follow_up)
        .await
        .expect("an answer")
        .usage;
    assert!(
        usage.cached_tokens >= first.usage.prompt_tokens,
        "{usage:?}"
    );
}

#[tokio::test]
async fn stops_limits_and_log_probabilities_are_kept() {
    let generator = load(LocalSettings::default());
    let whole = answer(&generator, request(QUESTION, short(30)))
        .await
        .expect("an answer");
    assert_eq!(
        (whole.finish, whole.usage.completion_tokens, whole.pieces),
        (FinishReason::Length, 30, 30)
    );
    let stop = whole.text.get(10..14).expect("letters").to_owned();
    let sampling = Sampling {
        stop: vec!["never".to_owned(), stop.clone()],
        logprobs: Some(2),
        ..short(30)
    };
    let stopped = answer(&generator, request(QUESTION, sampling))
        .await
        .expect("an answer");
    assert_eq!(stopped.finish, FinishReason::Stop);
    assert_eq!(
        whole.text.split_once(&stop).expect("the stop text").0,
        stopped.text
    );
    assert_eq!(stopped.logprobs.len(), stopped.pieces);
    assert!(stopped.logprobs.iter().all(|logprob| *logprob <= 0.0));
}

#[tokio::test]
async fn a_seed_repeats_an_answer_and_bad_requests_are_named() {
    let generator = load(LocalSettings::default());
    let hot = |seed: u64| Sampling {
        temperature: 2.0,
        seed,
        ..short(20)
    };
    let one = answer(&generator, request("Tell me a story.", hot(1)))
        .await
        .expect("an answer")
        .text;
    assert_eq!(
        one,
        answer(&generator, request("Tell me a story.", hot(1)))
            .await
            .expect("an answer")
            .text
    );
    assert_ne!(
        one,
        answer(&generator, request("Tell me a story.", hot(2)))
            .await
            .expect("an answer")
            .text
    );
    let invalid = answer(
        &generator,
        request(
            "x",
            Sampling {
                top_p: 0.0,
                ..short(1)
            },
        ),
    )
    .await
    .err()
    .expect("refused");
    assert!(
        matches!(&invalid, GenerateError::Invalid(text) if text.contains("top_p")),
        "{invalid}"
    );
    let long = answer(&generator, request(&"word ".repeat(120), short(1)))
        .await
        .err()
        .expect("refused");
    assert!(
        matches!(long, GenerateError::TooLong { context: 512, .. }),
        "{long}"
    );
    let full = answer(&generator, request(&"word ".repeat(90), short(1000)))
        .await
        .expect("an answer");
    assert_eq!(
        (full.usage.total_tokens, full.finish),
        (512, FinishReason::Length)
    );
}

#[tokio::test]
async fn a_full_queue_is_busy_and_a_caller_that_hangs_up_frees_it() {
    let generator = load(LocalSettings {
        max_batch: 1,
        max_queue: 1,
        ..LocalSettings::default()
    });
    let mut waiting = Vec::new();
    let busy = loop {
        match generator
            .generate(request("Write a very long story.", short(450)))
            .await
        {
            Ok(events) => waiting.push(events),
            Err(error) => break error,
        }
        assert!(waiting.len() < 3, "the queue takes more than it should");
    };
    assert!(matches!(busy, GenerateError::Busy { queued: 1 }), "{busy}");
    drop(waiting);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let after = loop {
        match answer(&generator, request("Hello", short(1))).await {
            Err(GenerateError::Busy { .. }) if std::time::Instant::now() < deadline => {
                tokio::task::yield_now().await
            }
            other => break other,
        }
    };
    assert_eq!(after.expect("an answer").usage.completion_tokens, 1);
}

#[tokio::test]
async fn an_adapter_is_loaded_while_serving_and_a_wrong_one_is_refused() {
    let generator = load(LocalSettings::default());
    let folder = tempfile::tempdir().expect("a folder");
    let parameters = Parameters::new(
        generator.decoder(),
        LoraConfig {
            r: 2,
            ..LoraConfig::default()
        },
        InitB::Random,
        1,
    )
    .expect("parameters");
    parameters
        .snapshot(generator.decoder())
        .and_then(|adapter| adapter.save(folder.path(), generator.decoder()))
        .expect("saving");
    let with = |adapter: Option<&str>| GenerateRequest {
        adapter: adapter.map(str::to_owned),
        ..request(QUESTION, short(6))
    };
    let missing = answer(&generator, with(Some("tuned")))
        .await
        .err()
        .expect("not loaded");
    assert!(matches!(missing, GenerateError::NoAdapter(_)));
    generator
        .load_adapter("tuned", folder.path())
        .await
        .expect("loading");
    assert_eq!(generator.adapters(), ["tuned"]);
    let alone = answer(&generator, with(Some("tuned")))
        .await
        .expect("an answer")
        .text;
    let (plain, tuned) = tokio::join!(
        answer(&generator, with(None)),
        answer(&generator, with(Some("tuned")))
    );
    let (plain, tuned) = (plain.expect("an answer"), tuned.expect("an answer"));
    assert_eq!(alone, tuned.text);
    assert_ne!(plain.text, tuned.text);
    if let Some(other) = parity().first() {
        let error = generator
            .load_adapter("tuned", &other.join("adapter"))
            .await
            .expect_err("another base")
            .to_string();
        assert!(error.contains("tuned") && error.contains(MODEL), "{error}");
        assert_eq!(
            answer(&generator, with(Some("tuned")))
                .await
                .expect("the old one")
                .text,
            alone
        );
    }
    assert!(generator.unload_adapter("tuned") && !generator.unload_adapter("tuned"));
}

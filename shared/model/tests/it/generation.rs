//! Serving with the small default model: batches, prefixes, stops, limits, adapters.

use crate::folders::{gguf, parity};
use lore_model::train::{InitB, Parameters};
use lore_model::{GenerateError, GenerateEvent, GenerateRequest, Generator, LocalGenerator, LocalSettings, LoraConfig};
use lore_types::{FinishReason, Message, Role, Sampling, Usage};

const MODEL: &str = "smollm2-135m-instruct";

fn load(settings: LocalSettings) -> Option<LocalGenerator> {
    let path = gguf(MODEL)?;
    Some(LocalGenerator::load(&path, LocalSettings { name: MODEL.to_owned(), context_length: Some(512), ..settings }).expect("the model loads"))
}

fn request(question: &str, sampling: Sampling) -> GenerateRequest {
    GenerateRequest { messages: vec![Message::new(Role::User, question)], adapter: None, sampling }
}

fn short(max_new_tokens: usize) -> Sampling {
    Sampling { max_new_tokens, ..Sampling::default() }
}

struct Answer {
    text: String,
    pieces: usize,
    logprobs: Vec<f32>,
    finish: FinishReason,
    usage: Usage,
}

async fn answer(generator: &LocalGenerator, request: GenerateRequest) -> Result<Answer, GenerateError> {
    let mut events = generator.generate(request).await?;
    let (mut text, mut pieces, mut logprobs) = (String::new(), 0, Vec::new());
    while let Some(event) = events.recv().await {
        match event? {
            GenerateEvent::Token { text: piece, logprob } => {
                text.push_str(&piece);
                pieces += 1;
                logprobs.extend(logprob.map(|logprob| logprob.logprob));
            }
            GenerateEvent::Done { finish_reason, usage } => return Ok(Answer { text, pieces, logprobs, finish: finish_reason, usage }),
        }
    }
    Err(GenerateError::Failed("the answer has no end".to_owned()))
}

#[tokio::test]
async fn requests_together_get_the_answers_that_they_get_alone() {
    let Some(generator) = load(LocalSettings { cached_prefixes: 0, ..LocalSettings::default() }) else { return };
    let questions = ["What is the capital of France?", "Name a colour.", "Count to five."];
    let mut alone = Vec::new();
    for question in questions {
        alone.push(answer(&generator, request(question, short(10))).await.expect("an answer").text);
    }
    let together = questions.map(|question| answer(&generator, request(question, short(10))));
    let together: Vec<String> = futures::future::join_all(together).await.into_iter().map(|answer| answer.expect("an answer").text).collect();
    assert_eq!(alone, together);
    assert!(alone[0].contains("Paris"), "{alone:?}");
}

#[tokio::test]
async fn a_shared_beginning_is_not_computed_twice() {
    let Some(generator) = load(LocalSettings::default()) else { return };
    let ask = |question: &str| GenerateRequest { messages: vec![Message::new(Role::System, "Answer with one word, and never with more than that."), Message::new(Role::User, question)], adapter: None, sampling: short(4) };
    let first = answer(&generator, ask("What is the capital of France?")).await.expect("an answer");
    let second = answer(&generator, ask("What is the capital of Italy?")).await.expect("an answer");
    let again = answer(&generator, ask("What is the capital of France?")).await.expect("an answer");
    assert_eq!(first.usage.cached_tokens, 0);
    assert!(second.usage.cached_tokens >= 15, "{:?}", second.usage);
    assert_eq!(again.usage.cached_tokens, again.usage.prompt_tokens - 1);
    assert_eq!(first.text, again.text);
}

#[tokio::test]
async fn stops_limits_and_log_probabilities_are_kept() {
    let Some(generator) = load(LocalSettings::default()) else { return };
    let whole = answer(&generator, request("What is the capital of France?", short(20))).await.expect("an answer");
    assert_eq!(whole.finish, FinishReason::Stop);
    let cut = answer(&generator, request("What is the capital of France?", short(3))).await.expect("an answer");
    assert_eq!((cut.finish, cut.usage.completion_tokens, cut.pieces), (FinishReason::Length, 3, 3));
    assert!(whole.text.starts_with(&cut.text));
    let stop = Sampling { stop: vec!["of Fra".to_owned()], logprobs: Some(2), ..short(20) };
    let stopped = answer(&generator, request("What is the capital of France?", stop)).await.expect("an answer");
    assert_eq!(stopped.finish, FinishReason::Stop);
    assert_eq!(whole.text.split_once("of Fra").expect("the stop text").0, stopped.text);
    assert_eq!(stopped.logprobs.len(), stopped.pieces);
    assert!(stopped.logprobs.iter().all(|logprob| *logprob <= 0.0));
}

#[tokio::test]
async fn a_seed_repeats_an_answer_and_bad_requests_are_named() {
    let Some(generator) = load(LocalSettings::default()) else { return };
    let hot = |seed: u64| Sampling { temperature: 1.5, seed, ..short(8) };
    let one = answer(&generator, request("Tell me a story.", hot(1))).await.expect("an answer").text;
    assert_eq!(one, answer(&generator, request("Tell me a story.", hot(1))).await.expect("an answer").text);
    assert_ne!(one, answer(&generator, request("Tell me a story.", hot(2))).await.expect("an answer").text);
    let invalid = answer(&generator, request("x", Sampling { top_p: 0.0, ..short(1) })).await.err().expect("refused");
    assert!(matches!(&invalid, GenerateError::Invalid(text) if text.contains("top_p")), "{invalid}");
    let long = answer(&generator, request(&"word ".repeat(600), short(1))).await.err().expect("refused");
    assert!(matches!(long, GenerateError::TooLong { context: 512, .. }), "{long}");
    let full = answer(&generator, request(&"word ".repeat(460), short(1000))).await.expect("an answer");
    assert!(full.usage.total_tokens <= 512);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_a_caller_that_hangs_up_frees_it() {
    let Some(generator) = load(LocalSettings { max_batch: 1, max_queue: 1, ..LocalSettings::default() }) else { return };
    let mut waiting = Vec::new();
    let busy = loop {
        match generator.generate(request("Write a very long story.", short(400))).await {
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
            Err(GenerateError::Busy { .. }) if std::time::Instant::now() < deadline => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(after.expect("an answer").usage.completion_tokens, 1);
}

#[tokio::test]
async fn an_adapter_is_loaded_while_serving_and_a_wrong_one_is_refused() {
    let Some(generator) = load(LocalSettings::default()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let parameters = Parameters::new(generator.decoder(), LoraConfig { r: 2, ..LoraConfig::default() }, InitB::Random, 1).expect("parameters");
    parameters.snapshot().and_then(|adapter| adapter.save(folder.path(), generator.decoder())).expect("saving");
    let with = |adapter: Option<&str>| GenerateRequest { adapter: adapter.map(str::to_owned), ..request("What is the capital of France?", short(6)) };
    let missing = answer(&generator, with(Some("tuned"))).await.err().expect("not loaded");
    assert!(matches!(missing, GenerateError::NoAdapter(_)));
    generator.load_adapter("tuned", folder.path()).await.expect("loading");
    assert_eq!(generator.adapters(), ["tuned"]);
    let alone = answer(&generator, with(Some("tuned"))).await.expect("an answer").text;
    let (plain, tuned) = tokio::join!(answer(&generator, with(None)), answer(&generator, with(Some("tuned"))));
    let (plain, tuned) = (plain.expect("an answer"), tuned.expect("an answer"));
    assert_eq!(alone, tuned.text);
    assert_ne!(plain.text, tuned.text);
    if let Some(other) = parity().first() {
        let error = generator.load_adapter("tuned", &other.join("adapter")).await.expect_err("another base").to_string();
        assert!(error.contains("tuned") && error.contains(MODEL), "{error}");
        assert_eq!(answer(&generator, with(Some("tuned"))).await.expect("the old one").text, alone);
    }
    assert!(generator.unload_adapter("tuned") && !generator.unload_adapter("tuned"));
}

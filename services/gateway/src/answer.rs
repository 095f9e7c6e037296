//! One answer, step by step: understand the question, find passages, decide whether to answer, prompt, and afterwards
//! check what the model wrote. `/v1/ask` and `/v1/chat/completions` both go through here.

use crate::adapters::Chosen;
use crate::error::GatewayError;
use crate::generation::{Generation, Written};
use crate::measure;
use crate::retrieve::{Found, Query};
use crate::state::GatewayState;
use lore_model::{GenerateRequest, Generator};
use lore_retrieval::{
    FollowUp, Prompt, Relevance, Resolved, declines, pack, passage_block, resolve,
    without_repetition,
};
use lore_types::{
    Answer, Claim, Collection, Filter, FinishReason, Message, Passage, Role, Sampling, SearchMode,
    Timings, Usage,
};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// What is asked, checked.
pub(crate) struct Asking {
    pub collection: Collection,
    pub question: String,
    /// What was said before the question, oldest first.
    pub history: Vec<Message>,
    pub mode: SearchMode,
    pub filter: Option<Filter>,
    /// Most passages for the model.
    pub limit: usize,
    pub strict: bool,
    pub explain: bool,
    pub sampling: Sampling,
    /// What answers.
    pub chosen: Chosen,
    /// What the asker should know of the choice.
    pub notice: Option<String>,
}

/// A question ready for the model, or already decided.
pub(crate) struct Prepared {
    asking: Asking,
    /// The question as it was searched for.
    pub question: String,
    /// What the model is shown.
    pub passages: Vec<Passage>,
    /// What the model is asked; `None` where nothing relevant was found.
    pub messages: Option<Vec<Message>>,
    prompt: Option<String>,
    notices: Vec<String>,
    timings: Timings,
    started: Instant,
    generating: Instant,
}

impl Prepared {
    /// Whether an answer is withheld in which a sentence has no passage that backs it.
    pub fn is_strict(&self) -> bool {
        self.asking.strict
    }
}

impl GatewayState {
    /// Everything before the model is asked.
    pub(crate) async fn prepare(&self, asking: Asking) -> Result<Prepared, GatewayError> {
        let started = Instant::now();
        let generator = Arc::clone(&asking.chosen.generator);
        let mut timings = Timings::default();
        let question = FollowUp {
            question: &asking.question,
            history: &asking.history,
        }
        .standalone();
        timings.rewrite_ms = measure::stage("rewrite", started.elapsed());
        let query = Query {
            collection: &asking.collection,
            text: &question,
            mode: asking.mode,
            filter: asking.filter.as_ref(),
            limit: asking.limit,
        };
        let found = self.find(&query).await?;
        timings.embed_ms = measure::stage("embed", found.embed_time);
        timings.retrieve_ms = measure::stage("retrieve", found.retrieve_time);
        let (found, relevance) = judge(&question, asking.limit, found).await?;
        let mut notices = notices(&asking, &found, &relevance);
        notices.extend(asking.notice.clone());
        let mut prepared = Prepared {
            asking,
            question,
            passages: Vec::new(),
            messages: None,
            prompt: None,
            notices,
            timings,
            started,
            generating: Instant::now(),
        };
        if relevance.is_relevant() {
            self.compose(&*generator, found.passages, &mut prepared)?;
        }
        Ok(prepared)
    }

    /// Chooses the passages that fit, and writes the prompt.
    fn compose(
        &self,
        generator: &dyn Generator,
        candidates: Vec<Passage>,
        prepared: &mut Prepared,
    ) -> Result<(), GatewayError> {
        let bare = generator.count_tokens(&self.messages(prepared, &[]))?;
        let room = room(generator, bare, &prepared.asking.sampling)?;
        let candidates = without_repetition(candidates);
        let empty = generator.count_tokens(&[Message::new(Role::User, "")])?;
        let count = |passage: &Passage| {
            let block = Message::new(Role::User, passage_block(1, passage));
            generator
                .count_tokens(&[block])
                .map_or(usize::MAX, |tokens| tokens.saturating_sub(empty))
        };
        let packed = pack(
            candidates,
            self.settings().prompt_tokens.min(room),
            prepared.asking.limit,
            count,
        );
        let messages = self.messages(prepared, &packed.passages);
        prepared.prompt = if prepared.asking.explain {
            Some(generator.render(&messages)?)
        } else {
            None
        };
        prepared.passages = packed.passages;
        prepared.messages = Some(messages);
        prepared.generating = Instant::now();
        Ok(())
    }

    fn messages(&self, prepared: &Prepared, passages: &[Passage]) -> Vec<Message> {
        let Asking {
            question, history, ..
        } = &prepared.asking;
        Prompt {
            question,
            history,
            passages,
            abstain_sentence: &self.settings().abstain_sentence,
        }
        .messages()
    }

    /// Starts the model on a prepared question.
    pub(crate) async fn generate(
        &self,
        prepared: &Prepared,
    ) -> Result<Option<Generation>, GatewayError> {
        let Some(messages) = prepared.messages.clone() else {
            return Ok(None);
        };
        let request = GenerateRequest {
            messages,
            adapter: prepared.asking.chosen.adapter.clone(),
            sampling: prepared.asking.sampling.clone(),
        };
        Generation::start(&*prepared.asking.chosen.generator, request, self.ending())
            .await
            .map(Some)
    }

    /// Everything after the model has answered; `None` where it was not asked.
    pub(crate) async fn finish(
        &self,
        mut prepared: Prepared,
        written: Option<Written>,
    ) -> Result<Answer, GatewayError> {
        let Some(written) = written else {
            measure::answer("abstained");
            return Ok(self.abstained(prepared, None));
        };
        prepared.timings.generate_ms = prepared.generating.elapsed().as_secs_f64() * 1_000.0;
        let citing = Instant::now();
        let resolved = self.resolved(&mut prepared, &written.text).await?;
        prepared.timings.cite_ms = measure::stage("cite", citing.elapsed());
        if declines(&resolved.text, &self.settings().abstain_sentence)
            && resolved.citations.is_empty()
        {
            measure::answer("abstained");
            return Ok(self.abstained(prepared, Some(written)));
        }
        if prepared.asking.strict && !all_supported(&resolved.claims) {
            let notice = "strict: the answer was withheld, because no passage backs a part of it";
            prepared.notices.push(notice.to_owned());
            measure::answer("withheld");
            return Ok(self.abstained(prepared, Some(written)));
        }
        measure::answer("answered");
        Ok(self.answer(prepared, resolved, &written, false))
    }

    /// Aligning is work for the processor, so it runs on a thread of its own.
    async fn resolved(
        &self,
        prepared: &mut Prepared,
        text: &str,
    ) -> Result<Resolved, GatewayError> {
        let settings = self.settings().citations;
        let (text, question, passages) = (
            text.to_owned(),
            prepared.question.clone(),
            std::mem::take(&mut prepared.passages),
        );
        let work = move || {
            let resolved = resolve(&text, &question, &passages, &settings);
            (resolved, passages)
        };
        let (resolved, passages) = tokio::task::spawn_blocking(work)
            .await
            .map_err(GatewayError::Join)?;
        prepared.passages = passages;
        Ok(resolved)
    }

    fn abstained(&self, prepared: Prepared, written: Option<Written>) -> Answer {
        let resolved = Resolved {
            text: self.settings().abstain_sentence.clone(),
            ..Resolved::default()
        };
        let nothing = Written {
            text: String::new(),
            finish_reason: FinishReason::Stop,
            usage: Usage::default(),
        };
        self.answer(prepared, resolved, &written.unwrap_or(nothing), true)
    }

    fn answer(
        &self,
        prepared: Prepared,
        resolved: Resolved,
        written: &Written,
        abstained: bool,
    ) -> Answer {
        let mut timings = prepared.timings;
        timings.total_ms = measure::stage("total", prepared.started.elapsed());
        let mut passages = prepared.passages;
        if !prepared.asking.explain {
            passages
                .iter_mut()
                .for_each(|passage| passage.scores = None);
        }
        Answer {
            id: format!("ans-{}", Uuid::now_v7().simple()),
            object: "answer".to_owned(),
            model: prepared.asking.chosen.name,
            collection: prepared.asking.collection.name,
            question: prepared.question,
            answer: resolved.text,
            abstained,
            citations: resolved.citations,
            claims: resolved.claims,
            passages,
            finish_reason: written.finish_reason,
            usage: written.usage,
            timings,
            notices: prepared.notices,
            prompt: prepared.prompt,
        }
    }
}

async fn judge(
    question: &str,
    limit: usize,
    found: Found,
) -> Result<(Found, Relevance), GatewayError> {
    let question = question.to_owned();
    let work = move || {
        let pool: Vec<&str> = found
            .passages
            .iter()
            .map(|passage| passage.text.as_str())
            .collect();
        let best = found
            .passages
            .get(..limit.min(found.passages.len()))
            .unwrap_or_default();
        let relevance = Relevance::judge(&question, best, &pool, found.dense);
        (found, relevance)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(GatewayError::Join)
}

/// What the asker should know beside the answer.
fn notices(asking: &Asking, found: &Found, relevance: &Relevance) -> Vec<String> {
    let name = &asking.collection.name;
    if asking.collection.chunks == 0 {
        return vec![format!(
            "collection `{name}` has no document that can be found yet; `GET /v1/jobs` tells what is under way"
        )];
    }
    if found.passages.is_empty() && asking.filter.is_some() {
        return vec![format!(
            "the filter admits nothing that was found in collection `{name}`"
        )];
    }
    if relevance.is_relevant() {
        return Vec::new();
    }
    vec![format!(
        "nothing in collection `{name}` is about this question (relevance {:.2})",
        relevance.probability
    )]
}

/// Tokens left for passages when the rest of the prompt and the answer have theirs.
fn room(
    generator: &dyn Generator,
    bare: usize,
    sampling: &Sampling,
) -> Result<usize, GatewayError> {
    let info = generator.info();
    let left = info
        .context_length
        .checked_sub(bare.saturating_add(sampling.max_new_tokens))
        .filter(|left| *left > 0);
    left.ok_or(GatewayError::NoRoom {
        model: info.model,
        prompt: bare,
        answer: sampling.max_new_tokens,
        context: info.context_length,
    })
}

fn all_supported(claims: &[Claim]) -> bool {
    !claims.is_empty() && claims.iter().all(|claim| claim.supported)
}

use crate::error::{ModelError, Result};
use crate::random::Random;
use lore_types::Sampling;
use std::collections::{HashMap, HashSet};

/// Alternatives with log probabilities that a request may ask for.
const MOST_LOGPROBS: usize = 20;

/// Chooses tokens from logits as a request wants it. Every request has its own, so a batch changes nothing.
///
/// # Source
/// The order of the steps is that of Hugging Face's `generate`: repetition penalty, temperature, top-k, top-p, min-p. After the
/// repetition penalty come OpenAI's `presence_penalty` and `frequency_penalty`, over the answer alone.
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    seen: HashSet<u32>,
    written: HashMap<u32, u32>,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its id.
    pub token: u32,
    /// Its log probability in the model's own distribution, and the likeliest tokens with theirs, where asked for.
    pub logprobs: Option<(f32, Vec<(u32, f32)>)>,
}

impl Sampler {
    /// A sampler that has seen the prompt.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let penalised = sampling.repetition_penalty != 1.0;
        let seen = if penalised {
            prompt.iter().copied().collect()
        } else {
            HashSet::new()
        };
        Self {
            random: Random::new(sampling.seed),
            sampling,
            seen,
            written: HashMap::new(),
        }
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Names the setting and what it may be.
    pub fn check(sampling: &Sampling) -> Result<(), String> {
        let range = |name: &str, value: f32, good: bool, allowed: &str| {
            if good {
                Ok(())
            } else {
                Err(format!("`{name}` is {value}, but must be {allowed}"))
            }
        };
        let s = sampling;
        range(
            "temperature",
            s.temperature,
            (0.0..=100.0).contains(&s.temperature),
            "between 0 and 100",
        )?;
        range(
            "top_p",
            s.top_p,
            s.top_p > 0.0 && s.top_p <= 1.0,
            "above 0 and at most 1",
        )?;
        range(
            "min_p",
            s.min_p,
            (0.0..=1.0).contains(&s.min_p),
            "between 0 and 1",
        )?;
        range(
            "repetition_penalty",
            s.repetition_penalty,
            s.repetition_penalty > 0.0 && s.repetition_penalty <= 100.0,
            "above 0 and at most 100",
        )?;
        for (name, value) in [
            ("presence_penalty", s.presence_penalty),
            ("frequency_penalty", s.frequency_penalty),
        ] {
            let good = (-2.0..=2.0).contains(&value);
            range(name, value, good, "between -2 and 2")?;
        }
        if s.max_new_tokens == 0 {
            return Err("`max_new_tokens` is 0, but must be at least 1".to_owned());
        }
        if s.stop.iter().any(String::is_empty) {
            return Err("a text of `stop` is empty".to_owned());
        }
        match s.logprobs {
            Some(count) if count > MOST_LOGPROBS => Err(format!(
                "`logprobs` is {count}, but must be at most {MOST_LOGPROBS}"
            )),
            _ => Ok(()),
        }
    }

    /// Chooses the next token.
    ///
    /// # Errors
    /// When the logits hold something that is no number.
    pub fn choose(&mut self, logits: &[f32]) -> Result<Choice> {
        if logits.is_empty() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(ModelError::Invalid(
                "the model's output holds values that are no numbers".to_owned(),
            ));
        }
        let mut scores = std::borrow::Cow::Borrowed(logits);
        if !self.seen.is_empty() {
            self.penalise(scores.to_mut());
        }
        if !self.written.is_empty() {
            self.discourage(scores.to_mut());
        }
        let token = if self.sampling.temperature == 0.0 {
            likeliest(&scores)
        } else {
            self.sample(&scores)
        };
        if self.sampling.repetition_penalty != 1.0 {
            self.seen.insert(token);
        }
        if self.sampling.presence_penalty != 0.0 || self.sampling.frequency_penalty != 0.0 {
            *self.written.entry(token).or_default() += 1;
        }
        Ok(Choice {
            token,
            logprobs: self
                .sampling
                .logprobs
                .map(|count| logprobs(logits, token, count)),
        })
    }

    fn penalise(&self, scores: &mut [f32]) {
        let penalty = self.sampling.repetition_penalty;
        for token in &self.seen {
            if let Some(score) = scores.get_mut(*token as usize) {
                *score = if *score > 0.0 {
                    *score / penalty
                } else {
                    *score * penalty
                };
            }
        }
    }

    /// OpenAI's penalties: score - presence_penalty - count · frequency_penalty.
    fn discourage(&self, scores: &mut [f32]) {
        let (once, each) = (
            self.sampling.presence_penalty,
            self.sampling.frequency_penalty,
        );
        for (token, count) in &self.written {
            if let Some(score) = scores.get_mut(*token as usize) {
                *score -= once + each * *count as f32;
            }
        }
    }

    fn sample(&mut self, scores: &[f32]) -> u32 {
        let mut candidates = self.candidates(scores);
        let Some(largest) = candidates.first().map(|candidate| candidate.1) else {
            return likeliest(scores);
        };
        for candidate in &mut candidates {
            candidate.1 = ((candidate.1 - largest) / self.sampling.temperature).exp();
        }
        cut_top_p(&mut candidates, self.sampling.top_p);
        candidates.retain(|candidate| candidate.1 >= self.sampling.min_p); // the likeliest has weight 1
        let total: f32 = candidates.iter().map(|candidate| candidate.1).sum();
        let mut left = self.random.uniform() * total;
        for (token, weight) in &candidates {
            left -= weight;
            if left < 0.0 {
                return *token;
            }
        }
        candidates
            .first()
            .map_or_else(|| likeliest(scores), |candidate| candidate.0)
    }

    /// The tokens that can be chosen with their scores, likeliest first.
    fn candidates(&self, scores: &[f32]) -> Vec<(u32, f32)> {
        let floor = self.floor(scores);
        let kept = (0u32..)
            .zip(scores.iter().copied())
            .filter(|(_, score)| *score >= floor);
        let mut candidates: Vec<(u32, f32)> = kept.collect();
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let top_k = self.sampling.top_k;
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, order);
            candidates.truncate(top_k);
        }
        candidates.sort_unstable_by(order);
        candidates
    }

    /// A score below which no token can be chosen, to spare sorting the whole vocabulary: all tokens below it together
    /// hold less than what top-p leaves out, or less than float32 can draw.
    fn floor(&self, scores: &[f32]) -> f32 {
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let left_out = (1.0 - self.sampling.top_p).max(1e-8);
        largest + self.sampling.temperature * (left_out / scores.len() as f32).ln()
    }
}

/// The smallest set of the likeliest candidates that holds `top_p` of the weight.
fn cut_top_p(candidates: &mut Vec<(u32, f32)>, top_p: f32) {
    if top_p >= 1.0 {
        return;
    }
    let total: f32 = candidates.iter().map(|candidate| candidate.1).sum();
    let mut sum = 0.0;
    let enough = candidates.iter().position(|candidate| {
        sum += candidate.1;
        sum >= top_p * total
    });
    if let Some(last) = enough {
        candidates.truncate(last + 1);
    }
}

/// The token with the largest score, the first of equals.
fn likeliest(scores: &[f32]) -> u32 {
    let mut best = (0u32, f32::NEG_INFINITY);
    for (token, score) in (0u32..).zip(scores) {
        if *score > best.1 {
            best = (token, *score);
        }
    }
    best.0
}

fn logprobs(logits: &[f32], token: u32, count: usize) -> (f32, Vec<(u32, f32)>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .sum();
    let of = |logit: f32| (f64::from(logit - largest) - sum.ln()) as f32;
    let mut all: Vec<(u32, f32)> = (0u32..).zip(logits.iter().copied()).collect();
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count > 0 && count < all.len() {
        all.select_nth_unstable_by(count - 1, order);
    }
    all.truncate(count);
    all.sort_unstable_by(order);
    let own = logits
        .get(token as usize)
        .copied()
        .unwrap_or(f32::NEG_INFINITY);
    (
        of(own),
        all.into_iter()
            .map(|(token, logit)| (token, of(logit)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, &[]);
        let mut tokens: Vec<u32> = (0..200)
            .map(|_| sampler.choose(logits).expect("numbers").token)
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, 0.0]; // probabilities 0.087, 0.644, 0.237, 0.032

    #[test]
    fn each_setting_keeps_its_tokens() {
        let hot = Sampling {
            temperature: 1.0,
            ..Sampling::default()
        };
        assert_eq!(drawn(Sampling::default(), &LOGITS), [1]);
        assert_eq!(drawn(hot.clone(), &LOGITS), [0, 1, 2, 3]);
        assert_eq!(
            drawn(
                Sampling {
                    top_k: 2,
                    ..hot.clone()
                },
                &LOGITS
            ),
            [1, 2]
        );
        assert_eq!(
            drawn(
                Sampling {
                    top_p: 0.8,
                    ..hot.clone()
                },
                &LOGITS
            ),
            [1, 2]
        );
        assert_eq!(
            drawn(
                Sampling {
                    min_p: 0.1,
                    ..hot.clone()
                },
                &LOGITS
            ),
            [0, 1, 2]
        );
        assert_eq!(drawn(Sampling { top_p: 0.1, ..hot }, &LOGITS), [1]);
    }

    #[test]
    fn sampling_follows_the_distribution_and_the_seed() {
        let sampling = Sampling {
            temperature: 1.0,
            seed: 7,
            ..Sampling::default()
        };
        let draw = || {
            let mut sampler = Sampler::new(sampling.clone(), &[]);
            (0..10_000)
                .map(|_| sampler.choose(&LOGITS).expect("numbers").token)
                .collect::<Vec<_>>()
        };
        let tokens = draw();
        assert_eq!(tokens, draw());
        let share = tokens.iter().filter(|token| **token == 1).count() as f64 / 10_000.0;
        assert!((share - 0.644).abs() < 0.02, "{share}");
    }

    #[test]
    fn what_the_answer_has_already_loses_presence_once_and_frequency_each_time() {
        let sampling = Sampling {
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(sampling, &[1]);
        let tokens: Vec<u32> = (0..4)
            .map(|_| sampler.choose(&[1.0, 2.0, -9.0]).expect("numbers").token)
            .collect();
        // 2, 1.25, then 1 each (the first wins), then 0.25 and 1.
        assert_eq!(tokens, [1, 1, 0, 1]);
    }

    #[test]
    fn repetition_is_penalised_on_both_sides_of_zero() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(sampling, &[1]);
        assert_eq!(sampler.choose(&[1.0, 1.9, 0.0]).expect("numbers").token, 0);
        assert_eq!(
            sampler.choose(&[-1.0, -0.6, -1.1]).expect("numbers").token,
            2
        );
    }

    #[test]
    fn log_probabilities_are_the_models_own() {
        let sampling = Sampling {
            logprobs: Some(2),
            ..Sampling::default()
        };
        let choice = Sampler::new(sampling, &[])
            .choose(&LOGITS)
            .expect("numbers");
        let (own, top) = choice.logprobs.expect("asked for");
        assert!((own.exp() - 0.643_9).abs() < 1e-3);
        assert_eq!(top.iter().map(|entry| entry.0).collect::<Vec<_>>(), [1, 2]);
    }
}

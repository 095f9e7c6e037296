use crate::problem::{Problem, nearest};
use lore_types::{TargetModules, TrainingMethod, TrainingSettings};
use serde_json::{Map, Value};

/// The learning rate of full fine-tuning where none is asked for.
const FULL_LEARNING_RATE: f64 = 2e-5;
/// OpenAI's setting that multiplies the default learning rate.
const MULTIPLIER: &str = "learning_rate_multiplier";
/// The word for a value that Lore chooses.
const AUTO: &str = "auto";

/// Settings from what a request names: OpenAI's three and Lore's own, each by its name; the rest have their defaults.
///
/// # Errors
/// Every setting that is unknown (with the nearest name), of the wrong kind, or out of range.
pub fn settings(asked: &Map<String, Value>) -> Result<TrainingSettings, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut known = defaults(asked, &mut problems);
    for (name, value) in asked {
        if name != MULTIPLIER
            && value != AUTO
            && let Err(problem) = put(&mut known, name, value)
        {
            problems.push(problem);
        }
    }
    multiply(&mut known, asked.get(MULTIPLIER), &mut problems);
    let settings: TrainingSettings = match serde_json::from_value(Value::Object(known)) {
        Ok(settings) => settings,
        Err(error) => {
            problems.push(Problem::new("settings", error.to_string()));
            return Err(problems);
        }
    };
    check(&settings, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(problems)
    }
}

/// The defaults as a JSON object; that of the learning rate depends on the method.
fn defaults(asked: &Map<String, Value>, problems: &mut Vec<Problem>) -> Map<String, Value> {
    let mut settings = TrainingSettings::default();
    if asked.get("method").is_some_and(|method| method == "full") {
        settings.learning_rate = FULL_LEARNING_RATE;
    }
    match serde_json::to_value(settings) {
        Ok(Value::Object(known)) => known,
        _ => {
            problems.push(Problem::new(
                "settings",
                "the defaults cannot be written as JSON",
            ));
            Map::new()
        }
    }
}

/// Sets one value, if there is such a setting and the value is of its kind.
fn put(known: &mut Map<String, Value>, name: &str, value: &Value) -> Result<(), Problem> {
    if !known.contains_key(name) {
        let names = known.keys().map(String::as_str).chain([MULTIPLIER]);
        let hint = nearest(name, names).map_or_else(
            || "GET /openapi.json lists all under TrainingSettings".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        return Err(Problem::new(
            name,
            format!("there is no setting `{name}`; {hint}"),
        ));
    }
    let mut tried = known.clone();
    tried.insert(name.to_owned(), value.clone());
    match serde_json::from_value::<TrainingSettings>(Value::Object(tried)) {
        Ok(_) => {
            known.insert(name.to_owned(), value.clone());
            Ok(())
        }
        Err(error) => Err(Problem::new(
            name,
            format!("`{name}` cannot be {value}: {error}"),
        )),
    }
}

fn multiply(known: &mut Map<String, Value>, asked: Option<&Value>, problems: &mut Vec<Problem>) {
    let Some(asked) = asked.filter(|asked| *asked != AUTO) else {
        return;
    };
    let rate = known.get("learning_rate").and_then(Value::as_f64);
    match (asked.as_f64(), rate) {
        (Some(factor), Some(rate)) if factor.is_finite() && factor > 0.0 => {
            known.insert("learning_rate".to_owned(), Value::from(rate * factor));
        }
        _ => problems.push(Problem::new(
            MULTIPLIER,
            format!("`{MULTIPLIER}` cannot be {asked}: write a number above 0, or \"auto\""),
        )),
    }
}

/// Refuses what is out of range, all of it.
fn check(settings: &TrainingSettings, problems: &mut Vec<Problem>) {
    let mut need = |fine: bool, name: &str, what: &str| {
        if !fine {
            problems.push(Problem::new(name, format!("`{name}` must be {what}")));
        }
    };
    let share = |value: f64| (0.0..1.0).contains(&value);
    need(
        (1..=512).contains(&settings.lora_r),
        "lora_r",
        "between 1 and 512",
    );
    need(above_zero(settings.lora_alpha), "lora_alpha", "above 0");
    need(
        share(settings.lora_dropout),
        "lora_dropout",
        "at least 0 and below 1",
    );
    need(
        above_zero(settings.learning_rate),
        "learning_rate",
        "above 0",
    );
    need(
        share(settings.warmup_ratio),
        "warmup_ratio",
        "at least 0 and below 1",
    );
    need(
        not_below_zero(settings.weight_decay),
        "weight_decay",
        "at least 0",
    );
    need(
        share(settings.adam_beta1),
        "adam_beta1",
        "at least 0 and below 1",
    );
    need(
        share(settings.adam_beta2),
        "adam_beta2",
        "at least 0 and below 1",
    );
    need(above_zero(settings.adam_eps), "adam_eps", "above 0");
    need(
        not_below_zero(settings.max_grad_norm),
        "max_grad_norm",
        "at least 0 (0 turns clipping off)",
    );
    need(
        (1..=65_536).contains(&settings.batch_size),
        "batch_size",
        "between 1 and 65536",
    );
    need(
        settings.micro_batch_tokens >= 1,
        "micro_batch_tokens",
        "at least 1",
    );
    need(settings.max_tokens >= 8, "max_tokens", "at least 8");
    need(
        above_zero(settings.n_epochs) && settings.n_epochs <= 10_000.0,
        "n_epochs",
        "above 0 and at most 10000",
    );
    need(settings.max_steps != Some(0), "max_steps", "at least 1");
    need(
        (0.0..=0.5).contains(&settings.validation_share),
        "validation_share",
        "between 0 and 0.5",
    );
    need(
        settings.eval_every_steps != Some(0),
        "eval_every_steps",
        "at least 1",
    );
    need(
        not_below_zero(settings.early_stopping_min_delta),
        "early_stopping_min_delta",
        "at least 0",
    );
    need(
        settings.checkpoint_every_steps >= 1,
        "checkpoint_every_steps",
        "at least 1",
    );
    need(
        settings.keep_checkpoints >= 1,
        "keep_checkpoints",
        "at least 1",
    );
    let named = match &settings.target_modules {
        TargetModules::List(list) => !list.is_empty(),
        TargetModules::Pattern(pattern) => !pattern.is_empty(),
    };
    need(
        named,
        "target_modules",
        "a list of modules, a pattern, or \"all-linear\"",
    );
    let plain = settings.method != TrainingMethod::Full || settings.lora_dropout == 0.0;
    need(plain, "lora_dropout", "0 where `method` is \"full\"");
}

fn above_zero(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn not_below_zero(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

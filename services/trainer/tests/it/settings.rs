use lore_trainer::settings;
use lore_types::{TargetModules, TrainingMethod, TrainingSettings};
use serde_json::{Map, Value, json};

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[test]
fn what_is_not_named_has_its_default() {
    let asked =
        map(json!({"learning_rate": 1e-3, "target_modules": ["q_proj"], "batch_size": "auto"}));
    let settings = settings(&asked).expect("settings");
    let expected = TrainingSettings {
        learning_rate: 1e-3,
        target_modules: TargetModules::List(vec!["q_proj".to_owned()]),
        ..TrainingSettings::default()
    };
    assert_eq!(settings, expected);
}

#[test]
fn openais_multiplier_multiplies_the_rate_of_the_method() {
    let asked = map(json!({"learning_rate_multiplier": 2}));
    assert_eq!(settings(&asked).expect("settings").learning_rate, 4e-4);
    let asked = map(json!({"learning_rate_multiplier": 0.5, "method": "full"}));
    let full = settings(&asked).expect("settings");
    assert_eq!(
        (full.method, full.learning_rate),
        (TrainingMethod::Full, 1e-5)
    );
}

#[test]
fn every_problem_is_told_with_the_nearest_name() {
    let asked = map(
        json!({"learing_rate": 1, "lora_r": 0, "batch_size": "many", "zzz": 1, "n_epochs": -1, "method": "dpo"}),
    );
    let problems = settings(&asked).expect_err("problems");
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    for part in [
        "there is no setting `learing_rate`; did you mean `learning_rate`?",
        "`lora_r` must be between 1 and 512",
        "`batch_size` cannot be \"many\"",
        "there is no setting `zzz`; GET /openapi.json",
        "`n_epochs` must be above 0",
        "`method` cannot be \"dpo\"",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(problems.len(), 6);
}

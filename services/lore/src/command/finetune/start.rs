use super::watch;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Progress, describe_tuning};
use clap::Args;
use lore_client::Client;
use lore_types::{
    BadLinePolicy, CreateFineTuningJob, FileId, LoreRequest, Replay, TrainingSettings, WeightedFile,
};
use serde_json::{Map, Value};
use std::path::Path;

/// What to train, and on what.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct StartArgs {
    /// The base model, or an adapter (NAME or NAME@VERSION) to go on from
    #[arg(long, value_name = "MODEL")]
    base: String,
    /// Examples: a JSON or JSONL file (alpaca, ShareGPT, OpenAI messages, text), or the id of an uploaded one; several are
    /// mixed, FILE=2 shows a file's examples twice as often
    #[arg(long, required = true, num_args = 1.., value_name = "FILE[=WEIGHT]")]
    dataset: Vec<String>,
    /// The adapter's name; training again under one name makes a new version
    #[arg(long)]
    name: String,
    /// Examples to validate on; by default a share of the first dataset is held out
    #[arg(long, value_name = "FILE")]
    validation: Option<String>,
    /// General data that is mixed in against forgetting, with its share of all examples
    #[arg(long, value_name = "FILE=SHARE")]
    replay: Option<String>,
    /// Leave out lines that are no examples, in place of refusing to start
    #[arg(long)]
    skip_bad_lines: bool,
    /// Watch the job until it is over
    #[arg(long, short)]
    wait: bool,
}

const AFTER_HELP: &str = "\
Settings of the training are given as --set NAME=VALUE, such as --set learning_rate=1e-4 --set n_epochs=2 --set method=qlora
--set lora_r=32 --set batch_size=16 --set max_tokens=2048. A wrong name is refused with the nearest one; `lore finetune show`
tells what every setting was.";

/// Runs it.
pub async fn run(context: &Context, args: &StartArgs) -> Result<(), Failure> {
    let (context, settings) = context.without_settings();
    let settings = checked(&settings)?;
    let (client, output) = (context.client()?, context.output);
    let request = request(&client, args, settings).await?;
    let job = client.create_fine_tuning_job(&request).await?;
    if args.wait {
        if !output.is_json() {
            output.note(format!("job {}", job.id));
        }
        return watch::watch(&client, output, &job).await;
    }
    output.object(&job, || describe_tuning(output, &job))?;
    output.note(format!(
        "`lore finetune watch {}` shows how it goes",
        job.id
    ));
    Ok(())
}

/// The settings as JSON: what is a number, a list or a truth value is sent as such.
fn checked(settings: &[(String, String)]) -> Result<Map<String, Value>, Failure> {
    let known = serde_json::to_value(TrainingSettings::default()).unwrap_or_default();
    let mut all = Map::new();
    for (name, text) in settings {
        if known.get(name).is_none() && !OPENAI.contains(&name.as_str()) {
            let names: Vec<&String> = known.as_object().into_iter().flat_map(Map::keys).collect();
            let nearest = names.iter().max_by(|a, b| {
                let near = |known: &str| strsim::jaro_winkler(known, name);
                near(a).total_cmp(&near(b))
            });
            let hint = nearest
                .map(|nearest| format!("did you mean `{nearest}`? Settings: {}", joined(&names)));
            return Err(Failure::new(format!("there is no setting `{name}`"))
                .hint(hint.unwrap_or_default())
                .exit(Exit::Usage));
        }
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
        all.insert(name.clone(), value);
    }
    Ok(all)
}

/// OpenAI's own name of a setting.
const OPENAI: [&str; 1] = ["learning_rate_multiplier"];

fn joined(names: &[&String]) -> String {
    names
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

async fn request(
    client: &Client,
    args: &StartArgs,
    settings: Map<String, Value>,
) -> Result<CreateFineTuningJob, Failure> {
    let mut datasets: Vec<(&str, f64)> = args.dataset.iter().map(|text| weighted(text)).collect();
    // The API weighs every file but the first.
    let first = datasets.iter().position(|(_, weight)| *weight == 1.0);
    let first =
        first.ok_or_else(|| usage("one --dataset has to have no weight, or the weight 1"))?;
    let training = datasets.remove(first).0;
    let replay = args.replay.as_deref().map(share).transpose()?;
    let mut more = Vec::new();
    let training_file = uploaded(client, training).await?;
    for (file, weight) in datasets {
        let file = uploaded(client, file).await?;
        more.push(WeightedFile { file, weight });
    }
    let validation_file = match &args.validation {
        Some(file) => Some(uploaded(client, file).await?),
        None => None,
    };
    let replay = match replay {
        Some((file, share)) => Some(Replay {
            file: uploaded(client, file).await?,
            share,
        }),
        None => None,
    };
    let on_bad_line = if args.skip_bad_lines {
        BadLinePolicy::Skip
    } else {
        BadLinePolicy::Refuse
    };
    Ok(CreateFineTuningJob {
        model: args.base.clone(),
        training_file,
        validation_file,
        lore: Some(LoreRequest {
            name: Some(args.name.clone()),
            settings,
            datasets: more,
            replay,
            continue_from: None,
            on_bad_line,
        }),
        ..CreateFineTuningJob::default()
    })
}

/// `FILE=0.5` → the file and its weight; a file whose name ends like that is taken as it is.
fn weighted(text: &str) -> (&str, f64) {
    let split = text.rsplit_once('=').filter(|_| !Path::new(text).exists());
    let split = split.and_then(|(file, weight)| Some((file, weight.parse().ok()?)));
    split.unwrap_or((text, 1.0))
}

fn share(text: &str) -> Result<(&str, f64), Failure> {
    let split = text.rsplit_once('=');
    let split = split.and_then(|(file, share)| Some((file, share.parse::<f64>().ok()?)));
    split.ok_or_else(|| usage("write --replay FILE=SHARE, such as general.jsonl=0.1"))
}

fn usage(problem: &str) -> Failure {
    Failure::new(problem).exit(Exit::Usage)
}

/// The id of a file on the server: an id that was given, or that of an upload.
async fn uploaded(client: &Client, file: &str) -> Result<String, Failure> {
    let path = Path::new(file);
    if !path.exists() {
        if file.parse::<FileId>().is_ok() {
            return Ok(file.to_owned());
        }
        return Err(Failure::new(format!("there is no file `{file}`")).exit(Exit::NotFound));
    }
    let _waiting = Progress::spinner(&format!("sending {file}"));
    Ok(client.upload_file(path).await?.id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sent_as_what_they_are() {
        let given = [
            ("learning_rate", "2e-4"),
            ("method", "qlora"),
            ("target_modules", "[\"q_proj\"]"),
            ("use_rslora", "true"),
        ];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = checked(&given).expect("settings");
        assert_eq!(
            Value::Object(settings),
            serde_json::json!({"learning_rate": 2e-4, "method": "qlora", "target_modules": ["q_proj"], "use_rslora": true})
        );
        let wrong = checked(&[("learning_rat".to_owned(), "1".to_owned())]).expect_err("refused");
        assert_eq!(wrong.message(), "there is no setting `learning_rat`");
    }

    #[test]
    fn a_weight_follows_the_file() {
        assert_eq!(weighted("a.jsonl"), ("a.jsonl", 1.0));
        assert_eq!(weighted("a.jsonl=0.5"), ("a.jsonl", 0.5));
        assert_eq!(weighted("a=b.jsonl"), ("a=b.jsonl", 1.0));
        assert_eq!(share("g.jsonl=0.1").expect("a share"), ("g.jsonl", 0.1));
        assert!(share("g.jsonl").is_err());
    }
}

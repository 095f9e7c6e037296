//! Training, adapters, chatting and model files from the command line.

use crate::command::{Home, Ran, models_dir, ran};
use crate::server::{PATIENCE, Server};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const BASE: &str = "smollm2-135m-instruct";
const MODELS: [&str; 3] = [BASE, "all-minilm-l6-v2", "onnxruntime"];
const SERVER: [(&str, &str); 2] = [
    ("LORE_MODELS_GENERATOR", BASE),
    ("LORE_MODELS_EMBEDDER", MODELS[1]),
];
/// As little training as there can be: this is about the commands.
const QUICK: [&str; 12] = [
    "--set",
    "max_steps=3",
    "--set",
    "batch_size=2",
    "--set",
    "lora_r=2",
    "--set",
    "max_tokens=64",
    "--set",
    "eval_every_steps=2",
    "--set",
    "learning_rate=1e-3",
];

fn examples(home: &Home) {
    let line = |number: usize| {
        format!(
            "{{\"instruction\": \"What is number {number}?\", \"input\": \"\", \"output\": \"It is {number}.\"}}\n"
        )
    };
    home.write("examples.jsonl", (1..=12).map(line).collect::<String>());
    home.write(
        "bad.jsonl",
        format!("{}{{\"instruction\": 7}}\nnonsense\n", line(1)),
    );
}

fn start(home: &Home, more: &[&str]) -> Ran {
    let args = ["finetune", "start", "--base", BASE, "--name", "tuned"];
    home.run(&[&args[..], &QUICK[..], more].concat())
}

#[test]
fn a_user_trains_serves_exports_and_deletes_an_adapter() {
    let home = Home::new();
    if MODELS
        .iter()
        .any(|model| home.run(&["models", "path", model]).code != Some(0))
    {
        eprintln!(
            "SKIPPED: models are missing; fetch them with: lore models pull {}",
            MODELS.join(" ")
        );
        return;
    }
    let mut server = Server::start(&home, &[], &SERVER);
    server.ready(&home);
    examples(&home);
    what_cannot_be_trained_is_told(&home);
    training_is_watched_to_its_end(&home);
    a_running_job_is_held_and_ended(&home);
    adapters_are_promoted_and_answer(&home);
    adapters_go_out_and_come_in(&home);
    assert_eq!(server.terminate().code, Some(0));
}

fn what_cannot_be_trained_is_told(home: &Home) {
    let typo = start(
        home,
        &["--dataset", "examples.jsonl", "--set", "lora_rank=8"],
    );
    assert_eq!((typo.code, typo.stdout.as_str()), (Some(2), ""), "{typo:?}");
    assert!(
        typo.stderr.contains("no setting `lora_rank`")
            && typo.stderr.contains("did you mean `lora_"),
        "{}",
        typo.stderr
    );
    let missing = start(home, &["--dataset", "absent.jsonl"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    let bad = start(home, &["--dataset", "bad.jsonl"]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    for said in [
        "line 2: ",
        "line 3: ",
        "`instruction` is a number",
        "not JSON",
    ] {
        assert!(bad.stderr.contains(said), "{said} in {}", bad.stderr);
    }
    let unknown = home.run(&[
        "finetune",
        "start",
        "--base",
        "no-such-model",
        "--name",
        "x",
        "--dataset",
        "examples.jsonl",
    ]);
    assert!(
        unknown.code != Some(0) && unknown.stderr.contains("no-such-model"),
        "{unknown:?}"
    );
    assert_eq!(home.run(&["finetune", "show", "nonsense"]).code, Some(2));
    assert_eq!(home.run(&["finetune", "list"]).code, Some(0));
}

fn training_is_watched_to_its_end(home: &Home) {
    let done = start(home, &["--dataset", "examples.jsonl", "--wait"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("succeeded") && done.stdout.contains("step 3/3"),
        "{}",
        done.stdout
    );
    for said in [
        "step 2/3",
        "validation",
        "tokens/s",
        "lore adapters promote tuned",
    ] {
        assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
    }
    assert!(
        !done.stderr.contains('\u{1b}'),
        "no colours in a pipe: {:?}",
        done.stderr
    );
    let jobs = home.json(&["finetune", "list", "--adapter", "tuned"]);
    let id = jobs["data"][0]["id"].as_str().expect("an id");
    let shown = home.json(&["finetune", "show", id]);
    assert_eq!(shown["fine_tuned_model"], "tuned@1");
    assert_eq!(shown["lore"]["settings"]["lora_r"], 2);
    let watched = home.run(&["finetune", "watch", id, "--json"]);
    let lines: Vec<Value> = watched
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        lines
            .iter()
            .filter(|line| line["type"] == "metrics")
            .count()
            >= 3,
        "{}",
        watched.stdout
    );
    assert_eq!(lines.last().expect("the job")["status"], "succeeded");
    for over in ["cancel", "pause", "resume"] {
        assert_eq!(home.run(&["finetune", over, id]).code, Some(1), "{over}");
    }
    let again = start(
        home,
        &[
            "--dataset",
            "examples.jsonl=2",
            "examples.jsonl",
            "--wait",
            "--json",
        ],
    );
    assert_eq!(again.code, Some(0), "{again:?}");
}

/// Shows a job until it stands like this.
fn until(home: &Home, id: &str, stands: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = home.json(&["finetune", "show", id]);
        if stands(&job) {
            return job;
        }
        assert!(Instant::now() < deadline, "{job}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is(status: &str) -> impl Fn(&Value) -> bool {
    move |job| job["status"] == status
}

/// The ids of the jobs that stand like this.
fn listed(home: &Home, status: &str) -> Vec<String> {
    let list = home.json(&["finetune", "list", "--status", status]);
    let jobs = list["data"].as_array().expect("jobs");
    jobs.iter()
        .map(|job| job["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn a_running_job_is_held_and_ended(home: &Home) {
    let many = [&QUICK[..], &["--set", "max_steps=100000", "--json"]].concat();
    let args = ["finetune", "start", "--base", BASE, "--name", "held"];
    let began = home.run(&[&args[..], &["--dataset", "examples.jsonl"], &many].concat());
    assert_eq!(began.code, Some(0), "{began:?}");
    let began: Value = serde_json::from_str(&began.stdout).expect("JSON");
    let id = began["id"].as_str().expect("an id");
    let trains = |job: &Value| job["lore"]["progress"]["step"].as_u64() > Some(0);
    until(home, id, trains);
    let text = home.run(&["finetune", "show", id]);
    for said in ["held", BASE, "running", "examples.jsonl"] {
        assert!(text.stdout.contains(said), "{said} in {}", text.stdout);
    }
    assert_eq!(home.run(&["finetune", "pause", id]).code, Some(0));
    let held = until(home, id, is("paused"));
    assert_eq!(listed(home, "paused"), [id]);
    let step = |job: &Value| job["lore"]["progress"]["step"].as_u64().expect("a step");
    assert_eq!(home.run(&["finetune", "resume", id]).code, Some(0));
    until(home, id, |job| step(job) > step(&held));
    assert_eq!(home.run(&["finetune", "cancel", id]).code, Some(0));
    until(home, id, is("cancelled"));
    assert_eq!(listed(home, "cancelled"), [id]);
    let watched = home.run(&["finetune", "watch", id]);
    assert_eq!(watched.code, Some(1), "{watched:?}");
    assert!(watched.stdout.contains("cancelled"), "{watched:?}");
}

fn adapters_are_promoted_and_answer(home: &Home) {
    let unpromoted = home.run(&["chat", "--adapter", "tuned", "hello"]);
    assert_eq!(unpromoted.code, Some(3), "{unpromoted:?}");
    assert!(
        unpromoted.stderr.contains("lore adapters promote tuned"),
        "{}",
        unpromoted.stderr
    );
    let promoted = home.json(&["adapters", "promote", "tuned@1"]);
    assert_eq!(promoted["promoted"], 1);
    let newest = home.run(&["adapters", "promote", "tuned"]);
    assert!(
        newest.stdout.contains("promoted: 2") && newest.stdout.contains("parity       passed"),
        "{newest:?}"
    );
    assert_eq!(home.json(&["adapters", "rollback", "tuned"])["promoted"], 1);
    assert_eq!(home.run(&["adapters", "rollback", "tuned"]).code, Some(1));
    let list = home.run(&["adapters", "list"]);
    assert!(
        list.stdout.contains("tuned") && list.stdout.contains(BASE),
        "{}",
        list.stdout
    );
    let shown = home.run(&["adapters", "show", "tuned"]);
    assert!(
        shown.stdout.contains("tuned@1  (promoted)") && shown.stdout.contains("examples.jsonl"),
        "{}",
        shown.stdout
    );

    let asked = home.json(&[
        "chat",
        "--adapter",
        "tuned@2",
        "--max-new-tokens",
        "4",
        "What is number 3?",
    ]);
    assert_eq!(asked["model"], "tuned@2");
    let text = asked["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text");
    let piped = piped(
        home,
        &["chat", "--adapter", "tuned@2", "--max-new-tokens", "4"],
        "What is number 3?\n",
    );
    assert_eq!(piped.code, Some(0), "{piped:?}");
    assert!(piped.stdout.starts_with(text), "{piped:?}");
    assert_eq!(
        home.json(&["chat", "--max-new-tokens", "2", "Hello"])["model"],
        BASE
    );

    assert_eq!(home.run(&["collections", "create", "hb"]).code, Some(0));
    let set = home.json(&["collections", "set", "hb", "--default-adapter", "tuned"]);
    assert_eq!(set["default_adapter"], "tuned");
    assert_eq!(
        home.run(&["collections", "set", "hb", "--default-adapter", "absent"])
            .code,
        Some(3)
    );
    let unset = home.json(&["collections", "set", "hb", "--no-default-adapter"]);
    assert!(unset.get("default_adapter").is_none(), "{unset}");
}

fn piped(home: &Home, args: &[&str], text: &str) -> Ran {
    let file = home.write("stdin.txt", text);
    let mut command = home.command();
    command
        .args(args)
        .stdin(Stdio::from(std::fs::File::open(file).expect("a file")));
    ran(&mut command)
}

fn adapters_go_out_and_come_in(home: &Home) {
    let out = home.run(&["adapters", "export", "tuned@2", "--out", "peft"]);
    assert_eq!(out.code, Some(0), "{out:?}");
    let peft = home.path().join("peft");
    assert!(
        peft.join("adapter_config.json").exists()
            && peft.join("adapter_model.safetensors").exists()
    );
    assert!(!home.path().join("peft.tar").exists());
    assert_eq!(
        home.run(&["adapters", "export", "tuned@2", "--out", "peft"])
            .code,
        Some(1),
        "it is not replaced"
    );
    let imported = home.json(&[
        "adapters", "import", "peft", "--name", "copy", "--base", BASE,
    ]);
    assert_eq!(
        (&imported["adapter"], &imported["version"]),
        (&Value::from("copy"), &Value::from(1))
    );
    let ids = safetensors(&[1, 2, 3]);
    home.write("ids.safetensors", ids);
    logits_are_written(home, Some("peft"));
    let gguf = home.run(&[
        "adapters",
        "export",
        "tuned",
        "--version",
        "2",
        "--format",
        "gguf",
        "--type",
        "q8_0",
        "--out",
        "tuned.gguf",
    ]);
    assert_eq!(gguf.code, Some(0), "{gguf:?}");
    let inspected = home.json(&["model", "inspect", "tuned.gguf"]);
    assert_eq!(inspected["format"], "gguf");

    let unasked = home.run(&["adapters", "delete", "copy"]);
    assert_eq!(unasked.code, Some(2), "nobody can be asked: {unasked:?}");
    assert_eq!(
        home.run(&["adapters", "delete", "copy", "--yes"]).code,
        Some(0)
    );
    assert_eq!(home.run(&["adapters", "show", "copy"]).code, Some(3));
    let needed = home.run(&["adapters", "delete", "tuned@1", "--yes"]);
    assert_eq!(needed.code, Some(1), "{needed:?}");
    assert!(needed.stderr.contains("promote"), "{}", needed.stderr);
}

/// `input_ids` (1, n) as safetensors.
fn safetensors(ids: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let header = format!(
        "{{\"input_ids\":{{\"dtype\":\"I64\",\"shape\":[1,{}],\"data_offsets\":[0,{}]}}}}",
        ids.len(),
        bytes.len()
    );
    let mut file = Vec::new();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .expect("memory");
    file.write_all(header.as_bytes()).expect("memory");
    file.write_all(&bytes).expect("memory");
    file
}

fn logits_are_written(home: &Home, adapter: Option<&str>) {
    let mut args = vec![
        "model",
        "logits",
        "--model",
        BASE,
        "--ids",
        "ids.safetensors",
        "--out",
        "out.safetensors",
    ];
    args.extend(adapter.iter().flat_map(|adapter| ["--adapter", *adapter]));
    let written = home.json(&args);
    assert_eq!(written["shape"], serde_json::json!([1, 3, 49_152]));
    let bytes = std::fs::metadata(home.path().join("out.safetensors"))
        .expect("a file")
        .len();
    assert!(bytes > 3 * 49_152 * 4);
}

#[test]
fn model_files_are_looked_into_without_a_server() {
    let home = Home::new();
    assert_eq!(
        home.run(&["model", "inspect", "./absent.gguf"]).code,
        Some(3)
    );
    assert_eq!(
        home.run(&["model", "inspect", "no-such-model"]).code,
        Some(3)
    );
    let damaged = home.write("x.gguf", "this is no GGUF");
    let refused = home.run(&["model", "inspect", damaged.to_str().expect("UTF-8")]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    if !Path::new(&models_dir()).join(BASE).is_dir() {
        eprintln!("SKIPPED: {BASE} is not here; fetch it with `lore models pull {BASE}`");
        return;
    }
    let shown = home.run(&["model", "inspect", BASE]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for said in [
        "architecture  llama",
        "134.5 M",
        "<|im_end|>",
        "blk.attn_q.weight",
    ] {
        assert!(shown.stdout.contains(said), "{said} in {}", shown.stdout);
    }
    home.write("ids.safetensors", safetensors(&[1, 2, 3]));
    logits_are_written(&home, None);
    home.write("ids.safetensors", safetensors(&[1, 60_000]));
    let wrong = home.run(&[
        "model",
        "logits",
        "--model",
        BASE,
        "--ids",
        "ids.safetensors",
        "--out",
        "o.safetensors",
    ]);
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("60000") && wrong.stderr.contains("49152"),
        "{}",
        wrong.stderr
    );
}

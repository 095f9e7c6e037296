use std::path::Path;

use lore_models::{Catalogue, ModelError, ModelFiles, Role, Task};

use crate::support::store;

fn resolve(path: &Path) -> Result<ModelFiles, ModelError> {
    let catalogue = Catalogue::load(None).unwrap();
    store(Path::new("/nowhere"), catalogue).path(path.to_str().unwrap())
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
}

#[test]
fn a_gguf_file_is_a_generator() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("own.gguf", "GGUF....")]);
    let path = dir.path().join("own.gguf");
    let model = resolve(&path).unwrap();
    assert_eq!(
        (model.task, model.file(Role::Gguf)),
        (Task::Generate, Some(path.as_path()))
    );
    let folder = resolve(dir.path()).unwrap();
    assert_eq!(folder.file(Role::Gguf), Some(path.as_path()));
}

#[test]
fn a_safetensors_folder_is_an_embedder_whose_graph_is_still_to_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let config = "{\"model_type\": \"bert\", \"architectures\": [\"BertModel\"]}";
    write(
        dir.path(),
        &[
            ("model.safetensors", "w"),
            ("tokenizer.json", "{}"),
            ("config.json", config),
        ],
    );
    let model = resolve(dir.path()).unwrap();
    assert_eq!(
        (model.task, model.architecture.as_str()),
        (Task::Embed, "bert")
    );
    assert_eq!(model.file(Role::Onnx), None);
}

#[test]
fn an_onnx_folder_needs_no_weights_and_a_classifier_is_a_reranker() {
    let dir = tempfile::tempdir().unwrap();
    let config = "{\"architectures\": [\"XLMRobertaForSequenceClassification\"]}";
    std::fs::create_dir(dir.path().join("onnx")).unwrap();
    write(
        dir.path(),
        &[
            ("onnx/model.onnx", "g"),
            ("tokenizer.json", "{}"),
            ("config.json", config),
        ],
    );
    let model = resolve(dir.path()).unwrap();
    assert_eq!(model.task, Task::Rerank);
    assert!(model.file(Role::Onnx).is_some() && model.file(Role::Weights).is_none());
}

#[test]
fn a_library_is_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("libonnxruntime.so.1.31.1", "elf")]);
    let model = resolve(&dir.path().join("libonnxruntime.so.1.31.1")).unwrap();
    assert!(model.task == Task::Runtime && model.file(Role::Library).is_some());
}

#[test]
fn an_unusable_path_says_what_would_do() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("cut.gguf", "GG"),
            ("notes.txt", "x"),
            ("m.safetensors", "w"),
        ],
    );
    let folder = dir.path().join("untokenized");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, &[("model.onnx", "g")]);
    let cases = [
        ("cut.gguf", "GGUF"),
        ("notes.txt", "is expected"),
        ("m.safetensors", "name the folder"),
        ("untokenized", "tokenizer.json"),
        ("absent", "no such file"),
    ];
    for (name, words) in cases {
        let error = resolve(&dir.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(name), "{error}");
    }
}

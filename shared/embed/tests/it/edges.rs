use crate::models::{models_dir, runtime, tiny};
use lore_embed::{EmbedError, EmbedFiles, Embedder};
use std::fs;

#[test]
fn odd_texts_have_unit_vectors() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let mut embedder = Embedder::load(&settings).unwrap();
    let texts = [
        "",
        " ",
        "\0\u{1}\u{7f}",
        "🦀🦀",
        "[PAD] [CLS]",
        "\u{202e}abc\u{301}",
        &"x".repeat(1 << 20),
        "\u{fffd}",
    ];
    for vector in embedder.embed_passages(&texts).unwrap().vectors {
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4);
    }
}

#[test]
fn a_bad_runtime_is_an_error_that_says_what_to_do() {
    let out = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("bert", out.path()) else {
        return;
    };
    let not_a_library = out.path().join("libonnxruntime.so");
    fs::write(&not_a_library, "this is text").unwrap();
    let another = models_dir().join("pdfium/libpdfium.so");
    for path in [out.path().join("absent.so"), not_a_library, another] {
        settings.runtime_library = path.clone();
        let error = Embedder::load(&settings).unwrap_err();
        let known = matches!(
            error,
            EmbedError::Runtime { .. } | EmbedError::SecondRuntime { .. }
        );
        assert!(
            known && error.to_string().contains(&*path.to_string_lossy()),
            "{error}"
        );
    }
    settings.runtime_library = runtime().unwrap();
    Embedder::load(&settings).unwrap();
}

#[test]
fn a_folder_without_an_embedder_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = |dir: &std::path::Path| EmbedFiles::find("mine", dir).unwrap_err().to_string();
    assert!(missing(&dir.path().join("nowhere")).contains("the folder is missing"));
    assert!(missing(dir.path()).contains("tokenizer.json is missing"));
    fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    assert!(missing(dir.path()).contains("lore models pull mine"));
    fs::write(dir.path().join("weights.bin"), "E5S1").unwrap();
    let Some(library) = runtime() else { return };
    let files = EmbedFiles::find("mine", dir.path()).unwrap();
    let error = Embedder::load(&lore_embed::EmbedSettings::new(files, library))
        .unwrap_err()
        .to_string();
    assert!(error.contains("not a whole E5S1 file"), "{error}");
}

#[test]
fn spoilt_small_files_are_named() {
    let out = tempfile::tempdir().unwrap();
    let Some(base) = tiny("bert", out.path()) else {
        return;
    };
    let onnx = lore_embed::prepare(&base).unwrap().onnx;
    let spoil = [
        ("tokenizer.json", "{\"a\": 1}"),
        ("lore-embedder.json", "{\"poling\": \"mean\"}"),
        (
            "modules.json",
            "[{\"path\": \"2_Dense\", \"type\": \"sentence_transformers.models.Dense\"}]",
        ),
        (
            "1_Pooling/config.json",
            "{\"pooling_mode_cls_token\": false}",
        ),
        ("model.onnx", "not onnx"),
    ];
    for (name, content) in spoil {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        fs::copy(&onnx, dir.path().join("model.onnx")).unwrap();
        fs::copy(&base.files.tokenizer, dir.path().join("tokenizer.json")).unwrap();
        fs::write(dir.path().join(name), content).unwrap();
        let files = EmbedFiles::find("mine", dir.path()).unwrap();
        let error = Embedder::load(&lore_embed::EmbedSettings::new(
            files,
            &base.runtime_library,
        ))
        .unwrap_err()
        .to_string();
        let named = if name == "model.onnx" { "mine" } else { name };
        assert!(error.contains(named), "{name}: {error}");
    }
}

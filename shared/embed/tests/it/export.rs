use crate::models::{cosine, expected, tiny, tiny_dir};
use lore_embed::{EmbedError, EmbedFiles, EmbedSettings, Embedder, Pooling, Precision, prepare};
use std::fs;

/// Reference: plain numpy in float64, `tests/reference/tiny_models.py`. Tolerance: float32.
#[test]
fn every_family_reproduces_its_reference() {
    for family in ["bert", "bert-half", "xlm-roberta", "mpnet", "distilbert"] {
        let out = tempfile::tempdir().unwrap();
        let Some(settings) = tiny(family, out.path()) else {
            return;
        };
        let mut embedder = Embedder::load(&settings).unwrap();
        let expected = expected(family).texts;
        assert_eq!(embedder.info().dimensions, 8, "{family}");
        let texts: Vec<&str> = expected.iter().map(|e| e.text.as_str()).collect();
        let embedded = embedder.embed_passages(&texts).unwrap();
        for (vector, expected) in embedded.vectors.iter().zip(&expected) {
            let difference = vector
                .iter()
                .zip(&expected.vector)
                .map(|(a, b)| (a - b).abs())
                .fold(0f32, f32::max);
            assert!(
                difference < 2e-5,
                "{family}, {:?}: {difference}",
                expected.text
            );
        }
    }
}

#[test]
fn eight_bits_stay_close_to_the_reference() {
    let out = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("xlm-roberta", out.path()) else {
        return;
    };
    settings.precision = Precision::Int8;
    let mut embedder = Embedder::load(&settings).unwrap();
    for expected in expected("xlm-roberta").texts {
        let vector = embedder.embed_query(&expected.text).unwrap();
        let cosine = cosine(&vector, &expected.vector);
        assert!(cosine > 0.97, "{:?}: {cosine}", expected.text);
        assert!(cosine < 0.999_999, "8 bits cannot be exact");
    }
}

#[test]
fn pooling_is_read_from_the_models_files() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    assert_eq!(
        Embedder::load(&settings).unwrap().info().pooling,
        Pooling::Cls
    );
}

#[test]
fn an_export_happens_once_and_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(settings) = tiny("mpnet", first.path()) else {
        return;
    };
    let made = prepare(&settings).unwrap();
    assert!(made.exported && made.onnx.starts_with(first.path()));
    let found = prepare(&settings).unwrap();
    assert!(!found.exported);
    assert_eq!(found.onnx, made.onnx);
    let again = prepare(&tiny("mpnet", second.path()).unwrap()).unwrap();
    assert_eq!(again.onnx.file_name(), made.onnx.file_name());
    assert_eq!(fs::read(again.onnx).unwrap(), fs::read(made.onnx).unwrap());
}

#[test]
fn concurrent_exports_make_one_file_and_leave_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let exports: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| prepare(&settings).unwrap().exported))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(exports.iter().filter(|exported| **exported).count(), 1);
    let mut names: Vec<String> = fs::read_dir(out.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "lore-export.lock");
    assert!(
        names[1].starts_with("lore-float32-") && names[1].ends_with(".onnx"),
        "{names:?}"
    );
}

#[test]
fn changed_weights_are_exported_anew_and_the_former_export_goes() {
    let dir = copy_of("bert");
    let Some(settings) = settings_of(dir.path()) else {
        return;
    };
    let before = prepare(&settings).unwrap().onnx;
    fs::copy(
        tiny_dir("bert-half").join("model.safetensors"),
        dir.path().join("model.safetensors"),
    )
    .unwrap();
    let after = prepare(&settings).unwrap();
    assert!(after.exported && after.onnx != before);
    assert!(!before.exists());
}

#[test]
fn a_truncated_weight_file_is_refused_and_leaves_no_export() {
    let dir = copy_of("bert");
    let Some(settings) = settings_of(dir.path()) else {
        return;
    };
    let weights = dir.path().join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    for length in [0, 7, 100, whole.len() - 10] {
        fs::write(&weights, &whole[..length]).unwrap();
        let error = Embedder::load(&settings).unwrap_err();
        assert!(
            error.to_string().contains("model.safetensors"),
            "{length} bytes: {error}"
        );
        let onnx = fs::read_dir(dir.path()).unwrap().filter(|e| {
            let name = e.as_ref().unwrap().file_name().into_string().unwrap();
            name.contains(".onnx")
        });
        assert_eq!(onnx.count(), 0, "{length} bytes");
    }
}

#[test]
fn a_missing_tensor_and_an_unknown_architecture_are_named() {
    let dir = copy_of("bert");
    let Some(settings) = settings_of(dir.path()) else {
        return;
    };
    let config = fs::read_to_string(dir.path().join("config.json")).unwrap();
    fs::write(
        dir.path().join("config.json"),
        config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
    )
    .unwrap();
    let error = Embedder::load(&settings).unwrap_err().to_string();
    assert!(
        error.contains("bert.encoder.layer.2.attention.self.query.weight"),
        "{error}"
    );
    fs::write(
        dir.path().join("config.json"),
        config.replace("\"bert\"", "\"modernbert\""),
    )
    .unwrap();
    let error = Embedder::load(&settings).unwrap_err().to_string();
    assert!(
        error.contains("modernbert") && error.contains("model.onnx"),
        "{error}"
    );
}

#[test]
fn a_models_own_onnx_goes_before_its_weights() {
    let dir = copy_of("bert");
    let Some(settings) = settings_of(dir.path()) else {
        return;
    };
    let exported = prepare(&settings).unwrap().onnx;
    let own = dir.path().join("own");
    fs::create_dir_all(own.join("onnx")).unwrap();
    fs::copy(exported, own.join("onnx/model.onnx")).unwrap();
    fs::copy(
        dir.path().join("tokenizer.json"),
        own.join("tokenizer.json"),
    )
    .unwrap();
    fs::write(
        own.join("lore-embedder.json"),
        r#"{"pooling": "cls", "query_prefix": "the ", "max_tokens": 20}"#,
    )
    .unwrap();
    let settings = settings_of(&own).unwrap();
    assert!(!prepare(&settings).unwrap().exported);
    let mut embedder = Embedder::load(&settings).unwrap();
    assert_eq!(embedder.info().query_prefix, "the ");
    let query = embedder
        .embed_query("warranty of the pump is two months")
        .unwrap();
    let expected = &expected("bert").texts[0];
    assert!(
        cosine(&query, &expected.vector) > 0.9999,
        "the prefix stands before queries"
    );
}

#[test]
fn declared_dimensions_are_checked() {
    let out = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("bert", out.path()) else {
        return;
    };
    settings.profile.dimensions = Some(384);
    let error = Embedder::load(&settings).unwrap_err();
    assert!(
        matches!(
            error,
            EmbedError::Dimensions {
                expected: 384,
                actual: 8,
                ..
            }
        ),
        "{error}"
    );
}

/// A copy of a tiny model that may be spoilt.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        fs::copy(tiny_dir(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn settings_of(dir: &std::path::Path) -> Option<EmbedSettings> {
    Some(EmbedSettings::new(
        EmbedFiles::find("mine", dir).unwrap(),
        crate::models::runtime()?,
    ))
}

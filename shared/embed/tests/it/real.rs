use crate::models::{cosine, loaded, real};
use lore_embed::{Embedder, Precision, prepare};

/// Reference: numpy in float64, `tests/reference/known_vectors.py`.
#[test]
fn real_embedders_reproduce_their_known_vectors() {
    for name in ["all-minilm-l6-v2", "multilingual-e5-small"] {
        for (precision, minimum) in [(Precision::Float32, 0.9999), (Precision::Int8, 0.985)] {
            let Some(mut settings) = real(name) else {
                return;
            };
            let out = tempfile::tempdir().unwrap();
            settings.files.export_dir = out.path().into();
            settings.precision = precision;
            let prepared = prepare(&settings).unwrap();
            let cosine = prepared.cosine.expect("its vectors are known");
            eprintln!("{name} {precision:?}: lowest cosine {cosine}");
            assert!(prepared.exported && cosine > minimum, "{name}: {cosine}");
        }
    }
}

#[test]
fn a_wrong_model_under_a_known_name_is_refused() {
    let Some(mut settings) = real("all-minilm-l6-v2") else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    settings.files.export_dir = out.path().into();
    settings.profile.passage_prefix = Some("a prefix that the model does not want: ".into());
    let error = prepare(&settings).unwrap_err().to_string();
    assert!(error.contains("cosine"), "{error}");
    let left = std::fs::read_dir(out.path()).unwrap().filter(|e| {
        e.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e != "lock")
    });
    assert_eq!(left.count(), 0, "nothing that looks whole is left");
}

#[test]
fn a_real_batch_gives_the_vectors_of_its_members() {
    for (name, max_tokens) in [("all-minilm-l6-v2", 256), ("multilingual-e5-small", 512)] {
        let Some(mut embedder) = loaded(name) else {
            return;
        };
        let info = embedder.info();
        assert_eq!(
            (info.dimensions, info.max_tokens),
            (384, max_tokens),
            "{name}"
        );
        batch_equals_members(&mut embedder);
    }
}

#[test]
fn a_batch_in_8_bits_gives_the_vectors_of_its_members() {
    let Some(mut settings) = real("all-minilm-l6-v2") else {
        return;
    };
    settings.precision = Precision::Int8;
    batch_equals_members(&mut Embedder::load(&settings).unwrap());
}

fn batch_equals_members(embedder: &mut Embedder) {
    let long = "The pump moves water from the well to the tank. ".repeat(60);
    let texts = [
        "",
        "pump",
        "水泵的保修期为24个月。",
        &long,
        "🦀\0\u{7}",
        "two words",
        "The seal is worn and has to be changed.",
    ];
    let batch = embedder.embed_passages(&texts).unwrap();
    assert_eq!(batch.truncated, [3]);
    for (text, vector) in texts.iter().zip(&batch.vectors) {
        let alone = embedder.embed_passages(&[text]).unwrap().vectors.remove(0);
        assert!(
            cosine(vector, &alone) > 0.9999,
            "{:?}: {text:.20}",
            embedder.info()
        );
    }
}

#[test]
fn a_question_is_nearest_to_the_passage_that_answers_it() {
    let Some(mut embedder) = loaded("multilingual-e5-small") else {
        return;
    };
    let passages = [
        "Die Pumpe hat eine Garantie von 24 Monaten ab Lieferung.",
        "员工每年有25天带薪年假。",
        "The gateway listens on port 7878 unless it is told otherwise.",
    ];
    let vectors = embedder.embed_passages(&passages).unwrap().vectors;
    let questions = [
        "How long is the pump's warranty?",
        "How many days of paid leave are there?",
        "网关（gateway）监听哪个端口（port）？",
    ];
    for (expected, question) in questions.iter().enumerate() {
        let query = embedder.embed_query(question).unwrap();
        let scores: Vec<f32> = vectors
            .iter()
            .map(|vector| cosine(&query, vector))
            .collect();
        let best = (0..scores.len())
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .unwrap();
        assert_eq!(best, expected, "{question}: {scores:?}");
    }
}

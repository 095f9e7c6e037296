use crate::models::{cosine, tiny};
use lore_embed::Embedder;

#[test]
fn a_batch_gives_the_vectors_of_its_members_one_by_one() {
    for family in ["bert", "xlm-roberta", "mpnet", "distilbert"] {
        let out = tempfile::tempdir().unwrap();
        let Some(settings) = tiny(family, out.path()) else {
            return;
        };
        let mut embedder = Embedder::load(&settings).unwrap();
        let texts: Vec<String> = (0..150)
            .map(|i| "water pump a b c ".repeat(i % 4) + ["seal", "how long", ""][i % 3])
            .collect();
        let batch = embedder.embed_passages(&texts).unwrap();
        assert_eq!(batch.vectors.len(), texts.len());
        for (text, vector) in texts.iter().zip(&batch.vectors) {
            let alone = embedder.embed_passages(&[text]).unwrap().vectors.remove(0);
            assert!(cosine(vector, &alone) > 0.9999, "{family}: {text:?}");
        }
    }
}

#[test]
fn no_texts_give_no_vectors() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let none: [&str; 0] = [];
    assert!(
        Embedder::load(&settings)
            .unwrap()
            .embed_passages(&none)
            .unwrap()
            .vectors
            .is_empty()
    );
}

#[test]
fn what_is_cut_off_is_reported() {
    let out = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("xlm-roberta", out.path()) else {
        return;
    };
    settings.profile.max_tokens = Some(6);
    let mut embedder = Embedder::load(&settings).unwrap();
    let texts = [
        "a b c d",
        "a b c d water",
        "water",
        &"a b c d ".repeat(40_000),
    ];
    let embedded = embedder.embed_passages(&texts).unwrap();
    assert_eq!(embedded.truncated, [1, 3]);
    assert_eq!(embedded.tokens, [6, 6, 3, 6]);
    assert!(
        cosine(&embedded.vectors[0], &embedded.vectors[1]) > 0.9999,
        "the fifth word has no part in the vector"
    );
}

#[test]
fn max_tokens_never_exceed_the_positions_of_the_model() {
    let out = tempfile::tempdir().unwrap();
    let Some(mut settings) = tiny("mpnet", out.path()) else {
        return;
    };
    settings.profile.max_tokens = Some(100_000);
    let mut embedder = Embedder::load(&settings).unwrap();
    assert_eq!(
        embedder.info().max_tokens,
        22,
        "24 positions, of which two are reserved"
    );
    let embedded = embedder.embed_passages(&["a b c d ".repeat(20)]).unwrap();
    assert_eq!((embedded.tokens, embedded.truncated), (vec![22], vec![0]));
}

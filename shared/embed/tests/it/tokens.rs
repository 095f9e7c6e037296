use crate::models::{loaded, tiny};
use lore_embed::{Embedder, TokenCounter};

#[test]
fn offsets_cover_the_words_and_ignore_the_files_truncation() {
    let out = tempfile::tempdir().unwrap();
    let Some(settings) = tiny("bert", out.path()) else {
        return;
    };
    let tokenizer = Embedder::load(&settings).unwrap().tokenizer().clone();
    let text = "Water  pump, ünd two months";
    let words: Vec<&str> = tokenizer
        .token_offsets(text)
        .into_iter()
        .map(|(a, b)| text.get(a..b).unwrap())
        .collect();
    assert_eq!(words, ["Water", "pump", ",", "ünd", "two", "months"]);
    assert_eq!(tokenizer.count_tokens(text), 6);
    assert_eq!(
        (tokenizer.special_tokens(), tokenizer.max_tokens()),
        (2, 24)
    );
}

#[test]
fn a_long_text_has_the_tokens_of_its_parts() {
    for name in ["all-minilm-l6-v2", "multilingual-e5-small"] {
        let Some(tokenizer) = loaded(name).map(|embedder| embedder.tokenizer().clone()) else {
            return;
        };
        let part = "Die Gewährleistung beträgt  24 Monate. 保修期为24个月。 🦀";
        let text = [part; 1000].join("\n\n");
        let offsets = tokenizer.token_offsets(&text);
        assert_eq!(offsets.len(), 1000 * tokenizer.count_tokens(part), "{name}");
        assert!(
            offsets
                .windows(2)
                .all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1),
            "{name}: in order"
        );
        assert!(
            offsets.iter().all(|(a, b)| text.get(*a..*b).is_some()),
            "{name}: at character borders"
        );
        assert_eq!(offsets.last().unwrap().1, text.len(), "{name}: to the end");
    }
}

#[test]
fn counted_tokens_are_those_that_the_embedder_reads() {
    for (name, special) in [("all-minilm-l6-v2", 2), ("multilingual-e5-small", 4)] {
        let Some(mut embedder) = loaded(name) else {
            return;
        };
        let tokenizer = embedder.tokenizer().clone();
        assert_eq!(tokenizer.special_tokens(), special, "{name}");
        for text in [
            "The warranty covers 24 months.",
            "保修期为自交货之日起24个月",
            "fn main() {}",
        ] {
            let read = embedder.embed_passages(&[text]).unwrap().tokens[0];
            assert_eq!(
                read,
                tokenizer.count_tokens(text) + special,
                "{name}: {text}"
            );
        }
    }
}

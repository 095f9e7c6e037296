//! Real pip, on wheels in a local folder; and once on the package index that this machine's pip knows.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lore_models::{Catalogue, ModelError, PullEvent, SourceError, Store, StoreSettings, silent};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{catalogue, listening, sha256, tree};

/// A wheel that holds these files beside the least metadata that pip asks for.
fn wheel(folder: &Path, package: &str, files: &[(&str, &[u8])]) {
    let name = package.replace('-', "_");
    let path = folder.join(format!("{name}-1.0-py3-none-any.whl"));
    let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
    let info = format!("{name}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let own = [
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (format!("{info}/WHEEL"), wheel.as_bytes()),
        (format!("{info}/RECORD"), b"".as_slice()),
    ];
    for (name, content) in own
        .iter()
        .map(|(n, c)| (n.as_str(), *c))
        .chain(files.iter().copied())
    {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
}

const SPLIT: &str = "{ kind = \"package\", package = \"lore-test-part{n}\", version = \"1.0\", \
                     inner = \"data/part{nn}.bin\", parts = 2, download = 1000 }";

fn split(wheels: &Path, content: &[u8], parts: &[usize]) {
    let half = content.len().div_ceil(2);
    for number in parts {
        let part = content.chunks(half).nth(number - 1).unwrap();
        wheel(
            wheels,
            &format!("lore-test-part{number}"),
            &[(&format!("data/part{number:02}.bin"), part)],
        );
    }
}

/// A store whose pip sees only this folder.
fn store(dir: &Path, wheels: &Path, catalogue: Catalogue) -> Store {
    let arguments = ["--no-index", "--find-links"].map(str::to_owned);
    let pip_arguments = arguments
        .into_iter()
        .chain([wheels.display().to_string()])
        .collect();
    Store::new(
        dir.join("models"),
        catalogue,
        StoreSettings {
            pip_arguments,
            ..StoreSettings::default()
        },
    )
}

fn folders() -> Option<(tempfile::TempDir, PathBuf)> {
    let pip = ["python3", "python"].iter().any(|python| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if !pip {
        eprintln!("SKIPPED: this machine has no pip, so packages cannot be tested");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let wheels = dir.path().join("wheels");
    std::fs::create_dir(&wheels).unwrap();
    Some((dir, wheels))
}

fn content() -> Vec<u8> {
    (0..50_000u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_split_file_is_joined_from_its_packages_and_the_packages_go() {
    let Some((dir, wheels)) = folders() else {
        return;
    };
    let content = content();
    split(&wheels, &content, &[1, 2]);
    let store = store(dir.path(), &wheels, catalogue(&content, SPLIT));
    let (progress, heard) = listening();
    let files = store.pull("m", &progress).await.unwrap();
    assert_eq!(
        std::fs::read(files.dir.join("model.gguf")).unwrap(),
        content
    );
    assert_eq!(tree(store.dir()), ["m/model.gguf"]);
    let downloaded = |event: &PullEvent| matches!(event, PullEvent::Downloaded { done, total: Some(t), .. } if done <= t);
    assert!(
        heard
            .lock()
            .unwrap()
            .iter()
            .filter(|event| downloaded(event))
            .count()
            >= 2
    );
}

#[tokio::test]
async fn an_interrupted_pull_keeps_its_parts_and_the_next_one_fetches_only_the_rest() {
    let Some((dir, wheels)) = folders() else {
        return;
    };
    let content = content();
    split(&wheels, &content, &[1]);
    let store = store(dir.path(), &wheels, catalogue(&content, SPLIT));
    let error = store.pull("m", &silent()).await.unwrap_err();
    assert!(
        error.to_string().contains("lore-test-part2==1.0"),
        "{error}"
    );
    assert!(matches!(store.path("m"), Err(ModelError::NotPulled { .. })));
    assert_eq!(store.list()[0].presence, lore_models::Presence::Partial);
    std::fs::remove_file(wheels.join("lore_test_part1-1.0-py3-none-any.whl")).unwrap();
    split(&wheels, &content, &[2]);
    let files = store.pull("m", &silent()).await.unwrap();
    assert_eq!(
        std::fs::read(files.dir.join("model.gguf")).unwrap(),
        content
    );
}

#[tokio::test]
async fn a_dropped_pull_leaves_nothing_that_looks_whole_and_can_be_pulled_again() {
    let Some((dir, wheels)) = folders() else {
        return;
    };
    let content = content();
    split(&wheels, &content, &[1, 2]);
    let store = store(dir.path(), &wheels, catalogue(&content, SPLIT));
    let (progress, heard) = listening();
    {
        let mut pull = std::pin::pin!(store.pull("m", &progress));
        // Drives the pull until the first package is here, then drops it.
        let first = || {
            heard
                .lock()
                .unwrap()
                .iter()
                .any(|event| matches!(event, PullEvent::Downloaded { .. }))
        };
        while !first() {
            tokio::select! {
                biased;
                ended = &mut pull => panic!("it ended before it was dropped: {ended:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert!(matches!(store.path("m"), Err(ModelError::NotPulled { .. })));
    let files = store.pull("m", &silent()).await.unwrap();
    assert_eq!(
        std::fs::read(files.dir.join("model.gguf")).unwrap(),
        content
    );
    assert_eq!(tree(store.dir()), ["m/model.gguf"]);
}

#[tokio::test]
async fn packages_with_other_bytes_are_refused_and_thrown_away() {
    let Some((dir, wheels)) = folders() else {
        return;
    };
    let content = content();
    let mut bent = content.clone();
    bent[100_000] ^= 1;
    split(&wheels, &bent, &[1, 2]);
    let store = store(dir.path(), &wheels, catalogue(&content, SPLIT));
    let error = store.pull("m", &silent()).await.unwrap_err().to_string();
    assert!(
        error.contains(&sha256(&content)) && error.contains(&sha256(&bent)),
        "{error}"
    );
    assert!(tree(store.dir()).is_empty());
    split(&wheels, &content, &[1, 2]);
    store.pull("m", &silent()).await.unwrap();
}

#[tokio::test]
async fn a_package_without_the_file_is_named() {
    let Some((dir, wheels)) = folders() else {
        return;
    };
    wheel(&wheels, "lore-test", &[("data/other.bin", b"x")]);
    let source = "{ kind = \"package\", package = \"lore-test\", version = \"1.0\", inner = \"data/a.bin\", download = 1 }";
    let store = store(dir.path(), &wheels, catalogue(b"x", source));
    let error = store.pull("m", &silent()).await.unwrap_err().to_string();
    assert!(
        error.contains("lore-test") && error.contains("data/a.bin"),
        "{error}"
    );
}

#[tokio::test]
async fn files_of_a_zip_that_is_cut_into_packages_come_out_of_it() {
    let Some((dir, wheels)) = folders() else {
        return;
    };
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("m/a.bin", b"first".as_slice()), ("m/b.bin", b"second")] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    split(&wheels, &zip.finish().unwrap().into_inner(), &[1, 2]);
    let source = SPLIT.replace("download", "member = \"m/b.bin\", download");
    let store = store(dir.path(), &wheels, catalogue(b"second", &source));
    let files = store.pull("m", &silent()).await.unwrap();
    assert_eq!(
        std::fs::read(files.dir.join("model.gguf")).unwrap(),
        b"second"
    );
    assert_eq!(tree(store.dir()), ["m/model.gguf"]);
}

#[tokio::test]
async fn without_pip_the_error_names_what_was_tried_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        pip: vec!["/nowhere/pip".to_owned()],
        ..StoreSettings::default()
    };
    let store = Store::new(dir.path(), catalogue(b"x", SPLIT), settings);
    let error = store.pull("m", &silent()).await.unwrap_err();
    let ModelError::Pull { attempts, .. } = &error else {
        panic!("other error: {error}")
    };
    assert!(matches!(attempts[0].error, SourceError::NoPip { .. }));
    assert!(
        error.to_string().contains("/nowhere/pip") && error.to_string().contains("python3-pip"),
        "{error}"
    );
}

/// PDFium, 4 MB, as `lore models pull` gets it.
#[tokio::test]
async fn a_small_real_model_comes_from_the_package_index() {
    if folders().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(
        dir.path(),
        Catalogue::load(None).unwrap(),
        StoreSettings::default(),
    );
    match store.pull("pdfium", &silent()).await {
        Ok(files) => assert!(files.file(lore_models::Role::Library).is_some()),
        Err(ModelError::Platform { .. }) => {
            eprintln!("SKIPPED: no PDFium for this platform in the catalogue")
        }
        Err(ModelError::Pull { attempts, .. })
            if attempts
                .iter()
                .all(|attempt| matches!(attempt.error, SourceError::Pip { .. })) =>
        {
            eprintln!("SKIPPED: pip reaches no package index from here: {attempts:?}");
        }
        Err(error) => panic!("{error}"),
    }
    assert!(store.verify("pdfium", &silent()).await.is_ok());
}

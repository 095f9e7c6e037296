//! A process that writes is killed at random moments: what it acknowledged is there afterwards, once.
//!
//! The writer is this test binary itself, started with `LORE_INDEX_CRASH` naming a folder.

use crate::chunks::{DIMENSIONS, at, chunk, version};
use lore_index::{
    DenseIndex, EdgeDense, LexicalReader, LexicalWriter, TantivyReader, TantivyWriter,
};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const KILLS: u32 = 12;
const FOLDER: &str = "LORE_INDEX_CRASH";
const FIRST: &str = "LORE_INDEX_CRASH_FIRST";

/// Writes documents one after another, says the number of each that is acknowledged, and removes every third again.
#[tokio::test]
async fn crash_writer() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let first: u32 = std::env::var(FIRST).unwrap().parse().unwrap();
    let folder = Path::new(&folder);
    let dense = EdgeDense::open(folder.join("dense")).unwrap();
    let lexical = TantivyWriter::open(folder.join("lexical")).unwrap();
    dense.create("c", DIMENSIONS).await.unwrap();
    lexical.create("c").await.unwrap();
    for number in first.. {
        let name = format!("d{number}");
        let chunks: Vec<_> = (0..5)
            .map(|ordinal| chunk(&name, ordinal, "words of a document"))
            .collect();
        dense
            .upsert(
                "c",
                &chunks,
                &vec![at(f32::from(u16::try_from(number % 360).unwrap())); 5],
            )
            .await
            .unwrap();
        lexical.upsert("c", &chunks).await.unwrap();
        lexical.commit("c").await.unwrap();
        if number % 3 == 0 {
            dense
                .remove_versions("c", &[version(&name, 1)])
                .await
                .unwrap();
            lexical
                .remove_versions("c", &[version(&name, 1)])
                .await
                .unwrap();
            lexical.commit("c").await.unwrap();
        }
        if number % 16 == 0 {
            dense.optimize("c").await.unwrap();
        }
        println!("\nwritten {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kills() {
    let root = tempfile::tempdir().unwrap();
    let mut written = 0;
    for kill in 0..KILLS {
        let mut writer = start(root.path(), written);
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // The number of documents until the kill differs, and so does the moment within the next one.
        let until = written + 1 + kill * 7 % 23;
        for line in &mut lines {
            let Some(number) = line
                .unwrap()
                .strip_prefix("written ")
                .and_then(|number| number.parse::<u32>().ok())
            else {
                continue;
            };
            written = number + 1;
            if written >= until {
                break;
            }
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line
                .strip_prefix("written ")
                .and_then(|number| number.parse::<u32>().ok())
            {
                written = number + 1;
            }
        }
        check(root.path(), written).await;
    }
    assert!(written > KILLS, "the writers got somewhere");
}

fn start(folder: &Path, first: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::crash_writer",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Both indexes hold exactly the acknowledged documents, and nothing of the unacknowledged one that is not its own.
async fn check(folder: &Path, written: u32) {
    let expected: BTreeSet<_> = (0..written)
        .filter(|number| number % 3 != 0)
        .map(|number| version(&format!("d{number}"), 1))
        .collect();
    let dense = EdgeDense::open(folder.join("dense")).unwrap();
    let lexical = TantivyReader::open(folder.join("lexical"));
    let open = version(&format!("d{written}"), 1);
    for (side, listed) in [
        ("dense", dense.chunks("c").await),
        ("lexical", lexical.chunks("c").await),
    ] {
        let listed = match listed {
            Ok(listed) => listed,
            Err(lore_index::IndexError::NoCollection { .. }) if written == 0 => continue,
            Err(error) => panic!("{side}: {error}"),
        };
        let chunks: BTreeSet<_> = listed.iter().map(|id| id.chunk_id).collect();
        assert_eq!(chunks.len(), listed.len(), "{side}: no chunk twice");
        let counted = listed.iter().filter(|id| id.version_id != open).count();
        assert_eq!(
            counted,
            expected.len() * 5,
            "{side} after {written} documents"
        );
        assert!(
            listed
                .iter()
                .all(|id| id.version_id == open || expected.contains(&id.version_id)),
            "{side}"
        );
    }
    if let Some(number) = (0..written).rev().find(|number| number % 3 != 0) {
        let vector = at(f32::from(u16::try_from(number % 360).unwrap()));
        let found = dense.search("c", &vector, None, 5).await.unwrap();
        assert!(
            found
                .iter()
                .all(|candidate| (candidate.score - 1.0).abs() < 1e-4),
            "{number}: {found:?}"
        );
    }
}

use crate::chunks::{chunk, chunk_of, fields, version};
use lore_index::{
    Candidate, IndexError, IndexedChunk, LexicalReader, LexicalWriter, TantivyReader, TantivyWriter,
};
use lore_types::{ChunkId, Filter};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use tempfile::TempDir;

/// A folder with a collection `c` that holds these chunks, committed.
async fn filled(chunks: &[IndexedChunk]) -> (TempDir, TantivyWriter, TantivyReader) {
    let root = tempfile::tempdir().unwrap();
    let writer = TantivyWriter::open(root.path()).unwrap();
    writer.create("c").await.unwrap();
    writer.upsert("c", chunks).await.unwrap();
    writer.commit("c").await.unwrap();
    let reader = TantivyReader::open(root.path());
    (root, writer, reader)
}

async fn found(reader: &TantivyReader, query: &str) -> Vec<ChunkId> {
    ids(&reader.search("c", query, None, 10).await.unwrap())
}

fn ids(found: &[Candidate]) -> Vec<ChunkId> {
    found.iter().map(|candidate| candidate.chunk_id).collect()
}

/// For each text, each of its queries finds it first.
async fn each_finds_its_text(cases: &[(&str, &[&str])]) {
    let mut chunks: Vec<_> = (0..)
        .zip(cases)
        .map(|(ordinal, (text, _))| chunk("a", ordinal, text))
        .collect();
    let noise = [
        "The weather in March was mild.",
        "第三季度的天气很好。",
        "Report 2023, page 12, section 4.1",
    ];
    chunks.extend(
        (0..)
            .zip(noise)
            .map(|(ordinal, text)| chunk("noise", ordinal, text)),
    );
    let (_root, _writer, reader) = filled(&chunks).await;
    for ((text, queries), chunk) in cases.iter().zip(&chunks) {
        for query in *queries {
            assert_eq!(
                found(&reader, query).await.first(),
                Some(&chunk.chunk.id),
                "`{query}` finds `{text}`"
            );
        }
    }
}

#[tokio::test]
async fn english_words_are_found_by_their_stems() {
    each_finds_its_text(&[
        (
            "Employees are reimbursed for travelling abroad.",
            &["reimbursement travel", "EMPLOYEE", "employee's travels"],
        ),
        (
            "The café's naïve résumé policy",
            &["cafe", "naive resume", "RÉSUMÉ", "cafés"],
        ),
        (
            "Don't pay the U.S.A. invoice",
            &["don’t", "usa", "U.S.A", "invoices"],
        ),
        ("La durée de l’eau", &["eau", "duree", "l'eau"]),
        (
            "state-of-the-art e-mail gateway",
            &["state of the art", "email", "e-mail"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn codes_and_numbers_are_found_whole_and_in_part() {
    each_finds_its_text(&[
        (
            "Fehler E-1042: Pumpe steht",
            &[
                "E-1042",
                "e1042",
                "E 1042",
                "what does error E-1042 mean?",
                "Ｅ－１０４２",
            ],
        ),
        (
            "released as v2.1.3 on Monday",
            &["v2.1.3", "2.1.3", "V2.1.3?"],
        ),
        (
            "order part 6ES7-315/2AH14 only",
            &["6ES7-315/2AH14", "6es7 315"],
        ),
        (
            "call getUserName() or max_open_files",
            &["getUserName", "user name", "max_open_files", "maxopenfiles"],
        ),
        (
            "the fee is 1,250,000 yen",
            &["1250000", "1,250,000", "１２５００００"],
        ),
        ("the ratio was 3.14159 exactly", &["3.14159"]),
        (
            "write to jo.doe@example.com",
            &["jo.doe@example.com", "example.com"],
        ),
        ("written in C++ and C#, not C", &["C++", "c#"]),
        ("covid-19 and IL-6", &["COVID19", "covid 19", "il6"]),
    ])
    .await;
}

#[tokio::test]
async fn chinese_and_other_scripts_are_found() {
    each_finds_its_text(&[
        (
            "员工每年享有十五天带薪年假。",
            &["带薪年假", "年假有多少天", "员工"],
        ),
        (
            "南京市长江大桥于一九六八年通车",
            &["长江大桥", "南京市", "大桥通车"],
        ),
        ("請假須於三日前提出申請", &["請假", "提出申請"]),
        (
            "東京都庁は新宿にあります",
            &["東京都庁", "新宿", "都庁はどこ"],
        ),
        ("サーバーを再起動してください", &["サーバー", "再起動"]),
        ("서버를 다시 시작하십시오", &["서버", "시작"]),
        ("กรุณารีสตาร์ทเซิร์ฟเวอร์", &["เซิร์ฟเวอร์"]),
        ("Перезапустите сервер", &["СЕРВЕР"]),
        ("أعد تشغيل الخادم", &["الخادم"]),
    ])
    .await;
}

#[tokio::test]
async fn mixed_text_is_found_by_either_language_and_by_both() {
    each_finds_its_text(&[
        (
            "请把 GPU 驱动更新到 v535.104 版本",
            &["GPU驱动", "更新gpu 驱动", "v535.104", "驱动版本"],
        ),
        ("使用Docker部署服务", &["docker部署", "Docker", "部署"]),
    ])
    .await;
}

#[tokio::test]
async fn a_single_character_is_found() {
    each_finds_its_text(&[("猫喜欢鱼", &["猫", "鱼"]), ("x 是未知数", &["x"])]).await;
}

#[tokio::test]
async fn a_term_in_title_or_heading_finds_the_chunk() {
    let mut titled = chunk("a", 0, "Twenty days per year.");
    titled.title = "Holiday handbook".to_owned();
    titled.chunk.heading = vec!["Annual leave 年假".to_owned()];
    let (_root, _writer, reader) = filled(&[chunk("b", 0, "Nothing here."), titled.clone()]).await;
    for query in ["holidays", "leave", "年假", "annual leave days"] {
        assert_eq!(found(&reader, query).await, [titled.chunk.id], "{query}");
    }
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit_and_all_of_it_after() {
    let (root, writer, reader) = filled(&[chunk("a", 0, "old words")]).await;
    let other_process = TantivyReader::open(root.path());
    assert_eq!(found(&other_process, "old").await.len(), 1);
    writer
        .upsert("c", &[chunk("b", 0, "fresh words")])
        .await
        .unwrap();
    writer
        .remove_versions("c", &[version("a", 1)])
        .await
        .unwrap();
    assert_eq!(found(&reader, "words").await, [chunk("a", 0, "").chunk.id]);
    assert_eq!(writer.chunks("c").await.unwrap().len(), 1);
    writer.commit("c").await.unwrap();
    for reader in [&reader, &other_process] {
        assert_eq!(found(reader, "words").await, [chunk("b", 0, "").chunk.id]);
    }
    assert_eq!(
        reader.chunks("c").await.unwrap(),
        writer.chunks("c").await.unwrap()
    );
}

#[tokio::test]
async fn writing_twice_leaves_one_and_the_last_text_counts() {
    let (_root, writer, reader) = filled(&[chunk("a", 0, "first"), chunk("a", 1, "other")]).await;
    writer
        .upsert("c", &[chunk("a", 0, "second"), chunk("a", 0, "third")])
        .await
        .unwrap();
    writer.commit("c").await.unwrap();
    assert_eq!(reader.chunks("c").await.unwrap().len(), 2);
    assert_eq!(
        (
            found(&reader, "first").await.len(),
            found(&reader, "second").await.len()
        ),
        (0, 0)
    );
    assert_eq!(found(&reader, "third").await, [chunk("a", 0, "").chunk.id]);
}

#[tokio::test]
async fn equal_scores_are_ordered_by_chunk_id() {
    let chunks: Vec<_> = (0..60)
        .map(|ordinal| chunk("a", ordinal, "same words"))
        .collect();
    let (_root, writer, reader) = filled(&chunks[..30]).await;
    writer.upsert("c", &chunks[30..]).await.unwrap();
    writer.commit("c").await.unwrap();
    let mut expected: Vec<_> = chunks.iter().map(|chunk| chunk.chunk.id).collect();
    expected.sort_unstable();
    let best = reader.search("c", "same", None, 7).await.unwrap();
    assert_eq!(ids(&best), expected[..7]);
    assert!(reader.chunks("c").await.unwrap().is_sorted());
}

#[tokio::test]
async fn filters_are_pushed_down() {
    let mut chunks: Vec<_> = (0..30)
        .map(|ordinal| {
            chunk_of(
                "a",
                1,
                ordinal,
                "pump pump pump",
                fields(json!({"team": "it"})),
            )
        })
        .collect();
    chunks.push(chunk_of(
        "b",
        1,
        0,
        "a pump among many other words of no use",
        fields(json!({"team": "hr", "on": "2024-05-01"})),
    ));
    let (_root, _writer, reader) = filled(&chunks).await;
    let filter = Filter::parse(&json!({"team": "hr", "on": {"$lt": "2024-06-01"}})).unwrap();
    let found = reader.search("c", "pump", Some(&filter), 1).await.unwrap();
    assert_eq!(ids(&found), [chunks[30].chunk.id]);
    let unfiltered = reader.search("c", "pump", None, 100).await.unwrap();
    assert_eq!(
        unfiltered.last(),
        found.first(),
        "a filter does not change the score"
    );
}

#[tokio::test]
async fn missing_and_dropped_collections_are_named() {
    let (root, writer, reader) = filled(&[chunk("a", 0, "words")]).await;
    assert_eq!(found(&reader, "words").await.len(), 1);
    writer
        .upsert("c", &[chunk("a", 1, "staged and never committed")])
        .await
        .unwrap();
    writer.drop_collection("c").await.unwrap();
    writer.drop_collection("c").await.unwrap();
    writer
        .remove_versions("c", &[version("a", 1)])
        .await
        .unwrap();
    let is_missing = |error| {
        matches!(
            error,
            IndexError::NoCollection {
                side: "lexical",
                ..
            }
        )
    };
    assert!(is_missing(
        reader.search("c", "words", None, 1).await.unwrap_err()
    ));
    assert!(is_missing(
        writer.upsert("c", &[chunk("a", 0, "")]).await.unwrap_err()
    ));
    assert!(is_missing(writer.commit("c").await.unwrap_err()));
    assert!(is_missing(
        TantivyReader::open(root.path().join("nowhere"))
            .chunks("c")
            .await
            .unwrap_err()
    ));
    writer.create("c").await.unwrap();
    writer.create("c").await.unwrap();
    assert_eq!(found(&reader, "words").await, []);
    assert_eq!(writer.collections().await.unwrap(), ["c"]);
    assert!(matches!(
        writer.create("../x").await.unwrap_err(),
        IndexError::CollectionName(_)
    ));
}

#[tokio::test]
async fn a_second_writer_is_refused_and_readers_are_not() {
    let (root, writer, _reader) = filled(&[chunk("a", 0, "words")]).await;
    assert!(matches!(
        TantivyWriter::open(root.path()).err().unwrap(),
        IndexError::Locked { .. }
    ));
    assert_eq!(
        found(&TantivyReader::open(root.path()), "words")
            .await
            .len(),
        1
    );
    drop(writer);
    let again = TantivyWriter::open(root.path()).unwrap();
    assert_eq!(again.chunks("c").await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_collections_are_written_by_turns() {
    let root = tempfile::tempdir().unwrap();
    let writer = TantivyWriter::open(root.path()).unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for name in &names {
        writer.create(name).await.unwrap();
    }
    for ordinal in 0..2 {
        for name in &names {
            writer
                .upsert(name, &[chunk("a", ordinal, "words")])
                .await
                .unwrap();
        }
    }
    for name in &names {
        writer.commit(name).await.unwrap();
        assert_eq!(writer.chunks(name).await.unwrap().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_damaged_folder_is_named_with_the_remedy() {
    let (root, writer, reader) = filled(&[chunk("a", 0, "words")]).await;
    drop(writer);
    fs::write(root.path().join("c/meta.json"), "{").unwrap();
    for error in [
        reader.search("c", "words", None, 1).await.err(),
        TantivyReader::open(root.path()).chunks("c").await.err(),
        TantivyWriter::open(root.path())
            .unwrap()
            .upsert("c", &[])
            .await
            .err(),
    ] {
        let error = error.unwrap();
        assert!(
            matches!(&error, IndexError::Damaged { path, .. } if *path == root.path().join("c")),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("lore index verify --repair"),
            "{error}"
        );
    }
}

#[test]
fn no_text_is_a_wrong_query() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_root, _writer, reader) = runtime.block_on(filled(&[chunk("a", 0, "words in a text")]));
    for query in [
        "",
        " ",
        "\"",
        "title:(",
        "a AND OR NOT (",
        "[* TO",
        "-",
        "+-+",
        "\u{0}",
        "\u{301}",
        "....",
        "'",
        "C++#",
        &"x".repeat(100_000),
    ] {
        runtime
            .block_on(reader.search("c", query, None, 5))
            .unwrap();
    }
    assert_eq!(runtime.block_on(found(&reader, "?!")), []);
    proptest!(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }, |(query in "\\PC{0,30}|[-.a-zA-Z0-9_'+#/漢字かなé ]{0,30}")| {
        runtime.block_on(reader.search("c", &query, None, 5)).unwrap();
    });
}

#[test]
fn a_text_is_found_by_itself() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    proptest!(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() }, |(text in "[-.a-zA-Z0-9_'/漢字かなéß가나 ]{1,30}")| {
        prop_assume!(text.chars().any(char::is_alphanumeric));
        let (_root, _writer, reader) = runtime.block_on(filled(&[chunk("b", 0, "noise"), chunk("a", 0, &text)]));
        let found = runtime.block_on(found(&reader, &text));
        prop_assert!(found.contains(&chunk("a", 0, "").chunk.id), "{}", text);
    });
}

/// Ends are followed by starts at once, while what was written before is still being merged.
#[tokio::test]
async fn chunks_written_again_by_successors_are_there_once() {
    let root = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..24)
        .map(|number| chunk(&format!("d{number}"), 0, "words"))
        .collect();
    let mut written = BTreeSet::new();
    for start in 0..60 {
        let writer = TantivyWriter::open(root.path()).unwrap();
        writer.create("c").await.unwrap();
        for (commit, size) in [(0, 1 + start % 5), (1, 1 + start % 3)] {
            let first = (start * 7 + commit * 3) % all.len();
            let some: Vec<_> = all.iter().cycle().skip(first).take(size).cloned().collect();
            writer.upsert("c", &some).await.unwrap();
            writer.commit("c").await.unwrap();
            written.extend(some.iter().map(|one| one.chunk.id));
        }
        assert_eq!(held(&writer).await, written, "start {start}");
    }
    assert_eq!(written.len(), all.len());
}

/// A process that was killed after a commit leaves its merges to its successor, whose first removal must not be taken for
/// one that the commit had done.
#[tokio::test]
async fn what_a_killed_process_did_not_merge_is_removed_all_the_same() {
    let chunks: Vec<_> = (0..10)
        .map(|ordinal| chunk("a", ordinal, "words"))
        .collect();
    let (root, writer, _reader) = filled(&chunks[..4]).await;
    writer.upsert("c", &chunks[4..]).await.unwrap();
    writer.commit("c").await.unwrap();
    drop(writer);
    remove_without_merging(&root, &chunks[0]);
    let writer = TantivyWriter::open(root.path()).unwrap();
    writer.upsert("c", &chunks[1..2]).await.unwrap();
    writer.commit("c").await.unwrap();
    drop(writer); // and with it the merge
    let writer = TantivyWriter::open(root.path()).unwrap();
    let expected = chunks[1..].iter().map(|one| one.chunk.id).collect();
    assert_eq!(held(&writer).await, expected);
}

/// What is on disk when a process is killed right after the commit of a removal.
fn remove_without_merging(root: &TempDir, chunk: &IndexedChunk) {
    let index = tantivy::Index::open_in_dir(root.path().join("c")).unwrap();
    let field = index.schema().get_field("chunk").unwrap();
    let mut writer: tantivy::IndexWriter = index.writer_with_num_threads(1, 20 << 20).unwrap();
    writer.set_merge_policy(Box::new(tantivy::indexer::NoMergePolicy));
    let id = chunk.chunk.id.0;
    writer.delete_term(tantivy::Term::from_field_bytes(field, id.as_bytes()));
    writer.commit().unwrap();
}

/// The chunks of `c`, none of them twice.
async fn held(writer: &TantivyWriter) -> BTreeSet<ChunkId> {
    let held = writer.chunks("c").await.unwrap();
    let distinct: BTreeSet<_> = held.iter().map(|id| id.chunk_id).collect();
    assert_eq!(held.len(), distinct.len(), "{held:?}");
    distinct
}

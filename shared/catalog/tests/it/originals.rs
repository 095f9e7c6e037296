use crate::Fixture;
use lore_catalog::Originals;
use lore_types::{ContentHash, Metadata};

#[tokio::test]
async fn equal_bytes_are_kept_once() {
    let fixture = Fixture::new().await;
    let one = fixture.originals.keep(b"same").await.expect("kept");
    let two = fixture.originals.keep(b"same").await.expect("kept");
    assert_eq!((one.hash.clone(), one.bytes), (two.hash, 4));
    assert_eq!(one.hash, ContentHash::of(b"same"));
    assert_eq!(fixture.originals.all().await.expect("originals").len(), 1);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let fixture = Fixture::new().await;
    let mut writer = fixture.originals.writer().await.expect("a writer");
    writer.write(b"half").await.expect("written");
    drop(writer);
    let root = fixture.folder.path().join("files");
    assert_eq!(
        std::fs::read_dir(root.join("partial"))
            .expect("the folder")
            .count(),
        0
    );
    std::fs::write(root.join("partial/left-by-a-kill"), b"x").expect("a file");
    Originals::open(&root).await.expect("opened again");
    assert_eq!(
        std::fs::read_dir(root.join("partial"))
            .expect("the folder")
            .count(),
        0
    );
}

#[tokio::test]
async fn originals_that_a_version_uses_are_never_collected() {
    let fixture = Fixture::new().await;
    fixture.upload("a", "used").await;
    let unused = fixture.originals.keep(b"unused").await.expect("kept");
    let used = ContentHash::of(b"used");
    let both = [used.clone(), unused.hash.clone()];
    drop(unused);
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, &both)
            .await
            .expect("collected"),
        1
    );
    assert!(fixture.originals.path(&used).exists());
}

#[tokio::test]
async fn an_original_is_not_collected_between_its_writing_and_its_acceptance() {
    let fixture = Fixture::new().await;
    let upload = fixture.new_version("a", "bytes", Metadata::new()).await;
    let all = [upload.original.hash.clone()];
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, &all)
            .await
            .expect("collected"),
        0
    );
    fixture
        .catalog
        .accept("docs", std::slice::from_ref(&upload), 9)
        .await
        .expect("accepted");
    drop(upload);
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, &all)
            .await
            .expect("collected"),
        0
    );
    assert!(fixture.originals.path(&all[0]).exists());
}

#[tokio::test]
async fn an_upload_that_was_never_accepted_is_collected() {
    let fixture = Fixture::new().await;
    let upload = fixture.new_version("a", "bytes", Metadata::new()).await;
    let all = [upload.original.hash.clone()];
    drop(upload);
    assert_eq!(
        fixture
            .originals
            .collect(&fixture.catalog, &all)
            .await
            .expect("collected"),
        1
    );
    assert!(!fixture.originals.path(&all[0]).exists());
}

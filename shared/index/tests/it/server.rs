use crate::chunks::server_url;
use crate::dense;
use lore_index::{DenseIndex, IndexError, ServerDense, ServerSettings};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms() {
    let Some(url) = server_url("the dense suite on a Qdrant server") else {
        return;
    };
    let prefix = format!("lore_test_{}_", std::process::id());
    let dense = ServerDense::connect(ServerSettings {
        prefix,
        ..ServerSettings::new(url)
    })
    .await
    .unwrap();
    dense::conforms(&dense, "").await;
    for collection in dense.collections().await.unwrap() {
        dense.drop_collection(&collection).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // Port 9 on the loopback: nothing listens.
    let settings = ServerSettings {
        timeout: Duration::from_secs(2),
        ..ServerSettings::new("http://127.0.0.1:9")
    };
    let error = ServerDense::connect(settings).await.err().unwrap();
    assert!(
        matches!(&error, IndexError::Unreachable { url, .. } if url == "http://127.0.0.1:9"),
        "{error:?}"
    );
    assert!(error.is_transient());
    let error = ServerDense::connect(ServerSettings::new("not an address"))
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, IndexError::Unusable { .. }), "{error:?}");
}

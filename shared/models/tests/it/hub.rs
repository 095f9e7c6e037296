use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use futures::StreamExt;
use lore_models::{
    Catalogue, FileState, ModelError, Progress, PullEvent, SourceError, Store, StoreSettings,
    silent,
};

use crate::support::{catalogue, listening, local, unpinned};

const SOURCE: &str = "{ kind = \"hub\", repo = \"owner/repo\", path = \"dir/model.gguf\" }";

/// What the little hub does.
#[derive(Clone, Default)]
struct Hub {
    content: Arc<Mutex<Vec<u8>>>,
    /// Break the connection after so many bytes, once for each entry.
    breaks: Arc<Mutex<Vec<usize>>>,
    ignores_ranges: bool,
    /// Bytes that the store has told to have, so that a break comes after they have arrived.
    arrived: Arc<AtomicU64>,
    /// Start of every GET.
    gets: Arc<Mutex<Vec<usize>>>,
}

async fn answer(State(hub): State<Hub>, request: Request) -> Response<Body> {
    if request.uri().path() != "/owner/repo/resolve/main/dir/model.gguf" {
        return Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Body::empty())
            .unwrap();
    }
    let content = hub.content.lock().unwrap().clone();
    let head = Response::builder()
        .header(header::ETAG, "\"e\"")
        .header("x-repo-commit", "c0ffee");
    if request.method() == Method::HEAD {
        return head
            .header(header::CONTENT_LENGTH, content.len())
            .body(Body::empty())
            .unwrap();
    }
    let range = asked(&request).filter(|_| !hub.ignores_ranges);
    let status = if range.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let range = range.unwrap_or(0..content.len());
    hub.gets.lock().unwrap().push(range.start);
    let start = range.start;
    let part = content[range].to_vec();
    let response = head
        .status(status)
        .header(header::CONTENT_LENGTH, part.len());
    response.body(body(&hub, start, part)).unwrap()
}

fn asked(request: &Request) -> Option<Range<usize>> {
    let text = request.headers().get(header::RANGE)?.to_str().ok()?;
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(start.parse().ok()?..end.parse::<usize>().ok()? + 1)
}

/// The bytes, cut off by an error after `limit` of them have arrived at the other end.
fn body(hub: &Hub, start: usize, part: Vec<u8>) -> Body {
    let Some(limit) = hub.breaks.lock().unwrap().pop() else {
        return Body::from(part);
    };
    let (arrived, goal) = (hub.arrived.clone(), (start + limit) as u64);
    let first = futures::stream::once(async move { Ok(Bytes::from(part[..limit].to_vec())) });
    let broken = futures::stream::once(async move {
        while arrived.load(Ordering::SeqCst) < goal {
            tokio::task::yield_now().await;
        }
        Err(std::io::Error::other("the cable is out"))
    });
    Body::from_stream(first.chain(broken))
}

/// Serves the hub and gives a store that knows no other.
async fn store_at(hub: &Hub, dir: &Path, catalogue: Catalogue) -> Store {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).with_state(hub.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Store::new(
        dir.join("models"),
        catalogue,
        settings(dir, format!("http://{address}")),
    )
}

fn settings(dir: &Path, endpoint: String) -> StoreSettings {
    StoreSettings {
        hub_endpoint: Some(endpoint),
        hub_cache: Some(dir.join("hub")),
        ..StoreSettings::default()
    }
}

fn hub(content: &[u8]) -> Hub {
    Hub {
        content: Arc::new(Mutex::new(content.to_vec())),
        ..Hub::default()
    }
}

fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_file_comes_from_the_hub() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let store = store_at(&hub(&content), dir.path(), catalogue(&content, SOURCE)).await;
    let files = store.pull("m", &silent()).await.unwrap();
    assert_eq!(
        std::fs::read(files.dir.join("model.gguf")).unwrap(),
        content
    );
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_stopped() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let hub = Hub {
        breaks: Arc::new(Mutex::new(vec![50_000, 120_000])),
        ..hub(&content)
    };
    let store = store_at(&hub, dir.path(), catalogue(&content, SOURCE)).await;
    let arrived = hub.arrived.clone();
    let progress: Progress = Arc::new(move |event| {
        if let PullEvent::Downloaded { done, .. } = event {
            arrived.store(done, Ordering::SeqCst);
        }
    });
    let files = store.pull("m", &progress).await.unwrap();
    assert_eq!(
        std::fs::read(files.dir.join("model.gguf")).unwrap(),
        content
    );
    assert_eq!(*hub.gets.lock().unwrap(), [0, 120_000, 170_000]);
}

#[tokio::test]
async fn a_pull_continues_what_a_killed_one_left() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let hub = hub(&content);
    let store = store_at(&hub, dir.path(), catalogue(&content, SOURCE)).await;
    let model = store.dir().join("m");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("model.gguf.part"), &content[..300_000]).unwrap();
    assert!(
        matches!(store.path("m"), Err(ModelError::NotPulled { .. })),
        "a part does not look whole"
    );
    store.pull("m", &silent()).await.unwrap();
    assert_eq!(*hub.gets.lock().unwrap(), [300_000]);
    assert_eq!(std::fs::read(model.join("model.gguf")).unwrap(), content);
}

#[tokio::test]
async fn what_a_killed_pull_left_wrong_is_fetched_again_from_the_start() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let hub = hub(&content);
    let store = store_at(&hub, dir.path(), catalogue(&content, SOURCE)).await;
    let model = store.dir().join("m");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("model.gguf.part"), vec![9; 1000]).unwrap();
    store.pull("m", &silent()).await.unwrap();
    assert_eq!(*hub.gets.lock().unwrap(), [1000, 0]);
}

#[tokio::test]
async fn a_hub_without_ranges_sends_everything_again() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let hub = Hub {
        ignores_ranges: true,
        ..hub(&content)
    };
    let store = store_at(&hub, dir.path(), catalogue(&content, SOURCE)).await;
    let model = store.dir().join("m");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("model.gguf.part"), &content[..300_000]).unwrap();
    store.pull("m", &silent()).await.unwrap();
    assert_eq!(std::fs::read(model.join("model.gguf")).unwrap(), content);
}

#[tokio::test]
async fn a_file_that_the_hub_changed_is_refused() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let mut changed = content.clone();
    changed[5] ^= 1;
    let store = store_at(&hub(&changed), dir.path(), catalogue(&content, SOURCE)).await;
    let ModelError::Pull { attempts, .. } = store.pull("m", &silent()).await.unwrap_err() else {
        panic!("other error")
    };
    assert!(
        matches!(attempts[0].error, SourceError::WrongHash { .. }),
        "{attempts:?}"
    );
    assert!(crate::support::tree(store.dir()).is_empty());
}

#[tokio::test]
async fn without_a_pin_the_first_hash_holds() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let hub = hub(&content);
    let store = store_at(&hub, dir.path(), unpinned(SOURCE)).await;
    let files = store.pull("m", &silent()).await.unwrap();
    let path = files.dir.join("model.gguf");
    assert_eq!(
        store.verify("m", &silent()).await.unwrap().files[0].1,
        FileState::Whole
    );
    std::fs::write(&path, b"bent").unwrap();
    assert!(matches!(
        store.verify("m", &silent()).await.unwrap().files[0].1,
        FileState::WrongSize { .. }
    ));
    hub.content.lock().unwrap()[0] ^= 1;
    let error = store.repair("m", &silent()).await.unwrap_err();
    assert!(
        error.to_string().contains("sha256"),
        "the hub's new bytes are not the recorded ones: {error}"
    );
}

#[tokio::test]
async fn a_file_in_the_hubs_own_cache_is_taken_from_there() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let repo = dir.path().join("hub/models--owner--repo");
    std::fs::create_dir_all(repo.join("snapshots/c0ffee/dir")).unwrap();
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::write(repo.join("refs/main"), "c0ffee").unwrap();
    std::fs::write(repo.join("snapshots/c0ffee/dir/model.gguf"), &content).unwrap();
    let hub = hub(&content);
    let store = store_at(&hub, dir.path(), catalogue(&content, SOURCE)).await;
    store.pull("m", &silent()).await.unwrap();
    assert!(hub.gets.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_the_hub_does_not_have_is_named() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let source = SOURCE.replace("dir/model.gguf", "dir/other.gguf");
    let store = store_at(&hub(&content), dir.path(), catalogue(&content, &source)).await;
    let error = store.pull("m", &silent()).await.unwrap_err().to_string();
    assert!(
        error.contains("dir/other.gguf") && error.contains("owner/repo"),
        "{error}"
    );
}

/// Port 9 on this machine refuses; an address of a documentation network never answers.
#[tokio::test]
async fn a_dead_hub_fails_fast_and_the_next_source_is_taken() {
    let (dir, content) = (tempfile::tempdir().unwrap(), content());
    let origin = dir.path().join("origin");
    std::fs::write(&origin, &content).unwrap();
    for endpoint in ["http://127.0.0.1:9", "http://192.0.2.1:9"] {
        let sources = format!("{SOURCE}, {}", local(&origin));
        let models = dir.path().join(endpoint.replace(['/', ':'], "_"));
        let settings = StoreSettings {
            hub_connect_timeout: Duration::from_millis(500),
            ..settings(dir.path(), endpoint.to_owned())
        };
        let store = Store::new(models, catalogue(&content, &sources), settings);
        let (progress, heard) = listening();
        let pull = store.pull("m", &progress);
        tokio::time::timeout(Duration::from_secs(60), pull)
            .await
            .expect("it hangs")
            .unwrap();
        let heard = heard.lock().unwrap();
        let told = |event: &PullEvent| matches!(event, PullEvent::Failed { reason, .. } if reason.contains("does not answer"));
        assert!(heard.iter().any(told), "{heard:?}");
    }
}

#[tokio::test]
async fn a_hub_that_does_not_answer_is_told_once_and_not_asked_for_the_next_file() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::write(&origin, b"x").unwrap();
    let sources = format!("sources = [{SOURCE}, {}]\n", local(&origin));
    let file =
        |name: &str| format!("[[models.files]]\nrole = \"gguf\"\nname = \"{name}\"\n{sources}");
    let head =
        "[[models]]\nname = \"m\"\ntask = \"generate\"\narchitecture = \"a\"\nlicence = \"MIT\"\n";
    let text = format!("{head}{}{}", file("a.gguf"), file("b.gguf"));
    let catalogue = Catalogue::parse(&text, Path::new("t")).unwrap();
    let settings = settings(dir.path(), "http://127.0.0.1:9".to_owned());
    let store = Store::new(dir.path().join("models"), catalogue, settings);
    let (progress, heard) = listening();
    store.pull("m", &progress).await.unwrap();
    let heard = heard.lock().unwrap();
    let failed = |event: &&PullEvent| matches!(event, PullEvent::Failed { .. });
    assert_eq!(heard.iter().filter(failed).count(), 1, "{heard:?}");
}

use super::lore::Lore;
use futures::StreamExt;
use lore_types::{Job, JobEvent, JobStatus};
use std::time::Duration;

/// All events of a job's stream, up to its end.
async fn events(lore: &Lore, job: lore_types::JobId) -> Vec<Job> {
    let answer = lore.get(&format!("/v1/jobs/{job}/events")).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = tokio::time::timeout(Duration::from_secs(60), answer.text()).await;
    parse(&text.expect("the stream ends").expect("text"))
}

fn parse(stream: &str) -> Vec<Job> {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| {
        serde_json::from_str::<JobEvent>(data)
            .expect("an event")
            .job
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_the_stages_and_ends_with_the_job() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.dense.close();
    let accepted = lore
        .upload("docs", "a.md", "Watch me become findable.")
        .await;
    let stream = lore
        .get(&format!("/v1/jobs/{}/events", accepted.job_id))
        .await;
    let mut stream = stream.bytes_stream();
    // Only a stream that has begun can show what comes.
    let first = stream.next().await.expect("a first event").expect("bytes");
    lore.until_it_waits(accepted.job_id).await;
    lore.dense.open();
    let rest = tokio::time::timeout(Duration::from_secs(60), stream.collect::<Vec<_>>()).await;
    let mut bytes = first.to_vec();
    for piece in rest.expect("the stream ends") {
        bytes.extend_from_slice(&piece.expect("bytes"));
    }
    let seen = parse(std::str::from_utf8(&bytes).expect("UTF-8"));
    let last = seen.last().expect("events");
    assert_eq!((last.status, last.progress), (JobStatus::Succeeded, 1.0));
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(
        seen.windows(2)
            .all(|pair| pair[0].progress <= pair[1].progress && pair[0] != pair[1]),
        "{seen:?}"
    );
    let late = events(&lore, accepted.job_id).await;
    assert_eq!((late.len(), late[0].status), (1, JobStatus::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_streams() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    lore.dense.close();
    let accepted = lore
        .upload("docs", "a.md", "This one will not be done in time.")
        .await;
    let answer = lore
        .get(&format!("/v1/jobs/{}/events", accepted.job_id))
        .await;
    let mut stream = answer.bytes_stream();
    stream.next().await.expect("a first event").expect("bytes");
    lore.service.as_ref().expect("a running service").stop();
    let rest = tokio::time::timeout(Duration::from_secs(60), stream.collect::<Vec<_>>()).await;
    assert!(rest.is_ok(), "the stream ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_there_has_no_stream() {
    let Some(lore) = Lore::start().await else {
        return;
    };
    let answer = lore
        .get(&format!("/v1/jobs/{}/events", lore_types::JobId::new()))
        .await;
    let error = super::lore::refused(answer, reqwest::StatusCode::NOT_FOUND).await;
    assert_eq!(error.code, "job_not_found");
}

use crate::events::{self, ServerEvent};
use crate::{Client, ClientError};
use futures::{Stream, StreamExt};
use lore_types::{
    CreateFineTuningJob, FineTuningCheckpoint, FineTuningEvent, FineTuningEventId, FineTuningId,
    FineTuningJob, List,
};
use reqwest::Method;
use serde_json::json;

/// Which fine-tuning jobs to list.
#[derive(Clone, Debug, Default)]
pub struct FineTuningQuery {
    /// Only those that stand like this, in the API's words.
    pub status: Option<String>,
    /// Only those that make versions of this adapter.
    pub adapter: Option<String>,
    /// At most this many.
    pub limit: Option<u32>,
    /// Only those after this one.
    pub after: Option<String>,
}

impl FineTuningQuery {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("status", self.status.clone()),
            ("adapter", self.adapter.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("after", self.after.clone()),
        ];
        pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

const JOBS: [&str; 3] = ["v1", "fine_tuning", "jobs"];

impl Client {
    /// Starts a job; every problem of the request is told at once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_fine_tuning_job(
        &self,
        request: &CreateFineTuningJob,
    ) -> Result<FineTuningJob, ClientError> {
        self.post(&JOBS, request).await
    }

    /// A page of jobs, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fine_tuning_jobs(
        &self,
        query: &FineTuningQuery,
    ) -> Result<List<FineTuningJob>, ClientError> {
        self.get(&JOBS, &query.pairs()).await
    }

    /// One job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fine_tuning_job(&self, id: FineTuningId) -> Result<FineTuningJob, ClientError> {
        self.get(&of_job(&id.to_string()), &[]).await
    }

    /// Ends a job for good.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel_fine_tuning_job(
        &self,
        id: FineTuningId,
    ) -> Result<FineTuningJob, ClientError> {
        self.ask_of_job(id, "cancel").await
    }

    /// Holds a job; a checkpoint is written.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause_fine_tuning_job(
        &self,
        id: FineTuningId,
    ) -> Result<FineTuningJob, ClientError> {
        self.ask_of_job(id, "pause").await
    }

    /// Lets a paused job go on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_fine_tuning_job(
        &self,
        id: FineTuningId,
    ) -> Result<FineTuningJob, ClientError> {
        self.ask_of_job(id, "resume").await
    }

    async fn ask_of_job(&self, id: FineTuningId, what: &str) -> Result<FineTuningJob, ClientError> {
        let id = id.to_string();
        let path = [JOBS.as_slice(), &[id.as_str(), what]].concat();
        self.post(&path, &json!({})).await
    }

    /// The checkpoints of a job that are on disk.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fine_tuning_checkpoints(
        &self,
        id: FineTuningId,
    ) -> Result<List<FineTuningCheckpoint>, ClientError> {
        let id = id.to_string();
        let path = [JOBS.as_slice(), &[id.as_str(), "checkpoints"]].concat();
        self.get(&path, &[]).await
    }

    /// What happened to a job and what happens, oldest first, up to its end; only what is newer than `after`. A stream that
    /// ends earlier, as when the server stops, ends with [`ClientError::Cut`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fine_tuning_events(
        &self,
        id: FineTuningId,
        after: Option<FineTuningEventId>,
    ) -> Result<impl Stream<Item = Result<FineTuningEvent, ClientError>> + Send + use<>, ClientError>
    {
        let id = id.to_string();
        let path = [JOBS.as_slice(), &[id.as_str(), "events"]].concat();
        let mut query = vec![("stream", "true".to_owned())];
        query.extend(after.map(|after| ("after", after.to_string())));
        let response = self
            .send(|| self.request(Method::GET, &path, &query))
            .await?;
        let url = response.url().to_string();
        Ok(events_of(events::server_events(response), url))
    }
}

fn of_job(id: &str) -> [&str; 4] {
    let [v1, fine_tuning, jobs] = JOBS;
    [v1, fine_tuning, jobs, id]
}

fn events_of(
    events: impl Stream<Item = Result<ServerEvent, ClientError>> + Send,
    url: String,
) -> impl Stream<Item = Result<FineTuningEvent, ClientError>> + Send {
    async_stream::try_stream! {
        let mut over = false;
        for await event in events.fuse() {
            let event: ServerEvent = event?;
            if event.is_end() {
                over = true;
                break;
            }
            yield event.json::<FineTuningEvent>(&url)?;
        }
        if !over {
            Err(ClientError::Cut { url })?;
        }
    }
}

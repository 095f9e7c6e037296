use crate::events::{self, ServerEvent};
use crate::{Client, ClientError};
use futures::{Stream, StreamExt};
use lore_types::{Job, JobEvent, JobId, List};
use reqwest::Method;

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// Only those of this collection.
    pub collection: Option<String>,
    /// Only those that stand like this: `queued`, `running`, `succeeded`, `failed`, `cancelled`.
    pub status: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
    /// Only those after this one.
    pub after: Option<String>,
}

impl JobQuery {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("collection", self.collection.clone()),
            ("status", self.status.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("after", self.after.clone()),
        ];
        pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

impl Client {
    /// A page of jobs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(&self, query: &JobQuery) -> Result<List<Job>, ClientError> {
        self.get(&["v1", "jobs"], &query.pairs()).await
    }

    /// One job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job(&self, id: JobId) -> Result<Job, ClientError> {
        self.get(&["v1", "jobs", &id.to_string()], &[]).await
    }

    /// A job's states as they come, the last one final. A stream that ends earlier ends with [`ClientError::Cut`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_events(
        &self,
        id: JobId,
    ) -> Result<impl Stream<Item = Result<Job, ClientError>> + Send + use<>, ClientError> {
        let path = ["v1", "jobs", &id.to_string(), "events"];
        let response = self.send(|| self.request(Method::GET, &path, &[])).await?;
        let url = response.url().to_string();
        Ok(jobs_of(events::server_events(response), url))
    }
}

fn jobs_of(
    events: impl Stream<Item = Result<ServerEvent, ClientError>> + Send,
    url: String,
) -> impl Stream<Item = Result<Job, ClientError>> + Send {
    async_stream::try_stream! {
        let mut over = false;
        for await event in events.fuse() {
            let event: ServerEvent = event?;
            if event.data.is_empty() || event.is_end() {
                continue;
            }
            let job = event.json::<JobEvent>(&url)?.job;
            over = job.status.is_final();
            yield job;
            if over {
                break;
            }
        }
        if !over {
            Err(ClientError::Cut { url })?;
        }
    }
}

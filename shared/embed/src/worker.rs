//! One thread that owns a model, and the handle to it.

use crate::{
    EmbedError,
    queue::{Lane, Queue},
};
use lore_telemetry::names::EMBED_QUEUE_LENGTH;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A model that works on one request at a time, on its own thread.
pub(crate) trait Model: Sized + 'static {
    /// What is asked of it.
    type Request: Send + 'static;
    /// What it answers.
    type Reply: Send + 'static;

    /// Works on a request. Calls `pause` between pieces of work: it serves what is urgent, and gives `false` when nobody
    /// waits for the answer any more; then the model ends with `None`.
    fn work(
        &mut self,
        request: Self::Request,
        pause: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Result<Option<Self::Reply>, EmbedError>;
}

/// A request in the queue. Dropping it frees its place and tells the caller that no answer comes.
struct Job<M: Model> {
    request: M::Request,
    lane: Lane,
    reply: oneshot::Sender<Result<M::Reply, EmbedError>>,
    waiting: Waiting,
    _place: OwnedSemaphorePermit,
}

/// Counts a job as waiting until it is dropped.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        metrics::gauge!(EMBED_QUEUE_LENGTH).increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!(EMBED_QUEUE_LENGTH).decrement(1.0);
    }
}

/// The handle to a model's thread. The thread ends when the handle is dropped.
pub(crate) struct Worker<M: Model> {
    name: String,
    queue: Arc<Queue<Job<M>>>,
    urgent: Arc<Semaphore>,
    patient: Arc<Semaphore>,
    places: usize,
}

impl<M: Model> Drop for Worker<M> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<M: Model> Worker<M> {
    /// Starts the thread, loads the model on it, and gives `describe(model)` beside the handle.
    pub(crate) async fn start<D: Send + 'static>(
        name: String,
        places: usize,
        load: impl FnOnce() -> Result<M, EmbedError> + Send + 'static,
        describe: impl FnOnce(&M) -> D + Send + 'static,
    ) -> Result<(Self, D), EmbedError> {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        let queue = Arc::new(Queue::default());
        let (started, ready) = oneshot::channel();
        let theirs = queue.clone();
        let thread = move || {
            let _close = CloseAtEnd(theirs.clone());
            match load() {
                Ok(model) => {
                    if started.send(Ok(describe(&model))).is_ok() {
                        serve(model, &theirs);
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        let spawned = std::thread::Builder::new()
            .name(thread_name(&name))
            .spawn(thread);
        spawned.map_err(|e| EmbedError::load(&name, e))?;
        let described = ready
            .await
            .map_err(|_| EmbedError::Stopped { name: name.clone() })??;
        let semaphore = || Arc::new(Semaphore::new(places));
        Ok((
            Self {
                name,
                queue,
                urgent: semaphore(),
                patient: semaphore(),
                places,
            },
            described,
        ))
    }

    /// Whether the thread has ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.queue.is_closed()
    }

    /// Asks; fails at once where all places are taken.
    pub(crate) async fn ask(
        &self,
        lane: Lane,
        request: M::Request,
    ) -> Result<M::Reply, EmbedError> {
        let busy = |_| EmbedError::Busy {
            name: self.name.clone(),
            waiting: self.places,
        };
        let place = self.places_of(lane).try_acquire_owned().map_err(busy)?;
        self.ask_with(place, lane, request).await
    }

    /// Asks; waits for a place.
    pub(crate) async fn ask_waiting(
        &self,
        lane: Lane,
        request: M::Request,
    ) -> Result<M::Reply, EmbedError> {
        let place = self
            .places_of(lane)
            .acquire_owned()
            .await
            .map_err(|_| self.stopped())?;
        self.ask_with(place, lane, request).await
    }

    async fn ask_with(
        &self,
        place: OwnedSemaphorePermit,
        lane: Lane,
        request: M::Request,
    ) -> Result<M::Reply, EmbedError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(
            lane,
            Job {
                request,
                lane,
                reply,
                waiting: Waiting::begin(),
                _place: place,
            },
        );
        answer.await.map_err(|_| self.stopped())?
    }

    fn places_of(&self, lane: Lane) -> Arc<Semaphore> {
        match lane {
            Lane::Urgent => self.urgent.clone(),
            Lane::Patient => self.patient.clone(),
        }
    }

    fn stopped(&self) -> EmbedError {
        EmbedError::Stopped {
            name: self.name.clone(),
        }
    }
}

/// Lets callers know when the thread ends, also by a panic.
struct CloseAtEnd<M: Model>(Arc<Queue<Job<M>>>);

impl<M: Model> Drop for CloseAtEnd<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn serve<M: Model>(mut model: M, queue: &Queue<Job<M>>) {
    while let Some(job) = queue.pop() {
        answer(&mut model, queue, job);
    }
}

/// Works on one job, and on urgent ones in between.
fn answer<M: Model>(model: &mut M, queue: &Queue<Job<M>>, job: Job<M>) {
    let Job {
        request,
        lane,
        reply,
        waiting,
        _place,
    } = job;
    drop(waiting);
    if reply.is_closed() {
        return;
    }
    let mut pause = |model: &mut M| {
        while lane == Lane::Patient
            && let Some(urgent) = queue.pop_urgent()
        {
            answer(model, queue, urgent);
        }
        !reply.is_closed() && !queue.is_closed()
    };
    if let Some(result) = model.work(request, &mut pause).transpose() {
        drop(reply.send(result)); // a caller that has gone needs no answer
    }
}

/// Linux shows 15 bytes of it.
fn thread_name(model: &str) -> String {
    let name: String = model.chars().filter(|c| !c.is_control()).collect();
    format!("embed-{name}")
}

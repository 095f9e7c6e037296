//! The queue between callers and the thread that owns a model.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Which jobs come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Somebody waits for an answer: goes before all patient jobs, also before the rest of a running one.
    Urgent,
    /// Bulk work.
    Patient,
}

/// Jobs in two lanes, each in order of arrival. How many may wait is the callers' business.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<J> {
    urgent: VecDeque<J>,
    patient: VecDeque<J>,
    closed: bool,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        let state = State {
            urgent: VecDeque::new(),
            patient: VecDeque::new(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<J> Queue<J> {
    /// Adds a job, or drops it where the queue is closed.
    pub(crate) fn push(&self, lane: Lane, job: J) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        match lane {
            Lane::Urgent => state.urgent.push_back(job),
            Lane::Patient => state.patient.push_back(job),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next job; `None` when the queue is closed.
    pub(crate) fn pop(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.urgent.pop_front() {
                return Some(job);
            }
            if let Some(job) = state.patient.pop_front() {
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next urgent job, if one waits.
    pub(crate) fn pop_urgent(&self) -> Option<J> {
        self.lock().urgent.pop_front()
    }

    /// Drops all jobs and those to come.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.urgent.clear();
        state.patient.clear();
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

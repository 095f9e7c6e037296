use lore_client::Readiness as ReadinessReport;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The catalog and both indexes.
pub const STORAGE: &str = "catalog and indexes";
/// The default embedder.
pub const EMBEDDER: &str = "embedder";
/// The language model.
pub const GENERATOR: &str = "generator";

/// What the server still waits for; `/readyz` tells it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Parts that are not there yet, each with how far it is.
    waiting: BTreeMap<&'static str, String>,
    /// Parts that were there and do not answer now, each with why.
    lost: BTreeMap<&'static str, String>,
    /// A part that will not come.
    failed: bool,
    stopping: bool,
}

impl Readiness {
    /// A server that waits for these parts.
    pub fn new(parts: &[&'static str]) -> Self {
        let waiting = parts.iter().map(|part| (*part, String::new())).collect();
        Self {
            state: Arc::new(watch::Sender::new(State {
                waiting,
                ..State::default()
            })),
        }
    }

    /// How far a part is.
    pub fn tell(&self, part: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.state.send_modify(|state| {
            state.waiting.insert(part, what);
        });
    }

    /// A part is there.
    pub fn done(&self, part: &'static str) {
        self.state.send_modify(|state| {
            state.waiting.remove(part);
        });
    }

    /// A part will not come, and why; the others go on.
    pub fn fail(&self, part: &'static str, why: impl Into<String>) {
        self.tell(part, why);
        self.state.send_modify(|state| state.failed = true);
    }

    /// A part that was there does not answer, and why. It may come back.
    pub fn lose(&self, part: &'static str, why: impl Into<String>) {
        let why = why.into();
        self.state.send_modify(|state| {
            state.lost.insert(part, why);
        });
    }

    /// A part answers, be it again. Whether it did not before.
    pub fn found(&self, part: &'static str) -> bool {
        self.state
            .send_if_modified(|state| state.lost.remove(part).is_some())
    }

    /// The server stops: it takes no new work.
    pub fn stop(&self) {
        self.state.send_modify(|state| state.stopping = true);
    }

    /// Whether every part is there, and the server is not stopping.
    pub fn is_ready(&self) -> bool {
        let state = self.state.borrow();
        state.waiting.is_empty() && state.lost.is_empty() && !state.stopping
    }

    /// What `/readyz` answers.
    pub fn report(&self) -> ReadinessReport {
        let state = self.state.borrow();
        let status = match &*state {
            State { stopping: true, .. } => "stopping",
            State { failed: true, .. } => "failed",
            State { waiting, .. } if !waiting.is_empty() => "loading",
            State { lost, .. } if !lost.is_empty() => "unavailable",
            State { .. } => "ready",
        };
        ReadinessReport {
            status: status.to_owned(),
            waiting_for: state
                .waiting
                .iter()
                .chain(&state.lost)
                .map(|(part, what)| format!("{part} {what}").trim().to_owned())
                .collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_when_every_part_is_there_until_it_stops() {
        let readiness = Readiness::new(&["catalog", "generator"]);
        readiness.tell("generator", "40 %");
        readiness.done("catalog");
        assert_eq!(readiness.report().waiting_for, ["generator 40 %"]);
        assert!(!readiness.is_ready());
        readiness.done("generator");
        assert_eq!(readiness.report().status, "ready");
        readiness.lose("catalog", "(gone)");
        assert_eq!(readiness.report().status, "unavailable");
        assert_eq!(readiness.report().waiting_for, ["catalog (gone)"]);
        assert!(!readiness.is_ready());
        assert!(readiness.found("catalog") && !readiness.found("catalog"));
        assert!(readiness.is_ready());
        readiness.stop();
        assert_eq!(readiness.report().status, "stopping");
        assert!(!readiness.is_ready());
    }
}
